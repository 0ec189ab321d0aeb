"""Portrait part of the mouth benchmark: mouth shapes, a still open mouth, and an open mouth on a turning head."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from mimaface_cli.apps.animate import render_frames
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.source_loading import load_portrait
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.channels import NAMED_EXPRESSIONS, find_channel
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.smoothing import smooth_expression, smooth_pose
from mimaface_cli.motion.track import MotionTrack
from tests.benchmarks.mouth_measures import (
    LIP_INSET,
    MIN_PIXELS,
    crop_to_skull,
    inner_lip_mask,
    measure_flicker,
    measure_jitter_inside,
    mouth_box,
)
from tests.benchmarks.mouth_rendering import detect_points
from tests.benchmarks.quality_measures import landmark_box

# Mouth shapes by label: values of channels that replace the photo's. "rest" is the photo.
SHAPES: dict[str, dict[str, float]] = {
    "rest": {},
    "jawOpen 0.3": {"jawOpen": 0.3},
    "jawOpen 0.6": {"jawOpen": 0.6},
    "jawOpen 1.0": {"jawOpen": 1.0},
    "smile": {"mouthSmile": 0.8},
    "funnel": {"mouthFunnel": 0.8},
    "pucker": {"mouthPucker": 0.8},
    "m": {"jawOpen": 0.0, "mouthRollLower": 0.4, "mouthRollUpper": 0.4, "mouthPress": 0.4},
    "f": {"jawOpen": 0.08, "mouthRollLower": 0.6, "mouthUpperUp": 0.3},
    "oo": {"jawOpen": 0.12, "mouthPucker": 0.7, "mouthFunnel": 0.3},
    "ah": {"jawOpen": 0.55, "mouthLowerDown": 0.3, "mouthUpperUp": 0.2},
    "ee": {"jawOpen": 0.15, "mouthSmile": 0.35, "mouthStretch": 0.5, "mouthLowerDown": 0.5, "mouthUpperUp": 0.35},
}
FLICKER_SIDE = 720  # pixels, longest side of the results whose flicker is measured
OPEN_JAW = {"jawOpen": 0.6, "mouthLowerDown": 0.2, "mouthUpperUp": 0.2}
FRAMES, RATE = 49, 25
SWEEP_YAW, SWEEP_PITCH = 15.0, 8.0  # degrees

# Standard deviations of the noise of unsmoothed tracks: the median over 22 talking clips of the second difference over
# time, as noise that is independent from frame to frame.
MOUTH_NOISE, ANGLE_NOISE, SHIFT_NOISE, DEPTH_NOISE = 0.013, np.radians(0.15), 0.0018, 0.011


def make_track(portrait: Portrait, shapes: Sequence[Mapping[str, float]]) -> MotionTrack:
    """Make a track that shows a photo's face first, then other shapes of its mouth.

    Args:
        portrait: The photo.
        shapes: Values of channels in each later frame; they replace the photo's values.
    """
    track = MotionTrack.neutral(1 + len(shapes), "face478", frame_rate=Fraction(RATE))
    expression = np.repeat(portrait.expression[None], len(track), 0)
    for k, shape in enumerate(shapes, start=1):
        for name, value in shape.items():
            expression[k, list(find_channel(name, "face478").columns)] = value
    pose = np.repeat(portrait.pose[None], len(track), 0)
    gaze = np.repeat(portrait.gaze[None], len(track), 0)
    crop = np.repeat(portrait.to_crop[None], len(track), 0)
    return replace(track, identity=portrait.identity, expression=expression, pose=pose, gaze=gaze, crop=crop)


def add_noise(track: MotionTrack, seed: int = 0) -> MotionTrack:
    """Return a track with the noise of measured motion: that of landmarks, smoothed as extraction does."""
    rng = np.random.default_rng(seed)
    expression, pose = np.zeros(track.expression.shape), np.zeros(track.pose.shape)
    mouth = [BLENDSHAPES.index(name) for name in NAMED_EXPRESSIONS if name.startswith(("jaw", "mouth"))]
    expression[:, mouth] = rng.normal(0, MOUTH_NOISE, (len(track), len(mouth)))
    scales = [ANGLE_NOISE] * 3 + [SHIFT_NOISE] * 2 + [DEPTH_NOISE]
    pose += rng.normal(0, 1, pose.shape) * scales
    expression, pose = smooth_expression(expression, RATE), smooth_pose(pose, RATE)
    expression[0], pose[0] = 0, 0  # the reference frame
    return replace(track, expression=track.expression + expression, pose=track.pose + pose)


def turn_head(track: MotionTrack) -> MotionTrack:
    """Return a track whose head turns once to both sides and nods twice, smoothly."""
    phase = 2 * np.pi * np.arange(len(track)) / (len(track) - 1)
    pose = track.pose.astype(np.float64)
    for name, values in (("yaw", SWEEP_YAW * np.sin(phase)), ("pitch", SWEEP_PITCH * np.sin(2 * phase))):
        channel = find_channel(name, "face478")
        column = list(channel.columns)
        pose[:, column] += (channel.unit_size * values)[:, None]
    return replace(track, pose=pose)


def render_track(portrait: Portrait, track: MotionTrack, mouth: str, size: int) -> Iterator[np.ndarray]:
    """Yield the frames (H, W, 3) of a portrait after the first, which shows the photo's face."""
    options = AnimateOptions(mouth=mouth, retarget=RetargetOptions(reference=0), max_size=size)
    stream = render_frames(portrait, track, options)
    try:
        for k, frame in enumerate(stream.frames):
            if k:
                yield frame[..., :3]
    finally:
        stream.close()


def measure_portrait(path: Path, mouth: str) -> dict[str, float]:
    """Measure an open mouth on a still and on a turning head.

    Returns:
        "still" and "still skin", standard deviation over time in gray levels inside the lips and beside them;
        "still relative", relative to the contrast; "residual" and "wobble" on the turning head, see
        `measure_jitter_inside`. Fewer where the mouth is not detected.
    """
    portrait = load_portrait(path)
    track = make_track(portrait, [OPEN_JAW] * (FRAMES - 1))
    values = _measure_still(list(render_track(portrait, add_noise(track), mouth, FLICKER_SIDE)))
    frames = list(render_track(portrait, add_noise(turn_head(track)), mouth, FLICKER_SIDE))
    points = [detect_points(frame) for frame in frames]
    detected = [landmarks for landmarks in points if landmarks is not None]
    if len(detected) < len(frames) // 2:
        return values
    return values | measure_jitter_inside(crop_to_skull(frames, points, detected[0]))


def _measure_still(frames: list[np.ndarray]) -> dict[str, float]:
    points = detect_points(frames[0])
    if points is None:
        return {}
    window = landmark_box(points, 0.0, frames[0].shape)
    crops = np.stack([frame[window] for frame in frames])
    points = points - [window[1].start, window[0].start]
    inside = inner_lip_mask(points, crops[0].shape, 2 * LIP_INSET)
    if inside.sum() < MIN_PIXELS:
        return {}
    deviation, relative = measure_flicker(crops, inside)
    skin = np.ones(inside.shape, bool)
    skin[mouth_box(points, crops[0].shape)] = False
    return {"still": deviation, "still relative": relative, "still skin": measure_flicker(crops, skin)[0]}
