import numpy as np
import pytest

from mimaface_cli.provenance import error_correction as code


def test_checksum_is_the_known_one():
    """CRC-16/CCITT-FALSE by its definition: bit by bit long division of the message, preset with ones."""
    rng = np.random.default_rng(0)
    for identifier in (0, (1 << 48) - 1, *map(int, rng.integers(1 << 48, size=20))):
        bits = identifier ^ (0xFFFF << 32)
        value = bits << 16
        for k in reversed(range(48)):
            if value >> (k + 16) & 1:
                value ^= 0x11021 << k
        assert code.checksum(identifier) == value


def test_what_is_sent_comes_back():
    rng = np.random.default_rng(1)
    for identifier in (0, 1, (1 << 48) - 1, *map(int, rng.integers(1 << 48, size=50))):
        word = code.encode(identifier)
        assert word.shape == (code.LENGTH,) and set(np.unique(word)) <= {-1.0, 1.0}
        assert code.decode(word) == identifier
        assert code.decode(7 * word) == identifier  # any scale


def test_a_tenth_of_wrong_signs_is_mended_and_half_is_refused():
    rng = np.random.default_rng(2)
    for identifier in map(int, rng.integers(1 << 48, size=40)):
        word = code.encode(identifier)
        wrong = rng.choice(code.LENGTH, code.LENGTH // 10, replace=False)
        hurt = word.copy()
        hurt[wrong] *= -1
        assert code.decode(hurt) in (identifier, None)
    right = sum(code.decode(code.encode(n) + rng.normal(0, 0.9, code.LENGTH)) == n for n in range(50))
    assert right >= 48
    assert sum(code.decode(rng.normal(0, 1, code.LENGTH)) is not None for _ in range(400)) == 0


def test_code_words_lie_far_apart():
    """One bit of the identifier changes at least the code's free distance, and through the checksum more."""
    word = code.encode(123456789)
    for k in range(48):
        assert (code.encode(123456789 ^ 1 << k) != word).sum() >= 24


def test_identifiers_have_48_bits():
    for wrong in (-1, 1 << 48):
        with pytest.raises(ValueError, match="48 bits"):
            code.encode(wrong)
