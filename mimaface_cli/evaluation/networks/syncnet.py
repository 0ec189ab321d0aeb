"""SyncNet: embeddings of five mouth frames and of 0.2 s of audio, close to each other if both are synchronous.

Source: Chung and Zisserman 2016, "Out of Time: Automated Lip Sync in the Wild"; the layers are those of the released
checkpoint syncnet_v2.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

INPUT_SIZE = 224  # height and width of a frame in pixels
WINDOW_FRAMES, WINDOW_STEPS = 5, 20  # frames at 25 per second, and steps of the MFCC at 100 per second
COEFFICIENTS = 13  # MFCC of a step
# Channels, kernel, stride, padding of each convolution, and kernel, stride, padding of the pooling after it, or None.
_AUDIO_LAYERS = (
    (64, (3, 3), (1, 1), (1, 1), ((1, 1), (1, 1), (0, 0))),
    (192, (3, 3), (1, 1), (1, 1), ((3, 3), (1, 2), (0, 0))),
    (384, (3, 3), (1, 1), (1, 1), None),
    (256, (3, 3), (1, 1), (1, 1), None),
    (256, (3, 3), (1, 1), (1, 1), ((3, 3), (2, 2), (0, 0))),
    (512, (5, 4), (1, 1), (0, 0), None),
)
_LIP_LAYERS = (
    (96, (5, 7, 7), (1, 2, 2), (0, 0, 0), ((1, 3, 3), (1, 2, 2), (0, 0, 0))),
    (256, (1, 5, 5), (1, 2, 2), (0, 1, 1), ((1, 3, 3), (1, 2, 2), (0, 1, 1))),
    (256, (1, 3, 3), (1, 1, 1), (0, 1, 1), None),
    (256, (1, 3, 3), (1, 1, 1), (0, 1, 1), None),
    (256, (1, 3, 3), (1, 1, 1), (0, 1, 1), ((1, 3, 3), (1, 2, 2), (0, 0, 0))),
    (512, (1, 6, 6), (1, 1, 1), (0, 0, 0), None),
)


class SyncNet(nn.Module):
    """Both streams, with the tensor names of the release."""

    def __init__(self, embedding: int = 1024) -> None:
        super().__init__()
        self.netcnnaud = _build_audio_stream()
        self.netfcaud = _build_head(embedding)
        self.netfclip = _build_head(embedding)
        self.netcnnlip = _build_lip_stream()

    def embed_audio(self, x: Tensor) -> Tensor:
        """Map MFCC windows (B, 1, COEFFICIENTS, WINDOW_STEPS) to embeddings (B, 1024)."""
        return self.netfcaud(self.netcnnaud(x).flatten(1))

    def embed_lips(self, x: Tensor) -> Tensor:
        """Map windows of frames (B, 3, WINDOW_FRAMES, 224, 224), BGR 0..255, to embeddings (B, 1024)."""
        return self.netfclip(self.netcnnlip(x).flatten(1))


def _build_audio_stream() -> nn.Sequential:
    return _build_stream(1, _AUDIO_LAYERS, nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)


def _build_lip_stream() -> nn.Sequential:
    return _build_stream(3, _LIP_LAYERS, nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d)


def _build_stream(
    channels: int,
    table: Iterable[tuple[Any, ...]],
    convolution: type[nn.Module],
    norm: type[nn.Module],
    max_pool: type[nn.Module],
) -> nn.Sequential:
    """Build the layers of a table with the columns width, kernel, stride, padding and pool."""
    layers: list[nn.Module] = []
    for width, kernel, stride, padding, pool in table:
        layers += [convolution(channels, width, kernel, stride, padding), norm(width), nn.ReLU()]
        if pool is not None:
            layers.append(max_pool(*pool))
        channels = width
    return nn.Sequential(*layers)


def _build_head(embedding: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, embedding))


def embed_lip_window(network: nn.Module, frames: np.ndarray) -> np.ndarray:
    """Return the embedding (1024) of frames (WINDOW_FRAMES, 224, 224, 3), uint8 RGB."""
    x = torch.from_numpy(np.ascontiguousarray(frames[..., ::-1])).permute(3, 0, 1, 2)[None].float()
    with torch.inference_mode():
        return network.embed_lips(x)[0].numpy()  # type: ignore[operator]  # `load_network` returns a plain module


def embed_audio_windows(network: nn.Module, windows: np.ndarray) -> np.ndarray:
    """Return the embeddings (N, 1024) of MFCC windows (N, COEFFICIENTS, WINDOW_STEPS)."""
    x = torch.from_numpy(np.ascontiguousarray(windows, np.float32))[:, None]
    with torch.inference_mode():
        return network.embed_audio(x).numpy()  # type: ignore[operator]  # as above
