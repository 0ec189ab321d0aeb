"""The appearance encoder: CLIP's vision transformer (ViT-L/14 as released), all tokens, without the final norm."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel

from mimaface_cli.weights.state_dict import load_network, strip_module_prefix

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)

VIT_L_14 = CLIPVisionConfig(
    hidden_size=1024,
    intermediate_size=4096,
    projection_dim=768,
    num_hidden_layers=24,
    num_attention_heads=16,
    image_size=224,
    patch_size=14,
)


def preprocess_image(image: np.ndarray, size: int = 224) -> Tensor:
    """RGB picture (H, W, 3) uint8 -> (1, 3, size, size): shortest side to `size` (bicubic), center crop, normalized."""
    picture = Image.fromarray(image)
    width, height = picture.size
    scale = size / min(width, height)
    # int(), as CLIP's own preprocessing truncates the longer side.
    picture = picture.resize((max(size, int(width * scale)), max(size, int(height * scale))), Image.Resampling.BICUBIC)
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    pixels = np.asarray(picture.crop((left, top, left + size, top + size)), np.float32) / 255
    pixels = (pixels - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_STD)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def encode_image_tokens(model: CLIPVisionModel, pixels: Tensor) -> Tensor:
    """(B, 3, S, S) -> (B, 1 + patches, width): class token, then patch tokens, as the last layer leaves them."""
    return model(pixel_values=pixels.to(model.device, model.dtype)).last_hidden_state


def build_clip_encoder(
    config: Mapping[str, Any], state: Mapping[str, Tensor], name: str = "CLIP vision encoder"
) -> CLIPVisionModel:
    """The encoder of a config.json and its weights (with or without the prefix `vision_model.`), in eval mode, float32.

    name: the file, for the message. Raises WeightsError that lists what is missing, unexpected or misshapen.
    """
    with torch.device("meta"):
        model = CLIPVisionModel(CLIPVisionConfig(**config))
    # transformers 5 has dropped the prefix that the released files, and transformers 4, have.
    prefix = "vision_model." if any(key.startswith("vision_model.") for key in model.state_dict()) else ""
    state = {
        prefix + key.removeprefix("vision_model."): value
        for key, value in strip_module_prefix(state).items()
        if not key.endswith("position_ids")  # a counter that old files hold
    }
    load_network(model, state, name)
    for part in model.modules():  # no weights, hence not in the files, but on the meta device so far
        if getattr(part, "position_ids", None) is not None:
            part.position_ids = torch.arange(part.position_ids.shape[-1])[None]
    return model
