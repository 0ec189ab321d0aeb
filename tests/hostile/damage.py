"""Random damage to bytes, reproducible by seed: like that of a failing disk, a truncated transfer or an attacker."""

import random

_NUMBER_TOKENS = (b"NaN", b"inf", b"-1", b"1e999", b"99999999999999999999", b"0x10", b"9" * 5000)
_TEXT_TOKENS = (b"null", b"true", b'""', b"'", b'"', b"\x00", b"[" * 3000, b"{" * 300)
_SEPARATOR_TOKENS = (b",", b";", b"\n", b"\r", b"\t", b"\xff", b"\xef\xbb\xbf", b"=")
_PATH_TOKENS = (b"../../", b"/dev/zero", b"file:", b"http://127.0.0.1:9/")
_WORD_TOKENS = (b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00")
TOKENS = (*_NUMBER_TOKENS, *_TEXT_TOKENS, *_SEPARATOR_TOKENS, *_PATH_TOKENS, *_WORD_TOKENS)


def damage_bytes(content: bytes, seed: int) -> bytes:
    """Apply one to six random kinds of damage.

    The kinds: bytes are changed; ranges are deleted, doubled, swapped or blanked; tokens are inserted; the end is cut
    off. Half of the damage is in the first kilobyte, where headers are.
    """
    rng = random.Random(seed)
    data = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        _KINDS[rng.randrange(len(_KINDS))](data, rng)
        if not data:
            return b"\x00"
    return bytes(data)


def _position(data: bytearray, rng: random.Random) -> int:
    return rng.randrange(min(len(data), 1024) if rng.random() < 0.5 else len(data))


def _change(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        data[_position(data, rng)] = rng.randrange(256)


def _delete(data: bytearray, rng: random.Random) -> None:
    start = _position(data, rng)
    del data[start : start + rng.choice((1, 4, 64, len(data) // 10))]


def _double(data: bytearray, rng: random.Random) -> None:
    start = _position(data, rng)
    data[start:start] = data[start : start + rng.choice((1, 4, 64, 1000))]


def _blank(data: bytearray, rng: random.Random) -> None:
    start = _position(data, rng)
    stop = min(start + rng.choice((1, 4, 32, 500)), len(data))
    data[start:stop] = bytes([rng.choice((0, 0xFF))]) * (stop - start)


def _swap(data: bytearray, rng: random.Random) -> None:
    first, second, length = _position(data, rng), _position(data, rng), rng.choice((4, 16, 200))
    first_bytes, second_bytes = data[first : first + length], data[second : second + length]
    if len(first_bytes) == len(second_bytes):
        data[first : first + length], data[second : second + length] = second_bytes, first_bytes


def _insert_token(data: bytearray, rng: random.Random) -> None:
    token, start = rng.choice(TOKENS), _position(data, rng)
    data[start : start + (len(token) if rng.random() < 0.5 else 0)] = token


def _truncate(data: bytearray, rng: random.Random) -> None:
    del data[_position(data, rng) :]


_KINDS = (_change, _change, _delete, _double, _blank, _swap, _insert_token, _insert_token, _truncate)
