"""Reading a mark back: what all frames have in common beside the picture, folded into one tile and found by its sync.

A frame's brightness is brought to a few pixels a cell, what is slow is taken out and what is rough is evened, and the
mean over all frames is what votes: the mark is the same in each, the picture is not. A crop moves the tile and
stretches it against what the frame's size tells, so scales in both directions are tried, and by correlation every
place.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import fft

from mimaface_cli.provenance import error_correction as code
from mimaface_cli.provenance.watermark import LEAST, SYNC, TILE, emphasized, layout, level, spread, tile

_CELL = 3  # pixels of a cell when it is looked at
_FINE = 2  # places of a tile in a cell
_SCALES = (0.98, 1.16)  # how much larger cells may be than a frame's size tells: crops by up to an eighth
_CANDIDATES = 6  # places at which a code word is tried, for each search
_LEAST_SYNC = 5.0  # standard deviations of the sync's correlation below which nothing is tried


@dataclass(frozen=True)
class Mark:
    """identifier: the 48 bits; beneath: those of a second, weaker mark, which a result may have from its source; sync:
    standard deviations by which its fixed part stands out; frames: how many voted; scale: how much larger its cells are
    than the frame's size tells (across, down): 1 unless cropped.
    """

    identifier: int
    beneath: int | None
    sync: float
    frames: int
    scale: tuple[float, float]

    @property
    def identifiers(self) -> list[str]:
        """Both as 12 hex digits, the stronger first."""
        return [f"{mark:012x}" for mark in (self.identifier, self.beneath) if mark is not None]


class Detector:
    """Gathers frames of one size, then looks for a mark in what they have in common."""

    def __init__(self) -> None:
        self.frames = 0
        self._size: tuple[int, int] | None = None
        self._sums: dict[int, np.ndarray] = {}

    def add(self, frame: np.ndarray) -> None:
        """Add a frame (H×W×3 uint8 RGB). Raises ValueError where it has another size than the ones before."""
        size = frame.shape[1], frame.shape[0]
        if self._size is None:
            self._size = size
            self._sums = {cells: np.float32(0) for cells in _levels(*size)}
        if size != self._size:
            raise ValueError(f"a frame of {size} after frames of {self._size}")
        gray = cv2.cvtColor(np.ascontiguousarray(frame[..., :3]), cv2.COLOR_RGB2GRAY)
        for cells in self._sums:
            self._sums[cells] = self._sums[cells] + _residual(gray, cells)
        self.frames += 1

    def find(self) -> Mark | None:
        """The mark, or None where there is none."""
        if self._size is None:
            return None
        width, height = self._size
        near = {level(width * scale, height * scale) for scale in (1, _SCALES[1])}  # a crop may hide the level above
        for search, levels in ((_in_place, set(self._sums)), (_cropped, near)):
            for cells in (cells for cells in self._sums if cells in levels):
                total = self._sums[cells]
                for sync, scale, folded in search(total / max(self.frames, 1), cells):
                    soft = _soft(folded)
                    identifier = code.decode(soft)
                    if identifier is not None:
                        word = code.encode(identifier)
                        beneath = code.decode(soft - word * (soft @ word) / len(word))
                        return Mark(identifier, beneath, float(sync), self.frames, scale)
        return None


def find_mark(frames: Iterable[np.ndarray]) -> Mark | None:
    """The mark of frames of one size, or None."""
    detector = Detector()
    for frame in frames:
        detector.add(frame)
    return detector.find()


def _levels(width: int, height: int) -> list[int]:
    """The numbers of cells that a frame may have been marked with: also those of twice the size and of half."""
    if min(width, height) < LEAST // 3:
        return []
    return list(dict.fromkeys(level(width * factor, height * factor) for factor in (1, 2, 0.5)))


def _residual(gray: np.ndarray, cells: int) -> np.ndarray:
    """A frame's brightness without its slow part, even in strength all over, at _CELL pixels a cell."""
    height, width = gray.shape
    scale = cells * _CELL / (width * height) ** 0.5
    size = max(round(width * scale), TILE // 2), max(round(height * scale), TILE // 2)
    shrinking = scale < 1
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC).astype(np.float32)
    rough = small - cv2.GaussianBlur(small, (0, 0), _CELL * 0.5)
    deviation = np.sqrt(cv2.GaussianBlur(rough * rough, (0, 0), _CELL * 0.8))
    return np.clip(rough / (deviation + 0.1), -2, 2)


def _templates() -> tuple[np.ndarray, np.ndarray]:
    """What the sync looks like on the fine grid, as its spectrum, and the weights that brought it there."""
    weights = spread(TILE * _FINE, _FINE)
    shown = weights @ emphasized(tile(None)) @ weights.T
    return np.conj(fft.rfft2(shown)), weights


def _folded(residual: np.ndarray, cells: int, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """The residual laid into one fine tile, for each scale across and down: down × across × tile × tile."""
    height, width = residual.shape
    side = (width * height) ** 0.5 / cells
    right = np.stack([_fold(width, side * s) for s in across])  # A × W × T
    left = np.stack([_fold(height, side * s) for s in down])
    rows = np.einsum("hw,awt->aht", residual, right, optimize=True)
    return np.einsum("dhs,aht->dast", left, rows, optimize=True)


def _fold(count: int, cell: float) -> np.ndarray:
    """Count × (TILE·_FINE), each place of the tile weighted by how often it is seen."""
    weights = spread(count, cell, _FINE).astype(np.float32)
    seen = weights.sum(0)
    return weights / np.sqrt(np.maximum(seen, 0.25))


def _correlated(folded: np.ndarray) -> np.ndarray:
    """The sync's correlation at every place, in standard deviations, for a stack of fine tiles."""
    spectrum, _ = _templates()
    folded = folded - folded.mean((-2, -1), keepdims=True)
    values = fft.irfft2(fft.rfft2(folded) * spectrum, s=folded.shape[-2:])
    return values / np.maximum(values.std((-2, -1), keepdims=True), 1e-9)


def _in_place(residual: np.ndarray, cells: int):
    one = np.ones(1)
    folded = _folded(residual, cells, one, one)[0, 0]
    yield _correlated(folded)[0, 0], (1.0, 1.0), folded


def _cropped(residual: np.ndarray, cells: int):
    scales = np.arange(*_SCALES, 1 / cells)
    found = []
    for first in range(0, len(scales), 8):
        down = scales[first : first + 8]
        values = _correlated(_folded(residual, cells, scales, down))
        flat = values.reshape(*values.shape[:2], -1)
        best = flat.argmax(-1)
        for d, a in np.ndindex(best.shape):
            found.append((flat[d, a, best[d, a]], down[d], scales[a], best[d, a]))
    found.sort(key=lambda entry: -entry[0])
    for sync, down, across, _ in found[:_CANDIDATES]:
        if sync < _LEAST_SYNC:
            return
        yield _refined(residual, cells, across, down)


def _refined(residual: np.ndarray, cells: int, across: float, down: float):
    """The best of finer scales about one that was found, and its tile moved to its own origin."""
    near = np.linspace(-0.6, 0.6, 7) / cells
    folded = _folded(residual, cells, across + near, down + near)
    values = _correlated(folded)
    d, a, y, x = np.unravel_index(values.argmax(), values.shape)
    moved = np.roll(folded[d, a], (-y, -x), (0, 1))
    return values[d, a, y, x], (float(across + near[a]), float(down + near[d])), moved


def _soft(folded: np.ndarray) -> np.ndarray:
    """The values of the code word's numbers from a fine tile that lies at its own origin."""
    order, signs, which = layout()
    _, weights = _templates()
    cells = (weights.T @ folded @ weights).reshape(-1)[order[SYNC:]] * signs[SYNC:]
    cells = np.clip(cells / max(float(np.abs(cells).mean()), 1e-9), -3, 3)
    return np.bincount(which, cells, code.LENGTH)
