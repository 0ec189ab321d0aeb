"""The person of rendered frames as a layer of its own: from the engine, or segmented in its frames."""

from collections import deque
from collections.abc import Callable, Generator, Iterator

import numpy as np

from mimaface_cli.engines.base import FrameStream

SEGMENTED_NOTE = "the engine does not render the person alone, so the person is segmented in each rendered frame"

Matting = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Takes a frame (H, W, 3) uint8; returns the person's alpha (H, W) float32 in 0 to 1, and foreground colors (H, W, 3)
in 0 to 255."""


def ensure_person_layer(
    stream: FrameStream, *, cutout: bool, needs_person_alpha: bool, load_matting: Callable[[], Matting]
) -> FrameStream:
    """Give a stream what was requested of it where its engine did not.

    Args:
        stream: The rendered frames; changed in place.
        cutout: Whether the frames must show the person alone.
        needs_person_alpha: Whether the stream must provide the person's alpha.
        load_matting: Returns the function that separates the person from the background; called if it is needed.

    Returns:
        The same stream.
    """
    if cutout and not stream.is_cutout:
        stream.frames = _cut_out(stream.frames, load_matting())
        stream.is_cutout = True
        stream.person_alphas = None
        stream.notes.append(SEGMENTED_NOTE)
    if needs_person_alpha and stream.person_alphas is None:
        if stream.is_cutout:
            stream.frames, stream.person_alphas = _tee_alphas(stream.frames, lambda frame: frame[..., 3])
        else:
            matting = load_matting()
            stream.frames, stream.person_alphas = _tee_alphas(stream.frames, lambda frame: _separate(frame, matting)[1])
            stream.notes.append(SEGMENTED_NOTE)
    return stream


def _cut_out(frames: Generator[np.ndarray, None, None], matting: Matting) -> Generator[np.ndarray, None, None]:
    """Yield frames (H, W, 4) uint8 of the person alone."""
    try:
        for frame in frames:
            foreground, alpha = _separate(frame, matting)
            yield np.dstack([foreground, alpha])
    finally:
        frames.close()


def _separate(frame: np.ndarray, matting: Matting) -> tuple[np.ndarray, np.ndarray]:
    """Return the person's foreground colors (H, W, 3) and alpha (H, W), both uint8."""
    alpha, foreground = matting(np.ascontiguousarray(frame[..., :3]))
    if frame.shape[2] == 4:  # what a transparent photo leaves out is no part of the person
        alpha = np.minimum(alpha, frame[..., 3].astype(np.float32) / 255)
    return _to_uint8(foreground), _to_uint8(alpha * 255)


def _tee_alphas(
    frames: Generator[np.ndarray, None, None], alpha_of: Callable[[np.ndarray], np.ndarray]
) -> tuple[Generator[np.ndarray, None, None], Iterator[np.ndarray]]:
    """Split frames into the frames and the alpha of each, which is read after its frame."""
    waiting: deque[np.ndarray] = deque()

    def leading() -> Generator[np.ndarray, None, None]:
        try:
            for frame in frames:
                waiting.append(alpha_of(frame).copy())
                yield frame
        finally:
            frames.close()

    def trailing() -> Iterator[np.ndarray]:
        while True:
            yield waiting.popleft()

    return leading(), trailing()


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
