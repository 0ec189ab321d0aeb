"""Wav2Lip's audio encoder: one mel window -> one embedding. Each of SadTalker's two networks has its own."""

from torch import Tensor, nn

WIDTHS = (32, 64, 128, 256, 512)


class Conv(nn.Module):
    """Convolution, batch norm and ReLU, (B, C, mel, time); the input is added before the ReLU where `residual`."""

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int = 3,
        stride: int | tuple[int, int] = 1,
        padding: int = 1,
        residual: bool = False,
    ):
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv2d(channels, width, kernel, stride, padding), nn.BatchNorm2d(width))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_block(x)
        return (y + x if self.residual else y).relu_()


def audio_encoder(widths: tuple[int, ...] = WIDTHS) -> nn.Sequential:
    """(B, 1, 80, 16) -> (B, widths[-1]); the maps shrink over 27×16, 9×6 and 3×3 to one value."""
    a, b, c, d, e = widths
    return nn.Sequential(
        Conv(1, a),
        Conv(a, a, residual=True),
        Conv(a, a, residual=True),
        Conv(a, b, stride=(3, 1)),
        Conv(b, b, residual=True),
        Conv(b, b, residual=True),
        Conv(b, c, stride=3),
        Conv(c, c, residual=True),
        Conv(c, c, residual=True),
        Conv(c, d, stride=(3, 2)),
        Conv(d, d, residual=True),
        Conv(d, e, padding=0),
        Conv(e, e, kernel=1, padding=0),
        nn.Flatten(),
    )
