"""From a driver's motion to a source's: relative or absolute, by region, with strength and limits.

Identity, texture and light always stay the source's; what comes out is expression, pose and gaze for each frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, Coefficients, blendshape_index
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.track import MotionTrack

# A single photo carries a head only so far; beyond the knee motion is eased toward the limit instead of torn.
YAW_PITCH_KNEE, YAW_PITCH_LIMIT = np.radians(24.0), np.radians(38.0)
TOTAL_KNEE, TOTAL_ROOM = np.radians(36.0), np.radians(14.0)
ROLL_KNEE, ROLL_LIMIT = np.radians(22.0), np.radians(36.0)
SHIFT_KNEE, SHIFT_LIMIT = 0.22, 0.5  # model units: about a third of a face
DEPTH_KNEE, DEPTH_LIMIT = 0.8, 2.0
GAZE_LIMIT = np.radians(32.0)
RESTING = 0.1  # quantile over time at which a named expression counts as at rest


def ease(value: np.ndarray, knee: np.ndarray | float, limit: np.ndarray | float) -> np.ndarray:
    """Leave |value| <= knee as it is; beyond, approach ±limit smoothly with slope 1 at the knee."""
    room = limit - knee
    over = np.abs(value) - knee
    return np.where(over > 0, np.sign(value) * (knee + room * np.tanh(over / room)), value)


def find_neutral_frame(track: MotionTrack) -> int:
    """The seen frame nearest to a face at rest that looks ahead: where relative motion starts from by default."""
    cost = (track.expression[:, : len(BLENDSHAPES)] ** 2).sum(1)
    if track.meta.space != "face478":  # no names there to tell a blink by, and the gaze is in the network's own units
        cost = (track.expression**2).sum(1) / EXPRESSION_DIM + 4.0 * (track.pose[:, :3] ** 2).sum(1)
        return int(np.argmin(np.where(track.valid, cost, np.inf)) if track.valid.any() else 0)
    blinks = [blendshape_index("eyeBlinkLeft"), blendshape_index("eyeBlinkRight")]
    cost = cost + 8.0 * np.clip(track.expression[:, blinks] - 0.25, 0, None).sum(1)
    cost = cost + 4.0 * (track.pose[:, :2] ** 2).sum(1) + 2.0 * track.pose[:, 2] ** 2 + (track.gaze**2).sum(1)
    return int(np.argmin(np.where(track.valid, cost, np.inf)) if track.valid.any() else 0)


def choose_reference_frame(track: MotionTrack, wanted: int | None) -> int:
    """The wanted frame's index after a check, or the neutral one. Raises InputError."""
    if wanted is None:
        return find_neutral_frame(track)
    if not 0 <= wanted < len(track):
        raise InputError(f"--reference-frame {wanted}: the driver has frames 0 to {len(track) - 1}")
    return wanted


def reference_coefficients(track: MotionTrack, options: RetargetOptions) -> Coefficients:
    """Where relative motion starts from (one frame). Raises InputError for a frame beyond the track.

    A wanted frame is taken as it is. Else pose and gaze start from the most neutral frame, and each named expression
    from the level it rests at in this driver: scores have a floor, and a jaw or a smile that happens to be up in the
    best frame would never come down again. A driver of a single frame starts from the face at rest that looks ahead. A
    track made from speech knows its own rest, which is 0.
    """
    if len(track) == 1:
        pose = np.zeros((1, 6))
        pose[:, 3:] = track.pose[:, 3:]
        return Coefficients(np.zeros((1, EXPRESSION_DIM)), pose, np.zeros((1, 4)))
    at = choose_reference_frame(track, options.reference)
    expression, pose, gaze = (a[at : at + 1].astype(np.float64) for a in (track.expression, track.pose, track.gaze))
    if options.reference is None and track.meta.space == "face478" and track.meta.audio_hash is not None:
        expression[:] = 0
    elif options.reference is None and track.meta.space == "face478":
        seen = track.expression[track.valid] if track.valid.any() else track.expression
        named = slice(0, len(BLENDSHAPES))
        resting = np.quantile(seen[:, named], RESTING, axis=0)
        expression[:, named] = np.clip(
            resting, np.minimum(expression[:, named], 0), np.maximum(expression[:, named], 0)
        )
    return Coefficients(expression, pose, gaze)


def retarget(
    own: Coefficients,
    track: MotionTrack,
    options: RetargetOptions,
    start: Coefficients,
    rest: Coefficients | None = None,
) -> Coefficients:
    """The source's face478 coefficients (own: one frame, or one for each of the track's) under a driver. start: the
    driver's `reference_coefficients`; rest: the frame of a moving source that stands for it at rest (default: own).
    Motion beyond what a warped photo carries is eased off.
    """
    own = _spread(own, len(track))
    base = own if rest is None else _spread(rest, len(track))
    expression, turn, shift, gaze = _change(base, track, options, start)
    turn = np.concatenate(
        [ease(turn[:, :2], YAW_PITCH_KNEE, YAW_PITCH_LIMIT), ease(turn[:, 2:], ROLL_KNEE, ROLL_LIMIT)], 1
    )
    shift = np.concatenate(
        [ease(shift[:, :2], SHIFT_KNEE, SHIFT_LIMIT), ease(shift[:, 2:], DEPTH_KNEE, DEPTH_LIMIT)], 1
    )
    angles = _turned(base, turn)
    # A photo that is turned already has less to give on that side.
    knee = np.maximum(np.abs(base.pose[:, :2]), TOTAL_KNEE)
    angles[:, :2] = ease(angles[:, :2], knee, knee + TOTAL_ROOM)
    pose = np.concatenate([angles, base.pose[:, 3:] + shift], 1)
    gaze = np.clip(base.gaze + gaze, -GAZE_LIMIT, GAZE_LIMIT)
    expression = np.where(expression_mask(options.region), base.expression + expression, own.expression)
    return _by_region(own, Coefficients(expression, pose, gaze), options.region)


def retarget_bfm09(
    own: Coefficients,
    track: MotionTrack,
    options: RetargetOptions,
    start: Coefficients,
    parts: Mapping[str, np.ndarray],
) -> Coefficients:
    """The source's bfm09 coefficients (one frame) under a driver, without limits: the network draws what it is told.
    parts: for the regions eyes and lips, the 64×64 map that keeps of a change of expression what is seen there.
    """
    own = _spread(own, len(track))
    expression, turn, shift, gaze = _change(own, track, options, start)
    if options.region == "pose":
        expression = np.zeros_like(expression)
    elif options.region in parts:
        expression = expression @ parts[options.region].T
    pose = np.concatenate([_turned(own, turn), own.pose[:, 3:] + shift], 1)
    return _by_region(own, Coefficients(own.expression + expression, pose, own.gaze + gaze), options.region)


def _change(
    base: Coefficients, track: MotionTrack, options: RetargetOptions, start: Coefficients
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What a driver adds to `base` (one for each frame): expression N×64, turn N×3 (rad), shift N×3, gaze N×4."""
    driver = Coefficients(*(a.astype(np.float64) for a in (track.expression, track.pose, track.gaze)))
    start = _spread(start, len(track)) if options.motion == "relative" else base
    turn = rotation_matrix(driver.pose[:, :3]) @ np.swapaxes(rotation_matrix(start.pose[:, :3]), -1, -2)
    changes = driver.expression - start.expression, euler_angles(turn), driver.pose[:, 3:] - start.pose[:, 3:]
    return tuple(options.strength * change for change in (*changes, driver.gaze - start.gaze))


def _turned(base: Coefficients, turn: np.ndarray) -> np.ndarray:
    return euler_angles(rotation_matrix(turn) @ rotation_matrix(base.pose[:, :3]))


def _spread(one: Coefficients, count: int) -> Coefficients:
    return Coefficients(*(np.broadcast_to(a, (count, a.shape[1])) for a in (one.expression, one.pose, one.gaze)))


def expression_mask(region: str) -> np.ndarray:
    """Which of the 64 face478 expression coefficients a region drives (bool)."""
    mask = np.zeros(EXPRESSION_DIM, bool)
    for index, name in enumerate(BLENDSHAPES):
        eyes = name.startswith(("eye", "brow"))
        mask[index] = {"eyes": eyes, "lips": not eyes, "pose": False}.get(region, True)
    mask[len(BLENDSHAPES) :] = region in ("all", "face", "lips")
    return mask


def _by_region(own: Coefficients, driven: Coefficients, region: str) -> Coefficients:
    pose = driven.pose if region in ("all", "pose") else own.pose
    gaze = driven.gaze if region in ("all", "face", "eyes") else own.gaze
    return replace(driven, pose=pose, gaze=gaze)
