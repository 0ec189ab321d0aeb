"""Writing of motion tracks to .npz files (version 1), and reading of such files from untrusted origins.

The reader checks sizes before it allocates memory, and it unpickles nothing. Every defect becomes a ValueError with a
message that starts with the key.

Source: NumPy's NEP 1, a simple file format for NumPy arrays.
"""

import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from mimaface_cli.motion.track_layout import ARRAY_NAMES, array_dtype, check_shape
from mimaface_cli.motion.track_meta import MAX_META_CHARACTERS, TrackMeta

MAX_BYTES = 2 * 1024**3


def write_track_file(file: BinaryIO, arrays: Mapping[str, np.ndarray], meta: TrackMeta) -> None:
    """Write arrays and metadata as .npz; equal tracks give equal bytes.

    Args:
        file: Binary file.
        arrays: Valid arrays by the names in ARRAY_NAMES.
        meta: The metadata.
    """
    ordered: dict[str, Any] = {name: arrays[name] for name in ARRAY_NAMES}
    np.savez(file, meta=np.array(meta.to_json()), **ordered)


def read_track_file(file: BinaryIO) -> tuple[dict[str, np.ndarray], TrackMeta]:
    """Read and check a track file.

    Args:
        file: Seekable binary file.

    Returns:
        The arrays by name, and the metadata.

    Raises:
        ValueError: If the file is not a valid track; the message names the key.
    """
    with _open_archive(file) as archive:
        # meta comes first: a file of another version may lack this version's keys.
        meta = _read_meta(archive)
        arrays: dict[str, np.ndarray] = {}
        for name in ARRAY_NAMES:  # pts comes first, so that the others can be checked against its number of frames
            arrays[name] = _read_array(archive, name, len(arrays["pts"]) if arrays else None)
        return arrays, meta


def _open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """Open the file as a zip archive; check that its declared sizes are within MAX_BYTES."""
    if file.seek(0, 2) > MAX_BYTES:
        raise ValueError(f"is larger than the limit of {MAX_BYTES >> 30} GiB for a track")
    try:
        archive = zipfile.ZipFile(file)
    except Exception as error:  # zipfile raises many types of exceptions for damaged directories
        raise ValueError("is not a .npz track or is truncated") from error
    if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
        raise ValueError(f"unpacks to more than the limit of {MAX_BYTES >> 30} GiB for a track")
    return archive


def _read_meta(archive: zipfile.ZipFile) -> TrackMeta:
    array = _read_array(archive, "meta")
    with _report_damage("meta"):
        text = array.item()
    try:
        return TrackMeta.from_json(text)
    except ValueError as error:
        raise ValueError(f"meta: {error}") from error


def _read_array(archive: zipfile.ZipFile, name: str, frames: int | None = None) -> np.ndarray:
    """Read one array; its declared shape and dtype are checked before memory is allocated."""
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"{name}: is missing") from None
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name}: is encrypted or uses a compression that numpy does not write")
    with _report_damage(name), archive.open(info) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError("numpy writes version 1.0 for such arrays")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        is_complete = info.file_size == member.tell() + math.prod(shape) * dtype.itemsize
    _check_header(name, shape, dtype, frames)
    # zipfile returns no more than the declared size, and its checksum fails if the packed data is longer.
    with _report_damage(name), archive.open(info) as member:
        if not is_complete:
            raise ValueError("the header declares another size")
        array = np.lib.format.read_array(member, allow_pickle=False)
    if dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        raise ValueError(f"{name}: contains bytes that are neither true nor false")
    return array


@contextmanager
def _report_damage(name: str) -> Iterator[None]:
    """Turn any exception of the block into one ValueError that reports the key as damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy and ast warn about unusual headers, which are checked here
            yield
    except Exception as error:  # zipfile, zlib, ast, tokenize and numpy raise many types for hostile bytes
        raise ValueError(f"{name}: is damaged or truncated") from error


def _check_header(name: str, shape: tuple[int, ...], dtype: np.dtype, frames: int | None) -> None:
    """Check the declared shape and dtype; unlike the constructor of the track, the reader casts nothing."""
    if name == "meta":
        if shape != () or dtype.kind != "U" or dtype.itemsize > 4 * MAX_META_CHARACTERS:
            raise ValueError(f"meta: must be one text of at most {MAX_META_CHARACTERS} characters")
        return
    if dtype != array_dtype(name):
        raise ValueError(f"{name}: has dtype {dtype!s:.40}, expected {array_dtype(name)}")
    check_shape(name, shape, frames)
