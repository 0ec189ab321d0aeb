"""The mel front end on sounds whose answer is known."""

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.speech.mel import (
    RELEASE,
    count_whole_frames,
    crop,
    mel_basis,
    mel_windows,
    melspectrogram,
    window_columns,
)

NOISE = np.random.default_rng(0).normal(0, 0.1, 16_400).astype(np.float32)


def test_a_tone_stands_in_its_own_band_at_its_own_time():
    time = np.arange(16_000) / 16_000
    tone = np.where(time < 0.5, 0.5 * np.sin(2 * np.pi * 1000 * time), 0)
    mel = melspectrogram(tone)
    band = mel_basis()[:, round(1000 / 16_000 * 800)].argmax()
    assert mel.shape == (80, 81) and (mel[:, 5:35].argmax(0) == band).all()
    assert (mel[:, 45:] == -4).all() and mel[:, 5:35].max() > 0


def test_pieces_join_without_a_seam_even_from_a_file(tmp_path):
    samples = crop(NOISE)
    kept = np.memmap(tmp_path / "sound", np.float32, "w+", shape=samples.shape)
    kept[:] = samples
    whole = mel_windows(samples, 0, 25)
    assert whole.shape == (25, 80, 16) and whole.dtype == np.float32 and len(np.unique(whole)) > 1000
    for size in (1, 7):
        pieces = [mel_windows(kept, i, min(i + size, 25)) for i in range(0, 25, size)]
        np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)


def test_sound_beyond_the_last_whole_frame_is_left_out():
    assert len(crop(NOISE)) == 25 * 640 and count_whole_frames(len(NOISE)) == 25
    assert count_whole_frames(639) == count_whole_frames(0) == 0 and len(crop(NOISE[:639])) == 0
    assert mel_windows(NOISE[:0], 0, 0).shape == (0, 80, 16)


def test_windows_start_two_frames_early_and_repeat_the_ends():
    found = window_columns(0, 100, 321)
    assert found[0].tolist() == [0] * 7 + list(range(1, 10))  # -6 ... 9
    assert found[[1, 2, 3, 7], 4].tolist() == [1, 4, 7, 20]  # rounded toward zero: -3, 0, 3, 16
    assert found.max() == 320 and window_columns(0, 3, 4).max() == 3


def test_silence_is_the_floor_and_loud_noise_stays_in_range():
    assert (melspectrogram(np.zeros(6400, np.float32)) == -RELEASE.max_abs_value).all()
    loud = melspectrogram(np.sign(NOISE) * 1e6)
    assert loud.max() == RELEASE.max_abs_value


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(value):
    samples = NOISE.copy()
    samples[8000] = value
    with pytest.raises(InputError, match="not finite"):
        melspectrogram(samples)
