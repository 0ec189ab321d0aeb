"""The complete build: observations to the arrays of a face478 file."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mimaface_cli.builders.face478.albedo_basis import build_albedo
from mimaface_cli.builders.face478.observations import FaceData
from mimaface_cli.builders.face478.person_fitting import fit_people
from mimaface_cli.builders.face478.procrustes import compute_mean_shape
from mimaface_cli.builders.face478.score_errors import UNSCORED_DEVIATION, measure_score_error
from mimaface_cli.builders.face478.score_model import ScoreSamples, fit_score_model
from mimaface_cli.builders.face478.shape_bases import build_shape
from mimaface_cli.builders.face478.symmetry import pair_vertices
from mimaface_cli.builders.face478.triangulation import build_triangles
from mimaface_cli.face.face478 import VERTICES, Face478
from mimaface_cli.face.shading import vertex_normals
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, IDENTITY_DIM, UNSCORED_BLENDSHAPES

INITIAL_SCORE_DEVIATION = 0.15  # standard deviation of a score's error, before it is measured
# Frames of a clip are similar: scores are fitted to one frame in CLIP_STEP, and each counts as CLIP_WEIGHT of a still.
CLIP_STEP, CLIP_WEIGHT = 4, 0.35


def build_arrays(data: FaceData, photos: Sequence[Path], seed: int = 0) -> dict[str, np.ndarray]:
    """Build the arrays of a face478 file (see `mimaface_cli.face.face478.Face478`).

    Args:
        data: Stills (for identity and texture) and clips (for expression).
        photos: Files of the stills. A random choice of them serves to measure the errors of scores.
        seed: Random seed.

    Returns:
        float32 and int32 arrays by name, with the `version`.

    Raises:
        InputError: If the observations do not suffice for a model.
    """
    mean = compute_mean_shape(data.stills)
    mirror = pair_vertices(mean)
    shape = build_shape(data, mean, mirror)
    triangles = build_triangles(shape["mean"])
    normals = vertex_normals(data.stills.points, np.concatenate(list(triangles.values())))
    # Different noise for each landmark (the outline slides along the face) was measured and did not help.
    values = shape | build_albedo(data.stills.landmark_colors, normals, mirror) | {"noise": np.ones(VERTICES)}
    model = Face478(**values, **triangles, **make_empty_scores(), version="")
    model = replace(model, score_error=measure_score_error(model, photos, data.clips, seed))
    values |= {"score_error": model.score_error} | fit_scores(model, data)
    arrays = {name: value.astype(np.float32) for name, value in values.items()} | triangles
    return arrays | {"version": np.array(compute_fingerprint(arrays))}


def fit_scores(model: Face478, data: FaceData) -> dict[str, np.ndarray]:
    """Fit the score model to the scores of all observed people."""
    stills, clips = fit_people(model, data.stills), fit_people(model, data.clips, CLIP_STEP)
    samples = ScoreSamples(
        identity=np.concatenate([stills.identity, clips.identity]),
        expression=np.concatenate([stills.expression, clips.expression]),
        scores=np.concatenate([data.stills.scores[stills.row], data.clips.scores[clips.row]]),
        weight=np.concatenate([np.ones(len(stills.row)), np.full(len(clips.row), CLIP_WEIGHT)]),
    )
    return fit_score_model(model.identity_basis, model.expression_basis, samples)


def make_empty_scores() -> dict[str, np.ndarray]:
    """Return a score model that predicts a constant, for the first fits."""
    count = len(BLENDSHAPES)
    is_unscored = np.isin(BLENDSHAPES, UNSCORED_BLENDSHAPES)
    deviation = np.where(is_unscored, UNSCORED_DEVIATION, INITIAL_SCORE_DEVIATION)
    return {
        "score_bias": np.zeros(count),
        "score_identity": np.zeros((count, IDENTITY_DIM)),
        "score_expression": np.zeros((count, EXPRESSION_DIM)),
        "score_error": np.diag(deviation**2),
    }


def compute_fingerprint(arrays: dict[str, np.ndarray]) -> str:
    """Return twelve hex digits that identify the content of arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]
