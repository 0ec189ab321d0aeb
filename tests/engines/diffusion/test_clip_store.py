"""Clips on disk: stored whole, loaded only if intact, deleted when the video is complete."""

import numpy as np
import pytest
import torch
from safetensors.torch import save

from mimaface_cli.engines.diffusion.clip_store import ClipStore, compute_run_key
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings

SHAPE = (1, 4, 3, 2, 2)
ARRAYS = {"coefficients": np.arange(6, dtype=np.float32), "places": np.eye(2)}


@pytest.fixture
def store(tmp_path):
    return ClipStore(tmp_path / "clips", compute_run_key(DenoiseSettings(), ARRAYS), SHAPE)


def test_store_returns_a_saved_clip_until_cleared(store):
    assert store.load(0) is None
    latents = torch.randn(SHAPE)
    store.save(0, latents)
    assert torch.equal(store.load(0), latents) and store.load(1) is None
    assert [path.name for path in store.folder.iterdir()] == ["000000.safetensors"]
    store.clear()
    assert store.load(0) is None and not store.folder.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 64,
        save({"latents": torch.zeros(SHAPE)})[:-1],
        save({"other": torch.zeros(SHAPE)}),
        save({"latents": torch.zeros(SHAPE[:-1])}),
        save({"latents": torch.zeros(SHAPE, dtype=torch.float16)}),
        save({"latents": torch.full(SHAPE, float("nan"))}),
    ],
    ids=["empty", "noise", "cut", "other key", "other shape", "other format", "no numbers"],
)
def test_load_ignores_a_damaged_clip(store, content):
    store.folder.mkdir(parents=True)
    (store.folder / "000000.safetensors").write_bytes(content)
    assert store.load(0) is None


def test_save_ignores_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "clips").write_bytes(b"a file where the folder should be")
    store = ClipStore(tmp_path / "clips", "0" * 64, SHAPE)
    store.save(0, torch.zeros(SHAPE))
    assert store.load(0) is None
    store.clear()


def test_run_key_changes_with_every_input():
    keys = {
        compute_run_key(DenoiseSettings(), ARRAYS),
        compute_run_key(DenoiseSettings(seed=1), ARRAYS),
        compute_run_key(DenoiseSettings(guided=(0.0, 0.5)), ARRAYS),
        compute_run_key(DenoiseSettings(), ARRAYS, weights="a"),
        compute_run_key(DenoiseSettings(), ARRAYS, weights="b"),
        compute_run_key(DenoiseSettings(), {**ARRAYS, "places": 2 * np.eye(2)}),
        compute_run_key(DenoiseSettings(), {**ARRAYS, "places": np.eye(2, dtype=np.float32)}),
        compute_run_key(DenoiseSettings(), {"places": ARRAYS["coefficients"], "coefficients": ARRAYS["places"]}),
    }
    assert len(keys) == 8 and compute_run_key(DenoiseSettings(), dict(reversed(ARRAYS.items()))) in keys
