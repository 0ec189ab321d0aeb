"""Where a result differs from its source: a soft alpha for compositing."""

import cv2
import numpy as np

NOTICED = 3  # gray levels: less is rounding
_WORK_SIDE = 480  # of the matte while it is shaped: what is soft needs no more
_BRIDGED, _MARGIN, _BLUR = 24, 7, 4  # pixels at that size: gaps that are filled, distance to the rim, half its width


def changed(result: np.ndarray, original: np.ndarray) -> np.ndarray:
    """The matte H×W uint8 of two pictures (H×W×3 or ×4 uint8): 255 wherever they differ and between such places, falling
    softly to 0 around. Laying the result over the original by it gives the result back.
    """
    apart = cv2.absdiff(np.ascontiguousarray(result[..., :3]), np.ascontiguousarray(original[..., :3])).max(axis=2)
    height, width = apart.shape
    scale = min(1.0, _WORK_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Averaged, not sampled, so that a single changed pixel counts.
    hard = (cv2.resize(np.float32(apart >= NOTICED), size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    padded = cv2.copyMakeBorder(hard, *(_BRIDGED,) * 4, cv2.BORDER_CONSTANT, value=0)
    filled = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disc(_BRIDGED // 2))[_BRIDGED:-_BRIDGED, _BRIDGED:-_BRIDGED]
    wide = cv2.dilate(filled, _disc(_MARGIN))
    soft = cv2.GaussianBlur(wide * 255, (2 * _BLUR + 1,) * 2, _BLUR / 2)  # reaches less far than the margin
    return cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
