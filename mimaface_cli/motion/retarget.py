"""Retargeting of a driver's motion to a source: relative or absolute, by region, with strength and limits.

Identity, texture and light of the source do not change. The result is expression, pose and gaze of every frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, Coefficients, blendshape_index
from mimaface_cli.motion.easing import ease_angles
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.track import MotionTrack

GAZE_LIMIT = np.radians(32.0)
RESTING_QUANTILE = 0.1  # over time; a named expression at this level counts as at rest

_STRAIGHT_WEIGHT = 4.0  # of the neutral frame's squared angles in radians, against its squared scores and gaze

# The choice of the reference frame: weights of squared angles in radians, with roll counting half.
_EXPRESSION_WEIGHT = 0.15  # squared scores and gaze: less visible than the head
_MATCH_WEIGHT = 1.5  # difference between the driver's head at the reference and the source's
_MOVE_WEIGHT = 5.0  # mean over time of the turn since the reference: typical frames stay near the photo
_EXCESS_WEIGHT = 60.0  # mean over time of the turn beyond what the source can show
_ANGLE_WEIGHTS = np.array([1.0, 1.0, 0.5])
_MAX_CANDIDATES, _MAX_SAMPLES = 160, 200  # frames that are compared with each other
_NAMED = slice(0, len(BLENDSHAPES))  # columns of the named expressions


def find_neutral_frame(track: MotionTrack) -> int:
    """Return the index of the valid frame nearest to a face at rest that looks straight ahead."""
    if not track.valid.any():
        return 0
    angles = _ANGLE_WEIGHTS * track.pose[:, :3] ** 2
    cost = _expression_cost(track, None) + _STRAIGHT_WEIGHT * angles.sum(1)
    return int(np.argmin(np.where(track.valid, cost, np.inf)))


def choose_reference_frame(track: MotionTrack, requested: int | None, source: Coefficients | None = None) -> int:
    """Return the index of the frame from which relative motion starts.

    Without a requested frame, it is the valid one that fits the source best. Its head is turned like the source's and
    its eyes and mouth are like the source's. It is also typical for the driver: the turns since this frame are small
    over time, and the source can show them.

    Args:
        track: Motion of the driver.
        requested: Index of a frame, or None.
        source: Coefficients of the source in the track's space, one frame; without it, the most neutral frame is
            chosen.

    Raises:
        InputError: If the requested frame is beyond the track.
    """
    if requested is None:
        return find_neutral_frame(track) if source is None else _find_fitting_frame(track, source)
    if not 0 <= requested < len(track):
        raise InputError(
            f"the driver has no frame {requested}. Give a frame from 0 to {len(track) - 1}.", field="reference"
        )
    return requested


def _find_fitting_frame(track: MotionTrack, source: Coefficients) -> int:
    """Return the index of the valid frame that fits a source best, see `choose_reference_frame`."""
    frames = np.flatnonzero(track.valid)
    if not len(frames):
        return 0
    expression_cost = _expression_cost(track, source)[frames]
    candidates = np.argsort(expression_cost, kind="stable")[: _MAX_CANDIDATES // 2]
    candidates = np.union1d(candidates, _spread(len(frames), _MAX_CANDIDATES // 2))
    rotations = rotation_matrix(track.pose[frames, :3])
    base = rotation_matrix(source.pose[0, :3])
    match = euler_angles(rotations[candidates] @ base.T)
    samples = rotations[_spread(len(frames), _MAX_SAMPLES)]
    turns = samples[None] @ np.swapaxes(rotations[candidates], -1, -2)[:, None]
    angles = euler_angles(turns @ base)
    excess = angles - ease_angles(angles, source.pose[0, :3])
    cost = _EXPRESSION_WEIGHT * expression_cost[candidates] + _MATCH_WEIGHT * (_ANGLE_WEIGHTS * match**2).sum(-1)
    cost += _MOVE_WEIGHT * (_ANGLE_WEIGHTS * euler_angles(turns) ** 2).sum(-1).mean(1)
    cost += _EXCESS_WEIGHT * (excess**2).sum(-1).mean(1)
    return int(frames[candidates[np.argmin(cost)]])


def _spread(count: int, most: int) -> np.ndarray:
    """Return up to `most` indices, spread evenly over `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _expression_cost(track: MotionTrack, source: Coefficients | None) -> np.ndarray:
    """Return how far expression and gaze (N) are from the source's, or from rest for None. Blinks cost most."""
    expression = track.expression.astype(np.float64)
    rest = np.zeros(EXPRESSION_DIM) if source is None else np.array(source.expression[0], np.float64)
    if track.meta.space != "face478":
        # Other spaces have no named columns to detect a blink with, and their gaze is in units of the network.
        return ((expression - rest) ** 2).sum(1) / EXPRESSION_DIM
    blinks = [blendshape_index("eyeBlinkLeft"), blendshape_index("eyeBlinkRight")]
    rest[blinks] = 0
    gaze = track.gaze if source is None else track.gaze - source.gaze[0]
    cost = ((expression - rest)[:, _NAMED] ** 2).sum(1) + (gaze**2).sum(1)
    return cost + 8.0 * np.clip(expression[:, blinks] - 0.25, 0, None).sum(1)


def reference_coefficients(
    track: MotionTrack, options: RetargetOptions, source: Coefficients | None = None
) -> Coefficients:
    """Return the coefficients from which a driver's relative motion starts.

    A requested reference frame is used unchanged. Otherwise pose and gaze start from the frame that fits the source
    best, and each named expression from its resting level in this driver. The reason: scores rarely reach 0, and a jaw
    that is open in that frame could otherwise never close. A driver of one frame starts from the face at rest that
    looks straight ahead. In a track from speech, the resting level is 0, and the most neutral frame is chosen.

    Args:
        track: Motion of the driver.
        options: The reference.
        source: Coefficients of the source in the track's space, one frame, for `choose_reference_frame`.

    Returns:
        One frame.

    Raises:
        InputError: If the requested frame is beyond the track.
    """
    if len(track) == 1:
        pose = np.zeros((1, 6))
        pose[:, 3:] = track.pose[:, 3:]
        return Coefficients(np.zeros((1, EXPRESSION_DIM)), pose, np.zeros((1, 4)))
    frame = choose_reference_frame(track, options.reference, None if track.meta.audio_hash else source)
    at_frame = track_coefficients(track, slice(frame, frame + 1))
    if options.reference is not None or track.meta.space != "face478":
        return at_frame
    if track.meta.audio_hash is not None:
        at_frame.expression[:] = 0
    else:
        named = at_frame.expression[:, _NAMED]
        named[:] = np.clip(_resting_levels(track), np.minimum(named, 0), np.maximum(named, 0))
    return at_frame


def retarget(
    source: Coefficients,
    track: MotionTrack,
    options: RetargetOptions,
    driver_reference: Coefficients,
    source_rest: Coefficients | None = None,
) -> Coefficients:
    """Transfer a driver's motion to a source in the face478 space.

    Turns and gaze are limited to what a photo can show; the position of the head is not.

    Args:
        source: Coefficients of the source: one frame, or one for each frame of the driver.
        track: Motion of the driver.
        options: Mode, region and strength.
        driver_reference: The driver's `reference_coefficients`.
        source_rest: Resting frame of a moving source, to which motion is added; by default `source`.

    Returns:
        One frame for each frame of the driver.
    """
    source = _repeat(source, len(track))
    base = source if source_rest is None else _repeat(source_rest, len(track))
    change = _motion_change(base, track, options, driver_reference)
    angles = ease_angles(_rotate(base, change.turn), base.pose[:, :3])
    pose = np.concatenate([angles, base.pose[:, 3:] + change.shift], 1)
    gaze = np.clip(base.gaze + change.gaze, -GAZE_LIMIT, GAZE_LIMIT)
    driven_columns = expression_mask(options.region)
    expression = np.where(driven_columns, base.expression + change.expression, source.expression)
    return _restrict_to_region(source, Coefficients(expression, pose, gaze), options.region)


def retarget_bfm09(
    source: Coefficients,
    track: MotionTrack,
    options: RetargetOptions,
    driver_reference: Coefficients,
    region_maps: Mapping[str, np.ndarray],
) -> Coefficients:
    """Transfer a driver's motion to a source in the bfm09 space, without limits: the diffusion engine needs none.

    Args:
        source: Coefficients of the source, one frame.
        track: Motion of the driver.
        options: Mode, region and strength.
        driver_reference: The driver's `reference_coefficients`.
        region_maps: For the regions eyes and lips, the (64, 64) map from a change of the expression to its part in the
            region.

    Returns:
        One frame for each frame of the driver.
    """
    source = _repeat(source, len(track))
    change = _motion_change(source, track, options, driver_reference)
    expression_change = change.expression
    if options.region == "pose":
        expression_change = np.zeros_like(expression_change)
    elif options.region in region_maps:
        expression_change = expression_change @ region_maps[options.region].T
    pose = np.concatenate([_rotate(source, change.turn), source.pose[:, 3:] + change.shift], 1)
    driven = Coefficients(source.expression + expression_change, pose, source.gaze + change.gaze)
    return _restrict_to_region(source, driven, options.region)


def expression_mask(region: str) -> np.ndarray:
    """Return which of the face478 expression coefficients a region drives: (64,) bool."""
    mask = np.zeros(EXPRESSION_DIM, bool)
    for column, name in enumerate(BLENDSHAPES):
        is_eyes = name.startswith(("eye", "brow"))
        mask[column] = {"eyes": is_eyes, "lips": not is_eyes, "pose": False}.get(region, True)
    mask[len(BLENDSHAPES) :] = region in ("all", "face", "lips")
    return mask


@dataclass(frozen=True)
class _MotionChange:
    """What a driver adds to a source: expression (N, 64), turn (N, 3) in radians, shift (N, 3), gaze (N, 4)."""

    expression: np.ndarray
    turn: np.ndarray
    shift: np.ndarray
    gaze: np.ndarray


def _motion_change(
    base: Coefficients, track: MotionTrack, options: RetargetOptions, driver_reference: Coefficients
) -> _MotionChange:
    """Return the driver's change since its reference (relative) or its difference from the base (absolute)."""
    driver = track_coefficients(track)
    start = _repeat(driver_reference, len(track)) if options.motion == "relative" else base
    rotation = rotation_matrix(driver.pose[:, :3]) @ np.swapaxes(rotation_matrix(start.pose[:, :3]), -1, -2)
    return _MotionChange(
        expression=options.strength * (driver.expression - start.expression),
        turn=options.strength * euler_angles(rotation),
        shift=options.strength * (driver.pose[:, 3:] - start.pose[:, 3:]),
        gaze=options.strength * (driver.gaze - start.gaze),
    )


def _resting_levels(track: MotionTrack) -> np.ndarray:
    """Return the level (52,) at which each named expression rests."""
    visible = track.expression[track.valid] if track.valid.any() else track.expression
    return np.quantile(visible[:, _NAMED], RESTING_QUANTILE, axis=0)


def _rotate(base: Coefficients, turn: np.ndarray) -> np.ndarray:
    return euler_angles(rotation_matrix(turn) @ rotation_matrix(base.pose[:, :3]))


def track_coefficients(track: MotionTrack, frames: slice = slice(None)) -> Coefficients:
    """Return expression, pose and gaze of some frames of a track, or of all, in float64."""
    return Coefficients(*(array[frames].astype(np.float64) for array in (track.expression, track.pose, track.gaze)))


def _repeat(coefficients: Coefficients, count: int) -> Coefficients:
    """Return read-only views of one frame, repeated, or of `count` frames."""
    arrays = (coefficients.expression, coefficients.pose, coefficients.gaze)
    return Coefficients(*(np.broadcast_to(array, (count, array.shape[1])) for array in arrays))


def _restrict_to_region(source: Coefficients, driven: Coefficients, region: str) -> Coefficients:
    """Take pose and gaze from the source where the region does not drive them."""
    pose = driven.pose if region in ("all", "pose") else source.pose
    gaze = driven.gaze if region in ("all", "face", "eyes") else source.gaze
    return replace(driven, pose=pose, gaze=gaze)
