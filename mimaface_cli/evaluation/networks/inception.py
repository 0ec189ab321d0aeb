"""InceptionV3 as TensorFlow released it in 2015; its pooled features are those of FID.

It differs from torchvision's classifier of the same name: average pooling ignores the zeros of the padding, and the
last layer uses maximum pooling.

Source: Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium".
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name that PyTorch's documentation uses
from torch import Tensor, nn

FEATURES = 2048
INPUT_SIZE = 299  # height and width in pixels


class ConvBlock2d(nn.Module):
    """Convolution without bias, batch norm and ReLU.

    The image keeps its size unless stride is 2 or `pad` is False.
    """

    def __init__(
        self, channels: int, width: int, kernel: int | tuple[int, int] = 1, stride: int = 1, pad: bool = True
    ) -> None:
        super().__init__()
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (kernel[0] // 2, kernel[1] // 2) if pad and stride == 1 else 0
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, width, H', W')."""
        return self.bn(self.conv(x)).relu()


def _average_pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class InceptionA(nn.Module):
    """Block at 35×35: a 1×1, a 5×5 and a double 3×3 convolution and a pooled branch."""

    def __init__(self, channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBlock2d(channels, 64)
        self.branch5x5_1, self.branch5x5_2 = ConvBlock2d(channels, 48), ConvBlock2d(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = ConvBlock2d(channels, 64), ConvBlock2d(64, 96, 3)
        self.branch3x3dbl_3 = ConvBlock2d(96, 96, 3)
        self.branch_pool = ConvBlock2d(channels, pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, 35, 35) to (B, C', 35, 35)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        large = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), large, double, self.branch_pool(_average_pool(x))], 1)


class InceptionB(nn.Module):
    """Block that reduces 35×35 to 17×17."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = ConvBlock2d(channels, 384, 3, 2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = ConvBlock2d(channels, 64), ConvBlock2d(64, 96, 3)
        self.branch3x3dbl_3 = ConvBlock2d(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, 35, 35) to (B, C', 17, 17)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class InceptionC(nn.Module):
    """Block at 17×17 with four branches.

    They are a 1×1, a factored 7×7 and a double factored 7×7 convolution, and pooling.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        across, down = (1, 7), (7, 1)
        self.branch1x1 = ConvBlock2d(channels, 192)
        self.branch7x7_1, self.branch7x7_2 = ConvBlock2d(channels, width), ConvBlock2d(width, width, across)
        self.branch7x7_3 = ConvBlock2d(width, 192, down)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = ConvBlock2d(channels, width), ConvBlock2d(width, width, down)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = ConvBlock2d(width, width, across), ConvBlock2d(width, width, down)
        self.branch7x7dbl_5 = ConvBlock2d(width, 192, across)
        self.branch_pool = ConvBlock2d(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, 17, 17) to (B, 768, 17, 17)."""
        factored = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), factored, double, self.branch_pool(_average_pool(x))], 1)


class InceptionD(nn.Module):
    """Block that reduces 17×17 to 8×8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = ConvBlock2d(channels, 192), ConvBlock2d(192, 320, 3, 2)
        self.branch7x7x3_1, self.branch7x7x3_2 = ConvBlock2d(channels, 192), ConvBlock2d(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = ConvBlock2d(192, 192, (7, 1)), ConvBlock2d(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, 17, 17) to (B, C', 8, 8)."""
        factored = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), factored, F.max_pool2d(x, 3, 2)], 1)


class InceptionE(nn.Module):
    """Block at 8×8: a 1×1, a split 3×3 and a double split 3×3 convolution and a pooled branch."""

    def __init__(self, channels: int, max_pool: bool = False) -> None:
        super().__init__()
        self._max_pool = max_pool
        self.branch1x1 = ConvBlock2d(channels, 320)
        self.branch3x3_1 = ConvBlock2d(channels, 384)
        self.branch3x3_2a, self.branch3x3_2b = ConvBlock2d(384, 384, (1, 3)), ConvBlock2d(384, 384, (3, 1))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = ConvBlock2d(channels, 448), ConvBlock2d(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = ConvBlock2d(384, 384, (1, 3)), ConvBlock2d(384, 384, (3, 1))
        self.branch_pool = ConvBlock2d(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, 8, 8) to (B, 2048, 8, 8)."""
        split, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [self.branch3x3_2a(split), self.branch3x3_2b(split)]
        branches += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        pooled = F.max_pool2d(x, 3, 1, 1) if self._max_pool else _average_pool(x)
        return torch.cat([self.branch1x1(x), *branches, self.branch_pool(pooled)], 1)


class FidInception(nn.Module):
    """Network that maps RGB images (B, 3, 299, 299) in [-1, 1] to features (B, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvBlock2d(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = ConvBlock2d(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = ConvBlock2d(32, 64, 3)
        self.Conv2d_3b_1x1 = ConvBlock2d(64, 80)
        self.Conv2d_4a_3x3 = ConvBlock2d(80, 192, 3, pad=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = InceptionA(192, 32), InceptionA(256, 64), InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b, self.Mixed_6c = InceptionC(768, 128), InceptionC(768, 160)
        self.Mixed_6d, self.Mixed_6e = InceptionC(768, 160), InceptionC(768, 192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b, self.Mixed_7c = InceptionE(1280), InceptionE(2048, max_pool=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled features (B, 2048)."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name, layer in self.named_children():
            if name.startswith("Mixed"):
                x = layer(x)
        return x.mean((2, 3))


def inception_features(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """Return the features (B, 2048) of images.

    Args:
        model: A `FidInception` with its weights.
        images: B×H×W×3 uint8 RGB; they are scaled to 299×299 bilinearly, as pytorch-fid does.
    """
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    x = F.interpolate(x, (INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False) * 2 - 1
    with torch.inference_mode():
        return model(x).numpy()
