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


def test_packing_undoes_splitting():
    values = np.arange(3 * COEFFICIENT_COUNT, dtype=np.float32).reshape(3, COEFFICIENT_COUNT)
    groups = split_coefficients(values)
    assert {name: group.shape for name, group in groups.items()} == {
        n: (3, width) for n, width in COEFFICIENT_WIDTHS.items()
    }
    np.testing.assert_array_equal(pack_coefficients(groups), values)


def test_a_track_packs_with_its_still_parts_repeated():
    values = np.random.default_rng(0).normal(size=(4, COEFFICIENT_COUNT)).astype(np.float32)
    groups = split_coefficients(values)
    track = {name: groups[name] for name in ("expression", "illumination", "gaze")}
    track |= {"identity": groups["identity"][0], "texture": groups["texture"][0]}
    track["pose"] = np.concatenate([groups["angles"], groups["translation"]], 1)
    packed = split_coefficients(pack_coefficients(track))
    for name in ("expression", "angles", "illumination", "translation", "gaze"):
        np.testing.assert_array_equal(packed[name], groups[name])
    np.testing.assert_array_equal(packed["identity"], np.repeat(groups["identity"][:1], 4, 0))


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_mixing_takes_looks_from_the_source_and_motion_from_the_driver(make):
    source, driver = np.zeros(COEFFICIENT_COUNT, np.float32), np.ones((2, COEFFICIENT_COUNT), np.float32)
    mixed = split_coefficients(mix_coefficients(make(source), make(driver)))
    of_driver = {name for name, group in mixed.items() if (np.asarray(group) == 1).all()}
    of_source = {name for name, group in mixed.items() if (np.asarray(group) == 0).all()}
    assert of_source == {"identity", "texture", "illumination"}
    assert of_driver == set(COEFFICIENT_WIDTHS) - of_source
    assert (driver == 1).all()


def test_weights_load_strictly_with_or_without_the_prefix():
    torch.manual_seed(0)
    model, other = (CoefficientNet(heads=(3, 2), width=4, depths=(1, 1, 1, 1)).eval() for _ in range(2))
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    load_strict(other, state, "net.pth")
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(model(image), other(image), rtol=0, atol=0)
    assert model(image).shape == (1, 5)

    state.pop("module.backbone.conv1.weight")
    state["module.extra"] = torch.zeros(1)
    state["module.fianl_layers.0.bias"] = torch.zeros(7)
    with pytest.raises(WeightsError) as caught:
        load_strict(other, state, "net.pth")
    message = str(caught.value)
    assert "net.pth" in message and "\n" not in message
    assert "1 missing (backbone.conv1.weight)" in message and "1 unexpected (extra)" in message
    assert "1 with the wrong shape (fianl_layers.0.bias)" in message


def test_a_model_on_the_meta_device_takes_the_weights_over():
    with torch.device("meta"):
        model = CoefficientNet(heads=(3,), width=4, depths=(1, 1, 1, 1))
    torch.manual_seed(0)
    load_strict(model, CoefficientNet(heads=(3,), width=4, depths=(1, 1, 1, 1)).state_dict(), "net.pth")
    assert model.eval()(torch.randn(2, 3, 64, 64)).shape == (2, 3)
