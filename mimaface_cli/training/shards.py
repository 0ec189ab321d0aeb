"""Training clips in tar shards as webdataset names them: what every trainer reads and `prepare` and renderers write.

One clip is `<key>.json`, `<key>.track.npz`, its frames `<key>.00000.jpg`, ... and, where the two stages are to learn from
it, the photo of another moment `<key>.photo.jpg` and each frame's condition render `<key>.00000.render.jpg`: JPEG at
quality 95 without chroma subsampling, one member a frame, for a trainer wants single frames from anywhere in a clip, and a
member is one seek and one decode, where a video costs its decoder's start, and a lossless picture four times the room. In
bfm09 what the released networks see in the photo at full size, as in `animate`, goes with it: `<key>.photo.coefficients.npy` and
`<key>.photo.features.npy`.
"""

import io
import itertools
import json
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.motion.track import MotionTrack

QUALITY = 95
LANDMARKS, COEFFICIENTS, FEATURES = "landmarks.npy", "photo.coefficients.npy", "photo.features.npy"
_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MAX_NOTE = 100_000  # bytes of a clip's json
_MAX_MEMBER = 256 * 1024**2


@dataclass(frozen=True, eq=False)
class Clip:
    """frames: N × S × S × 3 uint8, RGB, the face crop. track: N frames, its coefficients those of the crop.
    key: letters, digits, - and _ , one clip's own. identity: who it shows. source: the file it comes from, by name.
    landmarks: None or N × L × 2 float32, pixels of the crop. photo: None or S × S × 3 uint8, the person at another moment
    in the same crop; renders: None or as frames, what an engine would draw of that photo for each of them.
    photo_coefficients: None or (261,) float32 in the order of `d3dfr.FIELDS`; photo_features: None or (25088,) float32,
    the identity network's, of the release's own crop.
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
            raise ValueError(f"track: has {len(self.track)} frames where the clip has {count}")
        if self.landmarks is not None and (self.landmarks.ndim != 3 or self.landmarks.shape[::2] != (count, 2)):
            raise ValueError(f"landmarks: are {self.landmarks.shape}, not {count} × L × 2")
        if (self.photo is None) != (self.renders is None):
            raise ValueError("renders: come with the photo they are made from")
        for name, wanted in (("photo", self.frames.shape[1:]), ("renders", self.frames.shape)):
            given = getattr(self, name)
            if given is not None and (given.shape != wanted or given.dtype != np.uint8):
                raise ValueError(f"{name}: are {given.dtype} {given.shape}, not uint8 {wanted}")


def write_shards(clips: Iterable[Clip], folder: Path, *, per_shard: int = 64, overwrite: bool = False) -> list[Path]:
    """Write clips to folder/shard-00000.tar, ...: one shard at a time under a temporary name, then renamed."""
    paths: list[Path] = []
    clips = iter(clips)
    while (first := next(clips, None)) is not None:
        path = folder / shard_name(len(paths))
        check_output(path, overwrite)
        write_shard(path, itertools.chain([first], itertools.islice(clips, per_shard - 1)))
        paths.append(path)
    return paths


def shard_name(number: int) -> str:
    """The file name of a folder's shard, counted from 0."""
    return f"shard-{number:05d}.tar"


def write_shard(path: Path, clips: Iterable[Clip]) -> int:
    """Write one shard, whole or not at all, a clip in memory at a time; how many clips it holds."""
    count = 0
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as shard:
        for count, clip in enumerate(clips, 1):
            _add_clip(shard, clip)
    return count


def join_shards(parts: Iterable[Path], path: Path) -> None:
    """All clips of some shards in one, whole or not at all."""
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as shard:
        for part in parts:
            with tarfile.open(part, "r:") as file:
                for member in file:
                    shard.addfile(member, file.extractfile(member))


def _add_clip(shard: tarfile.TarFile, clip: Clip) -> None:
    def add(name: str, data: bytes) -> None:
        entry = tarfile.TarInfo(f"{clip.key}.{name}")
        entry.size = len(data)
        shard.addfile(entry, io.BytesIO(data))

    rate = clip.track.frame_rate
    note = {"identity": clip.identity, "source": clip.source, "frames": len(clip.frames), "size": clip.frames.shape[1]}
    note |= {"frame_rate": f"{rate.numerator}/{rate.denominator}", "space": clip.track.meta.space}
    add("json", json.dumps(note).encode())
    add("track.npz", clip.track.to_bytes())
    arrays = {LANDMARKS: clip.landmarks, COEFFICIENTS: clip.photo_coefficients, FEATURES: clip.photo_features}
    for name, array in arrays.items():
        if array is not None:
            held = io.BytesIO()
            np.save(held, array.astype(np.float32))
            add(name, held.getvalue())
    pictures = {f"{number:05d}.jpg": frame for number, frame in enumerate(clip.frames)}
    if clip.photo is not None:
        pictures |= {"photo.jpg": clip.photo}
        pictures |= {f"{number:05d}.render.jpg": frame for number, frame in enumerate(clip.renders)}
    for name, picture in pictures.items():
        held = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(picture)).save(held, "JPEG", quality=QUALITY, subsampling=0)
        add(name, held.getvalue())


class StoredClip:
    """A clip in a shard, read a frame at a time; as small as its name until then, and fit to be sent to a worker."""

    def __init__(self, shard: Path, key: str, places: dict[str, tuple[int, int]]):
        self.shard, self.key, self._places = shard, key, places
        try:
            note = json.loads(self._read("json"))
            self.identity, self.source, self.space = (str(note[name]) for name in ("identity", "source", "space"))
            self.count, self.size = int(note["frames"]), int(note["size"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{shard}: clip {key} has no readable note; run mimaface train prepare again") from error
        numbers = range(min(self.count, 100_000))
        needed = ["track.npz", *(f"{number:05d}.jpg" for number in numbers)]
        self.has_renders = "photo.jpg" in places
        self.has_features = {COEFFICIENTS, FEATURES} <= places.keys()
        if self.has_renders:
            needed += [f"{number:05d}.render.jpg" for number in numbers]
        if self.count < 1 or any(name not in places for name in needed):
            raise InputError(f"{shard}: clip {key} is not whole; run mimaface train prepare again")

    def track(self) -> MotionTrack:
        """The clip's coefficients."""
        return MotionTrack.from_bytes(self._read("track.npz"), f"{self.shard} ({self.key})")

    def landmarks(self) -> np.ndarray | None:
        """N × L × 2 float32, pixels of the crop; None where the clip has none. Raises InputError."""
        if LANDMARKS not in self._places:
            return None
        return self._array(LANDMARKS, "landmarks", (self.count, None, 2))

    def photo_coefficients(self) -> np.ndarray:
        """(261,) float32, the photo's own; only where `has_features`. Raises InputError."""
        from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT  # with torch, which preparing face478 does without

        return self._array(COEFFICIENTS, "the photo's coefficients", (COEFFICIENT_COUNT,))

    def photo_features(self, count: int | None = None) -> np.ndarray:
        """(count,) float32, what the identity network sees in the photo; only where `has_features`. Raises InputError."""
        return self._array(FEATURES, "the photo's identity features", (count,))

    def frame(self, number: int) -> np.ndarray:
        """S × S × 3 uint8, RGB. Raises InputError where the picture is damaged or of another size."""
        return self._picture(f"{number:05d}.jpg", f"frame {number}")

    def render(self, number: int) -> np.ndarray:
        """The condition render of a frame, S × S × 3 uint8; only where `has_renders`. Raises InputError."""
        return self._picture(f"{number:05d}.render.jpg", f"render {number}")

    def photo(self) -> np.ndarray:
        """The person at another moment, S × S × 3 uint8; only where `has_renders`. Raises InputError."""
        return self._picture("photo.jpg", "the photo")

    def _array(self, name: str, what: str, shape: tuple[int | None, ...]) -> np.ndarray:
        try:
            array = np.lib.format.read_array(io.BytesIO(self._read(name)), allow_pickle=False)
            if array.ndim != len(shape) or any(wanted not in (None, size) for wanted, size in zip(shape, array.shape)):
                raise ValueError("another shape")
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise ValueError("other numbers")
        except Exception as error:  # ast and tokenize, which read the header, raise a dozen kinds
            raise InputError(f"{self.shard}: {what} of clip {self.key} are damaged; prepare it again") from error
        return array

    def _picture(self, name: str, what: str) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(self._read(name)), formats=["JPEG"]) as picture:
                if picture.size != (self.size, self.size):
                    raise ValueError("another size")
                return np.asarray(picture.convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"{self.shard}: {what} of clip {self.key} is damaged; prepare it again") from error

    def _read(self, name: str) -> bytes:
        start, length = self._places[name]
        if length > (_MAX_NOTE if name == "json" else _MAX_MEMBER):
            raise ValueError(f"{name} is too large")
        with self.shard.open("rb") as file:
            file.seek(start)
            return file.read(length)


def open_shards(folder: Path) -> list[StoredClip]:
    """All clips of a folder's shards, in order. Raises InputError that names a missing, truncated or damaged shard."""
    paths = sorted(folder.glob("shard-*.tar"))
    if not paths:
        raise InputError(f"{folder}: holds no shards; make them with mimaface train prepare")
    for number, path in enumerate(paths):
        if path.name != shard_name(number):
            raise InputError(f"{folder}: {shard_name(number)} is missing; run mimaface train prepare again")
    return [clip for path in paths for clip in _clips(path)]


def _clips(path: Path) -> Iterator[StoredClip]:
    truncated = InputError(f"{path}: is truncated or no shard; remove it and run mimaface train prepare again")
    try:
        with path.open("rb") as file:  # a cut between two members goes unseen but for the zeros at the end
            file.seek(-1024, io.SEEK_END)
            if any(file.read()):
                raise truncated
        with tarfile.open(path, "r:") as shard:
            members = [(m.name, m.offset_data, m.size) for m in shard if m.isfile()]
    except (OSError, tarfile.TarError) as error:
        raise truncated from error
    places: dict[str, dict[str, tuple[int, int]]] = {}
    for name, start, length in members:
        key, _, rest = name.partition(".")
        places.setdefault(key, {})[rest] = (start, length)
    for key, held in places.items():
        if "json" not in held:
            raise InputError(f"{path}: clip {key} is not whole; run mimaface train prepare again")
        yield StoredClip(path, key, held)
