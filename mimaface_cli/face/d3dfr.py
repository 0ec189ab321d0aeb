"""D3DFR: the ResNet-50 that reads 3DMM coefficients and gaze from an aligned 256 crop (space `bfm09`)."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from mimaface_cli.weights.state_dict import count_blocks, load_network, strip_module_prefix

# Coefficient groups in the order of the network's 261 outputs.
FIELDS = {
    "identity": 80,
    "expression": 64,
    "texture": 80,
    "angles": 3,
    "illumination": 27,
    "translation": 3,
    "gaze": 4,
}
SIZE = sum(FIELDS.values())
HEADS = (80, 64, 80, 3, 27, 2, 1, 4)  # translation has one head for x and y, one for z

Array = TypeVar("Array", np.ndarray, Tensor)


def split(coefficients: Array) -> dict[str, Array]:
    """(..., 261) -> the groups of FIELDS, each (..., width), as views."""
    groups, start = {}, 0
    for name, width in FIELDS.items():
        groups[name] = coefficients[..., start : start + width]
        start += width
    return groups


def pack(groups: Mapping[str, np.ndarray]) -> np.ndarray:
    """The inverse of `split`: groups (..., width) or (width,), broadcast against each other, -> (..., 261) float32.

    `pose` (..., 6) may stand for angles and translation, as in a motion track.
    """
    groups = dict(groups)
    if "pose" in groups:
        groups["angles"], groups["translation"] = np.split(groups.pop("pose"), 2, axis=-1)
    lead = np.broadcast_shapes(*(np.shape(groups[name])[:-1] for name in FIELDS))
    parts = [np.broadcast_to(groups[name], (*lead, width)) for name, width in FIELDS.items()]
    return np.concatenate(parts, -1).astype(np.float32)


def mix(source: Array, driver: Array) -> Array:
    """Reenactment: identity, texture and illumination of the source, all motion of the driver.

    source (..., 261) broadcasts against driver (..., 261); the motion is absolute.
    """
    mixed = driver.clone() if isinstance(driver, Tensor) else driver.copy()
    into, of_source = split(mixed), split(source)
    for name in ("identity", "texture", "illumination"):
        into[name][...] = of_source[name]
    return mixed


class Bottleneck(nn.Module):
    """ResNet v1.5 unit: the stride is on the 3×3 convolution."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride > 1 or channels != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class Backbone(nn.Module):
    """(B, 3, H, W) -> pooled features (B, 32·width, 1, 1)."""

    def __init__(self, width: int, depths: tuple[int, int, int, int]):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        for stage, depth in enumerate(depths):
            units = []
            for unit in range(depth):
                units.append(Bottleneck(channels, width << stage, 2 if stage and not unit else 1))
                channels = 4 * (width << stage)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*units))

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return x.mean((2, 3), keepdim=True)


class CoefficientNet(nn.Module):
    """RGB crops (B, 3, 256, 256) in [-1, 1] -> coefficients (B, 261) in the order of FIELDS."""

    def __init__(
        self, heads: tuple[int, ...] = HEADS, width: int = 64, depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    ):
        super().__init__()
        self.backbone = Backbone(width, depths)
        self.fianl_layers = nn.ModuleList(nn.Conv2d(32 * width, size, 1) for size in heads)  # spelt as released

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], name: str = "coefficient network") -> "CoefficientNet":
        """The network whose weights these are (width and depths are read from them), in eval mode, float32.

        name: the file, for the message. Raises WeightsError that lists what is missing, unexpected or misshapen.
        """
        state, width = strip_module_prefix(state), 64
        if "backbone.conv1.weight" in state:
            width = state["backbone.conv1.weight"].shape[0]
        depths = [count_blocks(state, f"backbone.layer{stage}.") or 1 for stage in (1, 2, 3, 4)]
        with torch.device("meta"):
            network = cls(width=width, depths=tuple(depths))
        return load_network(network, state, name)

    def forward(self, x: Tensor) -> Tensor:
        features = self.backbone(x)
        return torch.cat([head(features) for head in self.fianl_layers], 1).flatten(1)
