"""Error correction of the watermark: a checksum and a convolutional code, decoded by Viterbi's algorithm."""

import numpy as np

IDENTIFIER_BITS = 48
_CHECKSUM_BITS = 16
_MEMORY = 6
_GENERATORS = (0o133, 0o171, 0o165)  # rate 1/3, constraint length 7: free distance 15
_CRC_POLYNOMIAL = 0x1021
CODE_LENGTH = (IDENTIFIER_BITS + _CHECKSUM_BITS + _MEMORY) * len(_GENERATORS)
"""Number of values of a code word."""


def _transitions() -> tuple[np.ndarray, np.ndarray]:
    """Return each encoder state's two predecessors (2, 64), and the values (2, 64, 3) that the transitions send."""
    states = 1 << _MEMORY
    state = np.arange(states)  # the newest bit is the highest
    predecessors = np.stack([(state << 1 & (states - 1)) | dropped_bit for dropped_bit in (0, 1)])
    register = (state >> (_MEMORY - 1) << _MEMORY) | predecessors
    parity = np.stack([np.bitwise_count(register & generator) & 1 for generator in _GENERATORS], -1)
    return predecessors, 1.0 - 2.0 * parity


_PREDECESSORS, _SENT_VALUES = _transitions()


def checksum(identifier: int) -> int:
    """Return the CRC-16 of 48 bits; it starts from ones, so that an all-zero word fails.

    Source: CRC-16/CCITT-FALSE, polynomial 0x1021.
    """
    crc = 0xFFFF
    for byte in identifier.to_bytes(IDENTIFIER_BITS // 8, "big"):
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (_CRC_POLYNOMIAL if crc & 0x8000 else 0)) & 0xFFFF
    return crc


def encode_identifier(identifier: int) -> np.ndarray:
    """Return the code word of an identifier.

    Args:
        identifier: A number below 2**48.

    Returns:
        (CODE_LENGTH,) values of +1 (bit 0) or -1 (bit 1).

    Raises:
        ValueError: For a number of more bits.
    """
    if not 0 <= identifier < 1 << IDENTIFIER_BITS:
        raise ValueError(f"an identifier has {IDENTIFIER_BITS} bits, not the value {identifier}")
    # The trailing zeros return the encoder to its first state.
    message = (identifier << _CHECKSUM_BITS | checksum(identifier)) << _MEMORY
    register = 0
    values = []
    for position in reversed(range(IDENTIFIER_BITS + _CHECKSUM_BITS + _MEMORY)):
        register = register >> 1 | (message >> position & 1) << _MEMORY
        values += [1.0 - 2.0 * (int.bit_count(register & generator) & 1) for generator in _GENERATORS]
    return np.array(values)


def decode_identifier(soft_values: np.ndarray) -> int | None:
    """Return the identifier of the most likely code word.

    Args:
        soft_values: (CODE_LENGTH,) values at any scale.

    Returns:
        The identifier, or None if its checksum is wrong, as for all but one in 65,536 words of noise.

    Source: Viterbi 1967, "Error bounds for convolutional codes and an asymptotically optimum decoding algorithm".
    """
    steps = soft_values.reshape(-1, len(_GENERATORS))
    states = 1 << _MEMORY
    scores = np.full(states, -np.inf)
    scores[0] = 0.0
    best_predecessors = np.empty((len(steps), states), np.int64)
    for index, step in enumerate(steps):
        candidates = scores[_PREDECESSORS] + _SENT_VALUES @ step
        choice = candidates.argmax(0)
        best_predecessors[index] = _PREDECESSORS[choice, np.arange(states)]
        scores = candidates.max(0)
    state, message = 0, 0
    for index in reversed(range(len(steps))):
        message |= (state >> (_MEMORY - 1)) << (len(steps) - 1 - index)
        state = int(best_predecessors[index, state])
    message >>= _MEMORY
    identifier = message >> _CHECKSUM_BITS
    return identifier if message & 0xFFFF == checksum(identifier) else None
