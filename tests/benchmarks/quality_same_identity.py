"""Same-identity part of the quality benchmark: a clip, redrawn from its first frame with a face."""

import tempfile
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.apps.animate import render_frames
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.cache import Cache
from mimaface_cli.face.landmarks import FaceLandmarker, locate_landmark_model
from mimaface_cli.media.reader import read_frames
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack
from tests.benchmarks.quality_measures import compare_images

FIRST_COMPARED, STRIDE = 3, 4  # frames after the first one


def measure_clip(path: Path, start: float, track: MotionTrack) -> dict[str, float]:
    """Redraw a clip from its first frame with a face and compare it with the clip.

    Args:
        path: The clip.
        start: Time of its first frame in seconds.
        track: Its motion.

    Returns:
        Means over frames: "whole PSNR", "face SSIM" and so on of the result, "still whole PSNR" and so on of the first
        frame. Empty if no frame shows a face.
    """
    frames = [frame.image for frame in read_frames(path, start=start, max_frames=len(track))]
    landmarker = FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=1)
    try:
        first = next((k for k, image in enumerate(frames) if landmarker(image)), None)
        if first is None:
            return {}
        options = AnimateOptions(retarget=RetargetOptions(reference=first))
        values: dict[str, list[float]] = {}
        with tempfile.TemporaryDirectory() as scratch:
            photo = Path(scratch, "first.png")
            cv2.imwrite(str(photo), cv2.cvtColor(frames[first], cv2.COLOR_RGB2BGR))
            stream = render_frames(photo, track, options, cache=Cache())
            for k, result in enumerate(stream.frames):
                if k < first + FIRST_COMPARED or (k - first - FIRST_COMPARED) % STRIDE:
                    continue
                faces = landmarker(frames[k])
                if faces:
                    _compare(result[..., :3], frames[k], frames[first], faces[0].points, values)
            stream.close()
    finally:
        landmarker.close()
    return {name: float(np.mean(series)) for name, series in values.items()}


def _compare(
    result: np.ndarray, truth: np.ndarray, still: np.ndarray, points: np.ndarray, values: dict[str, list[float]]
) -> None:
    """Append the figures of one frame to the series of each name."""
    if result.shape != truth.shape:
        result = cv2.resize(result, truth.shape[1::-1], interpolation=cv2.INTER_AREA)
    for prefix, image in (("", result), ("still ", still)):
        for area, (decibels, similarity) in compare_images(image, truth, points).items():
            values.setdefault(f"{prefix}{area} PSNR", []).append(decibels)
            values.setdefault(f"{prefix}{area} SSIM", []).append(similarity)
