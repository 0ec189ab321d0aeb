"""Imperceptible watermark of 48 bits: a pattern of small brightness changes, the same in every frame.

The pattern is a tile of TILE_CELLS×TILE_CELLS cells that repeats over the frame. A cell is a share of the frame's
size, so that scaling does not move the tile. About a seventh of the cells are the same in every watermark: they
form the synchronization pattern, by which a detector locates the tile after a crop. The others carry the code word,
each of its values several times. The strength follows the content, because texture masks the pattern: where the image
is flat, a few pixels change by one gray level; in strong texture, the change is MAX_STRENGTH.
"""

import hashlib
from collections.abc import Generator
from functools import cache

import cv2
import numpy as np

from mimaface_cli.provenance.error_correction import CODE_LENGTH, encode_identifier

MIN_SIDE = 128
"""Pixels of the shorter side that a frame needs for a watermark."""

TILE_CELLS = 48  # cells along each side of a tile
SYNC_CELLS = 336  # cells of the synchronization pattern
MAX_STRENGTH = 2.5  # gray levels, root mean square: above 40 dB of PSNR
_FLAT_STRENGTH = 0.38  # gray levels where there is no texture: one level in a sixth of the pixels, none elsewhere
_TEXTURE_GAIN = 1.4  # additional gray levels for each gray level of texture above the least one
_SMALL_TEXTURE_GAIN = 2.0  # the same in small frames, to which encoders assign few bits
_LEAST_TEXTURE = 0.7  # gray levels of texture that the eye sees as flat
_MAX_TEXTURE = 8.0  # gray levels of texture that count
_DARK_LEVEL = 40.0  # gray levels below which the eye is more sensitive
_CELL_COUNTS = ((1600, 245), (800, 173), (400, 122), (200, 85), (0, 61))
"""Minimum square root of the frame's area in pixels, and the number of cells along it.

The cells are small enough to be invisible and to differ from the content, and large enough to survive scaling to half
the size."""
_EMPHASIS = 0.6  # share of the pattern's low frequencies that is removed: images are strongest there
_PATTERN_STEPS, _STRENGTH_STEPS = 32, 100  # 8-bit steps per gray level of the pattern and of the strength
_BLOCK_ROWS = 64
_STRENGTH_CELL = 4  # pixels of the grid on which the strength is computed
_STRENGTH_INTERVAL = 3  # frames that share one strength map, which changes slowly and takes half of the run time


@cache
def tile_layout() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the layout of a tile of C = TILE_CELLS² cells.

    Returns:
        order: (C,) the cells in a fixed random order; the first SYNC_CELLS form the synchronization pattern.
        signs: (C,) sign of each of the ordered cells.
        code_indices: (C - SYNC_CELLS,) which value of the code word each of the other cells carries.
    """
    cells = TILE_CELLS * TILE_CELLS
    # A hash instead of a library's generator, because the layout must never change.
    noise = hashlib.shake_256(b"mimaface watermark 1").digest(5 * cells)
    order = np.argsort(np.frombuffer(noise[: 4 * cells], ">u4"), kind="stable")
    signs = 1.0 - 2.0 * (np.frombuffer(noise[4 * cells :], np.uint8) & 1)
    return order, signs, np.arange(cells - SYNC_CELLS) % CODE_LENGTH


def make_tile(identifier: int | None) -> np.ndarray:
    """Return the cells (TILE_CELLS, TILE_CELLS) of a watermark, each +1 or -1.

    Args:
        identifier: A number below 2**48, or None for the synchronization pattern alone, with 0 in the other cells.
    """
    order, signs, code_indices = tile_layout()
    cells = np.zeros(TILE_CELLS * TILE_CELLS)
    cells[order[:SYNC_CELLS]] = signs[:SYNC_CELLS]
    if identifier is not None:
        cells[order[SYNC_CELLS:]] = signs[SYNC_CELLS:] * encode_identifier(identifier)[code_indices]
    return cells.reshape(TILE_CELLS, TILE_CELLS)


def emphasize(cells: np.ndarray) -> np.ndarray:
    """Return a tile with its low frequencies reduced."""
    neighborhood = sum(np.roll(cells, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
    return cells - _EMPHASIS * neighborhood


def count_cells(width: float, height: float) -> int:
    """Return the number of cells along the square root of a frame's area."""
    side = (width * height) ** 0.5
    return next(cells for min_side, cells in _CELL_COUNTS if side >= min_side)


def interpolation_weights(count: int, cell: float, resolution: int = 1) -> np.ndarray:
    """Return the weights with which the cells of a repeated tile give a row of pixels, by cubic interpolation.

    Args:
        count: Number of pixels.
        cell: Pixels per cell; the first cell starts at the first pixel.
        resolution: Samples per cell.

    Returns:
        (count, TILE_CELLS · resolution) weights; each row sums to 1.
    """
    period = TILE_CELLS * resolution
    position = (np.arange(count) + 0.5) / cell * resolution - 0.5
    base = np.floor(position).astype(int)
    weights = np.zeros((count, period))
    for offset in range(-1, 3):
        distance = np.abs(position - (base + offset))
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        np.add.at(weights, (np.arange(count), (base + offset) % period), np.where(distance < 1, near, far))
    return weights


class Marker:
    """Adds the watermark of one identifier to frames of one size.

    Args:
        width: Pixels.
        height: Pixels.
        identifier: A number below 2**48.

    Raises:
        ValueError: For a frame that is too small (see `can_mark`).
    """

    def __init__(self, width: int, height: int, identifier: int) -> None:
        if not can_mark(width, height):
            raise ValueError(f"a frame of {width}x{height} is too small for a watermark")
        cell_count = count_cells(width, height)
        cell = (width * height) ** 0.5 / cell_count
        cells = emphasize(make_tile(identifier))
        cells /= np.sqrt(np.mean(cells**2))
        pattern = interpolation_weights(height, cell) @ cells @ interpolation_weights(width, cell).T
        pattern *= _PATTERN_STEPS / np.sqrt(np.mean(pattern**2))
        self._brightening = np.clip(np.rint(pattern), 0, 255).astype(np.uint8)
        self._darkening = np.clip(np.rint(-pattern), 0, 255).astype(np.uint8)
        self._size = width, height
        self._texture_gain = _SMALL_TEXTURE_GAIN if cell_count < _CELL_COUNTS[2][1] else _TEXTURE_GAIN
        self._grid_size = max(1, width // _STRENGTH_CELL), max(1, height // _STRENGTH_CELL)

    def mark_frame(self, frame: np.ndarray) -> np.ndarray:
        """Return a marked copy of a frame.

        All color channels change by the same amount, so that the hue stays.

        Args:
            frame: H×W×3 or H×W×4 uint8 RGB; alpha stays.
        """
        return self._add_pattern(frame, self._measure_strength(frame))

    def mark_frames(self, frames: Generator[np.ndarray, None, None]) -> Generator[np.ndarray, None, None]:
        """Yield marked copies of frames; closing it closes `frames`."""
        strength = np.zeros(0, np.uint8)
        try:
            for index, frame in enumerate(frames):
                if index % _STRENGTH_INTERVAL == 0:
                    strength = self._measure_strength(frame)
                yield self._add_pattern(frame, strength)
        finally:
            frames.close()

    def _add_pattern(self, frame: np.ndarray, strength: np.ndarray) -> np.ndarray:
        to_color = cv2.COLOR_GRAY2RGB if frame.shape[2] == 3 else cv2.COLOR_GRAY2RGBA
        scale = 1 / (_PATTERN_STEPS * _STRENGTH_STEPS)
        marked = np.empty_like(frame, order="C")
        for top in range(0, len(frame), _BLOCK_ROWS):  # blocks fit into the processor's cache
            rows = slice(top, top + _BLOCK_ROWS)
            brighter = cv2.cvtColor(cv2.multiply(self._brightening[rows], strength[rows], scale=scale), to_color)
            darker = cv2.cvtColor(cv2.multiply(self._darkening[rows], strength[rows], scale=scale), to_color)
            cv2.subtract(cv2.add(frame[rows], brighter), darker, dst=marked[rows])
        if frame.shape[2] == 4:
            marked[..., 3] = frame[..., 3]
        return marked

    def _measure_strength(self, frame: np.ndarray) -> np.ndarray:
        """Return the strength of the watermark in gray levels × _STRENGTH_STEPS (H×W uint8)."""
        small = cv2.resize(frame, self._grid_size, interpolation=cv2.INTER_AREA)
        gray = cv2.cvtColor(small[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32)
        mean = cv2.blur(gray, (3, 3))
        texture = np.minimum(np.abs(gray - mean), _MAX_TEXTURE)  # 0 on a slope, where the eye sees the watermark
        # The median leaves out edges: beside them the eye sees the pattern.
        deviation = cv2.blur(cv2.medianBlur(texture, 5), (3, 3))
        masked = self._texture_gain * np.maximum(deviation - _LEAST_TEXTURE, 0)
        strength = np.minimum(_FLAT_STRENGTH + masked, MAX_STRENGTH)
        strength *= np.minimum(0.65 + 0.35 / _DARK_LEVEL * mean, 1)
        steps = np.rint(strength * _STRENGTH_STEPS).astype(np.uint8)
        return cv2.resize(steps, self._size, interpolation=cv2.INTER_LINEAR)


def can_mark(width: int, height: int) -> bool:
    """Return whether a frame is large enough for a watermark."""
    return min(width, height) >= MIN_SIDE
