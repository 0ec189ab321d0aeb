"""What each frame of an animation needs, worked out before any is drawn."""

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

# A named coefficient is a score of 0 to 1: a smile on top of a smile must not tear the face.
SCORE_LOW, SCORE_HIGH = -0.3, 1.15
MOUTH_AT_REST = 0.25  # a photo taken mid-word or mid-shout closes its mouth this far before it talks
SMILE_KEPT = 0.35  # share of a photo's smile with which it speaks
WIDE_EYED = 1.22  # openness beyond which eyes stare
USUALLY_OPEN = 0.8  # quantile over time of a driver's lids that counts as open


@dataclass(frozen=True)
class MeshMotion:
    """coefficients over N frames, and lids N×2: openness of the left and right eye, 0 shut, 1 this face's open."""

    coefficients: Coefficients
    lids: np.ndarray

    def __len__(self) -> int:
        return len(self.lids)


def plan_mesh_motion(
    model: Face478,
    identity: np.ndarray,
    own: Coefficients,
    track: MotionTrack,
    options: RetargetOptions,
    start: Coefficients | None = None,
    rest: Coefficients | None = None,
    seen: np.ndarray | None = None,
) -> MeshMotion:
    """Retarget a driver's track to a source of that identity (80). own: the source's coefficients, one frame or one
    for each of the track's; start and rest: see `mimaface_cli.motion.retarget.retarget`; seen: the blendshape scores
    (52) of a photo.
    """
    offset = measure_bias(model, identity, own.expression[0], seen)
    if options.motion == "relative" and options.region != "pose":
        rest = _speakers_rest(rest or own) if track.meta.audio_hash else _mouth_at_rest(rest or own)
    else:
        rest = rest or own
    start = start or reference_coefficients(track, options)
    driven = retarget(own, track, options, start, rest)
    if options.region not in ("eyes", "pose"):
        expression = _as_seen(model, identity, rest, driven.expression, track, options, start, offset)
        mask = expression_mask(options.region)
        driven = replace(driven, expression=np.where(mask, expression, driven.expression))
    named = slice(0, len(BLENDSHAPES))
    low = np.minimum(own.expression[:, named], SCORE_LOW)
    high = np.maximum(own.expression[:, named], SCORE_HIGH)
    driven.expression[:, named] = np.clip(driven.expression[:, named], low, high)

    own_lids = np.broadcast_to(measure_lid_openness(model, identity, own.expression), (len(track), 2))
    if options.region in ("lips", "pose"):
        return MeshMotion(driven, np.array(own_lids))
    driver = measure_lid_openness(model, track.identity, track.expression)
    if options.motion == "relative":
        first = measure_lid_openness(model, track.identity, start.expression)
        if options.reference is None and len(track) > 1:
            first = np.quantile(driver[track.valid] if track.valid.any() else driver, USUALLY_OPEN, axis=0)
        base = measure_lid_openness(model, identity, rest.expression)
        if len(own) > 1:
            base = np.quantile(own_lids, USUALLY_OPEN, axis=0)
        # A share of what the driver had open at first: a blink shuts any eye, however wide either was.
        lids = base * (1 + options.strength * (driver / np.maximum(first, 0.35) - 1))
    else:
        lids = own_lids + options.strength * (driver - own_lids)
    return MeshMotion(driven, np.clip(lids, 0.0, np.maximum(WIDE_EYED, own_lids)))


def _mouth_at_rest(rest: Coefficients) -> Coefficients:
    jaw = blendshape_index("jawOpen")
    expression = np.array(rest.expression)
    expression[:, jaw] = np.minimum(expression[:, jaw], MOUTH_AT_REST)
    return replace(rest, expression=expression)


def _speakers_rest(rest: Coefficients) -> Coefficients:
    """Who speaks starts from closed lips: a photo's laugh would never let them meet. A part of its smile stays."""
    expression = np.array(rest.expression)
    for k, name in enumerate(BLENDSHAPES):
        if name.startswith(("jaw", "mouth")):
            expression[:, k] *= SMILE_KEPT if name.startswith("mouthSmile") else 0
    return replace(rest, expression=expression)


def _as_seen(
    model: Face478,
    identity: np.ndarray,
    rest: Coefficients,
    expression: np.ndarray,
    track: MotionTrack,
    options: RetargetOptions,
    start: Coefficients,
    offset: np.ndarray,
) -> np.ndarray:
    """Expressions N×64 adjusted so that they look on the source as they did on the driver: the same coefficients read
    differently on another face, or on one that smiles already.
    """
    driver = logits_to_scores(predict_logits(model, track.identity, track.expression))
    if options.motion == "absolute":
        shown = logits_to_scores(predict_logits(model, identity, rest.expression) + offset)
        wanted = shown + options.strength * (driver - shown)
    else:
        first = logits_to_scores(predict_logits(model, track.identity, start.expression))
        own = logits_to_scores(predict_logits(model, identity, rest.expression) + offset)
        wanted = transfer_scores(own, first + options.strength * (driver - first), first)
    return match_scores(model, identity, expression, wanted, offset)


# What one photo can show of an edit, about its own pose: beyond, it is torn.
TURN_LIMIT, TILT_LIMIT = np.radians(45.0), np.radians(60.0)
SHIFT_LIMIT, DEPTH_LIMIT = 1.0, 3.0  # model units
EDIT_LOW, EDIT_HIGH = -1.0, 1.6  # of a named expression


def plan_edited_motion(model: Face478, identity: np.ndarray, own: Coefficients, wanted: Coefficients) -> MeshMotion:
    """Coefficients that somebody asked for, drawn as they are: unlike a driver's motion they are neither eased nor
    matched to another face, only held within what a photo can show. own: the source's, one frame or one for each.
    """
    pose = np.array(wanted.pose)
    reach = np.array([TURN_LIMIT, TURN_LIMIT, TILT_LIMIT, SHIFT_LIMIT, SHIFT_LIMIT, DEPTH_LIMIT])
    pose = own.pose + np.clip(pose - own.pose, -reach, reach)
    expression = np.array(wanted.expression)
    named = slice(0, len(BLENDSHAPES))
    low, high = np.minimum(own.expression[:, named], EDIT_LOW), np.maximum(own.expression[:, named], EDIT_HIGH)
    expression[:, named] = np.clip(expression[:, named], low, high)
    gaze = np.clip(wanted.gaze, np.minimum(own.gaze, -GAZE_LIMIT), np.maximum(own.gaze, GAZE_LIMIT))
    lids = measure_lid_openness(model, identity, expression)
    return MeshMotion(Coefficients(expression, pose, gaze), lids)
