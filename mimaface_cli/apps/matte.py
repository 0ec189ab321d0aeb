"""The matte of a result: where it differs from its source, or the person, as a soft alpha for compositing."""

from collections.abc import Generator

import cv2
import numpy as np

from mimaface_cli.apps.animate_options import CHANGED, PERSON
from mimaface_cli.engines.base import FrameStream
from mimaface_cli.media.writer import FrameWriter

THRESHOLD = 3  # gray levels; smaller differences are rounding
_WORK_SIDE = 480  # pixels of the longer side while the matte is shaped; a soft matte needs no more
# Pixels of that size: gaps that are closed, margin to the edge, radius of the blur (smaller than the margin).
_CLOSED_GAP, _MARGIN, _BLUR = 24, 7, 4


def compute_matte(result: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Return where a result differs from its source.

    Compositing the result over the source with this matte gives the result.

    Args:
        result: (H, W, 3) or (H, W, 4) uint8.
        original: The source's frame, (H, W, 3) or (H, W, 4) uint8.

    Returns:
        (H, W) uint8: 255 where they differ and in small gaps, with a soft falloff to 0 around.
    """
    result_rgb, original_rgb = (np.ascontiguousarray(image[..., :3]) for image in (result, original))
    difference = cv2.absdiff(result_rgb, original_rgb).max(axis=2)
    height, width = difference.shape
    scale = min(1.0, _WORK_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Area averaging, not sampling: a single changed pixel counts.
    is_different = (difference >= THRESHOLD).astype(np.float32)
    mask = (cv2.resize(is_different, size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    padded = cv2.copyMakeBorder(mask, *(_CLOSED_GAP,) * 4, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disc(_CLOSED_GAP // 2))
    closed = closed[_CLOSED_GAP:-_CLOSED_GAP, _CLOSED_GAP:-_CLOSED_GAP]
    dilated = cv2.dilate(closed, _disc(_MARGIN))
    soft = cv2.GaussianBlur(dilated * 255, (2 * _BLUR + 1,) * 2, _BLUR / 2)
    return cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)


def write_mattes(
    stream: FrameStream, pts: np.ndarray, writer: FrameWriter, kind: str = CHANGED
) -> Generator[np.ndarray, None, None]:
    """Write the matte of each frame of a stream, then yield the frame.

    Args:
        stream: The rendered frames; it also provides the person's alphas, or the source's original frames.
        pts: (N,) times of the frames in the output, in seconds.
        writer: Where the mattes go.
        kind: "changed" or "person".
    """
    companions = stream.person_alphas if kind == PERSON else stream.originals
    if companions is None:
        raise ValueError(f"the stream does not provide what a matte of the kind {kind} needs")
    try:
        for k, frame in enumerate(stream.frames):
            companion = next(companions)
            matte = companion if kind == PERSON else compute_matte(frame, companion)
            writer.write(np.repeat(matte[..., None], 3, axis=2), float(pts[k]))
            yield frame
    finally:
        stream.close()


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
