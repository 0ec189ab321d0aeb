"""Observations from a folder of face images and clips, kept in a file so that a killed run goes on where it was."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from mimaface_cli.builders.face478.learning import Observations
from mimaface_cli.errors import InputError, MimafaceError, OutputError
from mimaface_cli.face.face478 import VERTICES
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.landmarks import Face, find_faces, select_face
from mimaface_cli.face.scene_cuts import CutDetector
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.motion.coefficients import BLENDSHAPES

REVISION = 1  # raise it when what is observed changes: files of other revisions are refused
LONGEST = 400  # frames of a clip: a face says little that is new after that
FACE_SIZE = 170  # pixels across a face at which colors are blurred by one pixel before they are sampled

# What is kept of each face: name and shape, float32.
_FIELDS = {"points": (VERTICES, 3), "scores": (len(BLENDSHAPES),), "rotation": (3, 3), "colors": (VERTICES, 3)}
_CREATE = """CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER, modified INTEGER, kind TEXT, fault TEXT,
    points BLOB, scores BLOB, rotation BLOB, colors BLOB)"""


@dataclass(frozen=True)
class Sight:
    """What one file shows. kind: "still" or "clip"; fault: why it is skipped, or ""; the rest: K faces, one for each
    frame that shows one, as in `Observations` (colors for stills only).
    """

    kind: str
    fault: str = ""
    points: np.ndarray | None = None
    scores: np.ndarray | None = None
    rotation: np.ndarray | None = None
    colors: np.ndarray | None = None


@dataclass(frozen=True)
class Pool:
    """All that a folder shows: stills (one subject each, with colors), clips (one subject a file), the names of the
    stills' files by subject, and the files that show nothing, with the reason.
    """

    stills: Observations
    clips: Observations
    photos: list[str]
    skipped: dict[str, str]


class ObservationFile:
    """Sights by file name in an SQLite file: each is there whole or not at all, whatever kills the run."""

    def __init__(self, path: Path) -> None:
        """Raises InputError when `path` is something else, OutputError when it cannot be written."""
        self.path = path
        try:
            self._database = sqlite3.connect(path)
            found = self._database.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, REVISION):
                raise InputError(f"{path}: holds observations of another version ({found}); name another file")
            self._database.execute(_CREATE)
            self._database.execute(f"PRAGMA user_version = {REVISION}")
            self._database.commit()
        except sqlite3.OperationalError as error:
            raise OutputError(f"{path}: cannot be written ({error}); choose another place") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: is not a file of observations ({error}); name another file") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._database.close()

    def knows(self, name: str, stamp: tuple[int, int]) -> bool:
        """Whether a file of that name, size and time of change (ns) was looked at."""
        row = self._database.execute("SELECT size, modified FROM files WHERE path = ?", (name,)).fetchone()
        return row == stamp

    def put(self, name: str, stamp: tuple[int, int], sight: Sight) -> None:
        """Keep what a file shows in place of what it showed before. Raises OutputError."""
        blobs = [getattr(sight, field) for field in _FIELDS]
        blobs = [None if values is None else np.asarray(values, "<f4").tobytes() for values in blobs]
        try:
            with self._database:
                self._database.execute(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (name, *stamp, sight.kind, sight.fault, *blobs),
                )
        except sqlite3.Error as error:
            raise OutputError(f"{self.path}: cannot be written ({error}); free some space and run again") from error

    def get(self, name: str) -> Sight:
        """What a file showed. Raises InputError where it is unknown or damaged."""
        try:
            row = self._database.execute("SELECT * FROM files WHERE path = ?", (name,)).fetchone()
            kind, fault = row[3:5]
            arrays = [self._array(blob, shape) for blob, shape in zip(row[5:], _FIELDS.values())]
            if kind not in ("still", "clip") or len({len(array) for array in arrays if array is not None}) > 1:
                raise ValueError("its parts do not fit together")
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise InputError(f"{self.path}: is damaged at {name} ({error}); remove it and run again") from error
        return Sight(kind, fault, *arrays)

    @staticmethod
    def _array(blob: bytes | None, shape: tuple[int, ...]) -> np.ndarray | None:
        if blob is None:
            return None
        values = np.frombuffer(blob, "<f4").reshape(-1, *shape)
        if not np.isfinite(values).all():
            raise ValueError("numbers that are none")
        return values


def observe(folder: Path, kept: ObservationFile, progress: Callable[[int, int, str], None] | None = None) -> list[str]:
    """Look at every file of a folder (with its subfolders) that `kept` does not know yet; returns all their names.

    progress: called with files done, files in all and the name of the last one. Raises InputError without a file.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    if not paths:
        raise InputError(f"{folder}: holds no files; name a folder of face images and clips")
    for done, (name, path) in enumerate(paths.items(), 1):
        state = path.stat()
        stamp = state.st_size, state.st_mtime_ns
        if not kept.knows(name, stamp):
            kept.put(name, stamp, look(path))
        if progress is not None:
            progress(done, len(paths), name)
    return list(paths)


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name a folder of face images and clips")
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def look(path: Path) -> Sight:
    """What a picture or video shows; a file that cannot be read, or without a face, has a fault instead."""
    kind = "clip"
    try:
        kind = "still" if probe(path).kind == "image" else "clip"
        sight = _look_at_still(path) if kind == "still" else _look_at_clip(path)
    except MimafaceError as error:
        # One bad file must not end a long run; without the landmark model no file would be better.
        if not isinstance(error, InputError):
            raise
        return Sight(kind, str(error).removeprefix(f"{path}: "))
    return sight or Sight(kind, "shows no face")


def _look_at_still(path: Path) -> Sight | None:
    image = read_image(path).rgb
    face = select_face(find_faces(image), "largest")
    if face is None:
        return None
    return Sight("still", "", *_geometry([face]), smooth_colors(image, face)[None])


def _look_at_clip(path: Path) -> Sight | None:
    follower, cut, faces = FaceTracker("largest"), CutDetector(), []
    frames = read_frames(path, max_frames=LONGEST)
    try:
        for frame in frames:
            if cut(frame.image):
                follower.start_shot()
            face = follower(frame.image, frame.pts)
            if face is not None:
                faces.append(face)
    finally:
        frames.close()
        follower.close()
    return Sight("clip", "", *_geometry(faces)) if faces else None


def _geometry(faces: list[Face]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points K×478×3 (x right, y up, z to the camera), scores and rotations."""
    points = np.stack([np.column_stack([face.points * [1, -1], face.depth]) for face in faces])
    return points, np.stack([face.scores for face in faces]), np.stack([face.rotation for face in faces])


def smooth_colors(image: np.ndarray, face: Face) -> np.ndarray:
    """Colors (478×3) at the landmarks of a picture H×W×3 uint8, blurred so that single pixels do not count."""
    sigma = max(face.size / FACE_SIZE, 0.5)
    margin = int(np.ceil(3 * sigma)) + 1
    height, width = image.shape[:2]
    left, top = np.clip(face.box[:2] - margin, 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.ceil(np.maximum(face.box[2:], [left, top]) + margin + 1).astype(int)
    patch = cv2.GaussianBlur(image[top:bottom, left:right].astype(np.float32), (0, 0), sigma)
    place = (face.points - [left, top] - 0.5).astype(np.float32)[None]
    return cv2.remap(patch, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]


def gather(kept: ObservationFile, names: list[str]) -> Pool:
    """Bring the sights of some files together. Raises InputError where they hold no still or no clip."""
    sights = {name: kept.get(name) for name in names}
    skipped = {name: sight.fault for name, sight in sights.items() if sight.fault}
    stills = {name: sight for name, sight in sights.items() if sight.kind == "still" and not sight.fault}
    clips = [sight for sight in sights.values() if sight.kind == "clip" and not sight.fault]
    if len(stills) < 2 or len(clips) < 2:
        raise InputError(f"only {len(stills)} images and {len(clips)} clips show a face; many of both are needed")
    return Pool(_joined(list(stills.values())), _joined(clips), list(stills), skipped)


def _joined(sights: list[Sight]) -> Observations:
    subject = np.repeat(np.arange(len(sights)), [len(sight.scores) for sight in sights])
    colors = None if sights[0].colors is None else np.concatenate([sight.colors for sight in sights])
    points, scores, rotation = (
        np.concatenate([getattr(sight, field) for sight in sights]).astype(np.float64)
        for field in ("points", "scores", "rotation")
    )
    return Observations(points, scores, rotation, subject, colors)


def split(observed: Observations, share: float, seed: int) -> tuple[Observations, Observations]:
    """Part off that share of the subjects, at least one, chosen at random: those to learn from, those left out."""
    count = int(observed.subject.max()) + 1
    left_out = np.random.default_rng(seed).permutation(count)[: max(1, round(share * count))]
    out = np.isin(observed.subject, left_out)
    return observed.take(np.flatnonzero(~out)), observed.take(np.flatnonzero(out))
