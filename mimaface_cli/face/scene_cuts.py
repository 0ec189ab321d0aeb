"""Scene cuts: a new shot must not be followed, smoothed or interpolated across."""

import numpy as np

MEAN_CHANGE = 28.0  # gray levels between neighboring thumbnails that a cut exceeds
MOST_ALIKE = 0.6  # correlation of the thumbnails of two shots
SHARE_CHANGED = 0.45  # of the thumbnail's cells that change by more than 15 levels


class CutDetector:
    """Compares small gray thumbnails of neighboring frames; a fast head turn changes few cells, a cut most."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def __call__(self, image: np.ndarray) -> bool:
        """True where this frame (H×W×3 uint8) starts a new shot."""
        import cv2

        rough = image[:: max(1, image.shape[0] // 96), :: max(1, image.shape[1] // 96)]
        small = cv2.resize(np.ascontiguousarray(rough), (32, 32), interpolation=cv2.INTER_AREA).mean(2)
        last, self._last = self._last, small
        if last is None:
            return False
        # A flash or a fade moves all levels together and leaves the pattern; a cut brings another one.
        change = np.abs(small - last)
        pattern, before = small - small.mean(), last - last.mean()
        alike = (pattern * before).sum() / max(float(np.linalg.norm(pattern) * np.linalg.norm(before)), 1e-6)
        return bool(change.mean() > MEAN_CHANGE and alike < MOST_ALIKE and (change > 15).mean() > SHARE_CHANGED)
