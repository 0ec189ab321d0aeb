"""Mean shape, identity columns A and expression columns B of face478.

The computation is linear: weighted Procrustes alignment, ridge regression of displacements on MediaPipe's blendshape
scores for the named columns of B, principal components for A and the remaining columns of B. Mirror images are added
everywhere, so that the model is symmetric.
"""

import numpy as np

from mimaface_cli.builders.face478.observations import FaceData, Observations
from mimaface_cli.builders.face478.procrustes import align_faces, compute_head_angles, compute_stable_weights
from mimaface_cli.builders.face478.regression import (
    apply_columns,
    center_within,
    compute_covariance,
    compute_principal_columns,
    project_out,
    remove_dependence,
    solve_ridge,
)
from mimaface_cli.builders.face478.symmetry import (
    MIRROR_SIGNS,
    get_blendshape_side,
    mirror_covariance,
    pair_blendshapes,
    symmetrize_columns,
)
from mimaface_cli.face import topology
from mimaface_cli.face.camera import CAMERA_DISTANCE, FOCAL_PER_SIZE
from mimaface_cli.face.fitting import NAMED_COUNT
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM, IDENTITY_DIM, UNSCORED_BLENDSHAPES
from mimaface_cli.motion.easing import smoothstep

NOSTRIL = 278
# Eye distance in the release's 256-pixel five-point template, as a share of the crop. It fixes the model's unit.
TEMPLATE_EYE_DISTANCE = 70.4744 / 256
NAMED_RIDGE = 5e-5


def build_shape(data: FaceData, mean: np.ndarray, mirror: np.ndarray) -> dict[str, np.ndarray]:
    """Build the mean, A and B.

    Args:
        data: Stills for the mean and A, clips for B.
        mean: 478×3 aligned mean face with an RMS radius of 1.
        mirror: Counterpart of each vertex, 478.

    Returns:
        `mean` 478×3, `identity_basis` 478×3×80 and `expression_basis` 478×3×64 in model units.
    """
    named, residual_columns = _build_expression(data.clips, mean, mirror)
    faces = compute_neutral_faces(data.stills, mean, named)
    neutral = faces.mean(0)
    neutral = (neutral + neutral[mirror] * MIRROR_SIGNS) / 2
    faces = (faces - neutral).reshape(len(faces), -1)
    covariance = compute_covariance(faces, np.ones(len(faces)))
    identity = compute_principal_columns(mirror_covariance(covariance, mirror, MIRROR_SIGNS), IDENTITY_DIM)

    scale = compute_unit_scale(neutral)
    neutral = neutral * scale
    center = np.append(neutral[:, :2].mean(0) * [0, 1], neutral[:, 2].mean())
    expression = np.concatenate([named, residual_columns], 2) * scale
    add_unscored_columns(expression, neutral - center)
    return {"mean": neutral - center, "identity_basis": identity * scale, "expression_basis": expression}


def _build_expression(clips: Observations, mean: np.ndarray, mirror: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the named columns 478×3×52 and the principal components of their residual 478×3×12."""
    displacement, scores, weight = compute_movement(clips, mean)
    named = fit_named_columns(displacement, scores, weight, mean)
    named = symmetrize_columns(named, mirror, pair_blendshapes())
    residual = displacement - apply_columns(named, scores)
    residual[:, topology.IRIS] = 0.0  # gaze has its own coefficients
    covariance = compute_covariance(residual.reshape(len(residual), -1), weight)
    covariance = mirror_covariance(covariance, mirror, MIRROR_SIGNS)
    return named, compute_principal_columns(covariance, EXPRESSION_DIM - NAMED_COUNT)


def compute_movement(clips: Observations, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the movement within clips, without the linear and quadratic effect of head rotation.

    Args:
        clips: Frames of clips.
        mean: 478×3 mean face with an RMS radius of 1.

    Returns:
        Displacements N×478×3 in the unit of the mean, deviations of scores N×52, and weights N that give every clip
        the same influence.
    """
    aligned, _ = align_faces(clips.points, mean, compute_stable_weights(mean))
    _, row, count = np.unique(clips.subject, return_inverse=True, return_counts=True)
    weight = 1.0 / count[row]
    angles = compute_head_angles(clips.rotation)
    terms = np.concatenate([angles, angles**2, angles[:, :1] * angles[:, 1:]], 1)
    nuisance = center_within(terms, clips.subject)
    displacement = project_out(center_within(aligned, clips.subject), nuisance, weight)
    return displacement, project_out(center_within(clips.scores, clips.subject), nuisance, weight), weight


def fit_named_columns(displacement: np.ndarray, scores: np.ndarray, weight: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Fit the 52 named columns by ridge regression of displacements on scores.

    Brow and eye scores explain the upper face, jaw and mouth scores the lower one; a left eye's scores explain the left
    side, a right eye's the right side. Smooth masks blend the parts. So scores that happen to correlate do not share
    their parts of the face: one eye closes alone. Brows and lips do move both sides.

    Args:
        displacement: N×478×3.
        scores: N×52 deviations of scores.
        weight: N sample weights.
        mean: 478×3 mean face with an RMS radius of 1.

    Returns:
        478×3×52 columns; those of unscored blendshapes are 0.
    """
    upper, left = make_upper_face_mask(mean), make_left_face_mask(mean)
    is_upper = np.array([name.startswith(("brow", "eye")) for name in BLENDSHAPES])
    side = np.array([get_blendshape_side(name) if name.startswith("eye") else "" for name in BLENDSHAPES])
    is_scored = ~np.isin(BLENDSHAPES, UNSCORED_BLENDSHAPES)
    flat = displacement.reshape(len(displacement), -1)
    columns = np.zeros((NAMED_COUNT, flat.shape[1]))
    parts = (
        (is_upper & (side != "Right"), upper * left),
        (is_upper & (side != "Left"), upper * (1 - left)),
        (~is_upper, 1 - upper),
    )
    for names, mask in parts:
        index = np.flatnonzero(names & is_scored)
        columns[index] += solve_ridge(scores[:, index], flat, weight, NAMED_RIDGE) * np.repeat(mask, 3)
    return columns.T.reshape(-1, 3, NAMED_COUNT)


def compute_neutral_faces(stills: Observations, mean: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Align stills and remove the expression that their scores predict.

    Irises move with their eye and look straight ahead.

    Args:
        stills: Faces of images.
        mean: 478×3 mean face with an RMS radius of 1.
        named: 478×3×52 columns in the unit of the mean.

    Returns:
        N×478×3.
    """
    aligned, _ = align_faces(stills.points, mean, compute_stable_weights(mean))
    # Head rotation leaks into the depth of the landmarks.
    faces = remove_dependence(aligned - apply_columns(named, stills.scores), compute_head_angles(stills.rotation))
    average = faces.mean(0)
    for ring, iris in ((topology.LEFT_EYE, topology.LEFT_IRIS), (topology.RIGHT_EYE, topology.RIGHT_IRIS)):
        faces[:, iris] = average[iris] + (faces[:, ring] - average[ring]).mean(1, keepdims=True)
    return faces


def make_upper_face_mask(mean: np.ndarray) -> np.ndarray:
    """Return 1 where brow and eye scores move the face and 0 where jaw and mouth scores do, V.

    The transition is smooth between the nose tip and the lower lids.
    """
    low, high = mean[topology.NOSE_TIP, 1], mean[topology.EYES, 1].min()
    return smoothstep((mean[:, 1] - low) / (high - low))


def make_left_face_mask(mean: np.ndarray) -> np.ndarray:
    """Return 1 on the subject's left and 0 on the right, smooth across the width of the nose, V."""
    return smoothstep(0.5 + mean[:, 0] / (2 * abs(mean[NOSTRIL, 0])))


def compute_unit_scale(neutral: np.ndarray) -> float:
    """Return the factor that gives a face in the crop, without head motion, the template's eye distance."""
    right, left = topology.five_points(neutral)[:2]
    distance, height = left[0] - right[0], (left[2] + right[2]) / 2 - neutral[:, 2].mean()
    target = TEMPLATE_EYE_DISTANCE / FOCAL_PER_SIZE
    # distance·s / (camera − height·s) = target
    return target * CAMERA_DISTANCE / (distance + target * height)


def add_unscored_columns(basis: np.ndarray, mean: np.ndarray) -> None:
    """Add hand-made columns for the blendshapes that the landmark model never scores.

    Args:
        basis: 478×3×64 expression columns, changed in place.
        mean: 478×3 mean face in model units.
    """

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
