"""ICC profiles for tests, built from their specification (ICC.1:2010) with the standard library."""

import struct

DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
"""XYZ of the red, green and blue primaries, adapted to D50."""

_D50 = (0.96420, 1.0, 0.82491)


def gray_profile(gamma: float) -> bytes:
    """Return the profile of a gray device with a power curve."""
    return _profile(b"GRAY", {b"kTRC": _curve(gamma)})


def rgb_profile(primaries: tuple[tuple[float, float, float], ...], gamma: float) -> bytes:
    """Return the profile of an RGB display with these primaries and a power curve."""
    tags = {name: _xyz(values) for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    return _profile(b"RGB ", tags | {name: _curve(gamma) for name in (b"rTRC", b"gTRC", b"bTRC")})


def _curve(gamma: float) -> bytes:
    return b"curv" + struct.pack(">IIH2x", 0, 1, round(gamma * 256))


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *(round(value * 65536) for value in values))


def _text(text: bytes) -> bytes:
    return b"text" + bytes(4) + text + bytes(4 - len(text) % 4)


def _description(text: bytes) -> bytes:
    return b"desc" + struct.pack(">II", 0, len(text) + 1) + text + bytes(1 + 8 + 3 + 67) + bytes(-(len(text) + 4) % 4)


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _description(b"test"), b"cprt": _text(b"none"), b"wtpt": _xyz(_D50), **tags}
    offset, table, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp")
    header = header.ljust(68, b"\0") + struct.pack(">3i", *(round(value * 65536) for value in _D50))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
