"""Read the clips of training shards, one frame at a time."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mimaface_cli.errors import InputError
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training.shards import COEFFICIENTS, FEATURES, LANDMARKS, shard_name

PREPARE_AGAIN = "Run mimaface train prepare again."
_MAX_METADATA_BYTES = 100_000
"""Largest JSON member of a clip."""
_MAX_MEMBER_BYTES = 256 * 1024**2
_MAX_FRAMES = 100_000

Extent = tuple[int, int]
"""Offset and length of a member in its shard, in bytes."""


class StoredClip:
    """A clip in a shard.

    Its content is read on demand. The object is small and can be sent to a worker process.

    Args:
        shard: Path of the shard.
        key: Name of the clip.
        members: Extent of each member, by its name without the key.

    Attributes:
        identity: Name of the person.
        source: Name of the file that the clip comes from.
        space: Coefficient space of its track.
        count: Number of frames.
        size: Side of its frames, in pixels.
        has_renders: Whether it has a photo and condition renders.
        has_features: Whether it has the photo's coefficients and identity features.

    Raises:
        InputError: The clip's JSON is unreadable, or members are missing.
    """

    def __init__(self, shard: Path, key: str, members: dict[str, Extent]) -> None:
        self.shard, self.key, self._members = shard, key, members
        try:
            metadata = json.loads(self._read("json"))
            self.identity, self.source, self.space = (str(metadata[name]) for name in ("identity", "source", "space"))
            self.count, self.size = int(metadata["frames"]), int(metadata["size"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{shard}: the JSON of clip {key} cannot be read. {PREPARE_AGAIN}") from error
        numbers = range(min(self.count, _MAX_FRAMES))
        required = ["track.npz", *(f"{number:05d}.jpg" for number in numbers)]
        self.has_renders = "photo.jpg" in members
        self.has_features = {COEFFICIENTS, FEATURES} <= members.keys()
        if self.has_renders:
            required += [f"{number:05d}.render.jpg" for number in numbers]
        if self.count < 1 or any(name not in members for name in required):
            raise InputError(f"{shard}: clip {key} is incomplete. {PREPARE_AGAIN}")

    def track(self) -> MotionTrack:
        """Return the clip's motion track."""
        return MotionTrack.from_bytes(self._read("track.npz"), f"{self.shard} ({self.key})")

    def landmarks(self) -> np.ndarray | None:
        """Return the landmarks (N, L, 2) float32 in pixels of the crop.

        None if the clip has no landmarks.

        Raises:
            InputError: They are damaged.
        """
        if LANDMARKS not in self._members:
            return None
        return self._read_array(LANDMARKS, "landmarks", (self.count, None, 2))

    def photo_coefficients(self) -> np.ndarray:
        """Return the photo's coefficients (261,) float32. Requires `has_features`.

        Raises:
            InputError: They are damaged.
        """
        # d3dfr imports torch, which data preparation in face478 does not need.
        from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT

        return self._read_array(COEFFICIENTS, "the photo's coefficients", (COEFFICIENT_COUNT,))

    def photo_features(self, count: int | None = None) -> np.ndarray:
        """Return the photo's identity features (count,) float32. Requires `has_features`.

        Args:
            count: Expected number of features; None accepts any.

        Raises:
            InputError: They are damaged, or their number differs.
        """
        return self._read_array(FEATURES, "the photo's identity features", (count,))

    def frame(self, number: int) -> np.ndarray:
        """Return a frame (S, S, 3) uint8 RGB.

        Raises:
            InputError: The image is damaged or of another size.
        """
        return self._read_image(f"{number:05d}.jpg", f"frame {number}")

    def render(self, number: int) -> np.ndarray:
        """Return the condition render of a frame, (S, S, 3) uint8. Requires `has_renders`.

        Raises:
            InputError: The image is damaged or of another size.
        """
        return self._read_image(f"{number:05d}.render.jpg", f"render {number}")

    def photo(self) -> np.ndarray:
        """Return the source image (S, S, 3) uint8: the person at another moment.

        Requires `has_renders`.

        Raises:
            InputError: The image is damaged or of another size.
        """
        return self._read_image("photo.jpg", "the photo")

    def _read_array(self, name: str, label: str, shape: tuple[int | None, ...]) -> np.ndarray:
        try:
            array = np.lib.format.read_array(io.BytesIO(self._read(name)), allow_pickle=False)
            sizes_match = len(shape) == array.ndim and all(
                expected in (None, size) for expected, size in zip(shape, array.shape, strict=True)
            )
            if not sizes_match or array.dtype != np.float32 or not np.isfinite(array).all():
                raise ValueError("wrong shape, type or values")
        except Exception as error:  # ast and tokenize, which read the header, raise a dozen kinds of exceptions
            raise InputError(f"{self.shard}: {label} of clip {self.key} are damaged. {PREPARE_AGAIN}") from error
        return array

    def _read_image(self, name: str, label: str) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(self._read(name)), formats=["JPEG"]) as image:
                if image.size != (self.size, self.size):
                    raise ValueError("wrong size")
                return np.asarray(image.convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"{self.shard}: {label} of clip {self.key} is damaged. {PREPARE_AGAIN}") from error

    def _read(self, name: str) -> bytes:
        start, length = self._members[name]
        if length > (_MAX_METADATA_BYTES if name == "json" else _MAX_MEMBER_BYTES):
            raise ValueError(f"{name} is too large")
        with self.shard.open("rb") as file:
            file.seek(start)
            return file.read(length)


def open_shards(folder: Path) -> list[StoredClip]:
    """Return all clips of a folder's shards, in order.

    Raises:
        InputError: A shard is missing, truncated or damaged.
    """
    paths = sorted(folder.glob("shard-*.tar"))
    if not paths:
        raise InputError(f"{folder}: has no shards. Create them with mimaface train prepare.")
    for number, path in enumerate(paths):
        if path.name != shard_name(number):
            raise InputError(f"{folder}: {shard_name(number)} is missing. {PREPARE_AGAIN}")
    return [clip for path in paths for clip in _read_clips(path)]


def _read_clips(path: Path) -> Iterator[StoredClip]:
    clips: dict[str, dict[str, Extent]] = {}
    for name, start, length in _list_members(path):
        key, _, member = name.partition(".")
        clips.setdefault(key, {})[member] = (start, length)
    for key, members in clips.items():
        if "json" not in members:
            raise InputError(f"{path}: clip {key} is incomplete. {PREPARE_AGAIN}")
        yield StoredClip(path, key, members)


def _list_members(path: Path) -> list[tuple[str, int, int]]:
    """Return name, offset and length of a shard's files."""
    truncated = InputError(f"{path}: is truncated or not a shard. Remove it and run mimaface train prepare again.")
    try:
        with path.open("rb") as file:  # tarfile does not notice a file that was cut between two members.
            file.seek(-1024, io.SEEK_END)
            if any(file.read()):
                raise truncated
        with tarfile.open(path, "r:") as shard:
            return [(member.name, member.offset_data, member.size) for member in shard if member.isfile()]
    except (OSError, tarfile.TarError) as error:
        raise truncated from error
