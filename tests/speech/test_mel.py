"""The mel front end on audio with a known spectrum."""

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.speech.mel import (
    RELEASE,
    count_whole_frames,
    crop_to_whole_frames,
    mel_basis,
    mel_windows,
    melspectrogram,
    window_columns,
)

NOISE = np.random.default_rng(0).normal(0, 0.1, 16_400).astype(np.float32)


def test_melspectrogram_shows_a_tone_in_its_band_at_its_time():
    time = np.arange(16_000) / 16_000
    tone = np.where(time < 0.5, 0.5 * np.sin(2 * np.pi * 1000 * time), 0)
    mel = melspectrogram(tone)
    band = mel_basis()[:, round(1000 / 16_000 * 800)].argmax()
    assert mel.shape == (80, 81) and (mel[:, 5:35].argmax(0) == band).all()
    assert (mel[:, 45:] == -4).all() and mel[:, 5:35].max() > 0


def test_mel_windows_of_adjacent_ranges_join_without_a_seam(tmp_path):
    samples = crop_to_whole_frames(NOISE)
    memory_map = np.memmap(tmp_path / "audio", np.float32, "w+", shape=samples.shape)
    memory_map[:] = samples
    whole = mel_windows(samples, 0, 25)
    assert whole.shape == (25, 80, 16) and whole.dtype == np.float32 and len(np.unique(whole)) > 1000
    for size in (1, 7):
        pieces = [mel_windows(memory_map, i, min(i + size, 25)) for i in range(0, 25, size)]
        np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)


def test_crop_to_whole_frames_drops_the_audio_after_the_last_whole_frame():
    assert len(crop_to_whole_frames(NOISE)) == 25 * 640 and count_whole_frames(len(NOISE)) == 25
    assert count_whole_frames(639) == count_whole_frames(0) == 0 and len(crop_to_whole_frames(NOISE[:639])) == 0
    assert mel_windows(NOISE[:0], 0, 0).shape == (0, 80, 16)


def test_window_columns_start_two_frames_early_and_repeat_the_ends():
    columns = window_columns(0, 100, 321)
    assert columns[0].tolist() == [0] * 7 + list(range(1, 10))  # -6 ... 9
    assert columns[[1, 2, 3, 7], 4].tolist() == [1, 4, 7, 20]  # rounded toward zero: -3, 0, 3, 16
    assert columns.max() == 320 and window_columns(0, 3, 4).max() == 3


def test_melspectrogram_is_at_the_floor_in_silence_and_clipped_in_loud_noise():
    assert (melspectrogram(np.zeros(6400, np.float32)) == -RELEASE.max_abs_value).all()
    assert melspectrogram(np.sign(NOISE) * 1e6).max() == RELEASE.max_abs_value


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_melspectrogram_refuses_nan_and_inf(value):
    samples = NOISE.copy()
    samples[8000] = value
    with pytest.raises(InputError, match="contains NaN or Inf"):
        melspectrogram(samples)
