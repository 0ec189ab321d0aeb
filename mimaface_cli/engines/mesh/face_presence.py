"""Source videos in which the face is missing in some frames: these stay as they are, and motion eases in and out."""

from itertools import pairwise

import numpy as np

from mimaface_cli.engines.mesh.contact import measure_lid_openness
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.coefficients import Coefficients
from mimaface_cli.motion.easing import smoothstep
from mimaface_cli.motion.retarget import track_coefficients
from mimaface_cli.motion.track import MotionTrack

EASE_SECONDS = 0.25  # over which motion eases in after frames without a face, and out before them
RENDERED_FROM = 0.4  # share of the motion from which the rendered frame counts alone; below, it is blended


def presence_weights(track: MotionTrack) -> np.ndarray:
    """Return the share (N,) of the motion that each frame of a source video receives.

    It is 0 in frames without the face, and rises with the time to the next of these within the shot.
    """
    weights = np.ones(len(track))
    for start, end in pairwise([0, *track.meta.cuts, len(track)]):
        missing = np.flatnonzero(~track.valid[start:end])
        if len(missing):
            times = track.pts[start:end]
            after = np.searchsorted(missing, np.arange(end - start))
            gaps = [np.abs(times - times[missing[np.clip(k, 0, len(missing) - 1)]]) for k in (after - 1, after)]
            distance = np.minimum(*gaps)
            weights[start:end] = smoothstep(distance / EASE_SECONDS)
    return weights


def ease_motion(motion: MeshMotion, track: MotionTrack, weights: np.ndarray, model: Face478) -> MeshMotion:
    """Blend a planned motion with the source's own.

    Args:
        motion: The planned motion.
        track: The source's own motion.
        weights: (N,) share of the planned motion.
        model: The face model.
    """
    if (weights == 1).all():
        return motion
    own, share = track_coefficients(track), weights[:, None]
    own_lids = measure_lid_openness(model, track.identity.astype(np.float64), own.expression)
    driven = motion.coefficients
    pose = own.pose + share * _difference(driven.pose, own.pose)
    expression = own.expression + share * (driven.expression - own.expression)
    gaze = own.gaze + share * (driven.gaze - own.gaze)
    return MeshMotion(Coefficients(expression, pose, gaze), own_lids + share * (motion.lids - own_lids))


def _difference(pose: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the change from one pose (N, 6) to another, the shorter way around."""
    change = pose - start
    change[:, :3] = (change[:, :3] + np.pi) % (2 * np.pi) - np.pi
    return change


def blend_frame(rendered: np.ndarray, original: np.ndarray, weight: float) -> np.ndarray:
    """Return a rendered frame (H, W, C) uint8, blended with the source's frame where the motion has little weight."""
    share = weight / RENDERED_FROM
    if share >= 1 or rendered.shape != original.shape:
        return rendered
    mixed = original + np.float32(share) * (rendered.astype(np.float32) - original)
    return np.round(mixed).astype(np.uint8)
