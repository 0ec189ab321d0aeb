"""Where a face is, as similarity transforms: five landmarks to the 256 crop, a square box to the 512 picture.

Points are (N, 2) in pixels (x, y). A transform is a (2, 3) float64 matrix that maps input pixels to output pixels,
`out = matrix[:, :2] @ point + matrix[:, 2]`, in OpenCV's convention (a pixel's center has integer coordinates).
"""

import numpy as np

from mimaface_cli.errors import InputError

# Eyes, nose tip, mouth corners of the mean face in the 256 crop that the released coefficient network was trained on.
FACE_TEMPLATE_256 = np.array(
    [
        [92.58920288085938, 103.3926010131836],
        [163.0635986328125, 103.00279998779297],
        [128.05039978027344, 143.47320556640625],
        [99.09860229492188, 184.7310028076172],
        [157.4597930908203, 184.408203125],
    ]
)
# The face in that crop: center and half the side of the square around it (medians over portraits). A detector's box
# would do as well, but this one is there for every track, whoever made it.
FACE_CENTER_256, FACE_HALF_256 = np.array([128.0, 139.0]), 95.0
# Where the square around the face lies in the 512 picture; corners in the order of `square_box`.
BOX_TEMPLATE_512 = np.array([[80.0, 80.0], [80.0, 432.0], [432.0, 432.0], [432.0, 80.0]])


def fit_similarity(points: np.ndarray, template: np.ndarray = FACE_TEMPLATE_256) -> np.ndarray:
    """The least-squares similarity [[a, -b, tx], [b, a, ty]] that maps points (N, 2) to template (N, 2).

    Raises InputError when the points are not finite or all the same.
    """
    source, target = _pair(points, template)
    source_mean, target_mean = source.mean(0), target.mean(0)
    x, y = (source - source_mean).T
    u, v = (target - target_mean).T
    spread = x @ x + y @ y
    a, b = (x @ u + y @ v) / spread, (x @ v - y @ u) / spread
    linear = np.array([[a, -b], [b, a]])
    return np.column_stack([linear, target_mean - linear @ source_mean])


def box_similarity(corners: np.ndarray, target: np.ndarray = BOX_TEMPLATE_512) -> np.ndarray:
    """The similarity between two quadrilaterals (N, 2) whose scale is the ratio of their spreads, as released.

    It equals `fit_similarity` for true squares; for others that one would shrink the scale by the misfit.
    The rotation comes from an SVD without a reflection guard. Raises InputError like `fit_similarity`.
    """
    source, target = _pair(corners, target)
    source_mean, target_mean = source.mean(0), target.mean(0)
    source, target = source - source_mean, target - target_mean
    source_spread, target_spread = source.std(), target.std()
    u, _, vt = np.linalg.svd((source / source_spread).T @ (target / target_spread))
    linear = target_spread / source_spread * (u @ vt).T
    return np.column_stack([linear, target_mean - linear @ source_mean])


def square_box(points: np.ndarray) -> np.ndarray:
    """The square about the points' bounding box, its side the longer one.

    Corners (4, 2) in the order (x1, y1), (x1, y2), (x2, y2), (x2, y1).
    """
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    center, half = (low + high) / 2, (high - low).max() / 2
    (x1, y1), (x2, y2) = center - half, center + half
    return np.array([[x1, y1], [x1, y2], [x2, y2], [x2, y1]])


def face_square(crop: np.ndarray) -> np.ndarray:
    """The upright square around a face in a picture, corners (4, 2) as of `square_box`, from its (2, 3) 256-crop
    matrix.
    """
    back = invert(crop)
    half = FACE_HALF_256 * float(np.sqrt(np.abs(np.linalg.det(back[:, :2]))))
    center = transform_points(back, FACE_CENTER_256[None])
    return square_box(np.concatenate([center - half, center + half]))


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The (..., 2, 3) transform that applies `inner` first, then `outer`."""
    linear = outer[..., :2] @ inner[..., :2]
    return np.concatenate([linear, outer[..., :2] @ inner[..., 2:] + outer[..., 2:]], -1)


def to_corner_origin(matrix: np.ndarray) -> np.ndarray:
    """A (..., 2, 3) transform for points whose pixel centers lie at i + 0.5, as in tracks and landmarks."""
    return _shifted(matrix, 0.5)


def to_center_origin(matrix: np.ndarray) -> np.ndarray:
    """The inverse of `to_corner_origin`: for points whose pixel centers are integers, as in warps."""
    return _shifted(matrix, -0.5)


def _shifted(matrix: np.ndarray, by: float) -> np.ndarray:
    matrix = np.array(matrix, np.float64)
    matrix[..., 2] += by - matrix[..., :2] @ np.array([by, by])
    return matrix


def invert(matrix: np.ndarray) -> np.ndarray:
    """The (2, 3) transform that undoes `matrix`. Raises InputError when it flattens the plane."""
    (a, b, x), (c, d, y) = np.asarray(matrix, np.float64)
    determinant = a * d - b * c
    if not abs(determinant) > 0:
        raise InputError("face alignment: the transform has no inverse; check the face detection")
    linear = np.array([[d, -b], [-c, a]]) / determinant
    return np.column_stack([linear, -linear @ (x, y)])


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points (…, 2) by a (2, 3) transform."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def _pair(points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points, target = np.asarray(points, np.float64), np.asarray(target, np.float64)
    if points.shape != target.shape or points.ndim != 2 or points.shape[1] != 2:
        raise InputError(f"face alignment needs points like {target.shape}, got {points.shape}")
    if not np.isfinite(points).all() or np.ptp(points, axis=0).max() == 0:
        raise InputError("face alignment: the landmarks are not finite or all in one place; check the face detection")
    return points, target
