"""Scene cut detection. Nothing is tracked, smoothed or interpolated across a cut."""

import cv2
import numpy as np

# A cut exceeds both change limits and stays below the correlation limit.
MIN_MEAN_CHANGE = 28.0  # mean difference of neighboring thumbnails, in gray levels
MAX_CORRELATION = 0.6  # largest correlation of the two thumbnails
MIN_CHANGED_SHARE = 0.45  # share of thumbnail cells that change by more than CHANGED_LEVELS
CHANGED_LEVELS = 15


class CutDetector:
    """Detector of scene cuts that compares gray thumbnails of neighboring frames.

    A fast head turn changes few cells of the thumbnail, a cut changes most. A flash or a fade moves all levels together
    and keeps the pattern; a cut brings a different pattern.
    """

    def __init__(self) -> None:
        self._previous: np.ndarray | None = None

    def __call__(self, image: np.ndarray) -> bool:
        """Return whether a frame starts a new shot.

        Args:
            image: (H, W, 3) uint8, the next frame.
        """
        sampled = image[:: max(1, image.shape[0] // 96), :: max(1, image.shape[1] // 96)]
        thumbnail = cv2.resize(np.ascontiguousarray(sampled), (32, 32), interpolation=cv2.INTER_AREA).mean(2)
        previous, self._previous = self._previous, thumbnail
        if previous is None:
            return False
        change = np.abs(thumbnail - previous)
        pattern = thumbnail - thumbnail.mean()
        previous_pattern = previous - previous.mean()
        norms = float(np.linalg.norm(pattern) * np.linalg.norm(previous_pattern))
        correlation = (pattern * previous_pattern).sum() / max(norms, 1e-6)
        changed_share = (change > CHANGED_LEVELS).mean()
        return bool(
            change.mean() > MIN_MEAN_CHANGE and correlation < MAX_CORRELATION and changed_share > MIN_CHANGED_SHARE
        )
