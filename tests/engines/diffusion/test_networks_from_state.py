"""Networks built from their weights alone: sizes follow from the shapes, and every key must fit."""

import pytest
import torch

from mimaface_cli.engines.diffusion import mia
from mimaface_cli.errors import WeightsError
from mimaface_cli.face.curricularface import CurricularFace
from mimaface_cli.face.d3dfr import HEADS, CoefficientNet
from tests.goldens.fill import fill


@pytest.mark.parametrize(("width", "depths"), [(4, (1, 1, 1, 1)), (8, (2, 1, 3, 1))])
@torch.no_grad()
def test_coefficient_net_from_state_has_the_sizes_of_the_weights(width, depths):
    network = CoefficientNet(width=width, depths=depths).eval()
    fill(network, "seed")
    built = CoefficientNet.from_state({f"module.{key}": value for key, value in network.state_dict().items()})
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.equal(built(image), network(image)) and not built.training
    assert built(image).shape == (1, sum(HEADS)) and not any(p.requires_grad for p in built.parameters())


@pytest.mark.parametrize(("widths", "depths", "side"), [((4, 8, 12, 16), (1, 1, 1, 1), 7), ((4, 8), (3, 2), 5)])
@torch.no_grad()
def test_identity_net_from_state_has_the_sizes_of_the_weights(widths, depths, side):
    network = CurricularFace(widths, depths, embedding=24, side=side).eval()
    fill(network, "seed")
    built = CurricularFace.from_state(network.state_dict())
    faces = torch.rand(1, 3, side << len(widths), side << len(widths)) * 2 - 1
    for ours, theirs in zip(built(faces), network(faces), strict=True):
        assert torch.equal(ours, theirs)


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
def test_networks_from_state_list_keys_that_do_not_fit(name):
    make, build, norm = BUILDERS[name]
    state = make().state_dict()
    for key in state:  # any one of them
        without = {other: value for other, value in state.items() if other != key}
        with pytest.raises(WeightsError, match=r"missing|single motion token"):
            build(without)
    with pytest.raises(WeightsError, match=r"does not contain the weights of this model: .*1 unexpected \(zzz\)"):
        build(state | {"zzz": torch.zeros(1)})
    with pytest.raises(WeightsError, match=rf"1 with the wrong shape \({norm}\)"):
        build(state | {norm: torch.zeros(3)})
    with pytest.raises(WeightsError, match="missing"):
        build({})
