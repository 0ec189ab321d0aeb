"""Similarity transforms that align a face: five landmarks to the 256 crop, a square box to the 512 image.

Points are (N, 2) pixels (x, y). A transform is a (2, 3) float64 matrix that maps input pixels to output pixels,
`output = matrix[:, :2] @ point + matrix[:, 2]`, in OpenCV's convention: a pixel's center has integer coordinates.
"""

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.face import camera

# Eyes, nose tip and mouth corners of the mean face in the 256 crop that the released coefficient network was trained
# on.
FACE_TEMPLATE_256 = np.array(
    [
        [92.58920288085938, 103.3926010131836],
        [163.0635986328125, 103.00279998779297],
        [128.05039978027344, 143.47320556640625],
        [99.09860229492188, 184.7310028076172],
        [157.4597930908203, 184.408203125],
    ]
)
# The face in that crop: center and half the side of the square around it (medians over portraits). They replace a
# detector's box, which not every track has.
FACE_CENTER_256, FACE_HALF_256 = np.array([128.0, 139.0]), 95.0
_CROP_SPREAD = 0.2217  # RMS distance of the landmarks from their mean in the 256 crop, relative to its side
# The square around the face in the 512 image, corners in the order of `square_box`.
BOX_TEMPLATE_512 = np.array([[80.0, 80.0], [80.0, 432.0], [432.0, 432.0], [432.0, 80.0]])


def fit_similarity(points: np.ndarray, template: np.ndarray = FACE_TEMPLATE_256) -> np.ndarray:
    """Fit the least-squares similarity [[a, -b, tx], [b, a, ty]].

    Args:
        points: (N, 2) pixels.
        template: (N, 2) targets of the points.

    Returns:
        (2, 3) transform.

    Raises:
        InputError: When the points are not finite or all identical.
    """
    source, target = _validate_pair(points, template)
    source_mean, target_mean = source.mean(0), target.mean(0)
    x, y = (source - source_mean).T
    u, v = (target - target_mean).T
    spread = x @ x + y @ y
    a = (x @ u + y @ v) / spread
    b = (x @ v - y @ u) / spread
    linear = np.array([[a, -b], [b, a]])
    return np.column_stack([linear, target_mean - linear @ source_mean])


def box_similarity(corners: np.ndarray, template: np.ndarray = BOX_TEMPLATE_512) -> np.ndarray:
    """Fit the similarity between two quadrilaterals; its scale is the ratio of their spreads.

    For true squares it equals `fit_similarity`. For other quadrilaterals `fit_similarity` would reduce the scale by the
    misfit. The rotation comes from an SVD without a reflection guard.

    Args:
        corners: (N, 2) pixels.
        template: (N, 2) targets of the corners.

    Returns:
        (2, 3) transform.

    Raises:
        InputError: When the corners are not finite or all identical.

    Source: the released code.
    """
    source, target = _validate_pair(corners, template)
    source_mean, target_mean = source.mean(0), target.mean(0)
    source, target = source - source_mean, target - target_mean
    source_spread, target_spread = source.std(), target.std()
    u, _, vt = np.linalg.svd((source / source_spread).T @ (target / target_spread))
    linear = target_spread / source_spread * (u @ vt).T
    return np.column_stack([linear, target_mean - linear @ source_mean])


def square_box(points: np.ndarray) -> np.ndarray:
    """Return the square around the bounding box of points; its side is the longer side of the box.

    Args:
        points: (N, 2) pixels.

    Returns:
        Corners (4, 2) in the order (x1, y1), (x1, y2), (x2, y2), (x2, y1).
    """
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    center, half = (low + high) / 2, (high - low).max() / 2
    (x1, y1), (x2, y2) = center - half, center + half
    return np.array([[x1, y1], [x1, y2], [x2, y2], [x2, y1]])


def face_square(crop: np.ndarray) -> np.ndarray:
    """Return the upright square around a face in the input image.

    Args:
        crop: (2, 3) transform of the input to the 256 crop.

    Returns:
        Corners (4, 2) in the order of `square_box`.
    """
    to_input = invert(crop)
    half = FACE_HALF_256 * float(np.sqrt(np.abs(np.linalg.det(to_input[:, :2]))))
    center = transform_points(to_input, FACE_CENTER_256[None])
    return square_box(np.concatenate([center - half, center + half]))


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return the (..., 2, 3) transform that applies `inner` first, then `outer`."""
    linear = outer[..., :2] @ inner[..., :2]
    return np.concatenate([linear, outer[..., :2] @ inner[..., 2:] + outer[..., 2:]], -1)


def to_corner_origin(matrix: np.ndarray) -> np.ndarray:
    """Convert a (..., 2, 3) transform to pixel centers at i + 0.5, as in tracks and landmarks."""
    return _shift_origin(matrix, 0.5)


def to_center_origin(matrix: np.ndarray) -> np.ndarray:
    """Convert a (..., 2, 3) transform to pixel centers at integers, as in warps; inverts `to_corner_origin`."""
    return _shift_origin(matrix, -0.5)


def _shift_origin(matrix: np.ndarray, offset: float) -> np.ndarray:
    matrix = np.array(matrix, np.float64)
    matrix[..., 2] += offset - matrix[..., :2] @ np.array([offset, offset])
    return matrix


def invert(matrix: np.ndarray) -> np.ndarray:
    """Invert a (2, 3) transform.

    Raises:
        InputError: When the transform maps the plane to a line or a point.
    """
    (a, b, x), (c, d, y) = np.asarray(matrix, np.float64)
    determinant = a * d - b * c
    if not abs(determinant) > 0:
        raise InputError("Face alignment: the transform has no inverse. Check the face detection.")
    linear = np.array([[d, -b], [-c, a]]) / determinant
    return np.column_stack([linear, -linear @ (x, y)])


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a (2, 3) transform to points (..., 2)."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def _validate_pair(points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points, target = np.asarray(points, np.float64), np.asarray(target, np.float64)
    if points.shape != target.shape or points.ndim != 2 or points.shape[1] != 2:
        raise InputError(
            f"Face alignment: {target.shape} points are needed, not {points.shape}. Check the face detection."
        )
    if not np.isfinite(points).all() or np.ptp(points, axis=0).max() == 0:
        raise InputError("Face alignment: the landmarks are not finite or all in one place. Check the face detection.")
    return points, target


def upright_crop(points: np.ndarray) -> np.ndarray:
    """Compute the crop of a shot: one scale and translation, without rotation.

    The neutral face fills the 256 crop as in the release's template. The crop is constant, so the pose alone describes
    how the head moves, rolls and approaches.

    Args:
        points: (K, 478, 2) landmarks of the shot's frames.

    Returns:
        (2, 3) transform of the frames to the crop.
    """
    centered = points - points.mean(1, keepdims=True)
    spread = float(np.median(np.sqrt((centered**2).sum(-1).mean(1))))
    scale = _CROP_SPREAD * camera.CROP_SIZE / max(spread, 1e-3)
    center = np.median(points.mean(1), axis=0)
    half = camera.CROP_SIZE / 2
    return np.array([[scale, 0, half - scale * center[0]], [0, scale, half - scale * center[1]]])
