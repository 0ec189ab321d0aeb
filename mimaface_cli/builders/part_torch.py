"""The network of a face part and its critic in torch, for training; `engines/mesh/part_network.py` runs the network."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mimaface_cli.engines.mesh.face_part import PLANES, FacePart
from mimaface_cli.engines.mesh.part_network import PartNetwork

FACTOR = 2  # pixels of the crop per pixel of the first layer, in each direction
SLOPE = 0.1  # of the leaky rectifier
_CRITIC_INPUTS, _CRITIC_WIDTHS, _CRITIC_GROUPS = 7, (24, 48, 64), 8


class PartUNet(nn.Module):
    """A U-Net with four levels that returns what to add to a rendered part of a face.

    Args:
        part: The part.
        widths: Channels by level.
    """

    def __init__(self, part: FacePart, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.e0 = nn.Conv2d(PLANES * FACTOR**2, first, 3, 1, 1)
        self.e1a, self.e1b = nn.Conv2d(first, second, 3, 2, 1), nn.Conv2d(second, second, 3, 1, 1)
        self.e2a, self.e2b = nn.Conv2d(second, third, 3, 2, 1), nn.Conv2d(third, third, 3, 1, 1)
        self.e3a = nn.Conv2d(third, fourth, 3, 2, 1)
        self.condition = nn.Linear(part.condition_dim, fourth)
        self.m0, self.m1 = nn.Conv2d(fourth, fourth, 3, 1, 1), nn.Conv2d(fourth, fourth, 3, 1, 1)
        self.d2 = nn.Conv2d(fourth + third, third, 3, 1, 1)
        self.d1 = nn.Conv2d(third + second, second, 3, 1, 1)
        self.d0 = nn.Conv2d(second + first, first, 3, 1, 1)
        self.o = nn.Conv2d(first, 3 * FACTOR**2, 3, 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, SLOPE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.condition.bias)
        nn.init.normal_(self.condition.weight, std=0.1)
        nn.init.normal_(self.o.weight, std=0.01)

    def copy_weights(self, network: PartNetwork) -> None:
        """Start from the weights of a model file."""
        state = {}
        for name in self.state_dict():
            layer, _, kind = name.rpartition(".")
            state[name] = torch.from_numpy((network.weights if kind == "weight" else network.biases)[layer])
        self.load_state_dict(state)

    def export_weights(self) -> dict[str, np.ndarray]:
        """Return the weights as arrays of a model file, in half precision."""
        return {name: value.numpy().astype(np.float16) for name, value in self.state_dict().items()}

    def forward(self, planes: Tensor, condition: Tensor) -> Tensor:
        """Return the change (N, 3, H, W) of planes (N, 8, H, W) under conditions (N, K)."""
        x0 = _act(self.e0(functional.pixel_unshuffle(planes, FACTOR)))
        x1 = _act(self.e1b(_act(self.e1a(x0))))
        x2 = _act(self.e2b(_act(self.e2a(x1))))
        x3 = _act(self.e3a(x2) + self.condition(condition)[:, :, None, None])
        x3 = x3 + _act(self.m0(x3))
        x3 = x3 + _act(self.m1(x3))
        u2 = _act(self.d2(torch.cat([_double(x3), x2], 1)))
        u1 = _act(self.d1(torch.cat([_double(u2), x1], 1)))
        u0 = _act(self.d0(torch.cat([_double(u1), x0], 1)))
        return functional.pixel_shuffle(self.o(u0), FACTOR)


class PartCritic(nn.Module):
    """A patch classifier of real and rendered crops, which also sees the opening of lips or lids and the photo."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = _CRITIC_WIDTHS
        self.layers = nn.Sequential(
            nn.Conv2d(_CRITIC_INPUTS, first, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(first, second, 4, 2, 1),
            nn.GroupNorm(_CRITIC_GROUPS, second),
            nn.LeakyReLU(0.2),
            nn.Conv2d(second, third, 4, 2, 1),
            nn.GroupNorm(_CRITIC_GROUPS, third),
            nn.LeakyReLU(0.2),
            nn.Conv2d(third, 1, 3, 1, 1),
        )

    def forward(self, colors: Tensor, planes: Tensor) -> Tensor:
        """Return scores (N, 1, H/8, W/8), high for real ones, of colors (N, 3, H, W) and planes (N, 8, H, W)."""
        return self.layers(torch.cat([colors, planes[:, 3:7]], 1))


def _act(values: Tensor) -> Tensor:
    return functional.leaky_relu(values, SLOPE)


def _double(values: Tensor) -> Tensor:
    return functional.interpolate(values, scale_factor=2, mode="nearest")
