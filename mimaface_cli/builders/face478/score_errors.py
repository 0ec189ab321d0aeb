"""Errors of the landmark model's scores, measured on rendered videos with known coefficients.

Photos are moved by recorded motion with the mesh engine and scored. The errors are large and correlated (a smile is
scored as a dimple, a press as a roll). A fit of a face to scores and landmarks weighs the scores by their covariance.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mimaface_cli.builders.face478.observations import Observations
from mimaface_cli.builders.face478.person_fitting import fit_people
from mimaface_cli.builders.face478.symmetry import pair_blendshapes
from mimaface_cli.engines.mesh.motion_plan import plan_edited_motion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_still_head
from mimaface_cli.engines.mesh.renderer import render_photo
from mimaface_cli.errors import InputError, MimafaceError
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.fitting import NAMED_COUNT
from mimaface_cli.face.gaze import gaze_from_iris
from mimaface_cli.face.portrait import Portrait, portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, UNSCORED_BLENDSHAPES, Coefficients

# Standard deviations of a score: a lower limit for all errors, and the value for names that are never scored.
MIN_DEVIATION, UNSCORED_DEVIATION = 0.067, 0.01
PHOTOS = 16
SEGMENTS, SEGMENT_FRAMES = 3, 75  # of clips, to move each photo by
PULSE_HEIGHT, PULSE_FRAMES = 0.7, 10  # of a name that rises and falls alone
_SMOOTHING = 0.8  # frames: landmarks jitter, faces do not
_RATE = 25.0

Motion = tuple[np.ndarray, np.ndarray]
"""Expressions N×64 and gaze N×4."""


def measure_score_error(model: Face478, photos: Sequence[Path], clips: Observations, seed: int) -> np.ndarray:
    """Measure the covariance of score minus rendered coefficient within a video.

    Half of the weight is on speech from the clips, half on each name alone. Both sides of the face get equal errors.

    Args:
        model: The model without its score model.
        photos: Files of photos; unusable ones are skipped.
        clips: Source of the motion.
        seed: Seed of the choice of photos and motion.

    Returns:
        52×52 covariance.

    Raises:
        InputError: If no photo can be rendered and detected.
    """
    rng = np.random.default_rng(seed)
    speech: list[np.ndarray] = []
    pulses: list[np.ndarray] = []
    for k in rng.permutation(len(photos)):
        if len(pulses) == PHOTOS:
            break
        try:
            portrait = portrait_from_photo(read_image(photos[k]).rgb, None, model, name=str(photos[k])).square()
        except MimafaceError:
            continue
        speech += [measure_motion_errors(model, portrait, motion) for motion in sample_segments(model, clips, rng)]
        pulses.append(measure_motion_errors(model, portrait, make_single_name_pulses()))
    both = [np.concatenate([np.empty((0, NAMED_COUNT)), *errors]) for errors in (speech, pulses)]
    if not all(len(errors) for errors in both):
        raise InputError(
            "none of the photos shows a face that is also detected after rendering. Add sharp, upright photos of one "
            "face each."
        )
    covariance = np.mean([errors.T @ errors / len(errors) for errors in both], 0)
    mirror = pair_blendshapes()
    covariance = (covariance + covariance[np.ix_(mirror, mirror)]) / 2 + MIN_DEVIATION**2 * np.eye(NAMED_COUNT)
    unscored = [BLENDSHAPES.index(name) for name in UNSCORED_BLENDSHAPES]
    covariance[unscored] = 0.0
    covariance[:, unscored] = 0.0
    covariance[unscored, unscored] = UNSCORED_DEVIATION**2
    return covariance


def sample_segments(model: Face478, clips: Observations, rng: np.random.Generator) -> Iterator[Motion]:
    """Yield the motion of SEGMENTS random segments of clips."""
    for subject in rng.choice(np.unique(clips.subject), SEGMENTS):
        rows = np.flatnonzero(clips.subject == subject)
        start = rng.integers(0, max(1, len(rows) - SEGMENT_FRAMES + 1))
        fits = fit_people(model, clips.take(rows[start : start + SEGMENT_FRAMES]))
        gaze = [
            gaze_from_iris(pixels, model.shape(identity, expression), pose)
            for pixels, identity, expression, pose in zip(
                fits.pixels, fits.identity, fits.expression, fits.pose, strict=True
            )
        ]
        yield (
            gaussian_filter1d(fits.expression, _SMOOTHING, axis=0),
            gaussian_filter1d(np.stack(gaze), _SMOOTHING, axis=0),
        )


def make_single_name_pulses() -> Motion:
    """Return a motion in which each scored name but the eye looks rises and falls alone, with a resting gaze.

    Names with two sides move on both; jaw and mouth shift to the left only.
    """
    mirror = pair_blendshapes()
    excluded = [*UNSCORED_BLENDSHAPES, *(name for name in BLENDSHAPES if name.startswith("eyeLook"))]
    names = [k for k, name in enumerate(BLENDSHAPES) if name not in excluded and k <= mirror[k]]
    pulse = PULSE_HEIGHT * np.sin(np.pi * np.arange(PULSE_FRAMES) / PULSE_FRAMES) ** 2
    expression = np.zeros((1 + PULSE_FRAMES * len(names), EXPRESSION_DIM))
    for row, k in enumerate(names):
        frames = slice(1 + row * PULSE_FRAMES, 1 + (row + 1) * PULSE_FRAMES)
        columns = [k] if BLENDSHAPES[k] in ("jawLeft", "mouthLeft") else [k, mirror[k]]
        expression[frames, columns] = pulse[:, None]
    return expression, np.zeros((len(expression), 4))


def measure_motion_errors(model: Face478, portrait: Portrait, motion: Motion) -> np.ndarray:
    """Move a portrait, score the frames and compare with the rendered coefficients.

    Args:
        model: The model.
        portrait: Photo to move.
        motion: Applied relative to its first frame.

    Returns:
        M×52 score minus coefficient of each frame that shows a face, less their mean.
    """
    expression, gaze = motion
    rest = portrait.coefficients
    pose = np.repeat(rest.pose, len(gaze), 0)
    edited = Coefficients(rest.expression + expression - expression[:1], pose, rest.gaze + gaze - gaze[:1])
    plan, tracker = plan_edited_motion(model, portrait.identity, rest, edited), FaceTracker()
    rows = []
    try:
        for k, frame in enumerate(render_photo(prepare_still_head(portrait, model), model, plan)):
            face = tracker(np.ascontiguousarray(frame[..., :3]), k / _RATE)
            if face is not None:
                rows.append(face.scores - plan.coefficients.expression[k, :NAMED_COUNT])
    finally:
        tracker.close()
    errors = np.reshape(rows, (-1, NAMED_COUNT))
    return errors - errors.mean(0) if len(errors) else errors
