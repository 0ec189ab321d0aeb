"""SadTalker's mel columns and the window of each frame (mimaface_cli.speech.mel)."""

from collections.abc import Iterator

import numpy as np

from mimaface_cli.speech.mel import (
    count_columns,
    count_whole_frames,
    crop_to_whole_frames,
    mel_basis,
    mel_windows,
    melspectrogram,
    window_columns,
)
from tests.goldens.fixture import Check, Fixture, absolute
from tests.goldens.kinds._sadtalker import mel_config


def check(fixture: Fixture) -> Iterator[Check]:
    arrays, config = fixture.arrays, mel_config(fixture.spec["config"])
    tolerance = fixture.spec["tolerance"]["float64 pipeline"]["atol"]
    if "mel_basis" in arrays:
        yield absolute("mel_basis", mel_basis(config), arrays["mel_basis"], 1e-9)
    for prefix in ("", "synth_"):
        if f"{prefix}wav_int16" not in arrays:
            continue
        samples = crop_to_whole_frames(arrays[f"{prefix}wav_int16"] / np.float32(32768), config)
        frames, columns = count_whole_frames(len(samples), config), count_columns(len(samples), config)
        yield Check(f"{prefix}cropped_samples", abs(len(samples) - fixture.spec[f"{prefix}cropped_samples"]), 0)
        yield Check(f"{prefix}num_frames", abs(frames - fixture.spec[f"{prefix}num_frames"]), 0)
        whole = melspectrogram(samples, config=config)
        yield absolute(f"{prefix}mel", whole, arrays[f"{prefix}mel"], tolerance)
        pieces = [melspectrogram(samples, i, min(i + 37, columns), config) for i in range(0, columns, 37)]
        yield absolute(f"{prefix}mel in pieces", np.concatenate(pieces, 1), arrays[f"{prefix}mel"], tolerance)
        if f"{prefix}windows" in arrays:
            computed = window_columns(0, frames, columns, config)
            yield absolute(f"{prefix}window_indices", computed, arrays[f"{prefix}window_indices"], 0)
            pieces = [mel_windows(samples, i, min(i + 13, frames), config) for i in range(0, frames, 13)]
            yield absolute(f"{prefix}windows", np.concatenate(pieces), arrays[f"{prefix}windows"], tolerance)
