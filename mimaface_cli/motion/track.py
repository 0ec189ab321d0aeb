"""MotionTrack: the common form of every driver, consumed by every engine."""

import io
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.motion.track_file import read_track_file, write_track_file
from mimaface_cli.motion.track_layout import (
    ARRAY_NAMES,
    MAX_SECONDS,
    PER_FRAME_ARRAYS,
    array_dtype,
    array_shape,
    check_shape,
)
from mimaface_cli.motion.track_meta import TrackMeta

_SAME_DURATION = 0.05  # relative difference of a frame's duration from the nominal one
_FIX = "Run mimaface extract again."


class MotionArrays(TypedDict):
    """The arrays of a track that describe its motion, float64 and writable; for shapes see MotionTrack."""

    expression: np.ndarray
    pose: np.ndarray
    gaze: np.ndarray


@dataclass(frozen=True, eq=False)
class MotionTrack:
    """Coefficients of a face over N frames, 1 <= N <= MAX_FRAMES, in the space that `meta` names.

    Real numbers of any dtype are copied to float32 (pts: float64) and made read-only, so that a checked track stays
    valid.

    Args:
        identity: (80,), shape of the face.
        texture: (80,), color of the skin.
        expression: (N, 64).
        illumination: (N, 27), spherical harmonics of the light.
        pose: (N, 6), angles about x, y, z in radians, then translation x, y, z in model units.
        gaze: (N, 4), yaw and pitch of the left, then of the right eye, in radians (bfm09: outputs of its network).
        crop: (N, 2, 3), affine from the input's pixels to the aligned crop.
        pts: (N,), times in seconds, strictly increasing.
        valid: (N,), False where no face was detected and the values are interpolated.
        meta: Origin, space, frame rate and cuts.

    Raises:
        ValueError: For an invalid array; the message starts with its name.
    """

    identity: np.ndarray
    texture: np.ndarray
    expression: np.ndarray
    illumination: np.ndarray
    pose: np.ndarray
    gaze: np.ndarray
    crop: np.ndarray
    pts: np.ndarray
    valid: np.ndarray
    meta: TrackMeta

    def __post_init__(self) -> None:
        frames = np.shape(self.pts)[0] if np.ndim(self.pts) == 1 else None
        for name in ARRAY_NAMES:
            object.__setattr__(self, name, _copy_array(name, getattr(self, name), frames))
        if np.abs(self.pts).max() > MAX_SECONDS or not (np.diff(self.pts) > 0).all():
            raise ValueError("pts: must increase strictly, in seconds")
        if self.meta.cuts and self.meta.cuts[-1] >= len(self):
            raise ValueError(f"meta: cuts: frame {self.meta.cuts[-1]} is beyond the {len(self)} frames of the track")

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def frame_rate(self) -> Fraction:
        """Nominal frames per second."""
        return self.meta.frame_rate

    @property
    def duration(self) -> float:
        """Seconds from the start of the first frame to the end of the last."""
        return float(self.pts[-1] - self.pts[0]) + self.last_duration

    @property
    def last_duration(self) -> float:
        """Seconds for which the last frame is shown."""
        return float(1 / self.frame_rate) if self.meta.last_duration is None else self.meta.last_duration

    def motion_arrays(self, *, unwrap: bool = False) -> MotionArrays:
        """Return editable copies of expression, pose and gaze; put them back with `dataclasses.replace`.

        Args:
            unwrap: Whether to make the angles of the pose continuous over time.
        """
        pose = self.pose.astype(np.float64)
        if unwrap:
            pose[:, :3] = np.unwrap(pose[:, :3], axis=0)
        return {"expression": self.expression.astype(np.float64), "pose": pose, "gaze": self.gaze.astype(np.float64)}

    def select_frames(self, frame_range: slice) -> "MotionTrack":
        """Return the track of a range of frames, with its cuts and nominal frame rate.

        Args:
            frame_range: Range of frame indices; a step above 1 divides the frame rate.

        Raises:
            InputError: If the range contains no frame.
        """
        start, stop, step = frame_range.indices(len(self))
        if step < 1:
            raise ValueError("the step of a range of frames must be positive")
        indices = range(start, stop, step)
        if not indices:
            raise InputError(f"the range contains none of the track's {len(self)} frames. Choose another range.")
        # If the range skips the first frame of a shot, the shot starts with the next frame of the range.
        moved_cuts = sorted({math.ceil((cut - start) / step) for cut in self.meta.cuts})
        cuts = tuple(cut for cut in moved_cuts if 0 < cut < len(indices))
        last = indices[-1] + 1
        last_duration = self.meta.last_duration if last == len(self) else float(self.pts[last] - self.pts[last - 1])
        if step > 1 or (last_duration is not None and abs(last_duration * self.frame_rate - 1) < _SAME_DURATION):
            last_duration = None  # one nominal frame
        meta = replace(self.meta, cuts=cuts, frame_rate=self.frame_rate / step, last_duration=last_duration)
        per_frame = {name: getattr(self, name)[frame_range] for name in PER_FRAME_ARRAYS}
        return replace(self, meta=meta, **per_frame)

    def require_space(self, space: str, engine: str, name: str = "the track") -> None:
        """Check that the coefficients are in the space that an engine consumes.

        Args:
            space: The required space.
            engine: Name of the engine, for the message.
            name: Name of the track, for the message.

        Raises:
            InputError: If the track is in another space.
        """
        if self.meta.space != space:
            raise InputError(
                f"{name}: is in the {self.meta.space} space, but the {engine} engine needs {space}. "
                f"Run mimaface extract again on the original input with `space={space}`."
            )

    @classmethod
    def neutral(
        cls,
        frames: int,
        space: str,
        frame_rate: Fraction = Fraction(25),
        extractor: str = "neutral",
        extractor_version: str = "1",
        width: int = 0,
        height: int = 0,
    ) -> "MotionTrack":
        """Return the mean face at rest, looking straight ahead, at a constant rate.

        All coefficients are 0, crops are the identity and all frames are valid.

        Args:
            frames: Number of frames.
            space: Coefficient space.
            frame_rate: Frames per second.
            extractor: Name for the metadata.
            extractor_version: Version for the metadata.
            width: Width for the metadata, in pixels; 0 without an input.
            height: Height for the metadata, in pixels; 0 without an input.
        """
        meta = TrackMeta(space, extractor, extractor_version, frame_rate, width=width, height=height)
        arrays: dict[str, Any] = {name: np.zeros(array_shape(name, frames), array_dtype(name)) for name in ARRAY_NAMES}
        arrays["crop"][:] = np.eye(2, 3)
        arrays["pts"][:] = np.arange(frames) * meta.frame_rate.denominator / meta.frame_rate.numerator
        arrays["valid"][:] = True
        return cls(**arrays, meta=meta)

    def save(self, path: Path | str, overwrite: bool = False) -> None:
        """Write the .npz file atomically; equal tracks give equal bytes.

        Raises:
            OutputError: If the file exists and `overwrite` is False, or cannot be written.
        """
        path = Path(path)
        check_output(path, overwrite)
        with atomic_path(path) as temporary, temporary.open("xb") as file:
            self._write(file)

    def to_bytes(self) -> bytes:
        """Return the content of the .npz file, for containers that hold tracks among other data."""
        file = io.BytesIO()
        self._write(file)
        return file.getvalue()

    def _write(self, file: BinaryIO) -> None:
        write_track_file(file, {name: getattr(self, name) for name in ARRAY_NAMES}, self.meta)

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> "MotionTrack":
        """Read and check the content of a .npz file.

        Args:
            data: Result of `to_bytes`.
            name: Origin of the data, for the message.

        Raises:
            InputError: If the data is not a valid track.
        """
        try:
            return cls._read(io.BytesIO(data))
        except ValueError as error:
            raise InputError(f"{name}: {error}. {_FIX}") from error

    @classmethod
    def load(cls, path: Path | str) -> "MotionTrack":
        """Read and check a .npz file.

        Raises:
            InputError: If the file is missing, cannot be read or is not a valid track.
        """
        path = Path(path)
        try:
            if path.is_dir():
                raise InputError(f"{path}: is a folder. Name a .npz track.")
            if not path.is_file():  # a named pipe would block forever
                raise InputError(f"{path}: no such file. Check the path, or create the track with mimaface extract.")
            with path.open("rb") as file:
                return cls._read(file)
        except ValueError as error:
            raise InputError(f"{path}: {error}. {_FIX}") from error
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.") from error

    @classmethod
    def _read(cls, file: BinaryIO) -> "MotionTrack":
        arrays, meta = read_track_file(file)
        return cls(**arrays, meta=meta)


def _copy_array(name: str, array: Any, frames: int | None) -> np.ndarray:
    """Check one array and copy it, read-only and in the track's dtype."""
    value = np.asarray(array)
    dtype = array_dtype(name)
    if value.dtype.kind not in ("b" if dtype.kind == "b" else "fiu"):
        raise ValueError(f"{name}: has dtype {value.dtype!s:.40}, expected {dtype}")
    check_shape(name, value.shape, frames)
    with np.errstate(over="ignore"):  # a number beyond float32 becomes inf and is reported below
        value = np.array(value, dtype=dtype, order="C")
    if not np.isfinite(value).all():
        raise ValueError(f"{name}: contains NaN or Inf")
    value.flags.writeable = False
    return value
