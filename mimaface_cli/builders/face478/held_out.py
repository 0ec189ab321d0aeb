"""Measurements of a built model on people that it was not built from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mimaface_cli.builders.face478.albedo_basis import limit_albedo_deviations, remove_light
from mimaface_cli.builders.face478.observations import FaceData, Observations
from mimaface_cli.builders.face478.overview_image import move_column, render_mesh
from mimaface_cli.builders.face478.person_fitting import FaceFits
from mimaface_cli.builders.face478.regression import apply_columns, center_within, correlate_weighted
from mimaface_cli.builders.face478.shape_bases import compute_movement, compute_neutral_faces
from mimaface_cli.face import camera, topology
from mimaface_cli.face.blendshape_scores import logits_to_scores, predict_logits
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.face478 import VERTICES, Face478
from mimaface_cli.face.fitting import NAMED_COUNT
from mimaface_cli.face.landmarks import select_face
from mimaface_cli.face.shading import sh_basis, vertex_normals
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES

COLUMN_IMAGE_SIZE = 512  # pixels of a side of the images shown to the landmark model
MIN_SCORE_DEVIATION = 0.01  # standard deviation of a score below which its correlation means nothing
READOUT_RIDGE = 2e-4

_BROWS = np.array([46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336])
_NOSE = np.array([1, 2, 4, 5, 6, 19, 48, 64, 94, 97, 98, 168, 195, 197, 278, 294, 326, 327])
REGIONS = {
    "inner lips": topology.INNER_LIPS,
    "outer lips": topology.OUTER_LIPS,
    "eyelids": topology.EYES,
    "brows": _BROWS,
    "nose": _NOSE,
    "outline": topology.OVAL,
}


@dataclass(frozen=True)
class Reprojection:
    """Distance between observed and fitted landmarks, in pixels of the 256 crop.

    Attributes:
        frames: Number of frames.
        rms: RMS over frames of a frame's RMS over its landmarks without the irises.
        median: Median over frames of the same.
        share: Mean distance relative to the distance between the eyes.
        regions: Mean distance by region.
        vertices: 478 RMS distances.
    """

    frames: int
    rms: float
    median: float
    share: float
    regions: dict[str, float]
    vertices: np.ndarray


def measure_reprojection(model: Face478, fits: FaceFits) -> Reprojection:
    """Compare the landmarks of fitted faces with the observed ones."""
    without_irises = np.setdiff1d(np.arange(VERTICES), topology.IRIS)
    distances, shares = np.empty((len(fits.row), VERTICES)), np.empty(len(fits.row))
    faces = zip(fits.pixels, fits.identity, fits.expression, fits.pose, strict=True)
    for k, (pixels, identity, expression, pose) in enumerate(faces):
        posed = camera.apply_pose(model.shape(identity, expression), pose)
        distances[k] = np.linalg.norm(camera.project(posed)[0] - pixels, axis=1)
        right, left = topology.five_points(posed)[:2]
        depth = camera.CAMERA_DISTANCE - (right + left)[2] / 2
        eye_distance = np.linalg.norm(left - right) * camera.FOCAL_PER_SIZE * camera.CROP_SIZE / depth
        shares[k] = distances[k, without_irises].mean() / eye_distance
    errors = np.sqrt((distances[:, without_irises] ** 2).mean(1))
    return Reprojection(
        frames=len(errors),
        rms=float(np.sqrt((errors**2).mean())),
        median=float(np.median(errors)),
        share=float(shares.mean()),
        regions={name: float(distances[:, region].mean()) for name, region in REGIONS.items()},
        vertices=np.sqrt((distances**2).mean(0)),
    )


@dataclass(frozen=True)
class ExplainedVariance:
    """Shares of the variance that the columns of a model explain.

    Attributes:
        named: Share of the movement within clips, by the named columns from scores alone; without rotation and irises.
        expression: Share of the same movement, by all 64 fitted columns.
        identity: Share of the differences in shape between people.
        texture: Share of the differences in unlit color between people.
    """

    named: float
    expression: float
    identity: float
    texture: float


def measure_explained_variance(model: Face478, data: FaceData) -> ExplainedVariance:
    """Measure how much of some observations the model's columns span."""
    mean, unit = normalize_mean(model)
    basis = model.expression_basis * unit
    named = basis[:, :, :NAMED_COUNT]
    movement, scores, weight = compute_movement(data.clips, mean)
    skin = np.ones((VERTICES, 1))
    skin[topology.IRIS] = 0.0
    total = _energy(movement * skin, weight)
    after_named = _energy((movement - apply_columns(named, scores)) * skin, weight)
    after_all = _energy(_residual(movement * skin, basis * skin[..., None]), weight)

    faces = compute_neutral_faces(data.stills, mean, named) - mean
    uniform = np.ones(len(faces))
    identity = 1 - _energy(_residual(faces, model.identity_basis), uniform) / _energy(faces, uniform)

    light_basis = sh_basis(vertex_normals(data.stills.points, model.triangles))
    albedo = remove_light(data.stills.landmark_colors, light_basis, model.albedo_mean)
    colors = limit_albedo_deviations(albedo, model.albedo_mean)
    texture = 1 - _energy(_residual(colors, model.texture_basis), uniform) / _energy(colors, uniform)
    return ExplainedVariance(1 - after_named / total, 1 - after_all / total, identity, texture)


def normalize_mean(model: Face478) -> tuple[np.ndarray, float]:
    """Return the mean face that the builder aligns to (RMS radius 1) and the factor from model units to its unit."""
    mean = model.mean - model.mean.mean(0)
    unit = 1 / np.sqrt((mean**2).sum(1).mean())
    return mean * unit, float(unit)


def _energy(samples: np.ndarray, weight: np.ndarray) -> float:
    return float(weight @ (samples**2).reshape(len(samples), -1).sum(1))


def _residual(samples: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return the part of N×V×3 samples outside the span of V×3×K columns."""
    directions, length, _ = np.linalg.svd(basis.reshape(-1, basis.shape[2]), full_matrices=False)
    orthonormal = directions[:, length > 1e-6 * length[0]]
    flat = samples.reshape(len(samples), -1)
    return (flat - flat @ orthonormal @ orthonormal.T).reshape(samples.shape)


def measure_readout(model: Face478, clips: Observations) -> dict[str, float]:
    """Measure how well each named coefficient can be estimated from geometry alone.

    All coefficients are fitted to the movement without scores. The prior of each has its score's standard deviation.

    Args:
        model: The model.
        clips: Held-out clips.

    Returns:
        By name, the correlation of the coefficient with the landmark model's score; NaN where the score hardly changes.
    """
    mean, unit = normalize_mean(model)
    movement, scores, weight = compute_movement(clips, mean)
    columns = (model.expression_basis * unit).reshape(-1, model.expression_basis.shape[2])
    deviation = np.ones(columns.shape[1])
    deviation[:NAMED_COUNT] = np.sqrt(weight @ scores**2 / weight.sum())
    scaled = columns * np.maximum(deviation, 1e-3)
    gram = scaled.T @ scaled
    noise = READOUT_RIDGE * np.trace(gram)
    flat = movement.reshape(len(movement), -1)
    coefficients = np.linalg.solve(gram + noise * np.eye(len(deviation)), scaled.T @ flat.T).T
    return {
        name: correlate_weighted(coefficients[:, k], scores[:, k], weight)
        if deviation[k] > MIN_SCORE_DEVIATION
        else float("nan")
        for k, name in enumerate(BLENDSHAPES)
        if name not in UNSCORED_BLENDSHAPES
    }


def correlate_predicted_scores(model: Face478, observations: Observations, fits: FaceFits) -> dict[str, float]:
    """Correlate the scores that the model predicts for fitted faces with the landmark model's scores.

    Returns:
        By name, the correlation within subjects if they have several frames, otherwise over all faces; NaN where the
        score hardly changes.
    """
    faces = zip(fits.identity, fits.expression, strict=True)
    predicted = logits_to_scores(np.stack([predict_logits(model, *face) for face in faces]))
    scores, subject = observations.scores[fits.row], observations.subject[fits.row]
    uniform = np.ones(len(scores))
    if len(np.unique(subject)) < len(subject):
        predicted, scores = center_within(predicted, subject), center_within(scores, subject)
    return {
        name: correlate_weighted(predicted[:, k], scores[:, k], uniform)
        if scores[:, k].std() > MIN_SCORE_DEVIATION
        else float("nan")
        for k, name in enumerate(BLENDSHAPES)
        if name not in UNSCORED_BLENDSHAPES
    }


@dataclass(frozen=True)
class ColumnScores:
    """Scores of a rendering of the mean face under one column.

    Attributes:
        before: The score of the column's name at rest.
        after: The same score under the column.
        other: Name of the other score that rises most.
        other_rise: Rise of that score.
    """

    before: float
    after: float
    other: str
    other_rise: float


def score_rendered_columns(model: Face478, names: Sequence[str] = BLENDSHAPES[1:]) -> dict[str, ColumnScores]:
    """Render the mean face under each named column at score 1 and score the image; no entry if no face is detected."""
    rest = _score_image(render_mesh(model, COLUMN_IMAGE_SIZE, model.mean))
    if rest is None:
        return {}
    result = {}
    for name in names:
        k = BLENDSHAPES.index(name)
        scores = _score_image(render_mesh(model, COLUMN_IMAGE_SIZE, move_column(model, k)))
        if scores is not None:
            rise = scores - rest
            rise[k] = -1.0
            other = int(rise.argmax())
            result[name] = ColumnScores(float(rest[k]), float(scores[k]), BLENDSHAPES[other], float(rise[other]))
    return result


def _score_image(image: np.ndarray) -> np.ndarray | None:
    face = select_face(detect_faces(image), "largest")
    return None if face is None else face.scores
