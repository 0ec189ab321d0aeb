"""Fits of the model to observed people, as motion extraction fits it to a video."""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.builders.face478.observations import Observations
from mimaface_cli.face.alignment import transform_points, upright_crop
from mimaface_cli.face.extract_face478 import IDENTITY_FRAMES
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.fitting import Fitter, fit_identity


@dataclass(frozen=True)
class FaceFits:
    """N fitted faces.

    Attributes:
        row: N indices into the observations.
        pixels: N×478×2 landmarks in the 256 crop.
        identity: N×80, equal for all faces of a subject.
        expression: N×64.
        pose: N×6.
    """

    row: np.ndarray
    pixels: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    pose: np.ndarray


def fit_people(model: Face478, observations: Observations, step: int = 1) -> FaceFits:
    """Fit the identity of each subject, then pose and expression of its frames.

    Args:
        model: The model.
        observations: Faces of any number of subjects.
        step: Pose and expression are fitted to every `step`-th frame; the identity to up to IDENTITY_FRAMES frames.
    """
    rows, pixels, identities, fits = [], [], [], []
    for subject in np.unique(observations.subject):
        index = np.flatnonzero(observations.subject == subject)
        points = observations.points[index][:, :, :2] * [1, -1]
        points = transform_points(upright_crop(points), points)
        scores, rotations = observations.scores[index], observations.rotation[index]
        chosen = np.linspace(0, len(index) - 1, min(IDENTITY_FRAMES, len(index))).astype(int)
        # The model is built from landmarks and scores alone.
        identity = fit_identity(model, points[chosen], scores[chosen], rotations[chosen], has_rotation_prior=False)
        fitter = Fitter(model, identity)
        for k in range(0, len(index), step):
            initial_pose = fitter.initial_pose(points[k], rotations[k])
            fits.append(fitter.fit_frame(points[k], scores[k], initial_pose, steps=3))
            rows.append(index[k])
            pixels.append(points[k])
            identities.append(identity)
    return FaceFits(
        row=np.array(rows),
        pixels=np.stack(pixels),
        identity=np.stack(identities),
        expression=np.stack([fit.expression for fit in fits]),
        pose=np.stack([fit.pose for fit in fits]),
    )
