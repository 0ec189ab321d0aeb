"""Detection of the watermark.

The brightness of each frame is scaled to a few pixels per cell, its low frequencies are removed and its contrast is
equalized. The mean over all frames keeps the watermark, which is the same in each, and averages the content out. The
mean is folded into one tile, which the synchronization pattern locates by correlation. A crop shifts the tile and makes
its cells larger than the frame's size implies, so several scales in both directions are tried.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import fft

from mimaface_cli.provenance.error_correction import CODE_LENGTH, decode_identifier, encode_identifier
from mimaface_cli.provenance.watermark import (
    MIN_SIDE,
    SYNC_CELLS,
    TILE_CELLS,
    count_cells,
    emphasize,
    interpolation_weights,
    make_tile,
    tile_layout,
)

_CELL_PIXELS = 3  # pixels per cell of a scaled frame
_CELL_SAMPLES = 2  # samples per cell of a folded tile
_SCALES = (0.98, 1.16)  # range of cell sizes relative to the frame's size: crops by up to an eighth
_LEAST_DEVIATION = 0.1  # of the mean residual
_MAX_CANDIDATES = 6  # locations at which a code word is decoded, for each search
_MIN_SYNC_SCORE = 5.0  # standard deviations of the correlation below which no code word is decoded
_SCALES_AT_ONCE = 8


@dataclass(frozen=True)
class Mark:
    """A detected watermark.

    Attributes:
        identifier: Its 48 bits.
        weaker_identifier: 48 bits of a second, weaker watermark, which comes from the result's source, or None.
        sync: Standard deviations by which the synchronization pattern stands out.
        frames: Number of frames that were averaged.
        scale: Cell size relative to the frame's size, horizontally and vertically: 1 unless cropped.
    """

    identifier: int
    weaker_identifier: int | None
    sync: float
    frames: int
    scale: tuple[float, float]

    @property
    def identifiers(self) -> list[str]:
        """Both identifiers as 12 hex digits, the stronger first."""
        return [f"{value:012x}" for value in (self.identifier, self.weaker_identifier) if value is not None]


@dataclass(frozen=True)
class _Candidate:
    """A located tile.

    Attributes:
        sync: Score of the synchronization pattern in standard deviations.
        scale: Cell size relative to the frame's size, horizontally and vertically.
        samples: The folded tile, shifted to its origin.
    """

    sync: float
    scale: tuple[float, float]
    samples: np.ndarray


class MarkDetector:
    """Averages frames of one size and detects a watermark in the mean."""

    def __init__(self) -> None:
        self.frames = 0
        self._size: tuple[int, int] | None = None
        self._sums: dict[int, np.ndarray] = {}  # by number of cells

    def add(self, frame: np.ndarray) -> None:
        """Add a frame (H×W×3 uint8 RGB). Raises ValueError if its size differs from the first frame's."""
        size = frame.shape[1], frame.shape[0]
        if self._size is None:
            self._size = size
            self._sums = {cells: np.zeros((), np.float32) for cells in _possible_cell_counts(*size)}
        if size != self._size:
            raise ValueError(f"a frame of {size} after frames of {self._size}")
        gray = cv2.cvtColor(np.ascontiguousarray(frame[..., :3]), cv2.COLOR_RGB2GRAY)
        for cells in self._sums:
            self._sums[cells] = self._sums[cells] + _extract_residual(gray, cells)
        self.frames += 1

    def detect(self) -> Mark | None:
        """Return the watermark, or None if there is none."""
        if self._size is None:
            return None
        width, height = self._size
        # A crop may have reduced the number of cells that the frame's size implies.
        cropped_counts = {count_cells(width * scale, height * scale) for scale in (1, _SCALES[1])}
        searches: tuple[tuple[Callable[[np.ndarray, int], Iterator[_Candidate]], set[int]], ...] = (
            (_search_in_place, set(self._sums)),
            (_search_cropped, cropped_counts),
        )
        for search, cell_counts in searches:
            for cells in (count for count in self._sums if count in cell_counts):
                for candidate in search(_equalize_mean(self._sums[cells] / max(self.frames, 1)), cells):
                    mark = self._decode(candidate)
                    if mark is not None:
                        return mark
        return None

    def _decode(self, candidate: _Candidate) -> Mark | None:
        values = _code_values(candidate.samples)
        identifier = decode_identifier(values)
        if identifier is None:
            return None
        word = encode_identifier(identifier)
        weaker_identifier = decode_identifier(values - word * (values @ word) / len(word))
        return Mark(identifier, weaker_identifier, float(candidate.sync), self.frames, candidate.scale)


def _possible_cell_counts(width: int, height: int) -> list[int]:
    """Return the numbers of cells with which a frame may have been marked: at its size, at twice and at half of it."""
    if min(width, height) < MIN_SIDE // 3:
        return []
    return list(dict.fromkeys(count_cells(width * factor, height * factor) for factor in (1, 2, 0.5)))


def _extract_residual(gray: np.ndarray, cells: int) -> np.ndarray:
    """Return a frame's brightness without low frequencies and of equal contrast, at _CELL_PIXELS pixels per cell."""
    height, width = gray.shape
    scale = cells * _CELL_PIXELS / (width * height) ** 0.5
    size = max(round(width * scale), TILE_CELLS // 2), max(round(height * scale), TILE_CELLS // 2)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(gray, size, interpolation=interpolation).astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), _CELL_PIXELS * 0.5)
    deviation = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), _CELL_PIXELS * 0.8))
    return np.clip(detail / (deviation + 0.1), -2, 2)


def _equalize_mean(residual: np.ndarray) -> np.ndarray:
    """Equalize the contrast of a mean residual, in which moving content has averaged out and still content has not."""
    deviation = np.sqrt(cv2.GaussianBlur(residual * residual, (0, 0), _CELL_PIXELS * 2))
    return np.clip(residual / (deviation + _LEAST_DEVIATION), -3, 3)


def _sync_template() -> tuple[np.ndarray, np.ndarray]:
    """Return the spectrum of the sampled synchronization pattern, and the weights that sample a tile."""
    weights = interpolation_weights(TILE_CELLS * _CELL_SAMPLES, _CELL_SAMPLES)
    samples = weights @ emphasize(make_tile(None)) @ weights.T
    return np.conj(fft.rfft2(samples)), weights


def _fold(residual: np.ndarray, cells: int, x_scales: np.ndarray, y_scales: np.ndarray) -> np.ndarray:
    """Fold a residual into one tile of T = TILE_CELLS · _CELL_SAMPLES samples.

    Args:
        residual: (H, W) mean residual.
        cells: Number of cells along the square root of the frame's area.
        x_scales: (A,) horizontal scales.
        y_scales: (D,) vertical scales.

    Returns:
        (D, A, T, T) tiles.
    """
    height, width = residual.shape
    cell = (width * height) ** 0.5 / cells
    columns = np.stack([_fold_weights(width, cell * scale) for scale in x_scales])
    rows = np.stack([_fold_weights(height, cell * scale) for scale in y_scales])
    folded = np.einsum("hw,awt->aht", residual, columns, optimize=True)
    return np.einsum("dhs,aht->dast", rows, folded, optimize=True)


def _fold_weights(count: int, cell: float) -> np.ndarray:
    """Return weights (count, T), each sample normalized by how often it occurs."""
    weights = interpolation_weights(count, cell, _CELL_SAMPLES).astype(np.float32)
    return weights / np.sqrt(np.maximum(weights.sum(0), 0.25))


def _correlate(tiles: np.ndarray) -> np.ndarray:
    """Return the correlation of tiles (..., T, T) with the synchronization pattern at every shift, in deviations."""
    spectrum, _ = _sync_template()
    tiles = tiles - tiles.mean((-2, -1), keepdims=True)
    values = fft.irfft2(fft.rfft2(tiles) * spectrum, s=tiles.shape[-2:])
    return values / np.maximum(values.std((-2, -1), keepdims=True), 1e-9)


def _search_in_place(residual: np.ndarray, cells: int) -> Iterator[_Candidate]:
    """Yield the tile of a frame that was not cropped."""
    scale = np.ones(1)
    tile = _fold(residual, cells, scale, scale)[0, 0]
    yield _Candidate(float(_correlate(tile)[0, 0]), (1.0, 1.0), tile)


def _search_cropped(residual: np.ndarray, cells: int) -> Iterator[_Candidate]:
    """Yield the most likely tiles of a frame that was cropped, the best first."""
    scales = np.arange(*_SCALES, 1 / cells)
    peaks: list[tuple[float, float, float]] = []  # score, vertical scale, horizontal scale
    for start in range(0, len(scales), _SCALES_AT_ONCE):
        y_scales = scales[start : start + _SCALES_AT_ONCE]
        values = _correlate(_fold(residual, cells, scales, y_scales))
        best = values.reshape(*values.shape[:2], -1).max(-1)
        for y, x in np.ndindex(best.shape):
            peaks.append((float(best[y, x]), float(y_scales[y]), float(scales[x])))
    peaks.sort(key=lambda peak: -peak[0])
    for score, y_scale, x_scale in peaks[:_MAX_CANDIDATES]:
        if score < _MIN_SYNC_SCORE:
            return
        yield _refine(residual, cells, x_scale, y_scale)


def _refine(residual: np.ndarray, cells: int, x_scale: float, y_scale: float) -> _Candidate:
    """Return the best tile at finer scales around one, shifted to its origin."""
    offsets = np.linspace(-0.6, 0.6, 7) / cells
    tiles = _fold(residual, cells, x_scale + offsets, y_scale + offsets)
    values = _correlate(tiles)
    best = np.unravel_index(values.argmax(), values.shape)
    y_index, x_index, y_shift, x_shift = (int(index) for index in best)
    samples = np.roll(tiles[y_index, x_index], (-y_shift, -x_shift), (0, 1))
    scale = float(x_scale + offsets[x_index]), float(y_scale + offsets[y_index])
    return _Candidate(float(values[best]), scale, samples)


def _code_values(samples: np.ndarray) -> np.ndarray:
    """Return the soft values (CODE_LENGTH) of a code word from a tile at its origin."""
    order, signs, code_indices = tile_layout()
    _, weights = _sync_template()
    cells = (weights.T @ samples @ weights).reshape(-1)[order[SYNC_CELLS:]] * signs[SYNC_CELLS:]
    cells = np.clip(cells / max(float(np.abs(cells).mean()), 1e-9), -3, 3)
    return np.bincount(code_indices, cells, CODE_LENGTH)
