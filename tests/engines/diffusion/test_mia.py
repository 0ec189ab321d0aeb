"""MIA: condition tokens of both variants, and building them from weights."""

import pytest
import torch

from mimaface_cli.engines.diffusion import mia
from mimaface_cli.engines.diffusion.mia import RELEASE_MOTION, Adapter, PaperMIA, ReleaseMIA, pool_frames
from mimaface_cli.errors import WeightsError
from tests.goldens.fill import fill


def _motion(frames: int, batch: int = 2, **extra: int) -> dict[str, torch.Tensor]:
    return {name: torch.randn(batch, frames, width) for name, width in {**RELEASE_MOTION, **extra}.items()}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@torch.no_grad()
def test_release_mia_orders_tokens_as_released():
    model = ReleaseMIA(width=16, clip_width=12, identity_width=20, layers=0)
    motion = _motion(3)
    appearance, identity = torch.randn(2, 5, 12), torch.randn(2, 20)
    tokens = model(appearance, identity, motion)
    assert tokens.shape == (2, 3, 12, 16)
    names = ["arcface", "gaze", "exp", "tex", "gamma", "angles", "translation"]
    parts = [identity[:, None].expand(-1, 3, -1), *(motion[n] for n in ("gaze", "expression", "texture"))]
    parts += [motion[n] for n in ("illumination", "angles", "translation")]
    for i, (name, part) in enumerate(zip(names, parts, strict=True)):
        expected = model.layer_norm(getattr(model, f"transform_dim_{name}")(part))
        torch.testing.assert_close(tokens[:, :, i], expected)
    expected = model.layer_norm(model.transform_dim_clip(appearance))
    for frame in range(3):
        torch.testing.assert_close(tokens[:, frame, 7:], expected)


@torch.no_grad()
def test_release_mia_tokens_are_per_frame_and_pool_to_their_mean():
    model = ReleaseMIA(width=16, clip_width=12, identity_width=20, layers=2)
    motion = _motion(3)
    appearance, identity = torch.randn(2, 5, 12), torch.randn(2, 20)
    tokens = model(appearance, identity, motion)
    for frame in range(3):
        alone = model(appearance, identity, {name: part[:, frame : frame + 1] for name, part in motion.items()})
        torch.testing.assert_close(alone[:, 0], tokens[:, frame], atol=1e-5, rtol=1e-5)
    assert (tokens[:, 0] - tokens[:, 1]).abs().max() > 1e-3
    torch.testing.assert_close(pool_frames(tokens), (tokens[:, 0] + tokens[:, 1] + tokens[:, 2]) / 3)


@torch.no_grad()
def test_adapter_attends_per_head():
    width, heads = 8, 2
    block = Adapter(width, 1, heads).resblocks[0]
    x = torch.randn(1, 4, width)
    normed = block.ln_1(x)
    fused = block.attn.c_qkv(normed)[0].view(4, heads, 3, width // heads)
    out = []
    for head in range(heads):
        q, k, v = fused[:, head].unbind(1)
        out.append(torch.softmax(q @ k.T / (width // heads) ** 0.5, -1) @ v)
    expected = x + block.attn.c_proj(torch.cat(out, -1))[None]
    expected = expected + block.mlp(block.ln_2(expected))
    torch.testing.assert_close(block(x), expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("per_group", [1, 3])
def test_paper_mia_modulates_patches_as_in_equation_1(per_group):
    model = PaperMIA(width=16, clip_width=12, heads=2, tokens_per_group=per_group)
    motion = _motion(3, pose=6)
    tokens = model.motion_tokens(motion)
    assert tokens.shape == (2, 3, 3 * per_group, 12)
    patches = torch.randn(2, 7, 12)
    modulated = model.modulate(patches, tokens)
    for frame in range(3):
        m = tokens[:, frame]
        expected = patches + torch.softmax(patches @ m.transpose(1, 2) / 12**0.5, -1) @ m
        torch.testing.assert_close(modulated[:, frame], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_paper_mia_motion_changes_only_patches_before_the_adapter():
    model = PaperMIA(width=16, clip_width=12, heads=2, layers=0)
    appearance, motion = torch.randn(2, 8, 12), _motion(2, pose=6)
    tokens = model(appearance, motion)
    assert tokens.shape == (2, 2, 8, 16)
    torch.testing.assert_close(tokens[:, 0, 0], tokens[:, 1, 0])  # the class token
    for name in ("pose", "expression", "gaze"):
        changed = model(appearance, {**motion, name: motion[name] + 1})
        assert (changed[:, :, 1:] - tokens[:, :, 1:]).abs().amax((0, 1, 3)).min() > 1e-4
        torch.testing.assert_close(changed[:, :, 0], tokens[:, :, 0])


def test_mia_sizes_are_those_of_release_and_paper():
    with torch.device("meta"):
        released, paper = ReleaseMIA(), PaperMIA()
        assert sum(p.numel() for p in released.parameters()) == 41_464_320
        appearance = torch.zeros(1, 257, 1024)
        assert released(appearance, torch.zeros(1, 25088), _motion(2, 1)).shape == (1, 2, 264, 768)
        assert paper(appearance, _motion(2, 1, pose=6)).shape == (1, 2, 257, 768)


def test_paper_mia_refuses_a_single_motion_token():
    with pytest.raises(ValueError, match="two motion tokens"):
        PaperMIA(motion={"pose": 6})


GROUPS = {"gaze": 4, "expression": 64, "texture": 80, "illumination": 27, "angles": 3, "translation": 3}


@torch.no_grad()
def test_build_mia_builds_the_released_variant():
    module = mia.ReleaseMIA(16, 24, identity_width=10, layers=2).eval()
    fill(module, "seed")
    built = mia.build_mia({key: module.state_dict()[key] for key in sorted(module.state_dict())})
    inputs = torch.rand(1, 5, 24), torch.rand(1, 10), {name: torch.rand(1, 2, size) for name, size in GROUPS.items()}
    assert isinstance(built, mia.ReleaseMIA) and torch.equal(built(*inputs), module(*inputs))


@pytest.mark.parametrize(("heads", "metadata"), [(8, None), (8, {}), (2, {"heads": "2"})])
@torch.no_grad()
def test_build_mia_builds_the_papers_variant(heads, metadata):
    module = mia.PaperMIA(16, 24, tokens_per_group=2, layers=1, heads=heads).eval()
    fill(module, "seed")
    built = mia.build_mia(module.state_dict(), metadata)
    motion = {name: torch.rand(1, 2, size) for name, size in mia.PAPER_MOTION.items()}
    appearance = torch.rand(1, 5, 24)
    assert isinstance(built, mia.PaperMIA) and torch.equal(built(appearance, motion), module(appearance, motion))


@pytest.mark.parametrize("heads", ["0", "-1", "3", "many", "9" * 50])
def test_build_mia_refuses_heads_that_do_not_divide_the_width(heads):
    state = mia.PaperMIA(16, 24, heads=2).state_dict()
    with pytest.raises(WeightsError, match="heads do not divide the width 16"):
        mia.build_mia(state, {"heads": heads}, "mia.safetensors")


def test_build_mia_refuses_a_single_motion_token():
    state = mia.PaperMIA(16, 24, motion={"pose": 6, "gaze": 4}).state_dict()
    del state["embed.gaze.weight"], state["embed.gaze.bias"]
    with pytest.raises(WeightsError, match="a single motion token"):
        mia.build_mia(state)
