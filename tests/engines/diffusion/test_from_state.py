"""Networks built from their weights alone: the sizes are read from the shapes, and nothing may be missing or left."""

import json

import pytest
import torch
from safetensors.torch import load_file

from mimaface_cli.engines.diffusion import clip_encoder, mia
from mimaface_cli.errors import WeightsError
from mimaface_cli.face.curricularface import CurricularFace
from mimaface_cli.face.d3dfr import HEADS, CoefficientNet
from tests.goldens.fill import fill


@pytest.mark.parametrize(("width", "depths"), [(4, (1, 1, 1, 1)), (8, (2, 1, 3, 1))])
@torch.no_grad()
def test_the_coefficient_network(width, depths):
    network = CoefficientNet(width=width, depths=depths).eval()
    fill(network, "seed")
    built = CoefficientNet.from_state({f"module.{key}": value for key, value in network.state_dict().items()})
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.equal(built(image), network(image)) and not built.training
    assert built(image).shape == (1, sum(HEADS)) and not any(p.requires_grad for p in built.parameters())


@pytest.mark.parametrize(("widths", "depths", "side"), [((4, 8, 12, 16), (1, 1, 1, 1), 7), ((4, 8), (3, 2), 5)])
@torch.no_grad()
def test_the_identity_network(widths, depths, side):
    network = CurricularFace(widths, depths, embedding=24, side=side).eval()
    fill(network, "seed")
    built = CurricularFace.from_state(network.state_dict())
    faces = torch.rand(1, 3, side << len(widths), side << len(widths)) * 2 - 1
    for ours, theirs in zip(built(faces), network(faces), strict=True):
        assert torch.equal(ours, theirs)


GROUPS = {"gaze": 4, "expression": 64, "texture": 80, "illumination": 27, "angles": 3, "translation": 3}


@torch.no_grad()
def test_the_released_tokens():
    module = mia.ReleaseMIA(16, 24, identity_width=10, layers=2).eval()
    fill(module, "seed")
    built = mia.build_mia({key: module.state_dict()[key] for key in sorted(module.state_dict())})
    inputs = torch.rand(1, 5, 24), torch.rand(1, 10), {name: torch.rand(1, 2, size) for name, size in GROUPS.items()}
    assert isinstance(built, mia.ReleaseMIA) and torch.equal(built(*inputs), module(*inputs))


@pytest.mark.parametrize(("heads", "metadata"), [(8, None), (8, {}), (2, {"heads": "2"})])
@torch.no_grad()
def test_the_papers_tokens(heads, metadata):
    module = mia.PaperMIA(16, 24, tokens_per_group=2, layers=1, heads=heads).eval()
    fill(module, "seed")
    built = mia.build_mia(module.state_dict(), metadata)
    motion = {name: torch.rand(1, 2, size) for name, size in mia.PAPER_MOTION.items()}
    appearance = torch.rand(1, 5, 24)
    assert isinstance(built, mia.PaperMIA) and torch.equal(built(appearance, motion), module(appearance, motion))


@pytest.mark.parametrize("heads", ["0", "-1", "3", "many", "9" * 50])
def test_heads_that_cannot_be(heads):
    state = mia.PaperMIA(16, 24, heads=2).state_dict()
    with pytest.raises(WeightsError, match="heads do not divide the width 16"):
        mia.build_mia(state, {"heads": heads}, "mia.safetensors")


def test_a_single_motion_token_is_refused():
    state = mia.PaperMIA(16, 24, motion={"pose": 6, "gaze": 4}).state_dict()
    del state["embed.gaze.weight"], state["embed.gaze.bias"]
    with pytest.raises(WeightsError, match="a single motion token"):
        mia.build_mia(state)


@torch.no_grad()
def test_the_clip_encoder_with_and_without_the_old_prefix(release_folder):
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


BUILDERS = {
    "coefficients": (
        lambda: CoefficientNet(width=4, depths=(1, 1, 1, 1)),
        CoefficientNet.from_state,
        "backbone.bn1.weight",
    ),
    "identity": (
        lambda: CurricularFace((4, 8), (1, 1), embedding=8, side=2),
        CurricularFace.from_state,
        "input_layer.1.weight",
    ),
    "release": (lambda: mia.ReleaseMIA(16, 24, 10), mia.build_mia, "layer_norm.weight"),
    "paper": (lambda: mia.PaperMIA(16, 24), mia.build_mia, "norm.weight"),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_what_does_not_fit_is_listed(name):
    make, build, norm = BUILDERS[name]
    state = make().state_dict()
    for key in state:  # any one of them
        without = {other: value for other, value in state.items() if other != key}
        with pytest.raises(WeightsError, match="missing|single motion token"):
            build(without)
    with pytest.raises(WeightsError, match=r"does not hold the weights of this model: .*1 unexpected \(zzz\)"):
        build(state | {"zzz": torch.zeros(1)})
    with pytest.raises(WeightsError, match=rf"1 with the wrong shape \({norm}\)"):
        build(state | {norm: torch.zeros(3)})
    with pytest.raises(WeightsError, match="missing"):
        build({})
