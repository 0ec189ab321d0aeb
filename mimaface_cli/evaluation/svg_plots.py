"""Small line plots as SVG text: self-contained, legible in print, styled by the page they stand in."""

from dataclasses import dataclass
from html import escape
from math import floor, log10

import numpy as np

WIDTH, HEIGHT = 440, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 26, 20
_MOST = 500  # points of a line


@dataclass(frozen=True)
class Line:
    """label: "" for an only line; values: one a frame, None where there is none; dots: sparse values, drawn as such."""

    label: str
    values: list[float | None]
    dots: bool = False


def plot(title: str, times: list[float], lines: list[Line], marks: list[float] = []) -> str:
    """An SVG of lines over time (s); marks: moments with a vertical rule. "" where no line has a value."""
    known = [v for line in lines for v in line.values if v is not None]
    if not known or len(times) < 2:
        return ""
    low, high = min(known), max(known)
    if low >= 0 and low < 0.5 * high:
        low = 0.0  # what is counted from nothing is shown from nothing
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    span = max(times[-1] - times[0], 1e-9)

    def x(time: float) -> float:
        return _LEFT + (time - times[0]) / span * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - (value - low) / max(high - low, 1e-12) * (HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">']
    parts.append(f'<text class="title" x="0" y="13">{escape(title)}</text>')
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 5}" y="{y(tick) + 3.5:.1f}" text-anchor="end">{tick:.10g}</text>')
    for tick in _ticks(times[0], times[-1], 6):
        if times[0] <= tick <= times[-1]:
            parts.append(
                f'<text class="tick" x="{x(tick):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{tick:.10g} s</text>'
            )
    for mark in marks:
        parts.append(f'<line class="mark" x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
    for index, line in enumerate(lines):
        if line.dots:
            for time, value in zip(times, line.values):
                if value is not None:
                    parts.append(f'<circle class="dot line{index}" cx="{x(time):.1f}" cy="{y(value):.1f}" r="2.2"/>')
        else:
            for run in _runs(times, line.values):
                points = " ".join(f"{x(time):.1f},{y(value):.1f}" for time, value in run)
                parts.append(f'<polyline class="line line{index}" points="{points}"/>')
    at = WIDTH - _RIGHT
    for index, line in reversed(list(enumerate(lines))):
        if line.label:
            parts.append(f'<text class="key line{index}" x="{at}" y="13" text-anchor="end">{escape(line.label)}</text>')
            at -= 7 * len(line.label) + 10
    return "".join(parts) + "</svg>"


def _runs(times: list[float], values: list[float | None]) -> list[list[tuple[float, float]]]:
    """Unbroken stretches; long lines keep the least and the greatest value of every few frames, so no peak is lost."""
    step = max(1, -(-2 * len(times) // _MOST))
    runs: list[list[tuple[float, float]]] = [[]]
    for start in range(0, len(times), step):
        block = [(values[k], k) for k in range(start, min(start + step, len(times))) if values[k] is not None]
        if not block:
            runs.append([])
            continue
        for k in sorted({min(block)[1], max(block)[1]}):
            runs[-1].append((times[k], values[k]))
    return [run if len(run) > 1 else run * 2 for run in runs if run]


def _ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round values from at most `low` to at least `high`."""
    span = max(high - low, 1e-9 * max(abs(high), 1.0))
    raw = span / most
    power = 10.0 ** floor(log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = floor(low / step + 1e-9), -floor(-high / step + 1e-9)
    return [float(f"{k * step:.10g}") for k in np.arange(first, max(last, first + 1) + 1)]
