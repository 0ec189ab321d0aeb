"""Same-identity part of the mouth benchmark: a clip, redrawn from one of its frames, against the clip."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np

from tests.benchmarks.mouth_measures import (
    compare_mouths,
    crop_to_skull,
    measure_jitter_inside,
    psnr_of_error,
)
from tests.benchmarks.mouth_rendering import ClipView, detect_points, render_clip
from tests.benchmarks.quality_measures import compare_geometry

FIRST_COMPARED = 3  # frames around the reference that are not compared
STRIDE = 4
STILL, TRUTH = "still", "truth"
MIN_FRAMES = 5  # with the face in truth and result, for figures of motion


@dataclass
class Redrawing:
    """A clip as the engine redraws it.

    Attributes:
        frames: Frames in the clip's window.
        points: Landmarks that are detected in each frame, or None.
        figures: Measured values by name.
    """

    frames: list[np.ndarray]
    points: list[np.ndarray | None]
    figures: dict[str, float] = field(default_factory=dict)


def redraw_clip(clip: ClipView, reference: str, mouth: str) -> Redrawing:
    """Redraw a clip from its reference frame and measure the result.

    Args:
        clip: The clip.
        reference: Name of the reference frame.
        mouth: How the engine renders the mouth.
    """
    frames = list(render_clip(clip, clip.load_track(), reference, mouth))
    result = Redrawing(frames, [detect_points(frame) for frame in frames])
    result.figures = compare_clip(clip, frames, reference) | measure_motion(clip, result, reference)
    return result


def measure_still(clip: ClipView, reference: str) -> dict[str, float]:
    """Return the figures of the reference frame, left unmoved."""
    index = clip.references[reference]
    return compare_clip(clip, repeat(clip.frames[index], len(clip.frames)), reference)


def measure_truth(clip: ClipView, reference: str) -> dict[str, float]:
    """Return the jitter inside the mouth of the clip itself, in the skull crop of the reference frame."""
    return measure_jitter_inside(crop_to_skull(clip.frames, clip.points, clip.reference_points(reference)))


def compare_clip(clip: ClipView, frames: Iterable[np.ndarray], reference: str) -> dict[str, float]:
    """Compare the mouths of some frames of a result with the clip.

    Returns:
        Means over frames of the values of `compare_mouths`; "inner PSNR" of the mean error over the frames with an open
        mouth instead of "inner error".
    """
    values: dict[str, list[float]] = {}
    for k, result in enumerate(frames):
        points = clip.points[k]
        if not is_compared(clip, reference, k) or points is None:
            continue
        for name, value in compare_mouths(result, clip.frames[k], points).items():
            values.setdefault(name, []).append(value)
    # Ratios are averaged as logarithms: twice and half as sharp make 1.
    means = {name: float(np.exp(np.mean(np.log(np.maximum(values.pop(name), 1e-3)))))
             for name in list(values) if "sharpness" in name}  # fmt: skip
    means |= {name: float(np.mean(series)) for name, series in values.items()}
    if "inner error" in means:
        means["inner PSNR"] = psnr_of_error(means.pop("inner error"))
    return means


def is_compared(clip: ClipView, reference: str, index: int) -> bool:
    """Return whether a frame is compared: every STRIDE-th, not near the reference frame."""
    distance = abs(index - clip.references[reference])
    return distance >= FIRST_COMPARED and (distance - FIRST_COMPARED) % STRIDE == 0


def measure_motion(clip: ClipView, result: Redrawing, reference: str) -> dict[str, float]:
    """Return "gap", "gap gain" (see `compare_geometry`), and the jitter inside the mouth of a result.

    The jitter is measured where the result's mouth is open, in the skull crop of the clip's reference frame.
    """
    pairs = [(first, second) for first, second in zip(clip.points, result.points, strict=True)
             if first is not None and second is not None]  # fmt: skip
    if len(pairs) < MIN_FRAMES:
        return {}
    geometry = compare_geometry(*(np.stack(points) for points in zip(*pairs, strict=True)))
    values = {name: geometry[name] for name in ("gap", "gap gain") if name in geometry}
    crops = crop_to_skull(result.frames, result.points, clip.reference_points(reference))
    return values | measure_jitter_inside(crops)
