"""The appearance encoder: preprocessing, tokens, weights."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPVisionConfig, CLIPVisionModel

from mimaface_cli.engines.diffusion import clip_encoder


@pytest.mark.parametrize(("width", "height"), [(512, 512), (300, 200), (200, 333), (224, 224)])
def test_preprocess_image_resizes_crops_and_normalizes(width, height):
    columns = np.tile(np.linspace(0, 255, width), (height, 1)).astype(np.uint8)
    image = np.stack([columns, np.full_like(columns, 10), np.full_like(columns, 200)], -1)
    pixels = clip_encoder.preprocess_image(image)
    assert pixels.shape == (1, 3, 224, 224) and pixels.dtype == torch.float32
    assert pixels[0, 1].unique().item() == pytest.approx((10 / 255 - 0.4578275) / 0.26130258, abs=1e-6)
    assert pixels[0, 2].unique().item() == pytest.approx((200 / 255 - 0.40821073) / 0.27577711, abs=1e-6)
    shown = 224 / round(width * 224 / min(width, height))  # the part of the width that the center crop keeps
    red = (pixels[0, 0].mean(0) * 0.26862954 + 0.48145466) * 255
    assert red[0].item() == pytest.approx(255 * (1 - shown) / 2, abs=3)
    assert red[-1].item() == pytest.approx(255 * (1 + shown) / 2, abs=3)


def test_preprocess_image_only_normalizes_an_image_of_224_pixels():
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    pixels = clip_encoder.preprocess_image(image)[0].permute(1, 2, 0).numpy()
    back = pixels * [0.26862954, 0.26130258, 0.27577711] + [0.48145466, 0.4578275, 0.40821073]
    np.testing.assert_allclose(back * 255, image, atol=1e-3)


@torch.no_grad()
def test_encode_image_tokens_returns_all_tokens_before_the_final_norm():
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    model = CLIPVisionModel(config).eval()
    torch.nn.init.constant_(model.post_layernorm.bias, 3.0)
    pixels = torch.randn(2, 3, 28, 28)
    tokens = clip_encoder.encode_image_tokens(model, pixels)
    assert tokens.shape == (2, 5, 16)
    pooled = model(pixel_values=pixels).pooler_output
    torch.testing.assert_close(model.post_layernorm(tokens[:, 0]), pooled)
    assert (tokens[:, 0] - pooled).abs().max() > 1


def test_default_config_is_vit_large_patch_14():
    with torch.device("meta"):
        model = CLIPVisionModel(clip_encoder.VIT_L_14)
    assert sum(parameter.numel() for parameter in model.parameters()) == 303_179_776


@torch.no_grad()
def test_build_clip_encoder_reads_keys_with_and_without_the_old_prefix(release_folder):
    folder = release_folder / "checkpoints/video/vision_encoder"
    config, state = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    pixels = torch.rand(1, 3, 56, 56)
    old = clip_encoder.build_clip_encoder(config, state)
    new = clip_encoder.build_clip_encoder(
        config, {key.removeprefix("vision_model."): value for key, value in state.items()}
    )
    tokens = clip_encoder.encode_image_tokens(old, pixels)
    assert tokens.shape == (1, 17, 32) and torch.equal(tokens, clip_encoder.encode_image_tokens(new, pixels))
    assert not any(buffer.is_meta for buffer in old.buffers())
