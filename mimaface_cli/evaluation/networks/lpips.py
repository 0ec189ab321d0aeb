"""LPIPS version 0.1 on AlexNet: a perceptual distance between images.

Source: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".
"""

import re

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's documentation uses
from torch import Tensor, nn

# Mean and standard deviation with which LPIPS normalizes images in [-1, 1].
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
WIDTHS = (64, 192, 384, 256, 256)
_HEAD_KEY = re.compile(r"lins?\.?(\d)\.(?:model\.1\.)?weight")
_RECTIFIED_LAYERS = (1, 4, 7, 9, 11)  # outputs of AlexNet's five ReLUs
_SMALLEST_SIDE = 64


class LpipsNetwork(nn.Module):
    """Network that maps two batches of images to distances (B), 0 for equal images.

    Images are RGB (B, 3, H, W) in [-1, 1].
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, 1, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, 1, 1),
            nn.ReLU(),
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in WIDTHS)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)

    def layer_features(self, images: Tensor) -> list[Tensor]:
        """Return the features of the five rectified layers, of unit length over channels."""
        x = (images - self.shift) / self.scale
        features = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in _RECTIFIED_LAYERS:
                features.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return features

    def forward(self, images: Tensor, references: Tensor) -> Tensor:
        """Return the distance (B) of each image (B, 3, H, W) to its reference of the same size."""
        layers = zip(self.heads, self.layer_features(images), self.layer_features(references), strict=True)
        distance = torch.zeros((), device=images.device)
        for head, features, reference_features in layers:
            distance = distance + head((features - reference_features).square()).mean((1, 2, 3))
        return distance


def convert_release(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the released tensors to those of `LpipsNetwork`.

    They are those of torchvision's AlexNet and of LPIPS's linear layers.
    """
    converted = {key: value for key, value in state.items() if key.startswith("features.")}
    for key, value in state.items():
        if match := _HEAD_KEY.fullmatch(key):
            converted[f"heads.{match[1]}.weight"] = value
    return converted


def lpips_distance(network: nn.Module, image: np.ndarray, reference: np.ndarray) -> float:
    """Return the LPIPS distance of two images.

    Args:
        network: A `LpipsNetwork` with its weights.
        image: H×W×3 uint8 RGB.
        reference: H×W×3 uint8 RGB. Sides below 64 pixels are enlarged, because AlexNet needs that size.
    """
    pair = torch.from_numpy(np.stack([image, reference])).permute(0, 3, 1, 2).float() / 127.5 - 1
    height, width = pair.shape[-2:]
    if min(height, width) < _SMALLEST_SIDE:
        pair = F.interpolate(pair, size=(max(_SMALLEST_SIDE, height), max(_SMALLEST_SIDE, width)), mode="bilinear")
    with torch.inference_mode():
        return float(network(pair[:1], pair[1:])[0])
