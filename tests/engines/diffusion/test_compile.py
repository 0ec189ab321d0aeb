"""Compilation: each kind of layer is one graph, so that no step returns to Python within a layer."""

import pytest
import torch

from mimaface_cli.engines.diffusion.unet import VideoUNet
from tests.engines.diffusion.toy_networks import UNET

FRAMES, TOKENS = 4, 5
WIDTH = UNET["block_out_channels"][0]


@pytest.fixture(scope="module")
def block():
    """The first block of a tiny UNet, with a layer of each kind."""
    torch.manual_seed(0)
    return VideoUNet(UNET).eval().requires_grad_(False).down_blocks[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["resnets", "attentions", "motion_modules"])
def test_layer_compiles_without_a_graph_break(block, kind, dtype):
    layer = getattr(block, kind)[0].to(dtype)
    x = torch.randn(FRAMES, WIDTH, 8, 8, dtype=dtype)
    arguments = {
        "resnets": (x, torch.randn(FRAMES, 4 * WIDTH, dtype=dtype)),
        "attentions": (x, torch.randn(FRAMES, TOKENS, UNET["cross_attention_dim"], dtype=dtype)),
        "motion_modules": (x, FRAMES),
    }[kind]
    with torch.no_grad():
        found = torch._dynamo.explain(layer)(*arguments)
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


def test_layer_keeps_its_graph_with_and_without_guidance(block):
    """Both batch sizes get a graph of their own, and no third one when they alternate."""
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(block.motion_modules[0].float(), backend=counter, dynamic=False)
    with torch.no_grad():
        for batch in (2, 1, 2, 1):
            compiled(torch.randn(batch * FRAMES, WIDTH, 8, 8), FRAMES)
    assert counter.frame_count == 2


def test_compiled_unet_keeps_the_attentions_that_reuse_tokens_uncompiled():
    unet = VideoUNet(UNET).eval()
    unet.compile_layers(attentions=False)
    assert unet.down_blocks[0].resnets[0]._compiled_call_impl is not None
    assert unet.down_blocks[0].attentions[0]._compiled_call_impl is None
