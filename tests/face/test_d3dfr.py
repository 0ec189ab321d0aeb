"""Coefficient vectors and the network that predicts them."""

import numpy as np
import pytest
import torch

from mimaface_cli.errors import WeightsError
from mimaface_cli.face.d3dfr import (
    COEFFICIENT_COUNT,
    COEFFICIENT_WIDTHS,
    CoefficientNet,
    mix_coefficients,
    pack_coefficients,
    split_coefficients,
)
from mimaface_cli.weights.state_dict import load_strict


def test_pack_coefficients_inverts_split_coefficients():
    values = np.arange(3 * COEFFICIENT_COUNT, dtype=np.float32).reshape(3, COEFFICIENT_COUNT)
    groups = split_coefficients(values)
    expected_shapes = {name: (3, width) for name, width in COEFFICIENT_WIDTHS.items()}
    assert {name: group.shape for name, group in groups.items()} == expected_shapes
    np.testing.assert_array_equal(pack_coefficients(groups), values)


def test_pack_coefficients_repeats_the_constant_arrays_of_a_track():
    values = np.random.default_rng(0).normal(size=(4, COEFFICIENT_COUNT)).astype(np.float32)
    groups = split_coefficients(values)
    track = {name: groups[name] for name in ("expression", "illumination", "gaze")}
    track |= {"identity": groups["identity"][0], "texture": groups["texture"][0]}
    track["pose"] = np.concatenate([groups["angles"], groups["translation"]], 1)
    packed = split_coefficients(pack_coefficients(track))
    for name in ("expression", "angles", "illumination", "translation", "gaze"):
        np.testing.assert_array_equal(packed[name], groups[name])
    np.testing.assert_array_equal(packed["identity"], np.repeat(groups["identity"][:1], 4, 0))


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor])
def test_mix_coefficients_takes_appearance_from_the_source_and_motion_from_the_driver(convert):
    source, driver = np.zeros(COEFFICIENT_COUNT, np.float32), np.ones((2, COEFFICIENT_COUNT), np.float32)
    mixed = split_coefficients(mix_coefficients(convert(source), convert(driver)))
    from_driver = {name for name, group in mixed.items() if (np.asarray(group) == 1).all()}
    from_source = {name for name, group in mixed.items() if (np.asarray(group) == 0).all()}
    assert from_source == {"identity", "texture", "illumination"}
    assert from_driver == set(COEFFICIENT_WIDTHS) - from_source
    assert (driver == 1).all()


def test_network_loads_weights_strictly_with_or_without_the_module_prefix():
    torch.manual_seed(0)
    network, other = (CoefficientNet(heads=(3, 2), width=4, depths=(1, 1, 1, 1)).eval() for _ in range(2))
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    load_strict(other, state, "net.pth")
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(network(image), other(image), rtol=0, atol=0)
    assert network(image).shape == (1, 5)

    state.pop("module.backbone.conv1.weight")
    state["module.extra"] = torch.zeros(1)
    state["module.fianl_layers.0.bias"] = torch.zeros(7)
    with pytest.raises(WeightsError) as caught:
        load_strict(other, state, "net.pth")
    message = str(caught.value)
    assert "net.pth" in message and "\n" not in message
    assert "1 missing (backbone.conv1.weight)" in message and "1 unexpected (extra)" in message
    assert "1 with the wrong shape (fianl_layers.0.bias)" in message


def test_network_on_the_meta_device_works_after_loading_weights():
    with torch.device("meta"):
        network = CoefficientNet(heads=(3,), width=4, depths=(1, 1, 1, 1))
    torch.manual_seed(0)
    load_strict(network, CoefficientNet(heads=(3,), width=4, depths=(1, 1, 1, 1)).state_dict(), "net.pth")
    assert network.eval()(torch.randn(2, 3, 64, 64)).shape == (2, 3)
