"""Wav2Lip's audio encoder, which maps a mel window to an embedding.

Each of SadTalker's networks has its own encoder.
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
    ):
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
    a, b, c, d, e = widths
    return nn.Sequential(
        ConvBlock(1, a),
        ConvBlock(a, a, is_residual=True),
        ConvBlock(a, a, is_residual=True),
        ConvBlock(a, b, stride=(3, 1)),
        ConvBlock(b, b, is_residual=True),
        ConvBlock(b, b, is_residual=True),
        ConvBlock(b, c, stride=3),
        ConvBlock(c, c, is_residual=True),
        ConvBlock(c, c, is_residual=True),
        ConvBlock(c, d, stride=(3, 2)),
        ConvBlock(d, d, is_residual=True),
        ConvBlock(d, e, padding=0),
        ConvBlock(e, e, kernel=1, padding=0),
        nn.Flatten(),
    )
