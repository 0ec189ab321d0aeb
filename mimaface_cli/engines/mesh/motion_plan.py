"""Motion planning: expression, pose, gaze and lids of every frame, computed before any frame is rendered."""

from dataclasses import dataclass, replace

import numpy as np

from mimaface_cli.engines.mesh.calibration import PortraitCalibration
from mimaface_cli.engines.mesh.contact import measure_lid_openness
from mimaface_cli.engines.mesh.measured_motion import MeasuredDriver, MeasuredSource
from mimaface_cli.face.blendshape_scores import (
    logits_to_scores,
    match_scores,
    measure_bias,
    predict_logits,
    transfer_scores,
)
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.coefficients import BLENDSHAPES, Coefficients
from mimaface_cli.motion.retarget import GAZE_LIMIT, expression_mask, reference_coefficients, retarget
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack

# A blendshape coefficient is a score of 0 to 1: a smile on top of a smile must not tear the face.
_SCORE_LOW, _SCORE_HIGH = -0.3, 1.15
_SPEAKING_SMILE_SHARE = 0.35  # share of a photo's smile that remains while it speaks
_OPEN_QUANTILE = 0.8  # quantile of a moving source's openness over time that counts as open

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


@dataclass(frozen=True)
class MotionSource:
    """A source whose face is driven.

    Attributes:
        identity: (80,) identity.
        coefficients: Coefficients of the source, one frame or one for each of the driver's.
        calibration: Calibration of the source's portrait; of a video, that of its frame at rest.
        rest: Frame of a moving source at rest; default: `coefficients`.
        scores: (52,) blendshape scores that the landmark model reported for the source, or None.
        speaking_rest: Source at rest in each frame while it speaks, for a relative driver from speech, with lips that
            meet at rest; default: `rest`, with closed lips.
    """

    identity: np.ndarray
    coefficients: Coefficients
    calibration: PortraitCalibration
    rest: Coefficients | None = None
    scores: np.ndarray | None = None
    speaking_rest: Coefficients | None = None


def plan_mesh_motion(
    model: Face478,
    source: MotionSource,
    track: MotionTrack,
    options: RetargetOptions,
    driver_reference: Coefficients | None = None,
) -> MeshMotion:
    """Retarget a driver's track to a source.

    Args:
        model: The face model.
        source: The source.
        track: Motion of the driver in the face478 space.
        options: Mode, region and strength.
        driver_reference: Reference of relative motion; default: the track's `reference_coefficients`.
    """
    identity, coefficients, region = source.identity, source.coefficients, options.region
    photo_rest = source.rest or coefficients
    rest = photo_rest
    is_speech = options.motion == "relative" and region != "pose" and bool(track.meta.audio_hash)
    if is_speech:
        rest = source.speaking_rest or _speaking_rest(rest)
    reference = driver_reference or reference_coefficients(track, options, coefficients)
    driven = retarget(coefficients, track, options, reference, rest)
    expression = driven.expression
    if region not in ("eyes", "pose"):
        bias = measure_bias(model, identity, coefficients.expression[0], source.scores)
        # The driver's bias is unknown: absolute motion compares what the model predicts for both.
        person = _Person(model, identity, bias if options.motion == "relative" else np.zeros_like(bias))
        matched = _match_driver_scores(person, rest, expression, track, options, reference)
        matched = expression + min(options.strength, 1) * (matched - expression)
        expression = np.where(expression_mask(region), matched, expression)
    low, high = _score_limits(coefficients.expression, _SCORE_LOW, _SCORE_HIGH)
    expression = np.clip(expression, low, high)
    origin = None if options.motion == "relative" else (identity, photo_rest)
    driver = MeasuredDriver.of(model, track, reference, origin, options.strength, options.reference is not None)
    measured = MeasuredSource.of(model, source.calibration, is_speech and source.speaking_rest is not None)
    if region != "pose":
        matched = measured.match_driver(driver, rest.expression, expression, low, high)
        expression = np.where(expression_mask(region), matched, expression)
    gaze, lids = driven.gaze, measure_lid_openness(model, identity, coefficients.expression)
    lids = np.array(np.broadcast_to(lids, (len(track), 2)))
    if region not in ("lips", "pose"):
        gaze = measured.plan_gaze(driver, rest.gaze[0])
        rest_lids = measure_lid_openness(model, identity, photo_rest.expression)[0]
        if len(coefficients) > 1:
            rest_lids = np.quantile(lids, _OPEN_QUANTILE, axis=0)
        lids = measured.plan_lids(driver, rest_lids, lids)
    return MeshMotion(Coefficients(expression, driven.pose, gaze), lids)


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
    expression = np.clip(edited.expression, *_score_limits(source.expression, _EDIT_LOW, _EDIT_HIGH))
    gaze = np.clip(edited.gaze, np.minimum(source.gaze, -GAZE_LIMIT), np.maximum(source.gaze, GAZE_LIMIT))
    return MeshMotion(Coefficients(expression, pose, gaze), measure_lid_openness(model, identity, expression))


def _score_limits(source: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest coefficients (N, 64) of the blendshapes; the source's own values are always allowed."""
    lowest, highest = np.full(source.shape, -np.inf), np.full(source.shape, np.inf)
    columns = _BLENDSHAPE_COLUMNS
    lowest[:, columns] = np.minimum(source[:, columns], low)
    highest[:, columns] = np.maximum(source[:, columns], high)
    return lowest, highest


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
        # Matching limits scores, which moves even a face that drives itself: by this.
        own = match_scores(model, person.identity, rest.expression, rest_scores, person.bias)
        return match_scores(model, person.identity, expression, target, person.bias) - (own - rest.expression)
    driver_rest = logits_to_scores(predict_logits(model, track.identity, reference.expression))
    target = transfer_scores(rest_scores, driver_rest + options.strength * (driver - driver_rest), driver_rest)
    return match_scores(model, person.identity, expression, target, person.bias)
