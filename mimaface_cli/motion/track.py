"""MotionTrack: what every driver becomes and every engine consumes, and its .npz file, version 1.

The file is data from anywhere: sizes are checked before memory is taken, nothing is unpickled, and every fault becomes
one InputError that names the file, the key and the mend.
"""

import io
import json
import math
import re
import reprlib
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from numbers import Rational
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path, check_output

FORMAT_VERSION = 1
SPACES = ("bfm09", "face478")
MAX_FRAMES = 2_000_000
MAX_BYTES = 2 * 1024**3
MAX_META_CHARACTERS = 1_000_000
MAX_SECONDS = 1e12  # |pts|; leaves room for streams that count from 1970 and keeps differences finite

_N = -1  # stands for the number of frames
_LAYOUT: dict[str, tuple[tuple[int, ...], np.dtype]] = {
    "pts": ((_N,), np.dtype(np.float64)),
    "valid": ((_N,), np.dtype(np.bool_)),
    "identity": ((80,), np.dtype(np.float32)),
    "texture": ((80,), np.dtype(np.float32)),
    "expression": ((_N, 64), np.dtype(np.float32)),
    "illumination": ((_N, 27), np.dtype(np.float32)),
    "pose": ((_N, 6), np.dtype(np.float32)),
    "gaze": ((_N, 4), np.dtype(np.float32)),
    "crop": ((_N, 2, 3), np.dtype(np.float32)),
}
_RATE = re.compile(r"[1-9][0-9]{0,9}/[1-9][0-9]{0,9}")
_HASH = re.compile(r"[0-9a-f]{64}")
_MEND = "re-run mimaface extract"


@dataclass(frozen=True)
class TrackMeta:
    """What a track was made from, how, and in which space.

    space: one of SPACES. frame_rate: nominal frames per second, a positive fraction (`pts` is the truth about timing).
    source_hash, audio_hash: SHA-256 in hex of the input's content and of the speech, None where there was none.
    width, height: pixels of the input picture, 0 where there was none. options: JSON values. cuts: increasing indices,
    1..N-1, of the frames with which a new shot starts. Raises ValueError, its text beginning with the field.
    """

    space: str
    extractor: str
    extractor_version: str
    frame_rate: Fraction
    source_hash: str | None = None
    audio_hash: str | None = None
    width: int = 0
    height: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    cuts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise ValueError(f"space: is {reprlib.repr(self.space)}, not one of {', '.join(SPACES)}")
        for name in ("extractor", "extractor_version"):
            value = getattr(self, name)
            if not (isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()):
                raise ValueError(f"{name}: must be 1 to 200 printable characters, is {reprlib.repr(value)}")
        for name in ("source_hash", "audio_hash"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and _HASH.fullmatch(value)):
                raise ValueError(f"{name}: must be a SHA-256 in hex, is {reprlib.repr(value)}")
        for name in ("width", "height"):
            if not (_is_index(getattr(self, name)) and getattr(self, name) < 2**20):
                raise ValueError(f"{name}: must be a number of pixels, is {reprlib.repr(getattr(self, name))}")
        object.__setattr__(self, "frame_rate", _fraction(self.frame_rate))
        object.__setattr__(self, "options", _json_copy(self.options))
        object.__setattr__(self, "cuts", _increasing(self.cuts))
        if len(self.to_json()) > MAX_META_CHARACTERS:
            raise ValueError(f"options: with the cuts they take more than {MAX_META_CHARACTERS} characters")

    def to_json(self) -> str:
        """The JSON text (pure ASCII) that the file's `meta` key holds."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["frame_rate"] = f"{self.frame_rate.numerator}/{self.frame_rate.denominator}"
        return json.dumps({"version": FORMAT_VERSION, **values}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "TrackMeta":
        """Read back what `to_json` wrote; keys it does not know are left aside. Raises ValueError."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError("is not JSON") from error
        if not isinstance(values, dict):
            raise ValueError("is not a JSON object")
        version = values.get("version")
        if version != FORMAT_VERSION or not _is_index(version):
            raise ValueError(
                f"is of format version {reprlib.repr(version)}, but this mimaface reads version {FORMAT_VERSION}"
            )
        missing = [item.name for item in fields(cls) if item.name not in values]
        if missing:
            raise ValueError(f"{missing[0]}: is missing")
        return cls(**{item.name: values[item.name] for item in fields(cls)})


@dataclass(frozen=True, eq=False)
class MotionTrack:
    """A face's coefficients over N frames, 1 <= N <= MAX_FRAMES, in the space that `meta` names.

    identity, texture: 80 each. expression: N x 64. illumination: N x 27. pose: N x 6, angles x, y, z in radians, then
    translation x, y, z in model units. gaze: N x 4, radians in face478, the network's own numbers in bfm09.
    crop: N x 2 x 3, affine from the input's pixels to the aligned crop. pts: N, seconds, strictly increasing.
    valid: N, false where no face was seen and the values are interpolated.

    Real numbers of any type are copied to float32 (pts: float64) and made read-only, so that a track that was checked
    stays right. Raises ValueError, its text beginning with the key.
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
        for key, (_, dtype) in _LAYOUT.items():
            value = np.asarray(getattr(self, key))
            if value.dtype.kind not in ("b" if dtype.kind == "b" else "fiu"):
                raise ValueError(f"{key}: has dtype {value.dtype!s:.40} where {dtype} is needed")
            _check_shape(key, value.shape, frames)
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf and is reported below
                value = np.array(value, dtype=dtype, order="C")
            if not np.isfinite(value).all():
                raise ValueError(f"{key}: holds numbers that are not finite")
            value.flags.writeable = False
            object.__setattr__(self, key, value)
        if np.abs(self.pts).max() > MAX_SECONDS or not (np.diff(self.pts) > 0).all():
            raise ValueError("pts: must increase strictly, in seconds")
        if self.meta.cuts and self.meta.cuts[-1] >= len(self):
            raise ValueError(f"meta: cuts: frame {self.meta.cuts[-1]} lies beyond the track's {len(self)} frames")

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def frame_rate(self) -> Fraction:
        """Nominal frames per second."""
        return self.meta.frame_rate

    @property
    def duration(self) -> float:
        """Seconds from the start of the first frame to the end of the last, which lasts one nominal frame."""
        return float(self.pts[-1] - self.pts[0]) + float(1 / self.frame_rate)

    def frames(self, which: slice) -> "MotionTrack":
        """The track of a range of frames (step 1 or more); cuts and the nominal rate follow.

        Raises InputError where the range holds no frame.
        """
        start, stop, step = which.indices(len(self))
        if step < 1:
            raise ValueError("frames are taken forwards only")
        kept = range(start, stop, step)
        if not kept:
            raise InputError(f"the chosen range holds none of the track's {len(self)} frames; choose another")
        # A shot that starts on a frame that is left out starts with the next one that is kept.
        cuts = sorted({-(-(cut - start) // step) for cut in self.meta.cuts})
        cuts = tuple(cut for cut in cuts if 0 < cut < len(kept))
        meta = replace(self.meta, cuts=cuts, frame_rate=self.frame_rate / step)
        per_frame = {key: getattr(self, key)[which] for key, (shape, _) in _LAYOUT.items() if shape[0] == _N}
        return replace(self, meta=meta, **per_frame)

    def require_space(self, space: str, engine: str, name: str = "the track") -> None:
        """Raise InputError where the coefficients are not in the space that `engine` speaks; `name` says which track."""
        if self.meta.space != space:
            raise InputError(
                f"{name}: is in the {self.meta.space} space but the {engine} engine needs {space}; "
                f"re-run mimaface extract --space {space} on what it was made from"
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
        """The mean face at rest, looking ahead, at a constant rate: all coefficients 0, identity crops, all valid."""
        meta = TrackMeta(space, extractor, extractor_version, frame_rate, width=width, height=height)
        arrays = {key: np.zeros(_shape(key, frames), dtype) for key, (_, dtype) in _LAYOUT.items()}
        arrays["crop"][:] = np.eye(2, 3)
        arrays["pts"][:] = np.arange(frames) * meta.frame_rate.denominator / meta.frame_rate.numerator
        arrays["valid"][:] = True
        return cls(**arrays, meta=meta)

    def save(self, path: Path | str, overwrite: bool = False) -> None:
        """Write the .npz file, whole or not at all; equal tracks give equal bytes. Raises OutputError."""
        path = Path(path)
        check_output(path, overwrite)
        with atomic_path(path) as temporary, temporary.open("xb") as file:
            self._write(file)

    def to_bytes(self) -> bytes:
        """The .npz file's content, for containers that hold tracks among other things."""
        file = io.BytesIO()
        self._write(file)
        return file.getvalue()

    def _write(self, file: BinaryIO) -> None:
        np.savez(file, meta=np.array(self.meta.to_json()), **{key: getattr(self, key) for key in _LAYOUT})

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> "MotionTrack":
        """Read and check what `to_bytes` gave. name: where it lies, for the message. Raises InputError."""
        try:
            return cls._read(io.BytesIO(data))
        except ValueError as error:
            raise InputError(f"{name}: {error}; {_MEND}") from error

    @classmethod
    def load(cls, path: Path | str) -> "MotionTrack":
        """Read and check a .npz file. Raises InputError."""
        path = Path(path)
        try:
            if path.is_dir():
                raise InputError(f"{path}: is a folder; name a .npz track")
            if not path.is_file():  # also keeps a named pipe from blocking for ever
                raise InputError(f"{path}: no such file; check the path, or make the track with mimaface extract")
            with path.open("rb") as file:
                return cls._read(file)
        except ValueError as error:
            raise InputError(f"{path}: {error}; {_MEND}") from error
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error

    @classmethod
    def _read(cls, file: BinaryIO) -> "MotionTrack":
        with _open_archive(file) as archive:
            # The meta goes first: a file of another version need not have this version's keys.
            array = _read_member(archive, "meta")
            with _damage("meta"):
                text = array.item()
            try:
                meta = TrackMeta.from_json(text)
            except ValueError as error:
                raise ValueError(f"meta: {error}") from error
            arrays: dict[str, np.ndarray] = {}
            for key in _LAYOUT:  # pts leads, so the others must have as many frames
                arrays[key] = _read_member(archive, key, len(arrays["pts"]) if arrays else None)
            return cls(**arrays, meta=meta)


def _shape(key: str, frames: int) -> tuple[int, ...]:
    return tuple(frames if size == _N else size for size in _LAYOUT[key][0])


def _check_shape(key: str, shape: tuple[int, ...], frames: int | None) -> None:
    """Raise ValueError unless `shape` is the key's for that many frames (None: any number)."""
    wanted = _LAYOUT[key][0]
    if len(shape) != len(wanted) or any(need not in (_N, size) for size, need in zip(shape, wanted, strict=True)):
        text = ", ".join("N" if size == _N else str(size) for size in wanted)
        raise ValueError(f"{key}: has shape {shape!r:.60} where ({text}) is needed")
    if wanted[0] == _N and not 1 <= shape[0] <= MAX_FRAMES:
        raise ValueError(f"{key}: has {reprlib.repr(shape[0])} frames where 1 to {MAX_FRAMES} are possible")
    if wanted[0] == _N and frames is not None and shape[0] != frames:
        raise ValueError(f"{key}: has {shape[0]} frames where pts has {frames}")


def _open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """The file as a zip whose members' declared sizes are bearable. Raises ValueError."""
    if file.seek(0, 2) > MAX_BYTES:
        raise ValueError(f"is larger than the {MAX_BYTES >> 30} GiB a track may take")
    try:
        archive = zipfile.ZipFile(file)
    except Exception as error:  # zipfile raises half a dozen kinds on damaged directories
        raise ValueError("is not a .npz track, or is cut short") from error
    if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
        raise ValueError(f"unpacks to more than the {MAX_BYTES >> 30} GiB a track may take")
    return archive


def _read_member(archive: zipfile.ZipFile, key: str, frames: int | None = None) -> np.ndarray:
    """One array, its announced shape and dtype checked before memory is taken for it. Raises ValueError."""
    try:
        info = archive.getinfo(f"{key}.npy")
    except KeyError:
        raise ValueError(f"{key}: is missing") from None
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{key}: is encrypted or packed as numpy never does")
    with _damage(key), archive.open(info) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError("numpy writes version 1.0 for arrays such as these")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        whole = info.file_size == member.tell() + math.prod(shape) * dtype.itemsize
    _check_header(key, shape, dtype, frames)
    # zipfile hands out no more than the declared size, and its checksum fails where the packed data holds more.
    with _damage(key), archive.open(info) as member:
        if not whole:
            raise ValueError("the header announces another size")
        array = np.lib.format.read_array(member, allow_pickle=False)
    if dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        raise ValueError(f"{key}: holds bytes that are neither true nor false")
    return array


@contextmanager
def _damage(key: str) -> Iterator[None]:
    """Whatever goes wrong in the block is damage to that key: raise ValueError that says so, and nothing else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy and ast warn about odd headers; the checks judge them
            yield
    except Exception as error:  # zipfile, zlib, ast, tokenize and numpy raise a dozen kinds on hostile bytes
        raise ValueError(f"{key}: is damaged or cut short") from error


def _check_header(key: str, shape: tuple[int, ...], dtype: np.dtype, frames: int | None) -> None:
    """Raise ValueError unless the file announces just what the key needs; unlike the constructor it casts nothing."""
    if key == "meta":
        if shape != () or dtype.kind != "U" or dtype.itemsize > 4 * MAX_META_CHARACTERS:
            raise ValueError(f"meta: must be one text of at most {MAX_META_CHARACTERS} characters")
        return
    if dtype != _LAYOUT[key][1]:
        raise ValueError(f"{key}: has dtype {dtype!s:.40} where {_LAYOUT[key][1]} is needed")
    _check_shape(key, shape, frames)


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _fraction(value: object) -> Fraction:
    if isinstance(value, Rational):
        value = f"{value.numerator}/{value.denominator}"
    if not (isinstance(value, str) and _RATE.fullmatch(value)):
        raise ValueError(f"frame_rate: must be a positive fraction such as 30000/1001, is {reprlib.repr(value)}")
    return Fraction(value)


def _json_copy(options: object) -> dict[str, Any]:
    """The options as a reader of the file will see them. Raises ValueError."""
    if not isinstance(options, dict):
        raise ValueError(f"options: must be a JSON object, is {reprlib.repr(options)}")
    try:
        options = json.loads(json.dumps(options, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"options: cannot be written as JSON ({error})") from error
    if not _is_shallow(options, 16):  # deeper ones could be read here and then fail to be written elsewhere
        raise ValueError("options: are nested more than 16 deep")
    return options


def _is_shallow(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is None or (levels > 0 and all(_is_shallow(item, levels - 1) for item in inner))


def _increasing(cuts: object) -> tuple[int, ...]:
    if not isinstance(cuts, list | tuple) or not all(_is_index(cut) for cut in cuts):
        raise ValueError(f"cuts: must be a list of frame indices, is {reprlib.repr(cuts)}")
    if any(after <= before for before, after in zip((0, *cuts), cuts, strict=False)):
        raise ValueError("cuts: must increase strictly, from frame 1 on")
    return tuple(cuts)
