"""LPIPS (Zhang et al. 2018), version 0.1 on AlexNet: distance of pictures as a network sees them."""

import re

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# What LPIPS subtracts from and divides pictures in [-1, 1] by.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
WIDTHS = (64, 192, 384, 256, 256)
_HEAD = re.compile(r"lins?\.?(\d)\.(?:model\.1\.)?weight")
_TAPS = (1, 4, 7, 9, 11)  # AlexNet's five rectified convolutions


class Lpips(nn.Module):
    """RGB pictures (B, 3, H, W) in [-1, 1] and the same again -> distances (B), 0 for equal ones."""

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

    def taps(self, pictures: Tensor) -> list[Tensor]:
        """Unit-length features of the five layers."""
        x, out = (pictures - self.shift) / self.scale, []
        for k, layer in enumerate(self.features):
            x = layer(x)
            if k in _TAPS:
                out.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return out

    def forward(self, pictures: Tensor, truth: Tensor) -> Tensor:
        parts = zip(self.heads, self.taps(pictures), self.taps(truth))
        return sum(head((a - b).square()).mean((1, 2, 3)) for head, a, b in parts)


def from_release(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The released names (torchvision's AlexNet, LPIPS's own linear layers) as those of `Lpips`."""
    kept = {key: value for key, value in state.items() if key.startswith("features.")}
    for key, value in state.items():
        if found := _HEAD.fullmatch(key):
            kept[f"heads.{found[1]}.weight"] = value
    return kept


def lpips(model: Lpips, image: np.ndarray, truth: np.ndarray) -> float:
    """LPIPS of two H×W×3 uint8 pictures; sides below 64 are enlarged, as AlexNet sees nothing in less."""
    pair = torch.from_numpy(np.stack([image, truth])).permute(0, 3, 1, 2).float() / 127.5 - 1
    if min(pair.shape[-2:]) < 64:
        pair = F.interpolate(pair, size=tuple(max(64, side) for side in pair.shape[-2:]), mode="bilinear")
    with torch.inference_mode():
        return float(model(pair[:1], pair[1:])[0])
