"""Wav2Lip's audio encoder, which maps a mel window to an embedding.

Each of SadTalker's two networks contains a separate encoder.

Source: Prajwal et al. 2020, "A Lip Sync Expert Is All You Need for Speech to Lip Generation in the Wild".
"""

from torch import Tensor, nn

WIDTHS = (32, 64, 128, 256, 512)


class ConvBlock(nn.Module):
    """Convolution, batch normalization and ReLU.

    Args:
        channels: Input channels.
        width: Output channels.
        kernel: Kernel size.
        stride: Stride in mel bands and time.
        padding: Zero padding.
        is_residual: Whether the input is added before the ReLU.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int = 3,
        stride: int | tuple[int, int] = 1,
        padding: int = 1,
        is_residual: bool = False,
    ) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv2d(channels, width, kernel, stride, padding), nn.BatchNorm2d(width))
        self.is_residual = is_residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, mel, time) to (B, width, mel', time')."""
        y = self.conv_block(x)
        return (y + x if self.is_residual else y).relu_()


def build_audio_encoder(widths: tuple[int, ...] = WIDTHS) -> nn.Sequential:
    """Build the encoder of mel windows.

    Args:
        widths: Channels of the five stages.

    Returns:
        A network that maps (B, 1, 80, 16) to (B, widths[-1]). Its feature maps shrink from 80×16 over 27×16, 9×6 and
        3×3 to a single value.
    """
    first, second, third, fourth, fifth = widths
    return nn.Sequential(
        ConvBlock(1, first),
        ConvBlock(first, first, is_residual=True),
        ConvBlock(first, first, is_residual=True),
        ConvBlock(first, second, stride=(3, 1)),
        ConvBlock(second, second, is_residual=True),
        ConvBlock(second, second, is_residual=True),
        ConvBlock(second, third, stride=3),
        ConvBlock(third, third, is_residual=True),
        ConvBlock(third, third, is_residual=True),
        ConvBlock(third, fourth, stride=(3, 2)),
        ConvBlock(fourth, fourth, is_residual=True),
        ConvBlock(fourth, fifth, padding=0),
        ConvBlock(fifth, fifth, kernel=1, padding=0),
        nn.Flatten(),
    )
