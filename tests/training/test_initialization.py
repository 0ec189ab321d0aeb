"""Initial networks of stage 1."""

import torch
from safetensors.torch import load_file

from mimaface_cli.training.config_reader import build_config
from mimaface_cli.training.initialization import initialize_image_stage
from tests.conftest import weights_at


def test_image_stage_starts_as_stable_diffusion_with_zero_weights_for_conditions(training_weights):
    with weights_at(training_weights):
        network = initialize_image_stage(build_config({}))
    sd = load_file(training_weights / "sd15/unet.safetensors")
    state = network.unet.state_dict()
    assert state["conv_in.weight"].shape[1] == 13
    assert not state["conv_in.weight"][:, 4:].any()
    assert torch.equal(state["conv_in.weight"][:, :4], sd["conv_in.weight"])
    assert all(torch.equal(state[key], value) for key, value in sd.items() if key != "conv_in.weight")
