"""D3DFR: the ResNet-50 that predicts 3DMM coefficients and gaze from an aligned 256 crop (space `bfm09`)."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from mimaface_cli.weights.checkpoint_layouts import strip_module_prefix
from mimaface_cli.weights.state_dict import count_blocks, load_network

# Widths of the coefficient groups, in the order of the network's 261 outputs.
COEFFICIENT_WIDTHS = {
    "identity": 80,
    "expression": 64,
    "texture": 80,
    "angles": 3,
    "illumination": 27,
    "translation": 3,
    "gaze": 4,
}
COEFFICIENT_COUNT = sum(COEFFICIENT_WIDTHS.values())
HEADS = (80, 64, 80, 3, 27, 2, 1, 4)  # translation has one head for x and y, and one for z

Array = TypeVar("Array", np.ndarray, Tensor)


def split_coefficients(coefficients: Array) -> dict[str, Array]:
    """Split coefficient vectors into their groups.

    Args:
        coefficients: (..., 261).

    Returns:
        The groups of COEFFICIENT_WIDTHS, each (..., width), as views.
    """
    groups, start = {}, 0
    for name, width in COEFFICIENT_WIDTHS.items():
        groups[name] = coefficients[..., start : start + width]
        start += width
    return groups


def pack_coefficients(groups: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pack groups into coefficient vectors; inverts `split_coefficients`.

    Args:
        groups: Arrays (..., width) or (width,), broadcast against each other. `pose` (..., 6) may replace angles and
            translation, as in a motion track.

    Returns:
        (..., 261) float32.
    """
    groups = dict(groups)
    if "pose" in groups:
        groups["angles"], groups["translation"] = np.split(groups.pop("pose"), 2, axis=-1)
    batch_shape = np.broadcast_shapes(*(np.shape(groups[name])[:-1] for name in COEFFICIENT_WIDTHS))
    parts = [np.broadcast_to(groups[name], (*batch_shape, width)) for name, width in COEFFICIENT_WIDTHS.items()]
    return np.concatenate(parts, -1).astype(np.float32)


def mix_coefficients(source: Array, driver: Array) -> Array:
    """Combine the appearance of a source with the absolute motion of a driver.

    Args:
        source: (..., 261) coefficients that give identity, texture and illumination; broadcast against `driver`.
        driver: (..., 261) coefficients that give everything else.

    Returns:
        (..., 261), a new array.
    """
    mixed = driver.clone() if isinstance(driver, Tensor) else driver.copy()
    mixed_groups, source_groups = split_coefficients(mixed), split_coefficients(source)
    for name in ("identity", "texture", "illumination"):
        mixed_groups[name][...] = source_groups[name]
    return mixed


class Bottleneck(nn.Module):
    """A residual unit of ResNet v1.5: the 3×3 convolution has the stride."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or channels != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, 4·width, H/stride, W/stride)."""
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class Backbone(nn.Module):
    """A ResNet without its classifier.

    Args:
        width: Channels of the stem.
        depths: Number of residual units in each of the four stages.
    """

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
        """Map images (B, 3, H, W) to pooled features (B, 32·width, 1, 1)."""
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for stage in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        return x.mean((2, 3), keepdim=True)


class CoefficientNet(nn.Module):
    """The coefficient network: RGB crops in, coefficients in the order of COEFFICIENT_WIDTHS out.

    Args:
        heads: Number of outputs of each head.
        width: Channels of the backbone's stem.
        depths: Number of residual units in each of the backbone's four stages.
    """

    def __init__(
        self, heads: tuple[int, ...] = HEADS, width: int = 64, depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    ):
        super().__init__()
        self.backbone = Backbone(width, depths)
        # The released checkpoint has this misspelling in its keys.
        self.fianl_layers = nn.ModuleList(nn.Conv2d(32 * width, size, 1) for size in heads)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], name: str = "coefficient network") -> "CoefficientNet":
        """Build the network from weights, in eval mode and float32; width and depths follow from the weights.

        Args:
            state: The weights by key.
            name: Name of the file in error messages.

        Raises:
            WeightsError: With the keys that are missing, unexpected or have the wrong shape.
        """
        state, width = strip_module_prefix(state), 64
        if "backbone.conv1.weight" in state:
            width = state["backbone.conv1.weight"].shape[0]
        first, second, third, fourth = (count_blocks(state, f"backbone.layer{stage}.") or 1 for stage in (1, 2, 3, 4))
        with torch.device("meta"):
            network = cls(width=width, depths=(first, second, third, fourth))
        return load_network(network, state, name)

    def forward(self, x: Tensor) -> Tensor:
        """Map crops (B, 3, 256, 256) in [-1, 1] to coefficients (B, 261)."""
        features = self.backbone(x)
        return torch.cat([head(features) for head in self.fianl_layers], 1).flatten(1)
