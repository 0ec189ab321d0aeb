"""The error correction of the watermark: exact without noise, robust against errors, no result for pure noise."""

import numpy as np
import pytest

from mimaface_cli.provenance.error_correction import CODE_LENGTH, checksum, decode_identifier, encode_identifier

LARGEST = (1 << 48) - 1


def random_identifiers(seed: int, count: int) -> list[int]:
    return [int(value) for value in np.random.default_rng(seed).integers(1 << 48, size=count)]


def test_checksum_is_crc16_ccitt_false():
    """The definition: the remainder of a bitwise long division, started from ones."""
    for identifier in (0, LARGEST, *random_identifiers(0, 20)):
        value = (identifier ^ (0xFFFF << 32)) << 16
        for bit in reversed(range(48)):
            if value >> (bit + 16) & 1:
                value ^= 0x11021 << bit
        assert checksum(identifier) == value


def test_decode_returns_the_encoded_identifier_at_any_scale():
    for identifier in (0, 1, LARGEST, *random_identifiers(1, 50)):
        word = encode_identifier(identifier)
        assert word.shape == (CODE_LENGTH,) and set(np.unique(word)) <= {-1.0, 1.0}
        assert decode_identifier(word) == identifier
        assert decode_identifier(7 * word) == identifier


def test_decode_never_returns_a_wrong_identifier_for_a_tenth_of_wrong_signs():
    rng = np.random.default_rng(2)
    for identifier in random_identifiers(3, 40):
        word = encode_identifier(identifier)
        word[rng.choice(CODE_LENGTH, CODE_LENGTH // 10, replace=False)] *= -1
        assert decode_identifier(word) in (identifier, None)


def test_decode_corrects_strong_noise():
    rng = np.random.default_rng(2)
    noisy = [encode_identifier(identifier) + rng.normal(0, 0.9, CODE_LENGTH) for identifier in range(50)]
    assert sum(decode_identifier(values) == identifier for identifier, values in enumerate(noisy)) >= 48


def test_decode_returns_none_for_noise():
    rng = np.random.default_rng(4)
    assert all(decode_identifier(rng.normal(0, 1, CODE_LENGTH)) is None for _ in range(400))


def test_code_words_of_neighboring_identifiers_are_far_apart():
    """One bit changes at least as many values as the code's free distance, and the checksum bits change more."""
    word = encode_identifier(123456789)
    for bit in range(48):
        assert (encode_identifier(123456789 ^ 1 << bit) != word).sum() >= 24


@pytest.mark.parametrize("identifier", [-1, 1 << 48])
def test_encode_refuses_identifiers_beyond_48_bits(identifier):
    with pytest.raises(ValueError, match="48 bits"):
        encode_identifier(identifier)
