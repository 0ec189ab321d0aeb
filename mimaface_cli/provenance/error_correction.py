"""48 bits made safe for a noisy way: a checksum and a convolutional code, read back from soft values by Viterbi."""

import numpy as np

BITS = 48
_CHECK = 16
_MEMORY = 6
_GENERATORS = (0o133, 0o171, 0o165)  # rate 1/3, constraint length 7: free distance 15
LENGTH = (BITS + _CHECK + _MEMORY) * len(_GENERATORS)
"""Numbers of a code word."""


def _transitions() -> tuple[np.ndarray, np.ndarray]:
    """For each state of the encoder and each next bit: the state before it (2 × 64) and what is sent (2 × 64 × 3)."""
    states = 1 << _MEMORY
    after = np.arange(states)  # the state after a step holds the newest bit on top
    before = np.stack([(after << 1 & (states - 1)) | lost for lost in (0, 1)])
    register = (after >> (_MEMORY - 1) << _MEMORY) | before
    sent = np.stack([np.bitwise_count(register & g) & 1 for g in _GENERATORS], -1)
    return before, 1.0 - 2.0 * sent


_BEFORE, _SENT = _transitions()


def checksum(identifier: int) -> int:
    """CRC-16 (polynomial 0x1021) of 48 bits; started from ones, so that no row of zeros passes."""
    crc = 0xFFFF
    for byte in identifier.to_bytes(BITS // 8, "big"):
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


def encode(identifier: int) -> np.ndarray:
    """The code word of a number below 2**48: LENGTH values of +1 (a bit 0) or -1. Raises ValueError beyond."""
    if not 0 <= identifier < 1 << BITS:
        raise ValueError(f"an identifier has {BITS} bits, not the value {identifier}")
    word = (identifier << _CHECK | checksum(identifier)) << _MEMORY  # zeros bring the encoder back to its first state
    register, sent = 0, []
    for k in reversed(range(BITS + _CHECK + _MEMORY)):
        register = register >> 1 | (word >> k & 1) << _MEMORY
        sent += [1.0 - 2.0 * (int.bit_count(register & g) & 1) for g in _GENERATORS]
    return np.array(sent)


def decode(soft: np.ndarray) -> int | None:
    """The identifier of the code word most like `soft` (LENGTH values, any scale); None where its checksum is wrong,
    as it is for all but one in 65,536 words of noise.
    """
    steps = soft.reshape(-1, len(_GENERATORS))
    score = np.full(1 << _MEMORY, -np.inf)
    score[0] = 0.0
    chosen = np.empty((len(steps), 1 << _MEMORY), np.int64)
    for k, step in enumerate(steps):
        ways = score[_BEFORE] + _SENT @ step
        lost = ways.argmax(0)
        chosen[k] = _BEFORE[lost, np.arange(1 << _MEMORY)]
        score = ways.max(0)
    state, word = 0, 0
    for k in reversed(range(len(steps))):
        word |= (state >> (_MEMORY - 1)) << (len(steps) - 1 - k)
        state = int(chosen[k, state])
    word >>= _MEMORY
    identifier, check = word >> _CHECK, word & 0xFFFF
    return identifier if check == checksum(identifier) else None
