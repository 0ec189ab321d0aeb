"""SadTalker's expression network."""

import torch
from torch import Tensor, nn

from mimaface_cli.speech.wav2lip_encoder import WIDTHS, build_audio_encoder


class Audio2Exp(nn.Module):
    """Expression coefficients for each frame, independent of the other frames.

    Args:
        expression: Number of expression coefficients E.
        widths: Channels of the audio encoder's stages.
    """

    def __init__(self, expression: int = 64, widths: tuple[int, ...] = WIDTHS):
        super().__init__()
        self.audio_encoder = build_audio_encoder(widths)
        self.mapping1 = nn.Linear(widths[-1] + expression + 1, expression)

    def forward(self, windows: Tensor, reference: Tensor, ratio: Tensor) -> Tensor:
        """Predict expressions.

        Args:
            windows: (T, 80, 16), mel windows.
            reference: (T, E) or (1, E), expression coefficients of the face.
            ratio: (T, 1), eye closure from 0 (open) to 1 (shut).

        Returns:
            (T, E), expression coefficients, not offsets from the reference.
        """
        embedding = self.audio_encoder(windows[:, None])
        return self.mapping1(torch.cat([embedding, reference.expand(len(embedding), -1), ratio], 1))
