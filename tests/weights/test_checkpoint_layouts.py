"""Layout checks against the complete key lists of the real networks."""

import json

import pytest
import torch
from torch import Tensor

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.checkpoint_layouts import (
    NETWORK_LAYOUTS,
    describe_mismatches,
    select_tensors,
    strip_module_prefix,
)
from tests.conftest import ROOT

GOLDENS = ROOT / "tests" / "goldens" / "data"


def load_golden_state(name: str, part: str = "state_dict") -> dict[str, Tensor]:
    """Return tensors without memory for the keys and shapes in a fixture."""
    path = GOLDENS / f"{name}.json"
    if not path.exists():
        pytest.skip(f"needs the fixture {name}, which is not part of the project")
    rows = json.loads(path.read_text())[part]
    return {key: torch.empty(shape, device="meta") for key, shape, *_ in rows}


@pytest.mark.parametrize(
    ("content", "name"), [("d3dfr", "d3dfr_net"), ("mia", "mim"), ("curricularface", "curricularface")]
)
def test_select_tensors_keeps_all_of_the_released_small_networks(content, name):
    state = load_golden_state(name)
    assert select_tensors(state, content, name).keys() == state.keys()
    parallel_state = {f"module.{key}": value for key, value in state.items()}
    assert select_tensors(parallel_state, content, name).keys() == state.keys()


def test_select_tensors_distinguishes_the_released_unets():
    image = load_golden_state("unet3d_fullsize_keys", "image_model_unet")
    video_part = load_golden_state("unet3d_fullsize_keys", "3dunet_pth_used")
    assert len(image) == 686
    assert select_tensors(image, "image unet", "unet.pth").keys() == image.keys()
    assert select_tensors(image | video_part, "video unet", "3dunet.pth").keys() == video_part.keys()
    with pytest.raises(WeightsError, match="unexpected"):
        select_tensors(image | video_part, "image unet", "3dunet.pth")
    with pytest.raises(WeightsError, match=r"1 missing \(down_blocks.0.motion_modules"):
        select_tensors(image, "video unet", "unet.pth")
    with pytest.raises(WeightsError, match=r"1 with the wrong shape \(conv_in.weight \[320, 13, 3, 3\]\)"):
        select_tensors(image, "sd unet", "unet.pth")
    motion = {key: value for key, value in video_part.items() if "motion_modules." in key}
    assert select_tensors(motion, "motion modules", "mm.ckpt").keys() == motion.keys()


def test_select_tensors_keeps_all_of_stable_diffusions_unet():
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768).state_dict()
    assert select_tensors(unet, "sd unet", "unet").keys() == unet.keys()


def test_select_tensors_renames_the_vaes_old_attention_keys():
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        ).state_dict()
    assert select_tensors(vae, "vae", "vae").keys() == vae.keys()
    old = {key.replace("to_out.0", "proj_attn").replace(".to_", "."): value for key, value in vae.items()}
    for new_name, old_name in {".q.": ".query.", ".k.": ".key.", ".v.": ".value."}.items():
        old = {key.replace(new_name, old_name): value for key, value in old.items()}
    assert old.keys() != vae.keys()
    assert select_tensors(old, "vae", "vae").keys() == vae.keys()


def test_select_tensors_selects_the_vision_encoder_of_clip():
    from transformers import CLIPConfig, CLIPModel, CLIPVisionModel

    config = CLIPConfig()
    with torch.device("meta"):
        whole = CLIPModel(config).state_dict()
        vision = CLIPVisionModel(config.vision_config).state_dict()
    plain_keys = {key.removeprefix("vision_model.") for key in vision}
    assert select_tensors(whole, "clip", "clip").keys() == plain_keys
    prefixed = {
        f"vision_model.{key}": torch.empty(vision.get(key, whole[f"vision_model.{key}"]).shape, device="meta")
        for key in plain_keys
    }
    position_ids = {"vision_model.embeddings.position_ids": torch.zeros(1, 50)}
    assert select_tensors(prefixed | position_ids, "clip", "clip").keys() == plain_keys


@pytest.mark.parametrize("content", NETWORK_LAYOUTS)
def test_select_tensors_refuses_an_empty_state_dict(content):
    with pytest.raises(WeightsError, match="missing"):
        select_tensors({}, content, "empty.pth")


def test_describe_mismatches_counts_the_keys_and_lists_the_first_four():
    text = describe_mismatches(missing=set("edcba"), unexpected=[], misshapen=["f"])
    assert text == "5 missing (a, b, c, d, ...); 1 with the wrong shape (f)"
    assert describe_mismatches((), (), ()) == ""


def test_strip_module_prefix_changes_nothing_unless_every_key_has_it():
    mixed = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert strip_module_prefix(mixed) == mixed and strip_module_prefix({}) == {}
    assert strip_module_prefix({"module.a": mixed["b"]}) == {"a": mixed["b"]}
