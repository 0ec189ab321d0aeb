"""The build itself: observations in, the arrays of face478 out."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from mimaface_cli.builders.face478 import learning as learn
from mimaface_cli.builders.face478.learning import NAMED, Observations
from mimaface_cli.builders.face478.person_fitting import fit_people
from mimaface_cli.builders.face478.score_errors import UNMOVED, score_error
from mimaface_cli.builders.face478.score_model import build_scores
from mimaface_cli.face import topology
from mimaface_cli.face.camera import CAMERA_DISTANCE, FOCAL_PER_SIZE
from mimaface_cli.face.face478 import VERTICES, Face478
from mimaface_cli.face.shading import AMBIENT, sh_basis, vertex_normals
from mimaface_cli.motion.coefficients import (
    BLENDSHAPES,
    EXPRESSION_DIM,
    IDENTITY_DIM,
    TEXTURE_DIM,
    UNSCORED_BLENDSHAPES,
)

NOSTRIL = 278
# Eye-center distance of the release's 256-pixel five-point template: it fixes the model's unit.
TEMPLATE_EYE_DISTANCE = 70.4744 / 256
ACROSS = np.array([-1, 1, 1])  # what mirroring does to a displacement
ALBEDO_LIMIT = 90.0  # gray levels from the mean: hair, hats and hands over the face are not albedo
UNMEASURED = 0.15  # of a score, standard deviation: how far it is off before that is measured
CLIP_STEP, CLIP_WEIGHT = 4, 0.35  # frames of a clip are much alike: fewer of them teach scores, and each counts less


def build(stills: Observations, clips: Observations, photos: Sequence[Path], seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a face478 file (see `mimaface_cli.face.face478.Face478`): float32, int32 and its version.

    stills (with colors) teach identity and texture, clips expression; photos, drawn at random with the seed, how far
    scores are to be believed. Raises InputError where they make no face.
    """
    mean = learn.mean_shape(stills)
    mirror = learn.mirror_index(mean)
    shape = build_shape(stills, clips, mean, mirror)
    triangles = triangulate(shape["mean"])
    normals = vertex_normals(stills.points, np.concatenate(list(triangles.values())))
    # Unequal trust in landmarks (the outline slides along the face) was measured and gained nothing.
    values = shape | build_albedo(stills.colors, normals, mirror) | {"noise": np.ones(VERTICES)}
    model = Face478(**values, **triangles, **blank_scores(), version="")
    model = replace(model, score_error=score_error(model, photos, clips, seed))
    values |= {"score_error": model.score_error} | learn_scores(model, stills, clips)
    arrays = {name: value.astype(np.float32) for name, value in values.items()} | triangles
    return arrays | {"version": np.array(fingerprint(arrays))}


def learn_scores(model: Face478, stills: Observations, clips: Observations) -> dict[str, np.ndarray]:
    """How the landmark model scores the faces of a model, from its fits to all observed people."""
    parts = [(stills, fit_people(model, stills), 1.0), (clips, fit_people(model, clips, CLIP_STEP), CLIP_WEIGHT)]
    return build_scores(
        model.identity_basis,
        model.expression_basis,
        np.concatenate([fits.identity for _, fits, _ in parts]),
        np.concatenate([fits.expression for _, fits, _ in parts]),
        np.concatenate([observed.scores[fits.row] for observed, fits, _ in parts]),
        np.concatenate([np.full(len(fits.row), weight) for _, fits, weight in parts]),
    )


def blank_scores() -> dict[str, np.ndarray]:
    """A score model that knows nothing yet."""
    count = len(BLENDSHAPES)
    return {
        "score_bias": np.zeros(count),
        "score_identity": np.zeros((count, IDENTITY_DIM)),
        "score_expression": np.zeros((count, EXPRESSION_DIM)),
        "score_error": np.diag(np.where(np.isin(BLENDSHAPES, UNSCORED_BLENDSHAPES), UNMOVED, UNMEASURED) ** 2),
    }


def fingerprint(arrays: dict[str, np.ndarray]) -> str:
    """Twelve hex digits that name the content of some arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]


def build_shape(
    stills: Observations, clips: Observations, mean: np.ndarray, mirror: np.ndarray
) -> dict[str, np.ndarray]:
    """Mean, A and B from an aligned mean face of rms radius 1."""
    deviation, scores, weight = expression_samples(clips, mean)
    named = learn.expression_columns(deviation, scores, weight, upper_share(mean), left_share(mean))
    named = learn.symmetrize(named, mirror, learn.mirror_names())
    left_over = extra_samples(deviation, scores, named)
    spread = learn.covariance(left_over.reshape(len(left_over), -1), weight)
    extra = learn.principal(learn.with_mirrored(spread, mirror, ACROSS), EXPRESSION_DIM - NAMED)

    faces = identity_samples(stills, mean, named)
    neutral = faces.mean(0)
    neutral = (neutral + neutral[mirror] * ACROSS) / 2
    faces = (faces - neutral).reshape(len(faces), -1)
    spread = learn.covariance(faces, np.ones(len(faces)))
    identity = learn.principal(learn.with_mirrored(spread, mirror, ACROSS), IDENTITY_DIM)

    scale = unit_scale(neutral)
    neutral = neutral * scale
    center = np.append(neutral[:, :2].mean(0) * [0, 1], neutral[:, 2].mean())
    expression = np.concatenate([named, extra], 2) * scale
    add_silent(expression, neutral - center)
    return {"mean": neutral - center, "identity_basis": identity * scale, "expression_basis": expression}


def expression_samples(clips: Observations, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What moves within each clip: deviations of shape (N×V×3, in the mean's units) and of scores (N×52) with what
    merely goes with the head's turning taken out, and weights N that give every clip the same say.
    """
    aligned, _ = learn.procrustes(clips.points, mean, learn.stable_weight(mean, topology.EYES))
    _, row, count = np.unique(clips.subject, return_inverse=True, return_counts=True)
    weight = 1.0 / count[row]
    angles = head_angles(clips.rotation)
    nuisance = within(np.concatenate([angles, angles**2, angles[:, :1] * angles[:, 1:]], 1), clips.subject)
    deviation = project_out(within(aligned, clips.subject), nuisance, weight)
    return deviation, project_out(within(clips.scores, clips.subject), nuisance, weight), weight


def extra_samples(deviation: np.ndarray, scores: np.ndarray, named: np.ndarray) -> np.ndarray:
    """What named columns (V×3×52) leave over of N×V×3 deviations; irises aside, gaze is its own coefficient."""
    left_over = deviation - apply(named, scores)
    left_over[:, topology.IRIS] = 0.0
    return left_over


def identity_samples(stills: Observations, mean: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Faces N×V×3 aligned to the mean, with the expression that their scores tell taken out. Irises go with their eye
    and look nowhere.
    """
    aligned, _ = learn.procrustes(stills.points, mean, learn.stable_weight(mean, topology.EYES))
    faces = learn.without(aligned - apply(named, stills.scores), head_angles(stills.rotation))
    average = faces.mean(0)
    for ring, iris in ((topology.LEFT_EYE, topology.LEFT_IRIS), (topology.RIGHT_EYE, topology.RIGHT_IRIS)):
        faces[:, iris] = average[iris] + (faces[:, ring] - average[ring]).mean(1, keepdims=True)
    return faces


def head_angles(rotation: np.ndarray) -> np.ndarray:
    """Yaw and pitch (N×2, rad) of N×3×3 canonical-to-camera rotations."""
    yaw = np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2])
    pitch = np.arctan2(-rotation[:, 1, 2], np.hypot(rotation[:, 0, 2], rotation[:, 2, 2]))
    return np.stack([yaw, pitch], -1)


def within(values: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """Each row minus the mean over its subject."""
    out = np.empty_like(values)
    for one in np.unique(subject):
        rows = subject == one
        out[rows] = values[rows] - values[rows].mean(0)
    return out


def project_out(values: np.ndarray, nuisance: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Remove the weighted linear dependence of N×… values on N×K nuisance variables."""
    flat, root = values.reshape(len(values), -1), np.sqrt(weight)[:, None]
    slope = np.linalg.lstsq(nuisance * root, flat * root, rcond=None)[0]
    return (flat - nuisance @ slope).reshape(values.shape)


def apply(columns: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """V×3×52 columns and N×52 scores to N×V×3 displacements."""
    return (scores @ columns.reshape(-1, NAMED).T).reshape(-1, VERTICES, 3)


def upper_share(mean: np.ndarray) -> np.ndarray:
    """1 where brow and eye scores move the face, 0 where jaw and mouth do, smooth between nose tip and lower lids."""
    low, high = mean[topology.NOSE_TIP, 1], mean[topology.EYES, 1].min()
    return smoothstep((mean[:, 1] - low) / (high - low))


def left_share(mean: np.ndarray) -> np.ndarray:
    """1 on the subject's left, 0 on the right, smooth across the width of the nose."""
    return smoothstep(0.5 + mean[:, 0] / (2 * abs(mean[NOSTRIL, 0])))


def smoothstep(value: np.ndarray) -> np.ndarray:
    """0 up to 0, 1 from 1 on, smooth between."""
    value = np.clip(value, 0, 1)
    return value**2 * (3 - 2 * value)


def unit_scale(neutral: np.ndarray) -> float:
    """Factor that gives the eye distance of the release's template in a crop at rest."""
    right, left = topology.five_points(neutral)[:2]
    distance, height = left[0] - right[0], (left[2] + right[2]) / 2 - neutral[:, 2].mean()
    wanted = TEMPLATE_EYE_DISTANCE / FOCAL_PER_SIZE
    # distance·s / (camera − height·s) = wanted
    return wanted * CAMERA_DISTANCE / (distance + wanted * height)


def add_silent(basis: np.ndarray, mean: np.ndarray) -> None:
    """Author the columns that cannot be learned because the landmark model never scores them."""

    def bump(center: np.ndarray, width: float) -> np.ndarray:
        return np.exp(-((mean - center) ** 2).sum(1) / (2 * width**2))[:, None]

    chin, nose = mean[topology.CHIN], mean[topology.NOSE_TIP]
    for side, cheek, wing, lid in (("Left", 425, 278, 374), ("Right", 205, 48, 145)):
        outward = np.array([np.sign(mean[cheek, 0]) * 0.6, 0.0, 0.8])
        basis[:, :, BLENDSHAPES.index("cheekPuff")] += 0.14 * bump(mean[cheek], 0.17) * outward
        squint = bump((mean[cheek] + mean[lid]) / 2, 0.12) * [0, 0.08, 0.03]
        basis[:, :, BLENDSHAPES.index("cheekSquint" + side)] = squint
        sneer = bump(mean[wing], 0.09) * [0, 0.07, 0.01] + bump((mean[wing] + nose) / 2, 0.08) * [0, 0.02, 0]
        basis[:, :, BLENDSHAPES.index("noseSneer" + side)] = sneer
    jaw = np.clip((mean[topology.LOWER_LIP, 1] - mean[:, 1] + 0.05) / 0.25, 0, 1)[:, None] * bump(chin, 0.45)
    basis[:, :, BLENDSHAPES.index("jawForward")] = jaw * [0, 0, 0.12]


def build_albedo(colors: np.ndarray, normals: np.ndarray, mirror: np.ndarray) -> dict[str, np.ndarray]:
    """Albedo mean and C from colors sampled at the landmarks (N×478×3) under posed normals (N×478×3), after each
    face's own spherical-harmonic light is taken out (light and albedo estimated in turns).
    """
    colors = colors.astype(np.float64)
    basis = sh_basis(normals)
    mean = colors.mean(0)
    for _ in range(4):
        albedo = unlit(colors, basis, mean)
        mean = np.median(np.concatenate([albedo, albedo[:, mirror]]), 0)
    samples = albedo_samples(albedo, mean)
    spread = learn.covariance(samples.reshape(len(samples), -1), np.ones(len(samples)))
    texture = learn.principal(learn.with_mirrored(spread, mirror, np.ones(3)), TEXTURE_DIM)
    return {"albedo_mean": mean, "texture_basis": texture}


def unlit(colors: np.ndarray, basis: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Albedos N×478×3 of colors N×478×3: the light (under a basis N×478×9) that explains them best on the mean albedo
    is taken out.
    """
    lit = basis[..., None] * mean[None, :, None, :]  # N×478×9×3
    gram = np.einsum("nvbc,nvdc->ncbd", lit, lit) + 20.0 * len(mean) * np.eye(9)
    # The prior is even light of strength one: all else is shading only as far as the picture insists.
    even = AMBIENT * np.eye(9)[0]
    right = np.einsum("nvbc,nvc->ncb", lit, colors) + 20.0 * len(mean) * even
    light = np.linalg.solve(gram, right[..., None])[..., 0]  # N×3×9
    return colors / np.einsum("nvb,ncb->nvc", basis, light).clip(0.2, 3.0)


def albedo_samples(albedo: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """What sets N×478×3 albedos apart from the mean."""
    return np.clip(albedo - mean, -ALBEDO_LIMIT, ALBEDO_LIMIT)


def triangulate(mean: np.ndarray) -> dict[str, np.ndarray]:
    """Skin triangles (from MediaPipe's tesselation), and strips that close eyes and mouth."""
    return {
        "face": facing(faces_of(tesselation()), mean),
        "eyes": facing(np.concatenate([strip(topology.LEFT_EYE), strip(topology.RIGHT_EYE)]), mean),
        "mouth": facing(strip(topology.INNER_LIPS), mean),
    }


def faces_of(edges: list[tuple[int, int]]) -> np.ndarray:
    """The triangles (T×3) of a surface given by its edges: all cycles of three, but for those around a vertex with only
    three neighbors, whose edges would belong to three triangles each.
    """
    neighbors: dict[int, set[int]] = {}
    for a, b in edges:
        neighbors.setdefault(a, set()).add(b)
        neighbors.setdefault(b, set()).add(a)
    cycles = sorted({tuple(sorted((a, b, c))) for a, b in edges for c in neighbors[a] & neighbors[b]})
    users = Counter(edge for cycle in cycles for edge in combinations(cycle, 2))
    return np.array([cycle for cycle in cycles if any(users[edge] < 3 for edge in combinations(cycle, 2))])


def tesselation() -> list[tuple[int, int]]:
    """MediaPipe's edges between landmarks."""
    from mimaface_cli.face.landmarks import native_silence

    with native_silence():
        from mediapipe.tasks.python.vision import FaceLandmarksConnections
    return [(edge.start, edge.end) for edge in FaceLandmarksConnections.FACE_LANDMARKS_TESSELATION]


def strip(ring: np.ndarray) -> np.ndarray:
    """Triangles between the lower and the upper half of a closed ring whose corners are its items 0 and n/2."""
    half = len(ring) // 2
    lower, upper = ring[: half + 1], np.append(ring[half:], ring[0])[::-1]
    quads = [(lower[i], lower[i + 1], upper[i + 1], upper[i]) for i in range(half)]
    corners = [tri for a, b, c, d in quads for tri in ((a, b, c), (a, c, d))]
    return np.array([tri for tri in corners if len(set(tri)) == 3])


def facing(corners: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Order the corners so that normals point at the camera."""
    a, b, c = (mean[corners[:, i]] for i in range(3))
    inward = np.cross(b - a, c - a)[:, 2] < 0
    return np.where(inward[:, None], corners[:, ::-1], corners).astype(np.int32)
