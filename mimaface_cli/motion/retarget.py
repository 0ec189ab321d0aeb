"""Retargeting of a driver's motion to a source: relative or absolute, by region, with strength and limits.

Identity, texture and light of the source do not change. The result is expression, pose and gaze of every frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, Coefficients, blendshape_index
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.track import MotionTrack

# A warped photo shows a limited range of head motion. Beyond the knee, motion approaches the limit smoothly, so that
# the image does not tear. Angles in radians, translations in model units.
YAW_PITCH_KNEE, YAW_PITCH_LIMIT = np.radians(24.0), np.radians(38.0)
TOTAL_KNEE, TOTAL_MARGIN = np.radians(36.0), np.radians(14.0)  # for yaw and pitch including the source's pose
ROLL_KNEE, ROLL_LIMIT = np.radians(22.0), np.radians(36.0)
SHIFT_KNEE, SHIFT_LIMIT = 0.22, 0.5  # about a third of a face
DEPTH_KNEE, DEPTH_LIMIT = 0.8, 2.0
GAZE_LIMIT = np.radians(32.0)
RESTING_QUANTILE = 0.1  # over time; a named expression at this level counts as at rest
_NAMED = slice(0, len(BLENDSHAPES))  # columns of the named expressions


def soft_limit(value: np.ndarray, knee: np.ndarray | float, limit: np.ndarray | float) -> np.ndarray:
    """Limit values smoothly.

    Args:
        value: Values of any shape and either sign.
        knee: Magnitude up to which values do not change.
        limit: Magnitude that larger values approach, with slope 1 at the knee.

    Returns:
        Values of the same shape.
    """
    margin = limit - knee
    excess = np.abs(value) - knee
    return np.where(excess > 0, np.sign(value) * (knee + margin * np.tanh(excess / margin)), value)


def find_neutral_frame(track: MotionTrack) -> int:
    """Return the index of the valid frame nearest to a face at rest that looks straight ahead.

    Relative motion starts from this frame by default.
    """
    expression = track.expression
    if track.meta.space == "face478":
        blinks = [blendshape_index("eyeBlinkLeft"), blendshape_index("eyeBlinkRight")]
        cost = (expression[:, _NAMED] ** 2).sum(1)
        cost = cost + 8.0 * np.clip(expression[:, blinks] - 0.25, 0, None).sum(1)
        cost = cost + 4.0 * (track.pose[:, :2] ** 2).sum(1)
        cost = cost + 2.0 * track.pose[:, 2] ** 2 + (track.gaze**2).sum(1)
    else:
        # Other spaces have no named columns to detect a blink with, and their gaze is in units of the network.
        cost = (expression**2).sum(1) / EXPRESSION_DIM + 4.0 * (track.pose[:, :3] ** 2).sum(1)
    return int(np.argmin(np.where(track.valid, cost, np.inf))) if track.valid.any() else 0


def choose_reference_frame(track: MotionTrack, requested: int | None) -> int:
    """Return the index of the reference frame: the requested one, or the most neutral one for None.

    Raises:
        InputError: If the requested frame is beyond the track.
    """
    if requested is None:
        return find_neutral_frame(track)
    if not 0 <= requested < len(track):
        raise InputError(
            f"the driver has no frame {requested}. Give a frame from 0 to {len(track) - 1}.", field="reference"
        )
    return requested


def reference_coefficients(track: MotionTrack, options: RetargetOptions) -> Coefficients:
    """Return the coefficients from which a driver's relative motion starts.

    A requested reference frame is used unchanged. Otherwise pose and gaze start from the most neutral frame, and each
    named expression from its resting level in this driver. The reason: scores rarely reach 0, and a jaw that is open in
    the most neutral frame could otherwise never close. A driver of one frame starts from the face at rest that looks
    straight ahead. In a track from speech, the resting level is 0.

    Returns:
        One frame.

    Raises:
        InputError: If the requested frame is beyond the track.
    """
    if len(track) == 1:
        pose = np.zeros((1, 6))
        pose[:, 3:] = track.pose[:, 3:]
        return Coefficients(np.zeros((1, EXPRESSION_DIM)), pose, np.zeros((1, 4)))
    frame = choose_reference_frame(track, options.reference)
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
    """Transfer a driver's motion to a source in the face478 space, within the limits of a warped photo.

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
    turn, shift = _limit_head_motion(change)
    angles = _rotate(base, turn)
    # A head that is already turned in the photo has less range left on that side.
    knee = np.maximum(np.abs(base.pose[:, :2]), TOTAL_KNEE)
    angles[:, :2] = soft_limit(angles[:, :2], knee, knee + TOTAL_MARGIN)
    pose = np.concatenate([angles, base.pose[:, 3:] + shift], 1)
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


def _limit_head_motion(change: _MotionChange) -> tuple[np.ndarray, np.ndarray]:
    """Return turn and shift (N, 3) within the limits of a warped photo."""
    yaw_pitch = soft_limit(change.turn[:, :2], YAW_PITCH_KNEE, YAW_PITCH_LIMIT)
    roll = soft_limit(change.turn[:, 2:], ROLL_KNEE, ROLL_LIMIT)
    shift = soft_limit(change.shift[:, :2], SHIFT_KNEE, SHIFT_LIMIT)
    depth = soft_limit(change.shift[:, 2:], DEPTH_KNEE, DEPTH_LIMIT)
    return np.concatenate([yaw_pitch, roll], 1), np.concatenate([shift, depth], 1)


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
