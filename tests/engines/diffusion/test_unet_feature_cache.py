"""The feature cache: what is skipped, and that nothing else changes."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mimaface_cli.engines.diffusion.unet import FeatureCache, VideoUNet
from tests.goldens.fill import fill
from tests.tiny.release import UNET, WIDTH


@pytest.fixture(scope="module")
def unet():
    unet = VideoUNet({**UNET, "use_motion_module": True}).eval().requires_grad_(False)
    fill(unet, "reuse")
    return unet


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    return torch.randn(2, 13, 3, 16, 16), torch.randn(2, 5, WIDTH)


def count_flops(unet, *inputs) -> int:
    with FlopCounterMode(display=False) as counter:
        unet(*inputs)
    return counter.get_total_flops()


def test_filling_a_cache_keeps_the_prediction(unet, inputs):
    sample, tokens = inputs
    cache = FeatureCache()
    plain = unet(sample, 900.0, tokens)
    assert torch.equal(unet(sample, 900.0, tokens, cache), plain)
    assert cache.deep is not None and len(cache.tokens) == len(unet._token_attentions) > 0
    assert torch.equal(unet(sample, 900.0, tokens), plain)  # nothing is left in the network
    assert all(attention.cache is None for attention in unet._token_attentions)


def test_reuse_is_exact_for_the_same_step_and_cheaper_for_the_next(unet, inputs):
    sample, tokens = inputs
    whole = count_flops(unet, sample, 900.0, tokens)
    for deep in (True, False):
        cache = FeatureCache()
        expected = unet(sample, 900.0, tokens, cache)
        cache.use_deep, cache.use_tokens = deep, not deep
        assert torch.equal(unet(sample, 900.0, tokens, cache), expected)
        assert count_flops(unet, sample, 800.0, tokens, cache) < (0.5 if deep else 1) * whole
        assert not torch.equal(unet(sample, 800.0, tokens, cache), unet(sample, 800.0, tokens))


def test_reuse_without_guidance_selects_the_conditional_half(unet, inputs):
    sample, tokens = inputs
    cache = FeatureCache()
    expected = unet(sample, 900.0, tokens, cache)[1:]
    cache.use_deep = cache.use_tokens = True
    torch.testing.assert_close(unet(sample[1:], 900.0, tokens[1:], cache), expected, atol=1e-5, rtol=1e-5)


def test_a_batch_larger_than_the_cached_one_is_computed(unet, inputs):
    sample, tokens = inputs
    cache = FeatureCache()
    unet(sample[1:], 900.0, tokens[1:], cache)
    cache.use_deep = cache.use_tokens = True
    assert torch.equal(unet(sample, 900.0, tokens, cache), unet(sample, 900.0, tokens))
