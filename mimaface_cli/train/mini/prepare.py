"""Videos of faces to training clips: the paper's square around the face, its coefficients, and the mesh engine's frames
made from another moment of the same video as condition renders."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.errors import InputError, MimafaceError
from mimaface_cli.face.extract import ExtractOptions, extract_video
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.landmarks import choose, find_faces
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.mesh import engine as mesh
from mimaface_cli.mesh.contact import lid_openness
from mimaface_cli.mesh.source import build_source
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.train.mini.data import write_clip

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
DONE = ".done"


def find_videos(folder: Path) -> list[Path]:
    """All videos below a folder. Raises InputError where there is none."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()) if folder.is_dir() else []
    if not found:
        raise InputError(f"{folder}: holds no video ({', '.join(SUFFIXES)}); name a folder of face videos")
    return found


def person_of(path: Path, folder: Path) -> str:
    """Whose video it is: the subfolder it lies in; of a flat folder, the file's own name (one person each)."""
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else path.stem


def prepare(
    folder: Path,
    output: Path,
    people: dict[str, str],
    model: Face478,
    size: int,
    frames: int,
    per_video: int,
    report: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> list[str]:
    """Clips of all videos into `output`, at most `per_video` each; videos that are done stay as they are. people: file
    name to person, where folders do not tell. Returns a line for each video that could not be used."""
    output.mkdir(parents=True, exist_ok=True)
    videos, bad = find_videos(folder), []
    for k, path in enumerate(videos):
        name = "-".join(path.relative_to(folder).with_suffix("").parts)
        mark = output / f"{name}{DONE}"
        if not mark.exists():
            try:
                person = people.get(path.name) or person_of(path, folder)
                made = _clips_of(path, person, output / name, model, size, frames, per_video)
                mark.write_text("" if made else f"{path}: no {frames} frames in a row that show one face")
            except MimafaceError as error:
                mark.write_text(str(error))
        if problem := mark.read_text():
            bad.append(problem)
        report(path.name, k + 1, len(videos))
    return bad


def _clips_of(path: Path, person: str, stem: Path, model: Face478, size: int, frames: int, per_video: int) -> int:
    info = probe(path)
    track = extract_video(read_frames(path), info.frame_rate, model, ExtractOptions(), str(path))
    starts = _starts(track, frames, per_video)
    if not starts:
        return 0
    rng = np.random.default_rng(len(track))
    shots = _shots(track)
    sources = [int(rng.choice(_others(track, shots, start, frames))) for start in starts]
    wanted = {k for start in starts for k in range(start, start + frames)} | set(sources)
    pictures = {}
    for k, frame in enumerate(read_frames(path)):
        if k in wanted:
            pictures[k] = frame.image
    made = 0
    for number, (start, at) in enumerate(zip(starts, sources)):
        portrait = _portrait(pictures[at], track, at)
        if portrait is None:
            continue
        square = portrait.square()
        matrix = portrait.square_matrix()
        span = range(start, start + frames)
        shown = np.stack([_small(_squared(pictures[k], portrait, matrix), size) for k in span])
        drawn = np.stack([_small(frame, size) for frame in _renders(square, model, track, span)])
        motion = np.concatenate([track.pose, track.expression, track.gaze], 1)[start : start + frames]
        write_clip(stem.with_name(f"{stem.name}-{number:03d}.npz"), person, shown, drawn, _small(square.image, size), motion)
        made += 1
    return made


def _shots(track: MotionTrack) -> np.ndarray:
    """The shot of each frame, counted from 0."""
    shots = np.zeros(len(track), int)
    for cut in track.meta.cuts:
        shots[cut:] += 1
    return shots


def _starts(track: MotionTrack, frames: int, per_video: int) -> list[int]:
    """First frames of clips that lie within a shot and show the face throughout, spread over the video."""
    shots, good = _shots(track), []
    start = 0
    while start + frames <= len(track):
        span = slice(start, start + frames)
        if track.valid[span].all() and shots[start] == shots[start + frames - 1]:
            good.append(start)
            start += frames
        else:
            start += 1
    keep = np.linspace(0, len(good) - 1, min(per_video, len(good))).round().astype(int)
    return [good[k] for k in keep]


def _others(track: MotionTrack, shots: np.ndarray, start: int, frames: int) -> np.ndarray:
    """Frames of the same shot that may serve as the source: outside the clip where the shot is long enough."""
    same = np.flatnonzero(track.valid & (shots == shots[start]))
    outside = same[(same < start) | (same >= start + frames)]
    return outside if len(outside) else same


def _portrait(image: np.ndarray, track: MotionTrack, at: int) -> Portrait | None:
    face = choose(find_faces(image), "largest")
    if face is None:
        return None
    values = (getattr(track, name)[at].astype(np.float64) for name in ("crop", "expression", "pose", "gaze"))
    crop, expression, pose, gaze = values
    return Portrait(image, None, face.points, crop, track.identity.astype(np.float64), expression, pose, gaze)


def _squared(image: np.ndarray, portrait: Portrait, matrix: np.ndarray) -> np.ndarray:
    """Another frame of the same shot in the square that the source has."""
    return replace(portrait, image=image).warped(matrix, SQUARE, SQUARE).image


def _renders(square: Portrait, model: Face478, track: MotionTrack, span: range) -> Iterator[np.ndarray]:
    still = build_source(square, model)
    lids = lid_openness(model, square.identity, track.expression.astype(np.float64))
    for k in span:
        values = (getattr(track, name)[k].astype(np.float64) for name in ("expression", "pose", "gaze"))
        yield mesh.draw(still, model, *values, lids[k])


def _small(picture: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(picture[..., :3]), (size, size), interpolation=cv2.INTER_AREA)
