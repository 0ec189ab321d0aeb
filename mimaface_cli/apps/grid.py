"""A grid of variations: one image of a photo under all combinations of one or two channels' values.

Source: paper, Fig. 11.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mimaface_cli.errors import InputError
from mimaface_cli.motion.channels import Channel, find_channel, parse_number

MAX_STEPS = 40  # of one axis
GAP = 4  # pixels between cells
_TEXT_COLOR, _VALUE_COLOR = (30, 30, 30), (120, 120, 120)
_LABEL_GAP = 8  # pixels between row labels and cells


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a grid.

    Args:
        channel: The channel that varies along the axis.
        values: (steps,), its values, in the channel's unit.
    """

    channel: Channel
    values: np.ndarray

    @property
    def labels(self) -> list[str]:
        """Label of each step."""
        unit = "°" if self.channel.unit == "degrees" else ""
        return [f"{value:.3g}{unit}" for value in self.values]


def parse_axes(texts: tuple[str, ...]) -> list[Axis]:
    """Parse axes such as `yaw=-30:30:7`.

    Args:
        texts: NAME=FROM:TO:COUNT for each of up to two axes; the first is horizontal, the second vertical.

    Raises:
        InputError: For malformed text, an unknown name, a number out of range, or too many axes.
    """
    axes = [_parse_axis(text) for text in texts]
    if len(axes) > 2:
        raise InputError("more than two curves. Give one for the columns and at most one for the rows.", field="grid")
    if len(axes) == 2:
        across, down = (axis.channel for axis in axes)
        if across.array == down.array and set(across.columns) & set(down.columns):
            raise InputError(f"{across.name} and {down.name} are the same curve. Choose another one.", field="grid")
    return axes


def list_cells(axes: list[Axis]) -> list[tuple[float, ...]]:
    """Return the values of every cell, one for each axis, row by row."""
    if len(axes) == 1:
        return [(value,) for value in axes[0].values]
    return [(across, down) for down in axes[1].values for across in axes[0].values]


def grid_size(axes: list[Axis], cell: int) -> tuple[int, int]:
    """Return width and height of the grid in pixels.

    Args:
        axes: One or two axes.
        cell: Side of a cell in pixels.
    """
    left, top = _margins(axes, cell)
    rows = len(axes[1].values) if len(axes) == 2 else 1
    return left + len(axes[0].values) * (cell + GAP), top + rows * (cell + GAP)


def assemble_grid(frames: Iterable[np.ndarray], axes: list[Axis], cell: int) -> np.ndarray:
    """Assemble frames into a grid with labels.

    Args:
        frames: Square frames (S, S, 3 or 4) uint8 of the cells, in reading order.
        axes: One or two axes.
        cell: Side of a cell in pixels.

    Returns:
        (H, W, 3) uint8, of `grid_size`.
    """
    width, height = grid_size(axes, cell)
    left, top = _margins(axes, cell)
    canvas = np.full((height, width, 3), 255, np.uint8)
    columns = len(axes[0].values)
    for k, frame in enumerate(frames):
        row, column = divmod(k, columns)
        x, y = left + column * (cell + GAP), top + row * (cell + GAP)
        canvas[y : y + cell, x : x + cell] = _resize(frame[..., :3], cell)
    image = Image.fromarray(canvas)
    _draw_labels(ImageDraw.Draw(image), axes, cell, width)
    return np.asarray(image)


def _parse_axis(text: str) -> Axis:
    name, _, steps = text.partition("=")
    channel = find_channel(name, "face478", field="grid")
    where = text[:60]
    parts = steps.split(":")
    if len(parts) != 3:
        raise InputError(f"{where}: is not an axis. Write NAME=FROM:TO:COUNT, as in yaw=-30:30:7.", field="grid")
    first, last = (parse_number(part, where, channel.low, channel.high, field="grid") for part in parts[:2])
    count = parts[2]
    # Nine digits are enough to recognize a count as too large.
    if not (count.isascii() and count.isdecimal()) or not 1 <= int(count[:9]) <= MAX_STEPS:
        raise InputError(
            f"{where}: the count is out of range. Give a whole number from 1 to {MAX_STEPS}.", field="grid"
        )
    return Axis(channel, np.linspace(first, last, int(count)))


def _resize(frame: np.ndarray, cell: int) -> np.ndarray:
    interpolation = cv2.INTER_AREA if frame.shape[0] > cell else cv2.INTER_CUBIC
    return cv2.resize(frame, (cell, cell), interpolation=interpolation)


def _draw_labels(draw: ImageDraw.ImageDraw, axes: list[Axis], cell: int, width: int) -> None:
    """Draw the names of the axes and the values of their steps into the margins."""
    left, top = _margins(axes, cell)
    name_font, value_font = (ImageFont.load_default(size) for size in _text_sizes(cell))
    across = axes[0]
    center = left + (width - left - GAP) / 2
    draw.text((center, 4), across.channel.name, _TEXT_COLOR, name_font, "ma")
    for k, label in enumerate(across.labels):
        draw.text((left + k * (cell + GAP) + cell / 2, top - 4), label, _VALUE_COLOR, value_font, "md")
    for down in axes[1:]:
        draw.text((left - _LABEL_GAP, 4), down.channel.name, _TEXT_COLOR, name_font, "ra")
        for k, label in enumerate(down.labels):
            position = left - _LABEL_GAP, top + k * (cell + GAP) + cell / 2
            draw.text(position, label, _VALUE_COLOR, value_font, "rm")


def _text_sizes(cell: int) -> tuple[int, int]:
    """Return the font sizes of names and of values."""
    return max(11, cell // 13), max(10, cell // 15)


def _margins(axes: list[Axis], cell: int) -> tuple[int, int]:
    """Return the widths in pixels of the margins left of and above the cells, which hold the labels."""
    name_size, value_size = _text_sizes(cell)
    top = name_size + value_size + 14
    if len(axes) == 1:
        return GAP, top
    name_font, value_font = ImageFont.load_default(name_size), ImageFont.load_default(value_size)
    widest = max(value_font.getlength(label) for label in axes[1].labels)
    return int(max(name_font.getlength(axes[1].channel.name), widest)) + 16, top
