"""CurricularFace IR-101: identity embeddings, and the spatial features that the released model turns into tokens."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's usual name for it)
from torch import Tensor, nn

from mimaface_cli.face.warp import warp_tensor
from mimaface_cli.weights.checkpoint_layouts import strip_module_prefix
from mimaface_cli.weights.state_dict import count_blocks, load_network


class ImprovedResidualUnit(nn.Module):
    """The unit of IR networks. If the number of channels does not change, the shortcut is strided subsampling."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.shortcut_layer = (
            nn.MaxPool2d(1, stride)
            if channels == width
            else nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, width, 3, 1, 1, bias=False),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, width, H/stride, W/stride)."""
        return self.shortcut_layer(x) + self.res_layer(x)


class CurricularFace(nn.Module):
    """The identity network.

    Args:
        widths: Channels of each stage.
        depths: Number of units in each stage.
        embedding: Size of the embedding.
        side: Height and width of the last feature map.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        depths: tuple[int, ...] = (3, 13, 30, 3),
        embedding: int = 512,
        side: int = 7,
    ):
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        )
        units, channels = [], widths[0]
        for width, depth in zip(widths, depths, strict=True):
            for unit in range(depth):
                units.append(ImprovedResidualUnit(channels, width, 1 if unit else 2))
                channels = width
        self.body = nn.Sequential(*units)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(channels * side * side, embedding),
            nn.BatchNorm1d(embedding, affine=False),
        )

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], name: str = "identity network") -> "CurricularFace":
        """Build the network from weights, in eval mode and float32; the sizes follow from the weights.

        Args:
            state: The weights by key.
            name: Name of the file in error messages.

        Raises:
            WeightsError: With the keys that are missing, unexpected or have the wrong shape.
        """
        state = strip_module_prefix(state)
        with torch.device("meta"):
            network = cls(**_infer_sizes(state))
        return load_network(network, state, name)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute embeddings and spatial features.

        Args:
            x: (B, 3, 112, 112) aligned RGB faces in [-1, 1].

        Returns:
            Embeddings (B, 512) and features (B, 512·7·7), channel by channel.
        """
        features = self.body(self.input_layer(x))
        return self.output_layer(features), features.flatten(1)


def _infer_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the arguments of CurricularFace that fit the weights; a stage ends where the width changes."""
    unit_widths: list[int] = []
    for unit in range(count_blocks(state, "body.")):
        key = f"body.{unit}.res_layer.3.weight"
        if key in state:
            unit_widths.append(len(state[key]))
        elif unit_widths:  # loading reports the missing key
            unit_widths.append(unit_widths[-1])
    stages = [(width, len(list(units))) for width, units in groupby(unit_widths) if width]
    linear = state.get("output_layer.3.weight")
    if not stages or linear is None or linear.dim() != 2:
        return {}
    widths, depths = zip(*stages, strict=True)
    embedding, features = linear.shape
    side = round((features / widths[-1]) ** 0.5)
    return {"widths": widths, "depths": depths, "embedding": embedding, "side": side}


def release_crop(images: Tensor) -> Tensor:
    """Cut the release's fixed window from a 256 image.

    Args:
        images: (B, 3, H, W); resized to 256 × 256 where the height differs.

    Returns:
        (B, 3, 112, 112).
    """
    if images.shape[-2] != 256:
        images = F.interpolate(images, (256, 256), mode="bilinear")
    return F.interpolate(images[:, :, :224, 16:240], (112, 112), mode="bilinear")


def release_identity_crop(images: Tensor, matrices: np.ndarray) -> Tensor:
    """Cut the identity crop that the released model was trained on.

    The canvas is as large as the image although the transform targets 256 pixels, so the face lies in the canvas's top
    left part. This looks wrong but must not change, because the released model was trained with it.

    Args:
        images: (B, 3, S, S) square images.
        matrices: (B, 2, 3) transforms of the images to the 256 crop.

    Returns:
        (B, 3, 112, 112).
    """
    return release_crop(warp_tensor(images, matrices, images.shape[-1]))
