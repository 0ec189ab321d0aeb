"""Correction of planned head turns: the head is measured to turn as planned, whatever its expression.

The landmark model takes a part of raised brows or of an opening mouth for a nod, a different part on each face.
Therefore a few frames of the planned motion are rendered and measured. The differences are interpolated over the other
frames by a Gaussian process, so that similar frames get similar corrections.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mimaface_cli.cache import FIGURE_FOLDER, Cache, EntryKind, cache_key
from mimaface_cli.engines.mesh.measures import BROWS, GAP, FaceMeasures
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_still_head
from mimaface_cli.engines.mesh.renderer import render_frame
from mimaface_cli.engines.mesh.settled_landmarks import SettledLandmarker
from mimaface_cli.engines.mesh.stored_arrays import open_arrays
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM
from mimaface_cli.motion.easing import ease_range
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.smoothing import filter_gaussian, smooth_by_shot
from mimaface_cli.motion.track import MotionTrack

REVISION = 5  # part of the cache key: increase it when rendering or measuring changes
_SAMPLES = 8  # frames that are rendered
_SIZE = 512  # pixels, longest side of the rendered frames; in a crop, the same rotation is read differently
# Scales of the features by which frames are compared: turn in radians, lip gap, brows, openness of the lids, and the
# coefficients of the lower face and of the unnamed expressions.
_TURN_SCALE, _GAP_SCALE, _BROW_SCALE, _LID_SCALE = np.radians(8.0), 0.08, 0.03, 0.5
_NAMED_SCALE, _UNNAMED_SCALE = 0.35, 2.0
_LOWER_FACE = [k for k, name in enumerate(BLENDSHAPES) if name.startswith(("jaw", "mouth", "cheek", "nose"))]
_LEAST_DISTANCE = 0.2  # between the features of two rendered frames
# The Gaussian process: length scale of the features; variances in degrees².
_LENGTH, _COMMON_VARIANCE, _VARIANCE, _NOISE = 2.5, 1.0, 2.0, 0.12
_RESPONSE = 0.9  # measured share of a small turn
_SIGMA = 0.08  # seconds; corrections change as smoothly as heads move
_LIMIT, _LIMIT_MARGIN = np.radians(2.5), np.radians(1.5)


@dataclass(frozen=True)
class _Samples:
    """Measured frames: K indices and, for each, the planned minus the measured turn about x and y, (K, 2) radians."""

    frames: np.ndarray
    missing: np.ndarray


def _load(path: Path) -> _Samples:
    with open_arrays(path) as stored:
        return _Samples(stored["frames"].astype(int), stored["missing"].astype(np.float64).reshape(-1, 2))


def _save(samples: _Samples, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, frames=samples.frames, missing=samples.missing)


_SAMPLES_KIND: EntryKind[_Samples] = EntryKind(folder=FIGURE_FOLDER, suffix=".npz", load=_load, save=_save)


def correct_turns(
    portrait: Portrait, model: Face478, motion: MeshMotion, track: MotionTrack, cache: Cache | None = None
) -> MeshMotion:
    """Correct the turns of a photo's planned motion.

    The mean over time stays: only changes of the turn are visible.

    Args:
        portrait: The photo.
        model: The face model.
        motion: The planned motion.
        track: The driver's track; its times and cuts count.
        cache: Where measured turns are stored, or None.

    Returns:
        The motion with corrected poses; unchanged if the face is not detected in the rendered frames.
    """
    features = _describe_frames(portrait, model, motion)
    samples = _measure_cached(portrait, model, motion, select_frames(features, _SAMPLES), cache)
    if len(samples.frames) < 2:
        return motion
    correction = interpolate_samples(features, samples.frames, samples.missing / _RESPONSE)
    correction -= correction.mean(0)
    rate = 1.0 / max(float(np.median(np.diff(track.pts))), 1e-3)

    def smooth(values: np.ndarray, _: slice) -> np.ndarray:
        return filter_gaussian(values, _SIGMA * rate)

    correction = smooth_by_shot(correction, np.ones(len(track), bool), track.pts, track.meta.cuts, smooth)
    coefficients = motion.coefficients
    angles = turn_further(coefficients.pose[:, :3], ease_range(correction, -_LIMIT, _LIMIT, _LIMIT_MARGIN))
    pose = np.concatenate([angles, coefficients.pose[:, 3:]], 1)
    return replace(motion, coefficients=replace(coefficients, pose=pose))


def turn_further(angles: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Turn a head further: Euler angles (N, 3), turned about x and y of the camera (N, 2), in radians."""
    further = rotation_matrix(np.column_stack([turn, np.zeros(len(turn))]))
    return euler_angles(further @ rotation_matrix(angles))


def select_frames(features: np.ndarray, count: int) -> np.ndarray:
    """Select frames that differ most from each other, beginning with the first.

    Args:
        features: (N, F) features of the frames.
        count: Largest number of frames.

    Returns:
        Indices of the frames; fewer than `count` where all other frames are similar to them.
    """
    selected = [0]
    distance = np.linalg.norm(features - features[0], axis=1)
    while len(selected) < count and distance.max() > _LEAST_DISTANCE:
        selected.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(features - features[selected[-1]], axis=1))
    return np.array(selected)


def interpolate_samples(features: np.ndarray, frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolate values of some frames by a Gaussian process over the features.

    Args:
        features: (N, F) features of all frames.
        frames: Indices of K frames.
        values: (K, 2) their values.

    Returns:
        (N, 2) values.
    """
    known = features[frames]
    squares = (features**2).sum(1)[:, None] + (known**2).sum(1) - 2 * features @ known.T
    kernel = _COMMON_VARIANCE + _VARIANCE * np.exp(-0.5 * np.maximum(squares, 0) / _LENGTH**2)
    return kernel @ np.linalg.solve(kernel[frames] + _NOISE * np.eye(len(frames)), values)


def _describe_frames(portrait: Portrait, model: Face478, motion: MeshMotion) -> np.ndarray:
    """Return the features (N, F) by which frames are compared."""
    expression = motion.coefficients.expression
    neutral = model.shape(portrait.identity, np.zeros(EXPRESSION_DIM))
    values = FaceMeasures.of(model, neutral)(expression)
    return np.column_stack(
        [
            _measure_turn(motion.coefficients.pose, portrait) / _TURN_SCALE,
            values[:, GAP] / _GAP_SCALE,
            values[:, BROWS].mean(1) / _BROW_SCALE,
            motion.lids.mean(1) / _LID_SCALE,
            expression[:, _LOWER_FACE] / _NAMED_SCALE,
            expression[:, len(BLENDSHAPES) :] / _UNNAMED_SCALE,
        ]
    )


def _measure_turn(pose: np.ndarray, portrait: Portrait) -> np.ndarray:
    """Return the turns (N, 2) about x and y from the portrait's pose to poses (N, 6), radians."""
    return euler_angles(rotation_matrix(pose[:, :3]) @ rotation_matrix(portrait.pose[:3]).T)[:, :2]


def _measure_cached(
    portrait: Portrait, model: Face478, motion: MeshMotion, frames: np.ndarray, cache: Cache | None
) -> _Samples:
    """Measure frames of a motion, or load the result from the cache."""
    if len(frames) < 2:
        return _Samples(np.zeros(0, int), np.zeros((0, 2)))
    small = portrait.limited(_SIZE)
    key = cache_key(_describe_inputs(small, model, motion, frames))
    stored = cache.load(_SAMPLES_KIND, key) if cache is not None else None
    if stored is not None:
        return stored
    samples = _measure_frames(small, model, motion, frames)
    if cache is not None:
        cache.store(_SAMPLES_KIND, key, samples)
    return samples


def _describe_inputs(
    portrait: Portrait, model: Face478, motion: MeshMotion, frames: np.ndarray
) -> Mapping[str, object]:
    """Return everything that the measured turns depend on."""
    digest = hashlib.sha256(portrait.image.tobytes())
    coefficients = motion.coefficients
    driven = (
        coefficients.expression[frames],
        coefficients.pose[frames],
        coefficients.gaze[frames],
        motion.lids[frames],
    )
    source = portrait.expression, portrait.pose, portrait.gaze, portrait.identity, portrait.points
    for array in (*source, *driven, frames):
        digest.update(np.ascontiguousarray(array).tobytes())
    return {"turns": REVISION, "model": model.version, "motion": digest.hexdigest()}


def _measure_frames(portrait: Portrait, model: Face478, motion: MeshMotion, frames: np.ndarray) -> _Samples:
    """Render frames and measure how much of their turns is missing."""
    prepared = prepare_still_head(portrait, model)
    coefficients = motion.coefficients
    rest = rotation_matrix(portrait.pose[:3])
    detected, measured = [], []
    landmarker = SettledLandmarker()
    try:
        for k in frames:
            arrays = coefficients.expression[k], coefficients.pose[k], coefficients.gaze[k], motion.lids[k]
            image = render_frame(prepared, model, *arrays)
            faces = landmarker(np.ascontiguousarray(image[..., :3]))
            if faces:
                detected.append(k)
                measured.append(euler_angles(faces[0].rotation @ rest.T)[:2])
    finally:
        landmarker.close()
    kept = np.array(detected, int)
    missing = _measure_turn(coefficients.pose[kept], portrait) - np.array(measured).reshape(-1, 2)
    return _Samples(kept, missing)
