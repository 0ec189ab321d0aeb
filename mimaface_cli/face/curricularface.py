"""CurricularFace IR-101: identity embeddings, and the spatial features that the released tokens are made of."""

from collections.abc import Mapping
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimaface_cli.face.warp import warp_tensor
from mimaface_cli.weights.state_dict import count_blocks, load_network, strip_module_prefix


class Unit(nn.Module):
    """Improved residual unit; the shortcut is a strided pick where the width stays."""

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
        return self.shortcut_layer(x) + self.res_layer(x)


class CurricularFace(nn.Module):
    """Aligned RGB faces (B, 3, 112, 112) in [-1, 1] -> embedding (B, 512), features (B, 512·7·7) channel-major."""

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
                units.append(Unit(channels, width, 1 if unit else 2))
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
        """The network whose weights these are, in eval mode, float32; a stage ends where the width changes.

        name: the file, for the message. Raises WeightsError that lists what is missing, unexpected or misshapen.
        """
        state = strip_module_prefix(state)
        widths = [0]
        for unit in range(count_blocks(state, "body.")):
            key = f"body.{unit}.res_layer.3.weight"
            widths.append(len(state[key]) if key in state else widths[-1])  # loading says which is missing
        stages = [(width, len(list(same))) for width, same in groupby(widths[1:]) if width]
        options = {}
        if stages and "output_layer.3.weight" in state and state["output_layer.3.weight"].dim() == 2:
            widths, depths = zip(*stages)
            embedding, features = state["output_layer.3.weight"].shape
            side = round((features / widths[-1]) ** 0.5)
            options = {"widths": widths, "depths": depths, "embedding": embedding, "side": side}
        with torch.device("meta"):
            network = cls(**options)
        return load_network(network, state, name)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(self.input_layer(x))
        return self.output_layer(features), features.flatten(1)


def release_crop(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 3, 112, 112) by the release's fixed window in a 256 picture."""
    if images.shape[-2] != 256:
        images = F.interpolate(images, (256, 256), mode="bilinear")
    return F.interpolate(images[:, :, :224, 16:240], (112, 112), mode="bilinear")


def release_identity_crop(images: Tensor, matrices: np.ndarray) -> Tensor:
    """Square pictures (B, 3, S, S) and 256-alignment matrices (B, 2, 3) -> the crop the released model learned on.

    The canvas is S wide although the matrix aims at 256, so the face lies in its top-left part: odd, and kept, as
    the released tokens were trained with it.
    """
    return release_crop(warp_tensor(images, matrices, images.shape[-1]))
