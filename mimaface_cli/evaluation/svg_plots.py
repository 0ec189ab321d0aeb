"""Small line plots as SVG text.

They are self-contained, legible in print, and styled by the page's style sheet.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

import numpy as np

WIDTH, HEIGHT = 440, 150
SCATTER_SIDE = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 26, 20  # margins in SVG units
_MAX_POINTS = 500  # points of one line


@dataclass(frozen=True)
class Line:
    """A curve of a plot.

    Attributes:
        label: Name in the legend, or "" if the plot has one curve.
        values: One value per frame, None if there is no value.
        dots: Whether the values are rendered as dots, because they are sparse.
    """

    label: str
    values: Sequence[float | None]
    dots: bool = False


@dataclass(frozen=True)
class _Axes:
    """Mapping from values to SVG coordinates."""

    start: float
    duration: float
    low: float
    high: float
    width: int = WIDTH
    height: int = HEIGHT

    def x(self, time: float) -> float:
        return _LEFT + (time - self.start) / self.duration * (self.width - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        height = self.height - _TOP - _BOTTOM
        return self.height - _BOTTOM - (value - self.low) / max(self.high - self.low, 1e-12) * height


def plot(title: str, times: Sequence[float], lines: Sequence[Line], marks: Sequence[float] = ()) -> str:
    """Return an SVG of curves over time.

    Args:
        title: Title of the plot.
        times: Seconds of the frames.
        lines: Curves.
        marks: Times with a vertical rule.

    Returns:
        The SVG element, or "" if no curve has a value.
    """
    known = [value for line in lines for value in line.values if value is not None]
    if not known or len(times) < 2:
        return ""
    low, high = min(known), max(known)
    if low >= 0 and low < 0.5 * high:
        low = 0.0  # the axis of nonnegative values starts at zero
    ticks = _ticks(low, high)
    axes = _Axes(times[0], max(times[-1] - times[0], 1e-9), min(low, ticks[0]), max(high, ticks[-1]))
    data = escape(_hover_data(axes, lines, times), quote=True)
    head = (
        f'<svg class="plot curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title, quote=True)}" data-curve="{data}">'
    )
    parts = [head, f'<text class="title" x="0" y="13">{escape(title)}</text>']
    parts += _render_axes(axes, ticks, times)
    for mark in marks:
        x = axes.x(mark)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
    for index, line in enumerate(lines):
        parts += _render_line(axes, index, line, times)
    parts += _render_legend(lines)
    return "".join(parts) + "</svg>"


def _hover_data(axes: _Axes, lines: Sequence[Line], times: Sequence[float]) -> str:
    """Return what the page's script needs to show values: geometry, times, and the values of each curve, as JSON."""
    step = max(1, -(-len(times) // _MAX_POINTS))
    curves = [
        [line.label, [None if value is None else float(f"{value:.4g}") for value in line.values[::step]]]
        for line in lines
    ]
    values = {
        "left": _LEFT, "right": WIDTH - _RIGHT, "top": _TOP, "bottom": HEIGHT - _BOTTOM,
        "start": round(axes.start, 3), "duration": round(axes.duration, 3),
        "times": [round(time, 3) for time in times[::step]], "curves": curves,
    }  # fmt: skip
    return json.dumps(values, separators=(",", ":"))


def scatter(title: str, across: str, up: str, points: Sequence[tuple[float, float]], labels: Sequence[str]) -> str:
    """Return an SVG with one dot for each clip and the line of equal values.

    Args:
        title: Title of the plot.
        across: Name of the first value of a point.
        up: Name of the second value.
        points: Values of each clip.
        labels: Names of the clips, shown when the pointer rests on a dot.
    """
    values = [value for point in points for value in point]
    ticks = _ticks(min(values), max(values))
    low, high = min(*values, ticks[0]), max(*values, ticks[-1])
    axes = _Axes(low, high - low, low, high, SCATTER_SIDE, SCATTER_SIDE)
    right, bottom = SCATTER_SIDE - _RIGHT, SCATTER_SIDE - _BOTTOM
    parts = [
        f'<svg class="plot" viewBox="0 0 {SCATTER_SIDE} {SCATTER_SIDE}" role="img" '
        f'aria-label="{escape(title, quote=True)}"><text class="title" x="0" y="13">{escape(title)}</text>'
    ]
    for tick in ticks:
        x, y = axes.x(tick), axes.y(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{tick:.10g}</text>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{tick:.10g}</text>')
    line = f'x1="{axes.x(low):.1f}" y1="{axes.y(low):.1f}" x2="{axes.x(high):.1f}" y2="{axes.y(high):.1f}"'
    parts.append(f'<line class="mark" {line}/>')
    for (first, second), label in zip(points, labels, strict=True):
        name = escape(f"{label}: {first:.4g}, {second:.4g}")
        dot = f'<circle class="dot line0" cx="{axes.x(first):.1f}" cy="{axes.y(second):.1f}" r="3.5">'
        parts.append(f"{dot}<title>{name}</title></circle>")
    parts.append(f'<text class="key" x="{right}" y="{bottom - 6}" text-anchor="end">{escape(across)} →</text>')
    parts.append(f'<text class="key" x="{_LEFT + 4}" y="{_TOP + 8}">↑ {escape(up)}</text></svg>')
    return "".join(parts)


def _render_axes(axes: _Axes, ticks: list[float], times: Sequence[float]) -> list[str]:
    parts = []
    for tick in ticks:
        y = axes.y(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{tick:.10g}</text>')
    for tick in _ticks(times[0], times[-1], 6):
        if times[0] <= tick <= times[-1]:
            x = axes.x(tick)
            parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{tick:.10g} s</text>')
    return parts


def _render_line(axes: _Axes, index: int, line: Line, times: Sequence[float]) -> list[str]:
    parts = []
    if line.dots:
        for time, value in zip(times, line.values, strict=True):
            if value is not None:
                x, y = axes.x(time), axes.y(value)
                parts.append(f'<circle class="dot line{index}" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>')
        return parts
    for run in _runs(times, line.values):
        points = " ".join(f"{axes.x(time):.1f},{axes.y(value):.1f}" for time, value in run)
        parts.append(f'<polyline class="line line{index}" points="{points}"/>')
    return parts


def _render_legend(lines: Sequence[Line]) -> list[str]:
    """Return the labels, from the right edge to the left."""
    parts = []
    x = WIDTH - _RIGHT
    for index, line in reversed(list(enumerate(lines))):
        if line.label:
            label = escape(line.label)
            parts.append(f'<text class="key line{index}" x="{x}" y="13" text-anchor="end">{label}</text>')
            x -= 7 * len(line.label) + 10
    return parts


def _runs(times: Sequence[float], values: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Return the unbroken stretches of a curve.

    Long curves keep the smallest and the largest value of every few frames, so that peaks stay visible.
    """
    step = max(1, -(-2 * len(times) // _MAX_POINTS))
    runs: list[list[tuple[float, float]]] = [[]]
    for start in range(0, len(times), step):
        block = []
        for index in range(start, min(start + step, len(times))):
            value = values[index]
            if value is not None:
                block.append((value, index))
        if not block:
            runs.append([])
            continue
        for value, index in sorted({min(block), max(block)}, key=lambda entry: entry[1]):
            runs[-1].append((times[index], value))
    return [run if len(run) > 1 else run * 2 for run in runs if run]


def _ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return about `count` round values that enclose a range."""
    span = max(high - low, 1e-9 * max(abs(high), 1.0))
    raw = span / count
    power = 10.0 ** floor(log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = floor(low / step + 1e-9), -floor(-high / step + 1e-9)
    return [float(f"{index * step:.10g}") for index in np.arange(first, max(last, first + 1) + 1)]
