"""Synthetic clips, changes of frames, and mark detection for the provenance benchmark and tests."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from mimaface_cli.provenance.mark_detection import Mark, MarkDetector


def make_clip(seed: int, count: int, width: int = 480, height: int = 360) -> Iterator[np.ndarray]:
    """Yield frames with texture, gradients and flat parts, over which an ellipse and the camera move.

    Args:
        seed: Random seed of the content.
        count: Number of frames.
        width: Width in pixels.
        height: Height in pixels.

    Yields:
        Frames H×W×3 uint8 RGB.
    """
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, 1, (n, n, 3)), (width + 64, height + 64)) * 30 / n**0.3 for n in (4, 16, 64, 200)
    ]
    background = np.clip(sum(layers[: 1 + seed % 4]) + rng.uniform(30, 220, 3), 0, 255)
    for k in range(count):
        x, y = (int(16 + 14 * np.sin(k / 9 + seed + phase)) for phase in (0, 1.5))
        frame = background[y : y + height, x : x + width].astype(np.uint8)
        center = int(width * (0.5 + 0.2 * np.sin(k / 12))), height // 2
        cv2.ellipse(frame, center, (width // 8, height // 4), 10 * np.sin(k / 7), 0, 360, (205, 160, 140), -1)
        yield np.clip(frame + rng.normal(0, 1.5, frame.shape), 0, 255).astype(np.uint8)


def resize_frame(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize by area when shrinking, else by cubic interpolation."""
    is_shrinking = width < frame.shape[1]
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if is_shrinking else cv2.INTER_CUBIC)


def halve_and_restore(frame: np.ndarray) -> np.ndarray:
    """Shrink a frame to half its size and enlarge it again."""
    height, width = frame.shape[:2]
    return resize_frame(resize_frame(frame, width // 2, height // 2), width, height)


def crop_frame(frame: np.ndarray, share: float = 0.05, left: float = 0.7, top: float = 0.3) -> np.ndarray:
    """Crop `share` of each side's length; `left` and `top` are the parts of it cut at those edges."""
    height, width = frame.shape[:2]
    x, y = int(width * share * left), int(height * share * top)
    return np.ascontiguousarray(frame[y : y + int(height * (1 - share)), x : x + int(width * (1 - share))])


def crop_and_stretch(frame: np.ndarray) -> np.ndarray:
    """Crop a frame by 5 % and stretch it to its former size."""
    return resize_frame(crop_frame(frame), frame.shape[1], frame.shape[0])


def detect_mark(frames: Iterable[np.ndarray]) -> Mark | None:
    """Return the watermark of frames (H×W×3 uint8 RGB) of one size, or None."""
    detector = MarkDetector()
    for frame in frames:
        detector.add(frame)
    return detector.detect()
