"""I3D, the video network whose Kinetics-400 logits are the features of FVD.

Source: Carreira and Zisserman 2017 (network), Unterthiner et al. 2018 (FVD).
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's documentation uses
from torch import Tensor, nn

INPUT_SIZE = 224  # height and width in pixels
MIN_FRAMES = 9  # shorter clips are too short for the last pooling
CLASSES = 400
# Widths of the four branches: 1×1×1; 1×1×1 then 3×3×3; the same again; pooling then 1×1×1.
MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
_POOL_BEFORE = {
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


def pad_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Pad with zeros as TensorFlow's "SAME" does.

    The output size is input size / stride, rounded up.

    If the padding is odd, the extra cell comes last.
    """
    pad: list[int] = []
    for size, taps, step in zip(reversed(x.shape[-3:]), reversed(kernel), reversed(stride), strict=True):
        total = max((-(-size // step) - 1) * step + taps - size, 0)
        pad += [total // 2, total - total // 2]
    return F.pad(x, pad)


def max_pool_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Pool the maximum over time, height and width with `pad_same`."""
    return F.max_pool3d(pad_same(x, kernel, stride), tuple(kernel), tuple(stride))


class ConvBlock3d(nn.Module):
    """Convolution, batch norm and ReLU; with `is_output`, only a convolution with a bias."""

    def __init__(self, channels: int, width: int, kernel: int = 1, stride: int = 1, is_output: bool = False) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels, width, kernel, stride, bias=is_output)
        self.bn = None if is_output else nn.BatchNorm3d(width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, T, H, W) to (B, width, T', H', W')."""
        x = self.conv3d(pad_same(x, self.conv3d.kernel_size, self.conv3d.stride))
        return x if self.bn is None else self.bn(x).relu()


class MixedBlock(nn.Module):
    """Four parallel branches that are concatenated over channels."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = ConvBlock3d(channels, widths[0])
        self.b1a, self.b1b = ConvBlock3d(channels, widths[1]), ConvBlock3d(widths[1], widths[2], 3)
        self.b2a, self.b2b = ConvBlock3d(channels, widths[3]), ConvBlock3d(widths[3], widths[4], 3)
        self.b3b = ConvBlock3d(channels, widths[5])

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, T, H, W) to (B, sum of the branches' widths, T, H, W)."""
        pooled = max_pool_same(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], 1)


class I3d(nn.Module):
    """Network that maps clips (B, 3, T, 224, 224) in [-1, 1] to logits (B, 400).

    The logits are averaged over time.

    T is at least MIN_FRAMES.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = ConvBlock3d(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = ConvBlock3d(64, 64)
        self.Conv3d_2c_3x3 = ConvBlock3d(64, 192, 3)
        channels = 192
        for name, widths in MIXED.items():
            self.add_module(name, MixedBlock(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = ConvBlock3d(channels, CLASSES, is_output=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, 400) of clips (B, 3, T, 224, 224)."""
        x = max_pool_same(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        for name in MIXED:
            if name in _POOL_BEFORE:
                x = max_pool_same(x, *_POOL_BEFORE[name])
            x = self.get_submodule(name)(x)
        return self.logits(F.avg_pool3d(x, (2, 7, 7), 1)).mean((2, 3, 4))


def i3d_features(model: nn.Module, frames: np.ndarray) -> np.ndarray:
    """Return the features (400) of a clip.

    Args:
        model: An `I3d` with its weights.
        frames: T×H×W×3 uint8 RGB with T at least MIN_FRAMES; they are scaled to 224×224 bilinearly.
    """
    x = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    x = F.interpolate(x, (INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False) / 127.5 - 1
    with torch.inference_mode():
        return model(x.permute(1, 0, 2, 3)[None])[0].numpy()
