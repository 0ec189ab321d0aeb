"""Rendering of the mouth benchmark: clips with their landmarks, and the frames that the mesh engine makes of them."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from csv import DictReader
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.apps.animate import render_frames
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.cache import Cache
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.landmarks import FaceLandmarker, locate_landmark_model
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.trim import Trim
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack
from tests.benchmarks.mouth_measures import lip_gap
from tests.benchmarks.quality_measures import landmark_box

WINDOW_MARGIN = 0.5  # of the distance of the eyes, around all faces of a clip
REFERENCES = ("closed", "first")
MAX_FADE = 0.25  # a frame that is darker or brighter than the clip by more is not chosen as the closed reference


@cache
def _landmarker() -> FaceLandmarker:
    return FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=1)


def detect_points(image: np.ndarray) -> np.ndarray | None:
    """Return the landmarks (478, 2) of an image, detected without its neighbors in time, or None."""
    faces = _landmarker()(np.ascontiguousarray(image[..., :3]))
    return faces[0].points if faces else None


@dataclass(frozen=True)
class ClipView:
    """Some frames of a clip, cropped to the face.

    Attributes:
        name: Name of the file without suffix.
        person: Name of the person.
        path: The file.
        size: Width and height of the frames.
        frames: Frames, cropped to `window`.
        points: Landmarks of each frame in pixels of the crop, or None.
        window: Rows and columns that contain the face in all frames.
        references: Index of the reference frame by name: "closed", the one with the smallest lip gap that is
            lit like the clip, and "first".
    """

    name: str
    person: str
    path: Path
    size: tuple[int, int]
    frames: list[np.ndarray]
    points: list[np.ndarray | None]
    window: tuple[slice, slice]
    references: dict[str, int]

    @property
    def gaps(self) -> np.ndarray:
        """Lip gap (N) of each frame, NaN without a face."""
        return np.array([np.nan if points is None else lip_gap(points) for points in self.points])

    def reference_points(self, reference: str) -> np.ndarray:
        """Return the landmarks of a reference frame."""
        points = self.points[self.references[reference]]
        if points is None:
            raise ValueError("a reference frame shows the face")
        return points

    def load_track(self) -> MotionTrack:
        """Return the motion of these frames."""
        rate = probe(self.path).frame_rate
        trim = Trim.parse("0", f"{float(len(self.frames) / rate):.4f}")
        return load_driver(self.path, ExtractOptions(), Cache(), trim=trim).track

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Return the face's part of a result, scaled to the clip's size first."""
        image = image[..., :3]
        if image.shape[1::-1] != self.size:
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(image[self.window])


def load_clip(path: Path, person: str, frames: int) -> ClipView | None:
    """Read the first frames of a clip and detect the face in each; None if too few frames show one."""
    points, size = [], (0, 0)
    for image in _read_images(path, frames):
        points.append(detect_points(image))
        size = image.shape[1::-1]
    detected = [k for k, landmarks in enumerate(points) if landmarks is not None]
    if len(detected) < 5:
        return None
    known = np.stack([landmarks for landmarks in points if landmarks is not None])
    margin = WINDOW_MARGIN * float(np.linalg.norm(known[:, 33] - known[:, 263], axis=-1).max())
    window = landmark_box(known.reshape(-1, 2), margin, size[::-1])
    corner = np.array([window[1].start, window[0].start])
    images = [np.ascontiguousarray(image[window]) for image in _read_images(path, frames)]
    shades = np.array([images[k].mean() for k in detected])
    is_lit = np.abs(shades / max(float(np.median(shades)), 1.0) - 1) < MAX_FADE
    gaps = np.array([lip_gap(landmarks) for landmarks in known])
    closed = detected[int(np.argmin(np.where(is_lit, gaps, np.inf)))]
    moved = [None if landmarks is None else landmarks - corner for landmarks in points]
    references = {"closed": closed, "first": detected[0]}
    return ClipView(path.stem, person, path, size, images, moved, window, references)


def _read_images(path: Path, frames: int) -> Iterator[np.ndarray]:
    with closing(read_frames(path, max_frames=frames)) as stream:
        for frame in stream:
            yield frame.image


def render_clip(clip: ClipView, track: MotionTrack, reference: str, mouth: str) -> Iterator[np.ndarray]:
    """Yield a clip, redrawn from one of its reference frames, cropped as the clip's frames are."""
    index = clip.references[reference]
    options = AnimateOptions(mouth=mouth, retarget=RetargetOptions(reference=index))
    with tempfile.TemporaryDirectory() as scratch:
        photo = Path(scratch, "reference.png")
        for image in _read_images(clip.path, index + 1):
            pixels = image
        cv2.imwrite(str(photo), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        stream = render_frames(photo, track, options, cache=Cache())
        try:
            for frame in stream.frames:
                yield clip.crop(frame)
        finally:
            stream.close()


def list_clips(media: Path, texts: str) -> list[Path]:
    """Return the clips whose names contain any of the texts, which are separated by commas.

    Args:
        media: Folder with driving/, pool/clips/ and pool/clips2/.
        texts: Texts; or a file with a name in each line. Without texts, all of driving/.
    """
    if not texts:
        return sorted((media / "driving").iterdir())
    folders = [media / "driving", media / "pool" / "clips", media / "pool" / "clips2"]
    paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    if Path(texts).is_file():
        names = {Path(line.strip()).stem for line in Path(texts).read_text("utf-8").splitlines() if line.strip()}
        return [path for path in paths if path.stem in names]
    return [path for path in paths if any(text in path.name for text in texts.split(","))]


def load_people(media: Path, table: Path | None) -> dict[str, str]:
    """Return the person of each clip that a table names, by the name of the clip without suffix.

    Args:
        media: Folder with pool/clips2.csv, which is read without another table.
        table: CSV file with the columns "file" and "person", or None.
    """
    table = table or media / "pool" / "clips2.csv"
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8", newline="") as file:
        return {Path(row["file"]).stem: row["person"] for row in DictReader(file)}
