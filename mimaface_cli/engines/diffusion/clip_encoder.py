"""The appearance encoder: CLIP's vision transformer (ViT-L/14 as released), all tokens, without the final norm."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel

from mimaface_cli.weights.checkpoint_layouts import strip_module_prefix
from mimaface_cli.weights.state_dict import load_network

# CLIP's normalization of RGB values in [0, 1].
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
    """Resize an image's shortest side to `size` (bicubic), crop its center, normalize its colors.

    Args:
        image: (H, W, 3) uint8 RGB.
        size: Side of the encoder's input in pixels.

    Returns:
        (1, 3, size, size) float32.
    """
    pil_image = Image.fromarray(image)
    width, height = pil_image.size
    scale = size / min(width, height)
    # int(), as CLIP's own preprocessing truncates the longer side.
    resized = pil_image.resize(
        (max(size, int(width * scale)), max(size, int(height * scale))), Image.Resampling.BICUBIC
    )
    left, top = (resized.width - size) // 2, (resized.height - size) // 2
    pixels = np.asarray(resized.crop((left, top, left + size, top + size)), np.float32) / 255
    pixels = (pixels - np.array(PIXEL_MEAN, np.float32)) / np.array(PIXEL_STD, np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def input_size(model: CLIPVisionModel) -> int:
    """Return the side of the encoder's input in pixels."""
    return int(model.config.image_size)  # type: ignore[arg-type]  # one number in all configs that we read


def encode_image_tokens(model: CLIPVisionModel, pixels: Tensor) -> Tensor:
    """Encode preprocessed images.

    Args:
        model: The encoder.
        pixels: (B, 3, S, S) from `preprocess_image`.

    Returns:
        (B, 1 + patches, width): class token, then patch tokens, as the last layer leaves them.
    """
    return model(pixel_values=pixels.to(model.device, model.dtype)).last_hidden_state


def build_clip_encoder(
    config: Mapping[str, Any], state: Mapping[str, Tensor], name: str = "CLIP vision encoder"
) -> CLIPVisionModel:
    """Build the encoder from its config and weights, in eval mode and float32.

    Args:
        config: Content of its config.json.
        state: Its weights, with or without the prefix `vision_model.`.
        name: Name of the file, for messages.

    Raises:
        WeightsError: If the weights do not fit; lists missing, unexpected and misshapen ones.
    """
    with torch.device("meta"):
        model = CLIPVisionModel(CLIPVisionConfig(**config))
    # transformers 5 has dropped the prefix that the released files, and transformers 4, have.
    prefix = "vision_model." if any(key.startswith("vision_model.") for key in model.state_dict()) else ""
    prefixed = {
        prefix + key.removeprefix("vision_model."): value
        for key, value in strip_module_prefix(state).items()
        if not key.endswith("position_ids")  # a counter in files of older versions
    }
    load_network(model, prefixed, name)
    for part in model.modules():  # these buffers are not in the files, but still on the meta device
        position_ids = getattr(part, "position_ids", None)
        if isinstance(position_ids, Tensor):
            part.position_ids = torch.arange(position_ids.shape[-1])[None]
    return model
