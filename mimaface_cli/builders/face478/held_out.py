"""What a built model is worth, measured on people it has not learned from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mimaface_cli.builders.face478 import bases as build
from mimaface_cli.builders.face478.learning import NAMED, Observations
from mimaface_cli.builders.face478.overview_image import draw, moved
from mimaface_cli.builders.face478.person_fitting import Fits
from mimaface_cli.face import camera, topology
from mimaface_cli.face.blendshape_scores import logits_to_scores, predict_logits
from mimaface_cli.face.face478 import VERTICES, Face478
from mimaface_cli.face.landmarks import find_faces, select_face
from mimaface_cli.face.shading import sh_basis, vertex_normals
from mimaface_cli.motion.coefficients import BLENDSHAPES, UNSCORED_BLENDSHAPES

JUDGED_SIZE = 512  # pixels of the pictures shown to the landmark model
STILL = 0.01  # standard deviation of a score below which it tells nothing

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
    """Distance between observed landmarks and the fitted model's, in pixels of the 256 crop. rms, median: of a frame's
    rms over its landmarks (irises aside); share: mean distance over that of the eyes; regions: mean by region;
    vertices: rms of each of the 478.
    """

    frames: int
    rms: float
    median: float
    share: float
    regions: dict[str, float]
    vertices: np.ndarray


def reprojection(model: Face478, fits: Fits) -> Reprojection:
    """How closely the model's landmarks come to the observed ones."""
    steady = np.setdiff1d(np.arange(VERTICES), topology.IRIS)
    distances, shares = np.empty((len(fits.row), VERTICES)), np.empty(len(fits.row))
    for k, (pixels, identity, expression, pose) in enumerate(
        zip(fits.pixels, fits.identity, fits.expression, fits.pose)
    ):
        placed = camera.apply_pose(model.shape(identity, expression), pose)
        distances[k] = np.linalg.norm(camera.project(placed)[0] - pixels, axis=1)
        right, left = topology.five_points(placed)[:2]
        depth = camera.CAMERA_DISTANCE - (right + left)[2] / 2
        apart = np.linalg.norm(left - right) * camera.FOCAL_PER_SIZE * camera.CROP_SIZE / depth
        shares[k] = distances[k, steady].mean() / apart
    errors = np.sqrt((distances[:, steady] ** 2).mean(1))
    return Reprojection(
        frames=len(errors),
        rms=float(np.sqrt((errors**2).mean())),
        median=float(np.median(errors)),
        share=float(shares.mean()),
        regions={name: float(distances[:, region].mean()) for name, region in REGIONS.items()},
        vertices=np.sqrt((distances**2).mean(0)),
    )


@dataclass(frozen=True)
class Explained:
    """Shares of variance. named: of all movement within clips (turning of the head and irises aside), by the named
    columns from scores alone; expression: of the same, by all 64 columns fitted; identity: of the differences between
    people; texture: of the differences between their unlit colors.
    """

    named: float
    expression: float
    identity: float
    texture: float


def explained(model: Face478, stills: Observations, clips: Observations) -> Explained:
    """How much of some observations the model's columns span."""
    mean, unit = normalized(model)
    basis = model.expression_basis * unit
    named = basis[:, :, :NAMED]
    movement, scores, weight = build.expression_samples(clips, mean)
    skin = np.ones((VERTICES, 1))
    skin[topology.IRIS] = 0.0
    total = _energy(movement * skin, weight)
    after_named = _energy((movement - build.apply(named, scores)) * skin, weight)
    after_all = _energy(_beyond(movement * skin, basis * skin[..., None]), weight)

    faces = build.identity_samples(stills, mean, named) - mean
    even = np.ones(len(faces))
    identity = 1 - _energy(_beyond(faces, model.identity_basis), even) / _energy(faces, even)

    light = sh_basis(vertex_normals(stills.points, model.triangles))
    albedo = build.unlit(stills.colors.astype(np.float64), light, model.albedo_mean)
    colors = build.albedo_samples(albedo, model.albedo_mean)
    texture = 1 - _energy(_beyond(colors, model.texture_basis), even) / _energy(colors, even)
    return Explained(1 - after_named / total, 1 - after_all / total, identity, texture)


def normalized(model: Face478) -> tuple[np.ndarray, float]:
    """The mean face as the builder aligns to it, of rms radius 1, and the factor from model units to its."""
    mean = model.mean - model.mean.mean(0)
    unit = 1 / np.sqrt((mean**2).sum(1).mean())
    return mean * unit, float(unit)


def _energy(samples: np.ndarray, weight: np.ndarray) -> float:
    return float(weight @ (samples**2).reshape(len(samples), -1).sum(1))


def _beyond(samples: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """What of N×V×3 samples lies outside the span of V×3×K columns."""
    directions, length, _ = np.linalg.svd(basis.reshape(-1, basis.shape[2]), full_matrices=False)
    orthonormal = directions[:, length > 1e-6 * length[0]]
    flat = samples.reshape(len(samples), -1)
    return (flat - flat @ orthonormal @ orthonormal.T).reshape(samples.shape)


def readout(model: Face478, clips: Observations, ridge: float = 2e-4) -> dict[str, float]:
    """How well each named coefficient can be told from the geometry alone: its correlation with the landmark model's
    score over left-out clips, when all are fitted to the movement without knowing any score. NaN where the score
    hardly moves.
    """
    mean, unit = normalized(model)
    movement, scores, weight = build.expression_samples(clips, mean)
    columns = (model.expression_basis * unit).reshape(-1, model.expression_basis.shape[2])
    # The prior strength of a coefficient is the spread that its score has.
    spread = np.ones(columns.shape[1])
    spread[:NAMED] = np.sqrt(weight @ scores**2 / weight.sum())
    scaled = columns * np.maximum(spread, 1e-3)
    noise = ridge * np.trace(scaled.T @ scaled)
    told = np.linalg.solve(
        scaled.T @ scaled + noise * np.eye(len(spread)), scaled.T @ movement.reshape(len(movement), -1).T
    ).T
    result = {}
    for k, name in enumerate(BLENDSHAPES):
        if name not in UNSCORED_BLENDSHAPES:
            result[name] = _correlation(told[:, k], scores[:, k], weight) if spread[k] > STILL else float("nan")
    return result


def predicted_scores(model: Face478, observed: Observations, fits: Fits) -> dict[str, float]:
    """How well scores are predicted from fitted faces: the correlation with the landmark model's, by name; within
    subjects that have several frames, else over all faces. NaN where a score hardly moves.
    """
    logits = [
        predict_logits(model, identity, expression) for identity, expression in zip(fits.identity, fits.expression)
    ]
    seen = logits_to_scores(np.stack(logits))
    scores, subject = observed.scores[fits.row], observed.subject[fits.row]
    even = np.ones(len(scores))
    if len(np.unique(subject)) < len(subject):
        seen, scores = build.within(seen, subject), build.within(scores, subject)
    return {
        name: _correlation(seen[:, k], scores[:, k], even) if scores[:, k].std() > STILL else float("nan")
        for k, name in enumerate(BLENDSHAPES)
        if name not in UNSCORED_BLENDSHAPES
    }


@dataclass(frozen=True)
class Judgment:
    """What the landmark model says of a picture of the mean face under one column alone. before, after: its score of
    that name at rest and then; other, other_rise: the name whose score goes up most beside it, and by how much.
    """

    before: float
    after: float
    other: str
    other_rise: float


def judged(model: Face478, names: Sequence[str] = BLENDSHAPES[1:]) -> dict[str, Judgment]:
    """Show the landmark model named columns one at a time; those under which it finds no face are left out."""
    rest = _scores_of(draw(model, JUDGED_SIZE, model.mean))
    if rest is None:
        return {}
    result = {}
    for name in names:
        k = BLENDSHAPES.index(name)
        seen = _scores_of(draw(model, JUDGED_SIZE, moved(model, k)))
        if seen is not None:
            rise = seen - rest
            rise[k] = -1.0
            other = int(rise.argmax())
            result[name] = Judgment(float(rest[k]), float(seen[k]), BLENDSHAPES[other], float(rise[other]))
    return result


def _scores_of(picture: np.ndarray) -> np.ndarray | None:
    face = select_face(find_faces(picture), "largest")
    return None if face is None else face.scores


def _correlation(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> float:
    a, b = a - np.average(a, weights=weight), b - np.average(b, weights=weight)
    return float((weight * a * b).sum() / np.sqrt((weight * a * a).sum() * (weight * b * b).sum() + 1e-30))
