"""SadTalker's expression network: sound, the face's own expression and how far its eyes are shut -> expression."""

import torch
from torch import Tensor, nn

from mimaface_cli.speech.wav2lip_encoder import WIDTHS, audio_encoder


class Audio2Exp(nn.Module):
    """Mel windows (T, 80, 16), reference expression (T or 1, E), blink ratio (T, 1) -> expression (T, E).

    Every frame by itself; the result is the expression, not a change of the reference.
    """

    def __init__(self, expression: int = 64, widths: tuple[int, ...] = WIDTHS):
        super().__init__()
        self.audio_encoder = audio_encoder(widths)
        self.mapping1 = nn.Linear(widths[-1] + expression + 1, expression)

    def forward(self, windows: Tensor, reference: Tensor, ratio: Tensor) -> Tensor:
        sound = self.audio_encoder(windows[:, None])
        return self.mapping1(torch.cat([sound, reference.expand(len(sound), -1), ratio], 1))
