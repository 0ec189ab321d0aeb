"""What is asked of a released file, against the real networks' whole lists of names and shapes."""

import json

import pytest
import torch
from torch import Tensor

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.checkpoint_files import NETWORKS, select
from tests.conftest import ROOT

GOLDENS = ROOT / "tests" / "goldens" / "data"


def state(rows) -> dict[str, Tensor]:
    """Tensors without memory, of rows (name, shape, ...)."""
    return {row[0]: torch.empty(row[1], device="meta") for row in rows}


def golden(name: str, part: str = "state_dict"):
    path = GOLDENS / f"{name}.json"
    if not path.exists():
        pytest.skip(f"needs the fixture {name}, which is not kept in the project")
    return state(json.loads(path.read_text())[part])


@pytest.mark.parametrize(
    ("content", "name"), [("d3dfr", "d3dfr_net"), ("mia", "mim"), ("curricularface", "curricularface")]
)
def test_the_released_networks_are_taken_whole(content, name):
    whole = golden(name)
    assert select(whole, content, name).keys() == whole.keys()
    assert select({f"module.{key}": value for key, value in whole.items()}, content, name).keys() == whole.keys()


def test_the_released_unets():
    image = golden("unet3d_fullsize_keys", "image_model_unet")
    used = golden("unet3d_fullsize_keys", "3dunet_pth_used")
    assert select(image, "image unet", "unet.pth").keys() == image.keys() and len(image) == 686
    assert select(image | used, "video unet", "3dunet.pth").keys() == used.keys()
    with pytest.raises(WeightsError, match="unexpected"):
        select(image | used, "image unet", "3dunet.pth")
    with pytest.raises(WeightsError, match=r"1 missing \(down_blocks.0.motion_modules"):
        select(image, "video unet", "unet.pth")
    with pytest.raises(WeightsError, match=r"1 of another shape \(conv_in.weight \[320, 13, 3, 3\]\)"):
        select(image, "sd unet", "unet.pth")
    motion = {key: value for key, value in used.items() if "motion_modules." in key}
    assert select(motion, "motion modules", "mm.ckpt").keys() == motion.keys()


def test_stable_diffusions_own_networks():
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768).state_dict()
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        ).state_dict()
    assert select(unet, "sd unet", "unet").keys() == unet.keys()
    assert select(vae, "vae", "vae").keys() == vae.keys()
    old = {key.replace("to_out.0", "proj_attn").replace(".to_", "."): value for key, value in vae.items()}
    names = {".q.": ".query.", ".k.": ".key.", ".v.": ".value."}
    for new, name in names.items():
        old = {key.replace(new, name): value for key, value in old.items()}
    assert old.keys() != vae.keys() and select(old, "vae", "vae").keys() == vae.keys()


def test_the_vision_half_of_clip():
    from transformers import CLIPConfig, CLIPModel, CLIPVisionModel

    config = CLIPConfig()
    with torch.device("meta"):
        whole = CLIPModel(config).state_dict()
        vision = CLIPVisionModel(config.vision_config).state_dict()
    plain = {key.removeprefix("vision_model.") for key in vision}
    assert select(whole, "clip", "clip").keys() == plain
    prefixed = {
        f"vision_model.{key}": torch.empty(vision.get(key, whole[f"vision_model.{key}"]).shape) for key in plain
    }
    counter = {"vision_model.embeddings.position_ids": torch.zeros(1, 50)}
    assert select(prefixed | counter, "clip", "clip").keys() == plain


@pytest.mark.parametrize("content", NETWORKS)
def test_nothing_is_no_network(content):
    with pytest.raises(WeightsError, match="missing"):
        select({}, content, "empty.pth")
