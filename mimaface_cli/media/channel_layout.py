"""Channel layouts of audio: safe reading of their names, and conversion of unusual ones to standard layouts."""

import ctypes
import re
from dataclasses import dataclass
from math import sqrt

import numpy as np
from av import AudioLayout
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

# Layouts that FFmpeg knows by name and that have a fixed order; PyAV handles them correctly.
_STANDARD_NAMES = (
    "mono",
    "stereo",
    "2.1",
    "3.0",
    "3.0(back)",
    "3.1",
    "4.0",
    "4.1",
    "quad",
    "quad(side)",
    "5.0",
    "5.0(side)",
    "5.1",
    "5.1(side)",
    "6.0",
    "6.0(front)",
    "6.1",
    "6.1(back)",
    "6.1(front)",
    "hexagonal",
    "7.0",
    "7.0(front)",
    "7.1",
    "7.1(wide)",
    "7.1(wide-side)",
    "octagonal",
    "hexadecagonal",
    "22.2",
)
# What FFmpeg assumes for channels that the file does not name.
_DEFAULT_NAMES = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1", 24: "22.2"}
_UNNAMED = re.compile(r"\d+ channels?")
_AMBISONIC, _LOW_FREQUENCY = "AMBI", "LFE"


def standard_channels(name: str) -> tuple[str, ...]:
    """Return the names of the channels of a standard layout, in order, such as ("FL", "FR")."""
    return tuple(channel.name for channel in AudioLayout(name).channels)


_NAMES_BY_CHANNELS = {frozenset(standard_channels(name)): name for name in reversed(_STANDARD_NAMES)}


@dataclass(frozen=True, eq=False)
class ChannelPlan:
    """How decoded channels become those of a standard layout.

    Args:
        layout: Name of the standard layout.
        matrix: (output channels, input channels) float32, or None if the channels already are those of the layout.
    """

    layout: str
    matrix: np.ndarray | None

    def apply(self, samples: np.ndarray) -> np.ndarray:
        """Convert samples (channels, N) float32."""
        return samples if self.matrix is None else self.matrix @ samples


def can_convert(name: str, channel_count: int) -> bool:
    """Return whether PyAV decodes and converts frames of a layout correctly."""
    return name in _STANDARD_NAMES or (_UNNAMED.fullmatch(name) is not None and channel_count <= 2)


def stream_layout(context: AudioCodecContext) -> tuple[str, tuple[str, ...]]:
    """Return the name of a stream's layout and the names of its channels."""
    return _read_layout(context.layout)


def protect_layout(frame: AudioFrame) -> None:
    """Keep PyAV from freeing memory twice if the decoder has changed to a layout of custom order."""
    if "(" in frame.layout.name:
        _read_layout(frame.layout)


def _read_layout(layout: AudioLayout) -> tuple[str, tuple[str, ...]]:
    """Return the names of a layout and of its channels.

    In layouts of custom order, PyAV 18.1 shares the memory of the channel map with the stream or frame, and frees it a
    second time with the layout object. Therefore the object is never freed; it takes less than 100 bytes.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
    return layout.name, tuple(channel.name for channel in layout.channels)


def plan_channels(name: str, channels: tuple[str, ...]) -> ChannelPlan:
    """Return how channels become those of a standard layout.

    Named channels are reordered where a standard layout has the same ones, unnamed channels are taken in FFmpeg's
    default order, ambisonics is decoded to two cardioids, and anything else is mixed to stereo.

    Args:
        name: Name of the layout.
        channels: Names of the channels, in order.
    """
    if name in _STANDARD_NAMES:
        return ChannelPlan(name, None)
    if channels and channels[0].startswith(_AMBISONIC):
        return ChannelPlan("stereo", _ambisonic_matrix(channels))
    if _UNNAMED.fullmatch(name) and len(channels) in _DEFAULT_NAMES:
        return ChannelPlan(_DEFAULT_NAMES[len(channels)], None)
    same = _NAMES_BY_CHANNELS.get(frozenset(channels))
    if same is not None and len(set(channels)) == len(channels):
        rows = [channels.index(channel) for channel in standard_channels(same)]
        return ChannelPlan(same, np.eye(len(channels), dtype=np.float32)[rows])
    return _downmix_plan(channels)


def _ambisonic_matrix(channels: tuple[str, ...]) -> np.ndarray:
    """Return the matrix of two cardioids to the left and right (ACN order, SN3D), and of channels beside the field."""
    matrix = np.zeros((2, len(channels)), np.float32)
    for column, channel in enumerate(channels):
        left, right = {"AMBI0": (0.5, 0.5), "AMBI1": (0.5, -0.5), "FL": (1, 0), "FR": (0, 1)}.get(channel, (0, 0))
        matrix[:, column] = left, right
    return matrix


def _downmix_plan(channels: tuple[str, ...]) -> ChannelPlan:
    """Return the mix of channels by their side; one that belongs to no side goes to both."""
    sides = [channel[-1:] for channel in channels]
    if "L" not in sides and "R" not in sides:
        return ChannelPlan("mono", np.full((1, len(channels)), 1 / max(len(channels), 1), np.float32))
    matrix = np.zeros((2, len(channels)), np.float32)
    for column, (channel, side) in enumerate(zip(channels, sides, strict=True)):
        if not channel.startswith(_LOW_FREQUENCY):
            matrix[:, column] = {"L": (1, 0), "R": (0, 1)}.get(side, (sqrt(0.5), sqrt(0.5)))
    return ChannelPlan("stereo", matrix / max(float(matrix.sum(1).max()), 1))
