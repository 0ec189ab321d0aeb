"""Write training clips to tar shards with webdataset's naming scheme.

Data preparation and the renderer of synthetic people write shards; training runs read them. A clip has these members:

- `<key>.json`: identity, source, frames, size, frame_rate and space;
- `<key>.track.npz`: its motion track;
- `<key>.00000.jpg`, ...: its frames;
- `<key>.photo.jpg` and `<key>.00000.render.jpg`, ...: the source image (the person at another moment) and each frame's
  condition render; both stages need them;
- `<key>.landmarks.npy`, if they are known;
- `<key>.photo.coefficients.npy` and `<key>.photo.features.npy`: in the bfm09 space, what the released networks estimate
  from the source image at full size, as in `animate`.

Images are JPEG at quality 95 without chroma subsampling, one member per frame, because training reads single frames at
random. Reading a member costs one seek and one decode. A video would have to be decoded from its last key frame, and
lossless images would take four times the space.
"""

import io
import json
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mimaface_cli.files import atomic_path
from mimaface_cli.motion.track import MotionTrack

JPEG_QUALITY = 95
LANDMARKS, COEFFICIENTS, FEATURES = "landmarks.npy", "photo.coefficients.npy", "photo.features.npy"
_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, eq=False)
class TrainingClip:
    """A clip of one face for training, as it is written to a shard.

    Attributes:
        key: Unique name of the clip, of 1 to 100 letters, digits, "-" and "_".
        identity: Name of the person.
        source: Name of the file that the clip comes from.
        frames: (N, S, S, 3) uint8 RGB, the face crop.
        track: Motion track of N frames, with coefficients of the crop.
        landmarks: (N, L, 2) float32 in pixels of the crop, or None.
        photo: (S, S, 3) uint8, the person at another moment in the same crop, or None.
        renders: (N, S, S, 3) uint8, condition render of each frame with the photo's appearance. None without a photo.
        photo_coefficients: (261,) float32 in the order of `d3dfr.FIELDS`, or None.
        photo_features: (25088,) float32 of the identity network from the release's crop, or None.

    Raises:
        ValueError: The key is invalid, or the arrays do not match.
    """

    key: str
    identity: str
    source: str
    frames: np.ndarray
    track: MotionTrack
    landmarks: np.ndarray | None = None
    photo: np.ndarray | None = None
    renders: np.ndarray | None = None
    photo_coefficients: np.ndarray | None = None
    photo_features: np.ndarray | None = None

    def __post_init__(self) -> None:
        count, height, width = self.frames.shape[:3]
        if not _KEY.fullmatch(self.key):
            raise ValueError(f"key: {self.key!r:.120} is not made of 1 to 100 letters, digits, - and _")
        if self.frames.dtype != np.uint8 or self.frames.shape[3:] != (3,) or height != width:
            raise ValueError(f"frames: are {self.frames.dtype} {self.frames.shape}, not N × S × S × 3 uint8")
        if count != len(self.track):
            raise ValueError(f"track: has {len(self.track)} frames, but the clip has {count}")
        if self.landmarks is not None and (self.landmarks.ndim != 3 or self.landmarks.shape[::2] != (count, 2)):
            raise ValueError(f"landmarks: are {self.landmarks.shape}, not {count} × L × 2")
        if (self.photo is None) != (self.renders is None):
            raise ValueError("renders: need the photo from which they are rendered")
        for name, shape in (("photo", self.frames.shape[1:]), ("renders", self.frames.shape)):
            images = getattr(self, name)
            if images is not None and (images.shape != shape or images.dtype != np.uint8):
                raise ValueError(f"{name}: are {images.dtype} {images.shape}, not uint8 {shape}")


def shard_name(number: int) -> str:
    """Return the file name of a folder's shard, counted from 0."""
    return f"shard-{number:05d}.tar"


def write_shard(path: Path, clips: Iterable[TrainingClip]) -> int:
    """Write one shard atomically, with one clip in memory at a time.

    Returns:
        The number of clips.

    Raises:
        OutputError: The file cannot be written.
    """
    count = 0
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as shard:
        for clip in clips:
            _add_clip(shard, clip)
            count += 1
    return count


def join_shards(parts: Iterable[Path], path: Path) -> None:
    """Write all clips of some shards to one shard, atomically.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as shard:
        for part in parts:
            with tarfile.open(part, "r:") as file:
                for member in file:
                    shard.addfile(member, file.extractfile(member))


def _add_clip(shard: tarfile.TarFile, clip: TrainingClip) -> None:
    def add(name: str, data: bytes) -> None:
        entry = tarfile.TarInfo(f"{clip.key}.{name}")
        entry.size = len(data)
        shard.addfile(entry, io.BytesIO(data))

    add("json", json.dumps(_describe_clip(clip)).encode())
    add("track.npz", clip.track.to_bytes())
    arrays = {LANDMARKS: clip.landmarks, COEFFICIENTS: clip.photo_coefficients, FEATURES: clip.photo_features}
    for name, array in arrays.items():
        if array is not None:
            buffer = io.BytesIO()
            np.save(buffer, array.astype(np.float32))
            add(name, buffer.getvalue())
    images = {f"{number:05d}.jpg": frame for number, frame in enumerate(clip.frames)}
    if clip.photo is not None and clip.renders is not None:
        images["photo.jpg"] = clip.photo
        images |= {f"{number:05d}.render.jpg": render for number, render in enumerate(clip.renders)}
    for name, image in images.items():
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        add(name, buffer.getvalue())


def _describe_clip(clip: TrainingClip) -> dict[str, str | int]:
    """Return the content of a clip's JSON member."""
    rate = clip.track.frame_rate
    return {
        "identity": clip.identity,
        "source": clip.source,
        "frames": len(clip.frames),
        "size": clip.frames.shape[1],
        "frame_rate": f"{rate.numerator}/{rate.denominator}",
        "space": clip.track.meta.space,
    }
