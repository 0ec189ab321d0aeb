"""SadTalker's expression network (ExpNet).

Source: Zhang et al. 2023, "SadTalker: Learning Realistic 3D Motion Coefficients for Stylized Audio-Driven Single Image
Talking Face Animation", section 3.2. Attribute names are those of the release's weights.
"""

import torch
from torch import Tensor, nn

from mimaface_cli.speech.wav2lip_encoder import WIDTHS, build_audio_encoder


class Audio2Exp(nn.Module):
    """Expression coefficients for each frame, independent of the other frames.

    Args:
        expression: Number of expression coefficients E.
        widths: Channels of the audio encoder's stages.
    """

    def __init__(self, expression: int = 64, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.audio_encoder = build_audio_encoder(widths)
        self.mapping1 = nn.Linear(widths[-1] + expression + 1, expression)

    def forward(self, windows: Tensor, reference: Tensor, eye_closure: Tensor) -> Tensor:
        """Predict expressions.

        Args:
            windows: (T, 80, 16), mel windows.
            reference: (T, E) or (1, E), expression coefficients of the face.
            eye_closure: (T, 1), from 0 (open) to 1 (shut).

        Returns:
            (T, E), expression coefficients, not offsets from the reference.
        """
        embedding = self.audio_encoder(windows[:, None])
        return self.mapping1(torch.cat([embedding, reference.expand(len(embedding), -1), eye_closure], 1))
