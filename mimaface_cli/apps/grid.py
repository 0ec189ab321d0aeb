"""A photo under one or two edits in steps, as one picture with labels (the paper's Fig. 11)."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mimaface_cli.errors import InputError
from mimaface_cli.motion.channels import Channel, find_channel, parse_number

MOST = 40  # steps of one axis
GAP = 4  # pixels between cells
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 30), (120, 120, 120)


@dataclass(frozen=True, eq=False)
class Axis:
    """A curve and the values it takes, in its own units."""

    channel: Channel
    values: np.ndarray

    def label(self, k: int) -> str:
        """What to write at the k-th step."""
        unit = "°" if self.channel.array != "expression" and self.channel.unit == "degrees" else ""
        return f"{self.values[k]:.3g}{unit}"


def parse_axes(texts: tuple[str, ...]) -> list[Axis]:
    """NAME=FROM:TO:COUNT, one or two of them: the first goes across, the second down. Raises InputError."""
    axes = []
    for text in texts:
        name, _, steps = text.partition("=")
        channel = find_channel(name, "face478")
        where = f"--grid {text[:60]}"
        parts = steps.split(":")
        if len(parts) != 3:
            raise InputError(f"{where}: write NAME=FROM:TO:COUNT, as in yaw=-30:30:7")
        first, last = (parse_number(part, where, channel.low, channel.high) for part in parts[:2])
        if not (parts[2].isascii() and parts[2].isdecimal()) or not 1 <= int(parts[2][:9]) <= MOST:
            raise InputError(f"{where}: the count must be a whole number from 1 to {MOST}, a grid needs cells")
        axes.append(Axis(channel, np.linspace(first, last, int(parts[2]))))
    if len(axes) > 2:
        raise InputError("--grid: takes one or two curves, the first across and the second down")
    if (
        len(axes) == 2
        and set(axes[0].channel.columns) & set(axes[1].channel.columns)
        and (axes[0].channel.array == axes[1].channel.array)
    ):
        raise InputError(
            f"--grid: {axes[0].channel.name} and {axes[1].channel.name} are the same curve; choose another"
        )
    return axes


def cells(axes: list[Axis]) -> list[tuple[float, ...]]:
    """The values of each cell in reading order, one for each axis."""
    if len(axes) == 1:
        return [(value,) for value in axes[0].values]
    return [(across, down) for down in axes[1].values for across in axes[0].values]


def grid_size(axes: list[Axis], cell: int) -> tuple[int, int]:
    """Width and height in pixels."""
    left, top = _margins(axes, cell)
    down = len(axes[1].values) if len(axes) == 2 else 1
    return left + len(axes[0].values) * (cell + GAP), top + down * (cell + GAP)


def assemble(frames: Iterator[np.ndarray], axes: list[Axis], cell: int) -> np.ndarray:
    """The grid (H×W×3 uint8) of pictures that come in reading order."""
    width, height = grid_size(axes, cell)
    left, top = _margins(axes, cell)
    canvas = np.full((height, width, 3), 255, np.uint8)
    columns = len(axes[0].values)
    for k, frame in enumerate(frames):
        row, column = divmod(k, columns)
        x, y = left + column * (cell + GAP), top + row * (cell + GAP)
        shrinking = frame.shape[0] > cell
        small = cv2.resize(frame[..., :3], (cell, cell), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
        canvas[y : y + cell, x : x + cell] = small
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    name, value = (ImageFont.load_default(size) for size in _text_sizes(cell))
    middle = left + (width - left - GAP) / 2
    draw.text((middle, 4), axes[0].channel.name, _INK, name, "ma")
    for k in range(columns):
        draw.text((left + k * (cell + GAP) + cell / 2, top - 4), axes[0].label(k), _FAINT, value, "md")
    if len(axes) == 2:
        draw.text((left - 8, 4), axes[1].channel.name, _INK, name, "ra")
        for k in range(len(axes[1].values)):
            draw.text((left - 8, top + k * (cell + GAP) + cell / 2), axes[1].label(k), _FAINT, value, "rm")
    return np.asarray(image)


def _text_sizes(cell: int) -> tuple[int, int]:
    return max(11, cell // 13), max(10, cell // 15)


def _margins(axes: list[Axis], cell: int) -> tuple[int, int]:
    """Room for labels left of and above the cells."""
    name, value = _text_sizes(cell)
    top = name + value + 14
    if len(axes) == 1:
        return GAP, top
    font, small = ImageFont.load_default(name), ImageFont.load_default(value)
    widest = max(small.getlength(axes[1].label(k)) for k in range(len(axes[1].values)))
    return int(max(font.getlength(axes[1].channel.name), widest)) + 16, top
