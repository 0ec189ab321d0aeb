"""Harm done to bytes, by a seed: what a bad disk, a cut transfer or an enemy makes of a file."""

import random

TOKENS = (
    *(b"NaN", b"inf", b"-1", b"1e999", b"99999999999999999999", b"0x10", b"null", b"true", b'""', b"'", b'"', b"\x00"),
    *(
        b",",
        b";",
        b"\n",
        b"\r",
        b"\t",
        b"\xff",
        b"\xef\xbb\xbf",
        b"=",
        b"../../",
        b"/dev/zero",
        b"file:",
        b"http://127.0.0.1:9/",
    ),
    *(
        b"[" * 3000,
        b"{" * 300,
        b"9" * 5000,
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\x80\x00\x00\x00",
    ),
)


def mutated(content: bytes, seed: int) -> bytes:
    """One to six harms: bytes changed, stretches lost, doubled, swapped or blanked, tokens put in, the end cut off. Half
    of them fall into the first kilobyte, where headers are.
    """
    rng = random.Random(seed)
    data = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        _HARMS[rng.randrange(len(_HARMS))](data, rng)
        if not data:
            return b"\x00"
    return bytes(data)


def _place(data: bytearray, rng: random.Random) -> int:
    return rng.randrange(min(len(data), 1024) if rng.random() < 0.5 else len(data))


def _change(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        data[_place(data, rng)] = rng.randrange(256)


def _lose(data: bytearray, rng: random.Random) -> None:
    start = _place(data, rng)
    del data[start : start + rng.choice((1, 4, 64, len(data) // 10))]


def _double(data: bytearray, rng: random.Random) -> None:
    start = _place(data, rng)
    data[start:start] = data[start : start + rng.choice((1, 4, 64, 1000))]


def _blank(data: bytearray, rng: random.Random) -> None:
    start = _place(data, rng)
    stop = min(start + rng.choice((1, 4, 32, 500)), len(data))
    data[start:stop] = bytes([rng.choice((0, 0xFF))]) * (stop - start)


def _swap(data: bytearray, rng: random.Random) -> None:
    first, second, length = _place(data, rng), _place(data, rng), rng.choice((4, 16, 200))
    one, other = data[first : first + length], data[second : second + length]
    if len(one) == len(other):
        data[first : first + length], data[second : second + length] = other, one


def _put(data: bytearray, rng: random.Random) -> None:
    token, start = rng.choice(TOKENS), _place(data, rng)
    data[start : start + (len(token) if rng.random() < 0.5 else 0)] = token


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[_place(data, rng) :]


_HARMS = (_change, _change, _lose, _double, _blank, _swap, _put, _put, _cut)
