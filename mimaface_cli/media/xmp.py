"""An XMP packet in an MP4 or QuickTime file: a box of its own at the file's end, as XMP's part 3 has it."""

import os
import struct
from pathlib import Path

_NAME = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_LARGEST = 1 << 20
_MOST = 100_000  # boxes at the top of a file


def append_xmp_box(path: Path, packet: bytes) -> None:
    """Append the packet to a finished file. Raises OSError."""
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 24 + len(packet), b"uuid") + _NAME + packet)


def read_xmp_box(path: Path) -> bytes:
    """The packet of an MP4 or QuickTime file; empty where there is none. Raises OSError."""
    size = os.path.getsize(path)
    with path.open("rb") as file:
        place = 0
        for _ in range(_MOST):
            file.seek(place)
            head = file.read(32)
            if len(head) < 8:
                return b""
            length, kind = struct.unpack(">I4s", head[:8])
            start = place + 8
            if place == 0 and kind not in (b"ftyp", b"wide", b"moov", b"mdat", b"free", b"skip"):
                return b""  # no such file
            if length == 1 and len(head) >= 16:
                length, start = struct.unpack(">Q", head[8:16])[0], place + 16
            length = length or size - place
            if length < 8:
                return b""
            if kind == b"uuid" and head[8:24] == _NAME:
                file.seek(start + 16)
                return file.read(max(0, min(length - 24, _LARGEST)))
            place += length
            if place >= size:
                return b""
    return b""
