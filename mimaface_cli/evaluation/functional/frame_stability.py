"""Stability of pixels over time: warping error, and the background beside the person."""

from typing import Any

import numpy as np

from mimaface_cli.evaluation.functional.temporal import GRID_CELLS

FLOW_SIDE = 128  # pixels of the longest side at which optical flow is computed
_MIN_CONSISTENT = 0.05  # share of consistent pixels below which a pair of frames cannot be compared
# Margins of the person around the face's box, relative to the box: at each side, and above.
_SIDE_MARGIN, _TOP_MARGIN = 0.6, 0.5
MIN_BACKGROUND = 0.05  # share of the frame below which the background is too small


class WarpingError:
    """Temporal difference of successive frames after compensation by their optical flow.

    The flow is computed both ways by OpenCV's DIS (ultrafast). A pixel counts if both flows agree.

    Source: Lai et al. 2018, "Learning Blind Video Temporal Consistency", Eq. (11), on luma.
    """

    def __init__(self) -> None:
        self._flow: Any = None
        self._grid = np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32)

    def __call__(self, before: np.ndarray, image: np.ndarray) -> float | None:
        """Return the mean squared difference (0 to 1) of two H×W uint8 luma images, or None without matching pixels."""
        import cv2

        if self._flow is None:
            create = cv2.DISOpticalFlow_create  # type: ignore[attr-defined]  # missing in OpenCV's type stub
            self._flow = create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        before, image = np.ascontiguousarray(before), np.ascontiguousarray(image)
        backward = self._flow.calc(image, before, None)  # from each pixel of the image to its place before
        forward = self._flow.calc(before, image, None)
        x, y = self._place(image.shape[0], image.shape[1])
        map_x, map_y = x + backward[..., 0], y + backward[..., 1]
        warped = cv2.remap(before, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        returned = cv2.remap(forward, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        error = _squared_length(backward + returned)
        length = _squared_length(backward) + _squared_length(returned)
        height, width = image.shape
        inside = (map_x >= 0) & (map_x <= width - 1) & (map_y >= 0) & (map_y <= height - 1)
        consistent = inside & (error < 0.01 * length + 0.5)
        count = int(consistent.sum())
        if count < _MIN_CONSISTENT * consistent.size:
            return None
        difference = cv2.absdiff(warped, image)[consistent].astype(np.int64)
        return float((difference * difference).sum()) / (255.0**2 * count)

    def _place(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        if self._grid[0].shape != (height, width):
            x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
            self._grid = x, y
        return self._grid


def _squared_length(vectors: np.ndarray) -> np.ndarray:
    """Return the squared length (H, W) of vectors (H, W, 2)."""
    return vectors[..., 0] * vectors[..., 0] + vectors[..., 1] * vectors[..., 1]


def small_luma(luma: np.ndarray, side: int = FLOW_SIDE) -> np.ndarray:
    """Return an H×W uint8 luma image, reduced to `side` pixels if it is larger."""
    import cv2

    height, width = luma.shape
    scale = side / max(height, width)
    if scale >= 1:
        return luma
    size = max(8, round(width * scale)), max(8, round(height * scale))
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA)


def background_cells(box: np.ndarray, width: int, height: int, cells: int = GRID_CELLS) -> np.ndarray:
    """Return the mask (cells, cells) of the background of a frame, away from head and shoulders.

    Args:
        box: (4) left, top, right, bottom of the face in pixels.
        width: Width of the frame in pixels.
        height: Height of the frame in pixels.
        cells: Cells along each side of the frame.
    """
    left, top, right, bottom = (float(value) for value in box)
    margin, above = _SIDE_MARGIN * (right - left), _TOP_MARGIN * (bottom - top)
    x, y = (np.arange(cells) + 0.5) * (width / cells), (np.arange(cells) + 0.5) * (height / cells)
    beside = (x < left - margin) | (x > right + margin)
    return (y < bottom)[:, None] & (beside[None] | (y < top - above)[:, None])


class CellDeviation:
    """Standard deviation over time of the cells of a grid; each cell counts only while it is background.

    Memory does not grow with the number of frames.
    """

    def __init__(self, cells: int = GRID_CELLS) -> None:
        self._shape = cells, cells
        self._count = np.zeros(self._shape)
        self._mean = np.zeros(self._shape)
        self._scatter = np.zeros(self._shape)
        self._total_scatter, self._total_count = np.zeros(self._shape), np.zeros(self._shape)

    def start_shot(self) -> None:
        """Start a new mean; the deviations within all shots are pooled."""
        self._total_scatter += self._scatter
        self._total_count += np.maximum(self._count - 1, 0)
        self._count, self._mean, self._scatter = (np.zeros(self._shape) for _ in range(3))

    def add(self, values: np.ndarray, mask: np.ndarray) -> None:
        """Add the cells of a frame. `values` and `mask` are (cells, cells)."""
        self._count += mask
        shift = np.where(mask, values - self._mean, 0.0)
        self._mean += shift / np.maximum(self._count, 1)
        self._scatter += shift * np.where(mask, values - self._mean, 0.0)

    def result(self) -> float | None:
        """Return the root of the mean variance of the cells, or None if the background is too small."""
        self.start_shot()
        count = self._total_count
        if (count > 0).mean() < MIN_BACKGROUND:
            return None
        return float(np.sqrt(self._total_scatter.sum() / count.sum()))
