"""The model fitted to observed people as extraction fits it to a video."""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.builders.face478.learning import Observations
from mimaface_cli.face import fitting as fit
from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.extract_face478 import IDENTITY_FRAMES, upright_crop
from mimaface_cli.face.face478 import Face478


@dataclass(frozen=True)
class Fits:
    """N fitted faces. row: N, where each lies among the observations; pixels: N×478×2, its landmarks in the 256 crop;
    identity N×80, the same for all of a subject; expression N×64; pose N×6.
    """

    row: np.ndarray
    pixels: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    pose: np.ndarray


def fit_people(model: Face478, observed: Observations, every: int = 1) -> Fits:
    """Identity of each subject from up to 24 of its frames, then pose and expression of each `every`th frame."""
    rows, pixels, identities, results = [], [], [], []
    for subject in np.unique(observed.subject):
        own = np.flatnonzero(observed.subject == subject)
        points = observed.points[own][:, :, :2] * [1, -1]
        points = transform_points(upright_crop(points), points)
        scores, rotations = observed.scores[own], observed.rotation[own]
        chosen = np.linspace(0, len(own) - 1, min(IDENTITY_FRAMES, len(own))).astype(int)
        identity = fit.fit_identity(model, points[chosen], scores[chosen], rotations[chosen])
        fitter = fit.Fitter(model, identity)
        for k in range(0, len(own), every):
            start = fitter.initial_pose(points[k], rotations[k])
            results.append(fitter.fit_frame(points[k], scores[k], start, steps=3))
            rows.append(own[k])
            pixels.append(points[k])
            identities.append(identity)
    return Fits(
        np.array(rows),
        np.stack(pixels),
        np.stack(identities),
        np.stack([one.expression for one in results]),
        np.stack([one.pose for one in results]),
    )
