"""XMP packets in MP4 and QuickTime files, in a `uuid` box at the end of the file.

Source: XMP specification, part 3 (storage in files), and ISO/IEC 14496-12 (boxes).
"""

import os
import struct
from pathlib import Path

_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_MAX_PACKET_BYTES = 1 << 20
_MAX_BOXES = 100_000  # at the top level of a file
_FIRST_BOXES = (b"ftyp", b"wide", b"moov", b"mdat", b"free", b"skip")


def append_xmp_box(path: Path, packet: bytes) -> None:
    """Append an XMP packet to a finished MP4 or QuickTime file.

    Raises:
        OSError: If the file cannot be written.
    """
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 24 + len(packet), b"uuid") + _XMP_UUID + packet)


def read_xmp_box(path: Path) -> bytes:
    """Return the XMP packet of an MP4 or QuickTime file, empty if there is none.

    Raises:
        OSError: If the file cannot be read.
    """
    size = os.path.getsize(path)
    with path.open("rb") as file:
        position = 0
        for _ in range(_MAX_BOXES):
            file.seek(position)
            header = file.read(32)
            if len(header) < 8:
                return b""
            length, kind = struct.unpack(">I4s", header[:8])
            content = position + 8
            if position == 0 and kind not in _FIRST_BOXES:
                return b""  # another kind of file
            if length == 1 and len(header) >= 16:  # a 64-bit length follows
                length = struct.unpack(">Q", header[8:16])[0]
                content = position + 16
            length = length or size - position  # 0: up to the end of the file
            if length < 8:
                return b""
            if kind == b"uuid" and header[8:24] == _XMP_UUID:
                file.seek(content + 16)
                return file.read(max(0, min(length - 24, _MAX_PACKET_BYTES)))
            position += length
            if position >= size:
                return b""
    return b""
