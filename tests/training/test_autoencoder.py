"""The small autoencoder learns, resumes, and keeps its images when its latents are standardized."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from mimaface_cli.errors import InputError
from mimaface_cli.training.autoencoder import load_autoencoder, standardize_latents, train_autoencoder
from mimaface_cli.training.config import AutoencoderConfig


def test_standardize_latents_keeps_decoded_images():
    torch.manual_seed(0)
    vae = AutoencoderKL(**AutoencoderConfig(channels=(8, 8)).network_config(16)).eval().requires_grad_(False)
    images = torch.rand(8, 3, 16, 16) * 2 - 1
    before = vae.decode(vae.encode(images).latent_dist.mode()).sample
    standardize_latents(vae, iter([images]))
    latents = vae.encode(images).latent_dist.mode()
    np.testing.assert_allclose(latents.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(latents.std((0, 2, 3)), 1, atol=1e-3)
    np.testing.assert_allclose(vae.decode(latents).sample, before, atol=1e-4)


def test_train_autoencoder_learns_and_does_not_repeat_a_finished_run(tmp_path):
    colors = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    images = colors.repeat_interleave(8, 2).repeat_interleave(8, 3) * 2 - 1

    def batches(first):
        while True:
            yield images

    config = AutoencoderConfig(channels=(16, 16), norm_groups=4, steps=100, rate=3e-3, edges=0.0)
    psnr, reports = [], []
    train_autoencoder(batches, 16, config, tmp_path, report=lambda step, steps, figures: psnr.append(figures["psnr"]))
    assert psnr[-1] > max(psnr[0], 20)  # A gray image has 11.
    train_autoencoder(batches, 16, config, tmp_path, report=lambda *values: reports.append(values))
    assert not reports
    assert load_autoencoder(tmp_path).config.scaling_factor == 1.0


def test_network_config_rejects_size_that_levels_cannot_halve():
    with pytest.raises(InputError, match="multiple of 2"):
        AutoencoderConfig(channels=(8, 8)).network_config(15)
