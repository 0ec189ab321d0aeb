"""The video UNet against diffusers' image UNet, and its motion modules."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from mimaface_cli.engines.diffusion.unet import RELEASE_CONFIG, VideoUNet, merge_release_states, parse_unet_config
from mimaface_cli.errors import WeightsError
from tests.engines.diffusion.toy_networks import UNET, randomize_motion

SMALL = UNET | {
    "block_out_channels": (16, 32),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "attention_head_dim": 4,
    "norm_num_groups": 8,
    "motion_module_resolutions": [1, 2],
    "motion_module_kwargs": {"num_attention_heads": 4, "temporal_position_encoding_max_len": 8},
}


@pytest.fixture
def unet() -> VideoUNet:
    torch.manual_seed(0)
    return randomize_motion(VideoUNet(SMALL)).eval()


@pytest.fixture
def inputs() -> tuple:
    torch.manual_seed(1)
    return torch.randn(2, 13, 3, 8, 12), torch.tensor([5.5, 700.0]), torch.randn(2, 6, 12)


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 8), (9, 7), (5, 6)])
def test_unet_without_motion_modules_equals_diffusers(size):
    torch.manual_seed(0)
    config = {**SMALL, "use_motion_module": False}
    base = UNet2DConditionModel(**parse_unet_config(config)[0]).eval()
    unet = VideoUNet(config).eval()
    unet.load_state_dict(base.state_dict(), strict=True)
    sample, tokens = torch.randn(1, 13, 4, *size), torch.randn(1, 6, 12)
    predicted = unet(sample, 321.25, tokens)
    expected = base(sample[0].transpose(0, 1), 321.25, tokens.expand(4, -1, -1)).sample
    torch.testing.assert_close(predicted[0].transpose(0, 1), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_initial_motion_modules_are_the_identity(inputs):
    torch.manual_seed(0)
    unet = VideoUNet(SMALL).eval()
    still = VideoUNet({**SMALL, "use_motion_module": False}).eval()
    still.load_state_dict({k: v for k, v in unet.state_dict().items() if "motion_modules" not in k})
    torch.testing.assert_close(unet(*inputs), still(*inputs), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_frames_attend_to_each_other_only_within_a_video(unet, inputs):
    sample, timestep, tokens = inputs
    before = unet(sample, timestep, tokens)
    assert before.shape == (2, 4, 3, 8, 12)
    changed = sample.clone()
    changed[0, :, 2] += 1
    after = unet(changed, timestep, tokens)
    assert (after[0, :, 0] - before[0, :, 0]).abs().max() > 1e-4
    torch.testing.assert_close(after[1], before[1], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_unet_accepts_tokens_per_frame(unet, inputs):
    sample, timestep, tokens = inputs
    shared = unet(sample, timestep, tokens)
    repeated = tokens[:, None].repeat(1, 3, 1, 1)
    torch.testing.assert_close(unet(sample, timestep, repeated), shared, atol=1e-5, rtol=1e-5)
    repeated[:, 1] = 0
    assert (unet(sample, timestep, repeated) - shared).abs().max() > 1e-4


@torch.no_grad()
def test_unet_depends_on_the_frame_order(unet, inputs):
    sample, timestep, tokens = inputs
    backward = unet(sample.flip(2), timestep, tokens).flip(2)
    assert (backward - unet(sample, timestep, tokens)).abs().max() > 1e-4


def test_unet_refuses_clips_beyond_its_frame_positions(unet):
    with pytest.raises(WeightsError, match="at most 8 frames"):
        unet(torch.randn(1, 13, 9, 8, 8), 1, torch.randn(1, 2, 12))


def test_gradient_checkpointing_keeps_the_gradients(unet, inputs):
    gradients = []
    for unet.gradient_checkpointing in (False, True):
        unet.zero_grad()
        unet(*inputs).square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in unet.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-4, msg=name)


@torch.no_grad()
def test_motion_options_select_modules_and_positions(inputs):
    kwargs = {"num_attention_heads": 2, "temporal_attention_dim_div": 2, "temporal_position_encoding": False}
    options = {"motion_module_resolutions": [2], "motion_module_mid_block": True, "motion_module_kwargs": kwargs}
    torch.manual_seed(0)
    unet = randomize_motion(VideoUNet({**SMALL, **options})).eval()
    names = {name.split(".temporal")[0] for name in unet.state_dict() if "motion_modules" in name}
    assert names == {
        "down_blocks.1.motion_modules.0",
        "mid_block.motion_modules.0",
        "up_blocks.0.motion_modules.0",
        "up_blocks.0.motion_modules.1",
    }
    sample, timestep, tokens = inputs
    backward = unet(sample.flip(2), timestep, tokens).flip(2)  # without positions the order of frames is lost
    torch.testing.assert_close(backward, unet(sample, timestep, tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"novel_option": 1}, "novel_option"),
        ({"use_inflated_groupnorm": False}, "inflated"),
        ({"motion_module_kwargs": {"novel": 1}}, "novel"),
        ({"motion_module_kwargs": {"attention_block_types": ["Temporal_Cross"]}}, "Temporal_Cross"),
    ],
)
def test_parse_unet_config_refuses_unknown_options(change, message):
    with pytest.raises(WeightsError, match=message), torch.device("meta"):
        VideoUNet({**SMALL, **change})


def test_default_config_is_the_released_network():
    with torch.device("meta"):
        state = VideoUNet(RELEASE_CONFIG).state_dict()
    assert len(state) == 1246 and sum(tensor.numel() for tensor in state.values()) == 1_277_810_884


def test_merge_release_states_takes_motion_and_input_from_the_video_file():
    image = {"conv_in.bias": 0, "conv_out.bias": 1}
    video = {"conv_in.bias": 2, "conv_out.bias": 3, "up_blocks.0.motion_modules.0.x": 4}
    merged = merge_release_states(image, video)
    assert merged == {"conv_in.bias": 2, "conv_out.bias": 1, "up_blocks.0.motion_modules.0.x": 4}
