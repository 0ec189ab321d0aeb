"""Motion planning: expression, pose, gaze and lids of every frame, computed before any frame is rendered."""

from dataclasses import dataclass, replace

import numpy as np

from mimaface_cli.engines.mesh.contact import measure_lid_openness
from mimaface_cli.face.blendshape_scores import (
    logits_to_scores,
    match_scores,
    measure_bias,
    predict_logits,
    transfer_scores,
)
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.coefficients import BLENDSHAPES, Coefficients, blendshape_index
from mimaface_cli.motion.retarget import GAZE_LIMIT, expression_mask, reference_coefficients, retarget
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack

# A blendshape coefficient is a score of 0 to 1: a smile on top of a smile must not tear the face.
_SCORE_LOW, _SCORE_HIGH = -0.3, 1.15
_MAX_REST_JAW = 0.25  # a photo taken mid-word or mid-shout closes its mouth this far before it moves
_SPEAKING_SMILE_SHARE = 0.35  # share of a photo's smile that remains while it speaks
_MAX_OPENNESS = 1.22  # beyond this openness eyes stare
_OPEN_QUANTILE = 0.8  # quantile of a driver's openness over time that counts as open
_MIN_DRIVER_OPENNESS = 0.35  # a driver's reference openness below this is no reliable divisor

# What one photo can show of an edit, relative to its own pose: beyond these limits the surface tears.
_TURN_LIMIT, _TILT_LIMIT = np.radians(45.0), np.radians(60.0)
_EDIT_SHIFT_LIMIT, _EDIT_DEPTH_LIMIT = 1.0, 3.0  # model units
_EDIT_LOW, _EDIT_HIGH = -1.0, 1.6  # of a blendshape coefficient

_BLENDSHAPE_COLUMNS = slice(0, len(BLENDSHAPES))


@dataclass(frozen=True)
class MeshMotion:
    """The motion of N frames for the mesh renderer.

    Attributes:
        coefficients: Expression, pose and gaze of N frames.
        lids: (N, 2) openness of the left and right eye: 0 closed, 1 open as in this face at rest.
    """

    coefficients: Coefficients
    lids: np.ndarray

    def __len__(self) -> int:
        return len(self.lids)


def plan_mesh_motion(
    model: Face478,
    identity: np.ndarray,
    source: Coefficients,
    track: MotionTrack,
    options: RetargetOptions,
    driver_reference: Coefficients | None = None,
    source_rest: Coefficients | None = None,
    scores: np.ndarray | None = None,
) -> MeshMotion:
    """Retarget a driver's track to a source.

    Args:
        model: The face model.
        identity: (80,) identity of the source.
        source: Coefficients of the source, one frame or one for each of the track's.
        track: Motion of the driver in the face478 space.
        options: Mode, region and strength.
        driver_reference: Reference of relative motion; default: the track's `reference_coefficients`.
        source_rest: Frame of a moving source at rest; default: `source`.
        scores: (52,) blendshape scores that the landmark model reported for the source, or None.
    """
    bias = measure_bias(model, identity, source.expression[0], scores)
    rest = source_rest or source
    if options.motion == "relative" and options.region != "pose":
        rest = _speaking_rest(rest) if track.meta.audio_hash else _limit_rest_jaw(rest)
    reference = driver_reference or reference_coefficients(track, options, source)
    driven = retarget(source, track, options, reference, rest)
    if options.region not in ("eyes", "pose"):
        person = _Person(model, identity, bias)
        expression = _match_driver_scores(person, rest, driven.expression, track, options, reference)
        driven = replace(driven, expression=np.where(expression_mask(options.region), expression, driven.expression))
    _limit_scores(driven.expression, source.expression, _SCORE_LOW, _SCORE_HIGH)
    return MeshMotion(driven, _plan_lids(model, identity, source, rest, track, options, reference))


def plan_edited_motion(model: Face478, identity: np.ndarray, source: Coefficients, edited: Coefficients) -> MeshMotion:
    """Plan the motion of edited coefficients.

    Unlike a driver's motion, edits are neither eased nor matched to another face. They are only limited to what a
    photo can show.

    Args:
        model: The face model.
        identity: (80,) identity of the source.
        source: Coefficients of the source, one frame or one for each of the edited ones.
        edited: Edited coefficients, N frames.
    """
    shift, depth = _EDIT_SHIFT_LIMIT, _EDIT_DEPTH_LIMIT
    limits = np.array([_TURN_LIMIT, _TURN_LIMIT, _TILT_LIMIT, shift, shift, depth])
    pose = source.pose + np.clip(np.array(edited.pose) - source.pose, -limits, limits)
    expression = np.array(edited.expression)
    _limit_scores(expression, source.expression, _EDIT_LOW, _EDIT_HIGH)
    gaze = np.clip(edited.gaze, np.minimum(source.gaze, -GAZE_LIMIT), np.maximum(source.gaze, GAZE_LIMIT))
    return MeshMotion(Coefficients(expression, pose, gaze), measure_lid_openness(model, identity, expression))


def _limit_scores(expression: np.ndarray, source: np.ndarray, low: float, high: float) -> None:
    """Limit the blendshape columns of N×64 expressions in place; the source's own values are always allowed."""
    columns = _BLENDSHAPE_COLUMNS
    lowest = np.minimum(source[:, columns], low)
    highest = np.maximum(source[:, columns], high)
    expression[:, columns] = np.clip(expression[:, columns], lowest, highest)


def _plan_lids(
    model: Face478,
    identity: np.ndarray,
    source: Coefficients,
    rest: Coefficients,
    track: MotionTrack,
    options: RetargetOptions,
    reference: Coefficients,
) -> np.ndarray:
    """Openness of both eyes, (N, 2)."""
    source_lids = np.broadcast_to(measure_lid_openness(model, identity, source.expression), (len(track), 2))
    if options.region in ("lips", "pose"):
        return np.array(source_lids)
    driver = measure_lid_openness(model, track.identity, track.expression)
    if options.motion == "relative":
        driver_open = measure_lid_openness(model, track.identity, reference.expression)
        if options.reference is None and len(track) > 1:
            driver_open = np.quantile(driver[track.valid] if track.valid.any() else driver, _OPEN_QUANTILE, axis=0)
        source_open = measure_lid_openness(model, identity, rest.expression)
        if len(source) > 1:
            source_open = np.quantile(source_lids, _OPEN_QUANTILE, axis=0)
        # A share of the driver's open eye: a blink closes any eye, however wide the two eyes are at rest.
        change = driver / np.maximum(driver_open, _MIN_DRIVER_OPENNESS) - 1
        lids = source_open * (1 + options.strength * change)
    else:
        lids = source_lids + options.strength * (driver - source_lids)
    return np.clip(lids, 0.0, np.maximum(_MAX_OPENNESS, source_lids))


def _limit_rest_jaw(rest: Coefficients) -> Coefficients:
    """The rest frame with its mouth at most slightly open."""
    jaw = blendshape_index("jawOpen")
    expression = np.array(rest.expression)
    expression[:, jaw] = np.minimum(expression[:, jaw], _MAX_REST_JAW)
    return replace(rest, expression=expression)


def _speaking_rest(rest: Coefficients) -> Coefficients:
    """The rest frame of a speaker, with closed lips: a photo's laugh would never let them meet.

    A part of the photo's smile stays.
    """
    expression = np.array(rest.expression)
    for k, name in enumerate(BLENDSHAPES):
        if name.startswith(("jaw", "mouth")):
            expression[:, k] *= _SPEAKING_SMILE_SHARE if name.startswith("mouthSmile") else 0
    return replace(rest, expression=expression)


@dataclass(frozen=True)
class _Person:
    """The source as the blendshape score model sees it; bias: (52,) logits, see `measure_bias`."""

    model: Face478
    identity: np.ndarray
    bias: np.ndarray

    def predict_scores(self, expression: np.ndarray) -> np.ndarray:
        return logits_to_scores(predict_logits(self.model, self.identity, expression) + self.bias)


def _match_driver_scores(
    person: _Person,
    rest: Coefficients,
    expression: np.ndarray,
    track: MotionTrack,
    options: RetargetOptions,
    reference: Coefficients,
) -> np.ndarray:
    """Adjust expressions (N, 64) so that they look on the source as they looked on the driver.

    The same coefficients look different on another face, or on one that already smiles.
    """
    model = person.model
    driver = logits_to_scores(predict_logits(model, track.identity, track.expression))
    rest_scores = person.predict_scores(rest.expression)
    if options.motion == "absolute":
        target = rest_scores + options.strength * (driver - rest_scores)
    else:
        driver_rest = logits_to_scores(predict_logits(model, track.identity, reference.expression))
        target = transfer_scores(rest_scores, driver_rest + options.strength * (driver - driver_rest), driver_rest)
    return match_scores(model, person.identity, expression, target, person.bias)
