"""Measure with MediaPipe how well the mesh engine transfers motion.

    python -m tests.benchmarks.quality MEDIA [--frames N] [--portraits TEXT,...] [--drivers TEXT[@SECONDS],...]
    python -m tests.benchmarks.quality MEDIA --same-identity [--frames N] [--drivers TEXT[@SECONDS],...]

MEDIA contains portraits/ and driving/. Pairs are cross-identity with relative motion and default options. The figures
of a pair: the share of frames with a detected face; the identity (cosine of dlib's descriptors to the photo);
correlation and gain of the inner-lip gap, the lid gap and the iris place over time, where the driver moves them; the
mean error of the head rotation since the first frame, and since the fourth ("settled": the landmark model reads the
first frame of a video differently, by up to 3 degrees), and the driver's largest turn; correlation of the blendshape
scores that move; the sharpness relative to the photo; the jitter relative to the driver; with --background, the share
of background pixels that differ from the photo in frames without compression and provenance; and frames per second.

With --same-identity, each clip is redrawn from its first frame with a face: PSNR and SSIM against the clip over the
whole frame, the face and the mouth, of the result and of the unmoved first frame.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.apps.animate import animate, render_frames
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.source_loading import fit_portrait, load_portrait
from mimaface_cli.cache import Cache
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.errors import MimafaceError
from mimaface_cli.evaluation.functional.motion_distance import correlate_blendshapes
from mimaface_cli.evaluation.networks.face_embedding import DlibEmbedder, cosine_similarity, missing_dlib
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.landmarks import Face, FaceLandmarker, locate_landmark_model
from mimaface_cli.face.segmentation import segment_person
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.trim import Trim
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_loading import load_track
from tests.benchmarks.quality_measures import (
    compare_geometry,
    measure_background,
    measure_jitter,
    rotation_error,
    sharpness,
)
from tests.benchmarks.quality_same_identity import measure_clip
from tests.benchmarks.quality_table import PAIR_COLUMNS, SAME_COLUMNS, Table

DETECTION_SIDE = 720  # pixels, longest side of the images in which faces are detected
FRAME_MILLISECONDS = 40
SETTLED_FRAME = 3  # from which rotations are read as in the rest of a video
SAMPLES = 12  # frames of a result whose identity and sharpness are measured
BACKGROUND_SAMPLES = 3


@dataclass(frozen=True)
class DriverClip:
    """Some frames of a driver.

    Attributes:
        path: The video.
        start: Time of the first frame in seconds.
        frames: Number of frames.
    """

    path: Path
    start: float
    frames: int

    @property
    def name(self) -> str:
        """File name without suffix, and start if it is not 0."""
        return self.path.stem + (f"@{self.start:g}" if self.start else "")

    def load_track(self) -> MotionTrack:
        """Return the motion, extracted from these frames only."""
        rate = probe(self.path).frame_rate
        trim = Trim.parse(str(self.start), f"{float(self.frames / rate):.4f}")
        return load_driver(self.path, ExtractOptions(), Cache(), trim=trim).track


class Observer:
    """Detects the face of images and of videos, at most DETECTION_SIDE pixels large."""

    def __init__(self) -> None:
        self._embed = None if missing_dlib() else DlibEmbedder()

    @staticmethod
    def shrink(image: np.ndarray) -> np.ndarray:
        """Return an image whose longest side is at most DETECTION_SIDE pixels."""
        scale = DETECTION_SIDE / max(image.shape[:2])
        if scale >= 1:
            return np.ascontiguousarray(image)
        return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)

    def detect(self, image: np.ndarray) -> Face | None:
        """Return the face of a photo, in pixels of the shrunk image."""
        landmarker = FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=1)
        try:
            return next(iter(landmarker(self.shrink(image))), None)
        finally:
            landmarker.close()

    def watch(self, path: Path, start: float, frames: int, visit: Callable | None = None) -> list[Face | None]:
        """Return the face of each frame of a video.

        Args:
            path: The video.
            start: Time of the first frame in seconds.
            frames: Number of frames.
            visit: Called with the index, the shrunk image and the face of each frame with a face.
        """
        landmarker = FaceLandmarker(locate_landmark_model(), is_video=True, max_faces=1)
        stream, faces = read_frames(path, start=start, max_frames=frames), []
        try:
            for k, frame in enumerate(stream):
                image = self.shrink(frame.image)
                faces.append(next(iter(landmarker(image, k * FRAME_MILLISECONDS)), None))
                if visit is not None and faces[-1] is not None:
                    visit(k, image, faces[-1])
        finally:
            stream.close()
            landmarker.close()
        return faces

    def embed(self, image: np.ndarray, face: Face) -> np.ndarray | None:
        """Return dlib's descriptor of a face, or None if dlib is not installed."""
        return None if self._embed is None else self._embed(image, face.points)


@dataclass(frozen=True)
class PairSettings:
    """Settings of all pairs.

    Attributes:
        observer: Detects faces.
        size: Longest side of the results in pixels.
        folder: Folder of the videos.
        has_background: Whether background pixels are measured.
    """

    observer: Observer
    size: int
    folder: Path
    has_background: bool


def measure_pair(
    portrait: Path, clip: DriverClip, track_path: Path, driver_faces: list[Face | None], settings: PairSettings
) -> dict[str, float]:
    """Animate one portrait with one driver and measure the result.

    Args:
        portrait: The photo.
        clip: The driver.
        track_path: Its track.
        driver_faces: Its faces.
        settings: Settings of all pairs.

    Returns:
        Values by name; only "detected" where the faces of the result do not suffice.
    """
    output = settings.folder / f"{clip.name[-20:]}__{portrait.stem[-20:]}.mp4"
    options = AnimateOptions(max_size=settings.size)
    start = time.perf_counter()
    result = animate(portrait, track_path, output, options, overwrite=True, cache=Cache())
    row: dict[str, float] = {"fps": result.frames / (time.perf_counter() - start)}
    observer, photo = settings.observer, read_image(portrait).rgb
    photo_face = observer.detect(photo)
    small_photo = observer.shrink(photo)
    identity = None if photo_face is None else observer.embed(small_photo, photo_face)
    similarities: list[float] = []
    sharpness_values: list[float] = []

    def visit(k: int, image: np.ndarray, face: Face) -> None:
        if k % max(1, result.frames // SAMPLES) == 0:
            sharpness_values.append(sharpness(image, face.box))
            if identity is not None and (embedding := observer.embed(image, face)) is not None:
                similarities.append(cosine_similarity(embedding, identity))

    faces = observer.watch(output, 0.0, result.frames, visit)
    row["detected"] = float(np.mean([face is not None for face in faces]))
    if photo_face is not None and sharpness_values:
        row["sharpness"] = float(np.median(sharpness_values)) / sharpness(small_photo, photo_face.box)
    if similarities:
        row["identity"] = float(np.mean(similarities))
    row |= compare_faces(driver_faces, faces)
    if settings.has_background:
        row["background"] = measure_pair_background(portrait, track_path, options)
    return row


def compare_faces(driver_faces: list[Face | None], result_faces: list[Face | None]) -> dict[str, float]:
    """Compare the motion of two sequences of faces; an empty result if too few frames show both."""
    pairs = [pair for pair in zip(driver_faces, result_faces, strict=False) if None not in pair]
    if len(pairs) < 5:
        return {}
    driver, result = zip(*pairs, strict=True)
    row = compare_geometry(*(np.stack([face.points for face in faces]) for faces in (driver, result)))
    scores = (np.stack([face.scores for face in faces]) for faces in (driver, result))
    for group, (correlation, gain) in correlate_blendshapes(*scores).items():
        row[group], row[group + " gain"] = correlation, gain
    driver_turns, result_turns = (np.stack([face.rotation for face in faces]) for faces in (driver, result))
    row["rotation"], row["driver turn"] = rotation_error(driver_turns, result_turns)
    row["settled"], _ = rotation_error(driver_turns, result_turns, SETTLED_FRAME)
    row["jitter"] = measure_jitter(result_faces) / measure_jitter(driver_faces)
    return row


def measure_pair_background(portrait: Path, track_path: Path, options: AnimateOptions) -> float:
    """Return the largest share of background pixels that differ from the photo in any of BACKGROUND_SAMPLES frames."""
    track = load_track(track_path)
    source = fit_portrait(load_portrait(portrait), options, False, [])
    stream = render_frames(portrait, track, options, cache=Cache())
    sampled = set(np.linspace(0, len(track) - 1, BACKGROUND_SAMPLES + 1).astype(int)[1:])
    landmarker = FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=1)
    person, shares = segment_person(source.image, source.points).confidence, []
    try:
        for k, frame in enumerate(stream.frames):
            image = np.ascontiguousarray(frame[..., :3])
            if k in sampled and (faces := landmarker(image)):
                result_person = segment_person(image, faces[0].points).confidence
                shares.append(measure_background(source.image, image, [person, result_person]))
    finally:
        stream.close()
        landmarker.close()
    return float(np.max(shares)) if shares else np.nan


def measure_pairs(
    clips: list[DriverClip], portraits: list[Path], settings: PairSettings, scratch: Path, table: Table
) -> None:
    """Measure all drivers with all portraits and print a line for each pair."""
    for clip in clips:
        track_path = scratch / "driver.npz"
        clip.load_track().save(track_path, overwrite=True)
        faces = settings.observer.watch(clip.path, clip.start, clip.frames)
        for portrait in portraits:
            try:
                row = measure_pair(portrait, clip, track_path, faces, settings)
            except MimafaceError as error:
                print(f"{clip.name[-24:]} {portrait.stem[-24:]}: {error}", flush=True)
                continue
            table.add({"driver": clip.name, "portrait": portrait.name}, row)


def main() -> None:
    """Measure pairs or clips of a media folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path, help="folder with portraits/ and driving/")
    parser.add_argument("--portraits", default="", help="texts in the names of the portraits, separated by commas")
    parser.add_argument("--drivers", default="", help="texts in the names of the drivers, each with @SECONDS to start")
    parser.add_argument("--frames", type=int, default=100, help="frames of each driver (default: 100)")
    parser.add_argument("--size", type=int, default=DETECTION_SIDE, help="longest side of the results (default: 720)")
    parser.add_argument("--background", action="store_true", help="compare background pixels with the photo")
    parser.add_argument("--same-identity", action="store_true", help="redraw each clip from its first frame")
    parser.add_argument("--keep", type=Path, help="folder for the videos")
    parser.add_argument("--json", type=Path, help="file for the figures of all pairs")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    clips = select_clips(sorted((arguments.media / "driving").iterdir()), arguments.drivers, arguments.frames)
    table = Table(SAME_COLUMNS if arguments.same_identity else PAIR_COLUMNS, arguments.json)
    if arguments.same_identity:
        for clip in clips:
            table.add({"driver": clip.name}, measure_clip(clip.path, clip.start, clip.load_track()))
    else:
        if problem := missing_dlib():
            print(f"no identity: {problem}")
        with tempfile.TemporaryDirectory() as scratch:
            folder = arguments.keep or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            settings = PairSettings(Observer(), arguments.size, folder, arguments.background)
            portraits = select_by_name(sorted((arguments.media / "portraits").iterdir()), arguments.portraits)
            measure_pairs(clips, portraits, settings, Path(scratch), table)
    table.print_summary()


def select_by_name(paths: list[Path], texts: str) -> list[Path]:
    """Return the paths whose names contain any of the texts, which are separated by commas; all for no text."""
    return [path for path in paths if any(text in path.name for text in texts.split(","))]


def select_clips(paths: list[Path], texts: str, frames: int) -> list[DriverClip]:
    """Return the drivers whose names contain any of the texts, from the time after each text's @."""
    clips = []
    for term in texts.split(","):
        text, _, start = term.partition("@")
        clips += [DriverClip(path, float(start or 0), frames) for path in paths if text in path.name]
    return clips


if __name__ == "__main__":
    main()
