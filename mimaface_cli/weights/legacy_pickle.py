"""Files of PyTorch before version 1.6, memory-mapped: `torch.load` reads all of their tensors into memory.

The release has saved its largest network in this format: a pickle of the tensors without their content, the list of the
storages, and the content of each storage after its length. Nothing in a file is executed.
"""

import mmap
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import _weights_only_unpickler as weights_only

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_Storages = dict[str, torch.storage.TypedStorage]


def load_legacy_pickle(path: Path) -> Any:
    """Load a file of the legacy format with mapped tensors; writing to them does not change the file.

    Raises:
        ValueError: The file is not of this format, or is cut short.
        UnpicklingError: The file would run code.
        Exception: What damaged bytes make the unpickler raise.
    """
    storages: _Storages = {}

    def find_storage(identifier: Any) -> torch.storage.TypedStorage:
        kind, storage_type, key, _, count, view = identifier
        if kind != "storage" or view is not None:
            raise ValueError("it has parts that are not tensors")
        if key not in storages:
            storages[key] = _create_empty_storage(storage_type.dtype, count)
        return storages[key]

    with path.open("rb") as file:
        if (
            weights_only.load(file, encoding="utf-8") != _MAGIC
            or weights_only.load(file, encoding="utf-8") != _PROTOCOL
        ):
            raise ValueError("it is of another format")
        weights_only.load(file, encoding="utf-8")  # the system that wrote it
        unpickler = weights_only.Unpickler(file, encoding="utf-8")
        unpickler.persistent_load = find_storage  # type: ignore[method-assign]  # as torch.load does
        content = unpickler.load()
        keys = weights_only.load(file, encoding="utf-8")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return _fill(content, _map_storages(mapped, file.tell(), keys, storages))


def _create_empty_storage(dtype: torch.dtype, count: int) -> torch.storage.TypedStorage:
    """Return a storage without content, which stands for one of the file."""
    storage = torch.UntypedStorage(count * dtype.itemsize, device="meta")
    return torch.storage.TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)


def _map_storages(mapped: mmap.mmap, offset: int, keys: list[str], storages: _Storages) -> dict[int, Tensor]:
    """Return the content of each storage, by the identity of the storage that stands for it."""
    contents = {}
    for key in keys:
        storage = storages[key]
        size = storage._untyped_storage.nbytes()
        (count,) = struct.unpack_from("<q", mapped, offset)
        if count * storage.dtype.itemsize != size or offset + 8 + size > len(mapped):
            raise ValueError("it is cut short, or damaged")
        content = torch.empty(0, dtype=storage.dtype)
        if count:
            content = torch.frombuffer(mapped, dtype=storage.dtype, count=count, offset=offset + 8)
        contents[storage._untyped_storage._cdata] = content
        offset += 8 + size
    return contents


def _fill(value: Any, contents: dict[int, Tensor]) -> Any:
    """Return a value of the pickle, whose tensors get their content."""
    if isinstance(value, dict):
        return type(value)((key, _fill(item, contents)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return [_fill(item, contents) for item in value]
    if not isinstance(value, Tensor):
        return value
    content = contents[value.untyped_storage()._cdata]
    return content.as_strided(value.shape, value.stride(), value.storage_offset())
