"""An imperceptible mark that carries 48 bits: a pattern of small changes in brightness, the same in every frame.

The pattern is a tile of TILE×TILE cells, repeated over the frame. A cell is a share of the frame's size, so that
scaling leaves the tile's place in the frame as it was; about a seventh of the cells are the same in every mark, and
tell a reader where the tile lies after a crop. The others carry the code word, each of its numbers many times. How
strong it is follows the picture: weak where it is flat or dark, stronger in texture, never above STRONGEST.
"""

import hashlib
from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np

from mimaface_cli.provenance import error_correction as code

LEAST = 128
"""Pixels of the shorter side that a mark needs."""

TILE = 48
SYNC = 336  # cells that are the same in every mark
STRONGEST = 1.9  # gray levels, root mean square: above 42 dB of PSNR
_FLAT = 0.8  # gray levels where there is no texture
_SMALL_FLAT = 1.2  # the same in frames that encoders leave few bits
_TEXTURE = 0.5  # gray levels more for each gray level of the picture's own roughness
_ROUGHEST = 8.0  # gray levels of texture that count: one hard edge makes no texture
_DARK = 40.0  # gray levels below which the eye sees relatively more
_LEVELS = ((1600, 288), (800, 204), (400, 144), (200, 100), (0, 72))
"""Cells along the root of a frame's area, from that many pixels on: fine enough to be unseen and to differ from the
picture, coarse enough to outlive half the size."""
_EMPHASIS = 0.6  # how much of the slow part of the pattern is taken out: pictures are strongest there
_STEPS, _STRENGTHS = 32, 100  # of 8-bit numbers to a gray level: pattern and strength
_ROWS = 64
_SMALL = 4  # the picture is looked at in cells of that many pixels
_LOOK = 3  # of so many frames of a video the first is looked at: it costs half of the marking, and little changes


@cache
def layout() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(order, signs, which): the cells of a tile in a fixed random order (the first SYNC hold the sync), the sign of
    each, and which number of the code word the cells after the sync carry.
    """
    cells = TILE * TILE
    noise = hashlib.shake_256(b"mimaface watermark 1").digest(5 * cells)  # not a library's generator: it never changes
    order = np.argsort(np.frombuffer(noise[: 4 * cells], ">u4"), kind="stable")
    signs = 1.0 - 2.0 * (np.frombuffer(noise[4 * cells :], np.uint8) & 1)
    return order, signs, np.arange(cells - SYNC) % code.LENGTH


def tile(identifier: int | None) -> np.ndarray:
    """The cells of a mark, TILE×TILE of ±1; without identifier its sync alone, the rest 0."""
    order, signs, which = layout()
    cells = np.zeros(TILE * TILE)
    cells[order[:SYNC]] = signs[:SYNC]
    if identifier is not None:
        cells[order[SYNC:]] = signs[SYNC:] * code.encode(identifier)[which]
    return cells.reshape(TILE, TILE)


def emphasized(cells: np.ndarray) -> np.ndarray:
    """A tile with its slow part taken down."""
    near = sum(np.roll(cells, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
    return cells - _EMPHASIS * near


def level(width: float, height: float) -> int:
    """How many cells a frame has along the root of its area."""
    side = (width * height) ** 0.5
    return next(cells for least, cells in _LEVELS if side >= least)


def spread(count: int, cell: float, resolution: int = 1) -> np.ndarray:
    """How the cells of a tile make `count` pixels: count × (TILE·resolution), by cubic interpolation.

    cell: pixels of a cell, the first of which begins at the first pixel.
    """
    period = TILE * resolution
    place = (np.arange(count) + 0.5) / cell * resolution - 0.5
    base = np.floor(place).astype(int)
    weights = np.zeros((count, period))
    for k in range(-1, 3):
        far = np.abs(place - (base + k))
        share = np.where(far < 1, 1.5 * far**3 - 2.5 * far**2 + 1, -0.5 * far**3 + 2.5 * far**2 - 4 * far + 2)
        np.add.at(weights, (np.arange(count), (base + k) % period), share)
    return weights


class Marker:
    """Marks frames of one size with one identifier (below 2**48)."""

    def __init__(self, width: int, height: int, identifier: int) -> None:
        """Raises ValueError for a frame too small to be marked (see `can_mark`)."""
        if not can_mark(width, height):
            raise ValueError(f"a frame of {width}x{height} is too small for a mark")
        cells_across = level(width, height)
        cell = (width * height) ** 0.5 / cells_across
        cells = emphasized(tile(identifier))
        cells /= np.sqrt(np.mean(cells**2))
        pattern = spread(height, cell) @ cells @ spread(width, cell).T
        pattern *= _STEPS / np.sqrt(np.mean(pattern**2))
        self._lighter, self._darker = (np.clip(np.rint(way), 0, 255).astype(np.uint8) for way in (pattern, -pattern))
        self._size = width, height
        self._flat = _SMALL_FLAT if cells_across < _LEVELS[2][1] else _FLAT
        self._small = max(1, width // _SMALL), max(1, height // _SMALL)

    def mark(self, frame: np.ndarray) -> np.ndarray:
        """A marked copy of a frame (H×W×3 or ×4 uint8 RGB; alpha stays). All colors change alike: the hue stays."""
        return self._marked(frame, self._strength(frame))

    def _marked(self, frame: np.ndarray, strength: np.ndarray) -> np.ndarray:
        spread_out = cv2.COLOR_GRAY2RGB if frame.shape[2] == 3 else cv2.COLOR_GRAY2RGBA
        marked = np.empty_like(frame, order="C")
        for top in range(0, len(frame), _ROWS):  # what is worked on stays in the processor's cache
            rows = slice(top, top + _ROWS)
            lighter, darker = (
                cv2.cvtColor(cv2.multiply(part[rows], strength[rows], scale=1 / (_STEPS * _STRENGTHS)), spread_out)
                for part in (self._lighter, self._darker)
            )
            cv2.subtract(cv2.add(frame[rows], lighter), darker, dst=marked[rows])
        if frame.shape[2] == 4:
            marked[..., 3] = frame[..., 3]
        return marked

    def frames(self, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Marked copies of frames as they come. Closing it closes them."""
        try:
            for number, frame in enumerate(frames):
                if number % _LOOK == 0:
                    strength = self._strength(frame)
                yield self._marked(frame, strength)
        finally:
            frames.close()

    def _strength(self, frame: np.ndarray) -> np.ndarray:
        """How strong the mark may be, in gray levels × _STRENGTHS (H×W uint8), told from a grid of _SMALL pixels."""
        small = cv2.resize(frame, self._small, interpolation=cv2.INTER_AREA)
        gray = cv2.cvtColor(small[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32)
        mean = cv2.blur(gray, (3, 3))
        rough = np.minimum(np.abs(gray - mean), _ROUGHEST)  # a slope is none: there the eye sees the mark
        deviation = cv2.blur(rough, (5, 5))
        strength = np.minimum(self._flat + _TEXTURE * deviation, STRONGEST)
        strength *= np.minimum(0.65 + 0.35 / _DARK * mean, 1)
        fine = np.rint(strength * _STRENGTHS).astype(np.uint8)
        return cv2.resize(fine, self._size, interpolation=cv2.INTER_LINEAR)


def can_mark(width: int, height: int) -> bool:
    """Whether a frame is large enough to carry a mark."""
    return min(width, height) >= LEAST
