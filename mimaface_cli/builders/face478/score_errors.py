"""How the landmark model's scores err: photos are moved as people moved, drawn by the mesh engine, and scored.

What was drawn is known, so the errors are. They are large and go together (a smile is read as a dimple, a press as a
roll), and whoever fits a face to scores and to what is seen has to know how far to believe which of them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mimaface_cli.builders.face478.learning import NAMED, Observations, mirror_names
from mimaface_cli.builders.face478.person_fitting import fit_people
from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.edit_gain import get_portrait_coefficients
from mimaface_cli.engines.mesh.motion_plan import plan_edited_motion
from mimaface_cli.errors import InputError, MimafaceError
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.gaze import gaze_from_iris
from mimaface_cli.face.portrait import Portrait, portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, UNSCORED_BLENDSHAPES, Coefficients

# Of a score, standard deviations: none is believed more closely than the first; names that are never scored do not move.
FLOOR, UNMOVED = 0.067, 0.01
PHOTOS, STRETCHES, FRAMES = 16, 3, 75  # photos; what each is moved by: so many stretches of clips, of so many frames
HEIGHT, PULSE = 0.7, 10  # of a name that comes and goes alone, and frames of it
_STEADY = 0.8  # frames: landmarks shiver, faces do not
_RATE = 25.0


def score_error(model: Face478, photos: Sequence[Path], clips: Observations, seed: int) -> np.ndarray:
    """52×52, the covariance of score minus drawn coefficient within a video, over talking and over each name alone in
    equal shares; both sides of the face err alike. Raises InputError where no photo can be drawn and read again.
    """
    rng = np.random.default_rng(seed)
    talking, alone = [], []
    for k in rng.permutation(len(photos)):
        if len(alone) == PHOTOS:
            break
        try:
            portrait = portrait_from_photo(read_image(photos[k]).rgb, None, model, name=str(photos[k])).square()
        except MimafaceError:
            continue
        talking += [misread(model, portrait, *stretch) for stretch in stretches(model, clips, rng)]
        alone.append(misread(model, portrait, *one_by_one()))
    both = [np.concatenate([np.empty((0, NAMED)), *errors]) for errors in (talking, alone)]
    if not all(len(errors) for errors in both):
        raise InputError("none of the photos can be drawn and read again; add sharp, upright ones of one face each")
    covariance = np.mean([errors.T @ errors / len(errors) for errors in both], 0)
    mirror = mirror_names()
    covariance = (covariance + covariance[np.ix_(mirror, mirror)]) / 2 + FLOOR**2 * np.eye(NAMED)
    silent = [BLENDSHAPES.index(name) for name in UNSCORED_BLENDSHAPES]
    covariance[silent], covariance[:, silent] = 0.0, 0.0
    covariance[silent, silent] = UNMOVED**2
    return covariance


def stretches(model: Face478, clips: Observations, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Expressions (N×64) and gaze (N×4) of pieces of clips, chosen at random."""
    for subject in rng.choice(np.unique(clips.subject), STRETCHES):
        own = np.flatnonzero(clips.subject == subject)
        start = rng.integers(0, max(1, len(own) - FRAMES + 1))
        fits = fit_people(model, clips.take(own[start : start + FRAMES]))
        faces = zip(fits.pixels, fits.identity, fits.expression, fits.pose)
        looks = [gaze_from_iris(pixels, model.shape(who, what), pose) for pixels, who, what, pose in faces]
        yield tuple(gaussian_filter1d(values, _STEADY, axis=0) for values in (fits.expression, np.stack(looks)))


def one_by_one() -> tuple[np.ndarray, np.ndarray]:
    """Expressions (N×64) in which each name that is scored, looks aside, comes and goes alone, on both sides where it
    has two (jaw and mouth go to the left); and a gaze (N×4) that rests.
    """
    mirror = mirror_names()
    silent = [*UNSCORED_BLENDSHAPES, *(name for name in BLENDSHAPES if name.startswith("eyeLook"))]
    names = [k for k, name in enumerate(BLENDSHAPES) if name not in silent and k <= mirror[k]]
    swell = HEIGHT * np.sin(np.pi * np.arange(PULSE) / PULSE) ** 2
    expression = np.zeros((1 + PULSE * len(names), EXPRESSION_DIM))
    for row, k in enumerate(names):
        frames = slice(1 + row * PULSE, 1 + (row + 1) * PULSE)
        both = [k] if BLENDSHAPES[k] in ("jawLeft", "mouthLeft") else [k, mirror[k]]
        expression[frames, both] = swell[:, None]
    return expression, np.zeros((len(expression), 4))


def misread(model: Face478, portrait: Portrait, expression: np.ndarray, look: np.ndarray) -> np.ndarray:
    """A portrait moved as expressions (N×64) and gaze (N×4) move from their first: score minus drawn coefficient in
    each frame that shows a face (M×52), less their mean.
    """
    own = get_portrait_coefficients(portrait)
    pose = np.repeat(own.pose, len(look), 0)
    wanted = Coefficients(own.expression + expression - expression[:1], pose, own.gaze + look - look[:1])
    motion, follower, errors = plan_edited_motion(model, portrait.identity, own, wanted), FaceTracker(), []
    try:
        for k, frame in enumerate(renderer.render_photo(portrait, model, motion)):
            face = follower(np.ascontiguousarray(frame[..., :3]), k / _RATE)
            if face is not None:
                errors.append(face.scores - motion.coefficients.expression[k, :NAMED])
    finally:
        follower.close()
    errors = np.reshape(errors, (-1, NAMED))
    return errors - errors.mean(0) if len(errors) else errors
