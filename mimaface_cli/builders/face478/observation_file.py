"""Landmark extraction from a folder of face images and clips, cached in an SQLite file so that a run can resume."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from mimaface_cli.builders.face478.observations import FaceData, Observations
from mimaface_cli.errors import InputError, MimafaceError, OutputError
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.face478 import VERTICES
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.landmarks import Face, select_face
from mimaface_cli.face.sampling import sample_image
from mimaface_cli.face.scene_cuts import CutDetector
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.motion.coefficients import BLENDSHAPES

REVISION = 1  # Raise it when the extraction changes: files of other revisions are refused.
MAX_FRAMES = 400  # of a clip; later frames of a face add little
FACE_SIZE = 170  # pixels across a face at which colors are blurred by one pixel before they are sampled

# Columns of the faces in a file: name and shape of one face, float32.
_FIELDS = {"points": (VERTICES, 3), "scores": (len(BLENDSHAPES),), "rotation": (3, 3), "colors": (VERTICES, 3)}
_CREATE = """CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER, modified INTEGER, kind TEXT, fault TEXT,
    points BLOB, scores BLOB, rotation BLOB, colors BLOB)"""

Stamp = tuple[int, int]
"""Size in bytes and time of modification in ns of a file."""


@dataclass(frozen=True)
class FileObservation:
    """The K faces of one file, one for each frame that shows one.

    Attributes:
        kind: "still" or "clip".
        problem: Why the file is skipped, or "".
        points: K×478×3 as in `Observations`; None without a face.
        scores: K×52.
        rotation: K×3×3.
        colors: 1×478×3, of stills only.
    """

    kind: str
    problem: str = ""
    points: np.ndarray | None = None
    scores: np.ndarray | None = None
    rotation: np.ndarray | None = None
    colors: np.ndarray | None = None


@dataclass(frozen=True)
class FolderObservations:
    """The faces of a folder.

    Attributes:
        data: All usable faces.
        photos: File names of the stills, by subject.
        skipped: Reason for each file that is not usable, by file name.
    """

    data: FaceData
    photos: list[str]
    skipped: dict[str, str]


class ObservationFile:
    """Observations by file name in an SQLite file. An interrupted run leaves complete entries only.

    Args:
        path: The SQLite file; created if it does not exist.

    Raises:
        InputError: If `path` is another kind of file.
        OutputError: If it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._database = sqlite3.connect(path)
            revision = self._database.execute("PRAGMA user_version").fetchone()[0]
            if revision not in (0, REVISION):
                raise InputError(f"{path}: holds observations of another version ({revision}). Name another file.")
            self._database.execute(_CREATE)
            self._database.execute(f"PRAGMA user_version = {REVISION}")
            self._database.commit()
        except sqlite3.OperationalError as error:
            raise OutputError(f"{path}: cannot be written ({error}). Choose another folder.") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: not a file of observations ({error}). Name another file.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._database.close()

    def contains(self, name: str, stamp: Stamp) -> bool:
        """Return whether the file of that name is stored with that size and time of modification."""
        row = self._database.execute("SELECT size, modified FROM files WHERE path = ?", (name,)).fetchone()
        return row == stamp

    def put(self, name: str, stamp: Stamp, observation: FileObservation) -> None:
        """Store the faces of a file and replace earlier ones.

        Raises:
            OutputError: If the file cannot be written.
        """
        arrays = [getattr(observation, field) for field in _FIELDS]
        blobs = [None if array is None else np.asarray(array, "<f4").tobytes() for array in arrays]
        try:
            with self._database:
                self._database.execute(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (name, *stamp, observation.kind, observation.problem, *blobs),
                )
        except sqlite3.Error as error:
            raise OutputError(f"{self.path}: cannot be written ({error}). Free some space and run again.") from error

    def get(self, name: str) -> FileObservation:
        """Return the faces of a file.

        Raises:
            InputError: If the file is not stored or its entry is damaged.
        """
        try:
            row = self._database.execute("SELECT * FROM files WHERE path = ?", (name,)).fetchone()
            kind, problem = row[3:5]
            arrays = [_decode_array(blob, shape) for blob, shape in zip(row[5:], _FIELDS.values(), strict=True)]
            if kind not in ("still", "clip") or len({len(array) for array in arrays if array is not None}) > 1:
                raise ValueError("its parts do not match")
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise InputError(f"{self.path}: damaged at {name} ({error}). Remove it and run again.") from error
        return FileObservation(kind, problem, *arrays)


def _decode_array(blob: bytes | None, shape: tuple[int, ...]) -> np.ndarray | None:
    if blob is None:
        return None
    values = np.frombuffer(blob, "<f4").reshape(-1, *shape)
    if not np.isfinite(values).all():
        raise ValueError("it contains NaN or Inf")
    return values


def observe_folder(
    folder: Path, store: ObservationFile, progress: Callable[[int, int, str], None] | None = None
) -> list[str]:
    """Extract the faces of every file in a folder and its subfolders that is not stored yet.

    Args:
        folder: Images and clips.
        store: Receives the observations.
        progress: Called with the files done, all files and the name of the last one.

    Returns:
        The names of all files, relative to the folder.

    Raises:
        InputError: If there are no files.
        OutputError: If the observations cannot be written.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in _list_files(folder)}
    if not paths:
        raise InputError(f"{folder}: contains no files. Name a folder of face images and clips.")
    for done, (name, path) in enumerate(paths.items(), 1):
        state = path.stat()
        stamp = state.st_size, state.st_mtime_ns
        if not store.contains(name, stamp):
            store.put(name, stamp, observe_file(path))
        if progress is not None:
            progress(done, len(paths), name)
    return list(paths)


def _list_files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Name a folder of face images and clips.")
    for path in sorted(folder.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not is_hidden:
            yield path


def observe_file(path: Path) -> FileObservation:
    """Extract the faces of an image or video. An unreadable file, or one without a face, gets a `problem`.

    Raises:
        WeightsError: If the landmark model is missing.
    """
    kind = "clip"
    try:
        kind = "still" if probe(path).kind == "image" else "clip"
        observation = _observe_still(path) if kind == "still" else _observe_clip(path)
    except MimafaceError as error:
        # One bad file must not end a long run; without the landmark model, all files would fail.
        if not isinstance(error, InputError):
            raise
        return FileObservation(kind, str(error).removeprefix(f"{path}: "))
    return observation or FileObservation(kind, "no face detected")


def _observe_still(path: Path) -> FileObservation | None:
    image = read_image(path).rgb
    face = select_face(detect_faces(image), "largest")
    if face is None:
        return None
    return FileObservation("still", "", *_stack_faces([face]), sample_colors(image, face)[None])


def _observe_clip(path: Path) -> FileObservation | None:
    tracker, is_cut, faces = FaceTracker("largest"), CutDetector(), []
    frames = read_frames(path, max_frames=MAX_FRAMES)
    try:
        for frame in frames:
            if is_cut(frame.image):
                tracker.start_shot()
            face = tracker(frame.image, frame.pts)
            if face is not None:
                faces.append(face)
    finally:
        frames.close()
        tracker.close()
    return FileObservation("clip", "", *_stack_faces(faces)) if faces else None


def _stack_faces(faces: list[Face]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points K×478×3 (x right, y up, z to the camera), scores and rotations."""
    points, scores, rotations = [], [], []
    for face in faces:
        if face.depth is None:
            raise ValueError("the landmark model returned no depth")
        points.append(np.column_stack([face.points * [1, -1], face.depth]))
        scores.append(face.scores)
        rotations.append(face.rotation)
    return np.stack(points), np.stack(scores), np.stack(rotations)


def sample_colors(image: np.ndarray, face: Face) -> np.ndarray:
    """Sample colors at the landmarks, blurred so that they do not depend on single pixels.

    Args:
        image: H×W×3 uint8.
        face: Landmarks in pixels of the image.

    Returns:
        478×3 float32, 0..255.
    """
    sigma = max(face.size / FACE_SIZE, 0.5)
    margin = int(np.ceil(3 * sigma)) + 1
    height, width = image.shape[:2]
    left, top = np.clip(face.box[:2] - margin, 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.ceil(np.maximum(face.box[2:], [left, top]) + margin + 1).astype(int)
    patch = cv2.GaussianBlur(image[top:bottom, left:right].astype(np.float32), (0, 0), sigma)
    positions = (face.points - [left, top] - 0.5).astype(np.float32)[None]
    return sample_image(patch, positions, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)[0]


def collect_observations(store: ObservationFile, names: list[str]) -> FolderObservations:
    """Combine the stored faces of files.

    Raises:
        InputError: If fewer than two stills or two clips show a face.
    """
    files = {name: store.get(name) for name in names}
    skipped = {name: file.problem for name, file in files.items() if file.problem}
    stills = {name: file for name, file in files.items() if file.kind == "still" and not file.problem}
    clips = [file for file in files.values() if file.kind == "clip" and not file.problem]
    if len(stills) < 2 or len(clips) < 2:
        raise InputError(f"only {len(stills)} images and {len(clips)} clips show a face. Add many of both.")
    return FolderObservations(FaceData(_join_files(list(stills.values())), _join_files(clips)), list(stills), skipped)


def _join_files(files: list[FileObservation]) -> Observations:
    points, scores, rotation = (
        np.concatenate([array for file in files if (array := getattr(file, field)) is not None]).astype(np.float64)
        for field in ("points", "scores", "rotation")
    )
    subject = np.repeat(np.arange(len(files)), [0 if file.scores is None else len(file.scores) for file in files])
    colors = [file.colors for file in files if file.colors is not None]
    return Observations(points, scores, rotation, subject, np.concatenate(colors) if colors else None)
