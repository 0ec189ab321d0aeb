"""Outlines in an image that follow from the landmarks of a face: its axes, its hull, a head and shoulders around it."""

import cv2
import numpy as np

from mimaface_cli.face import topology


def face_axes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the center of a face, its upward direction in the image, and its height.

    Args:
        points: (478, 2) landmarks in pixels.

    Returns:
        Center (2,), unit vector (2,) from the chin to the forehead, and the height from chin to hair line in pixels.
        The height does not shrink when the head nods: the face is at least 0.9 times as high as it is wide.
    """
    top, chin = points[topology.OVAL[0]].astype(np.float64), points[topology.CHIN].astype(np.float64)
    length = float(np.linalg.norm(top - chin))
    up = (top - chin) / length if length > 1e-6 else np.array([0.0, -1.0])
    across = points[topology.OVAL] @ np.array([-up[1], up[0]])
    height = max(length, 0.9 * float(np.ptp(across)), 1.0)
    return (top + chin) / 2, up, height


def draw_face_hull(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a (H, W) bool mask of the convex hull of a face's landmarks."""
    mask = np.zeros(shape, np.uint8)
    hull = cv2.convexHull(np.round(points - 0.5).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, (1,))
    return mask.astype(bool)


def draw_skull(points: np.ndarray, shape: tuple[int, int], growth: float = 0.0) -> np.ndarray:
    """Return a (H, W) bool mask of an ellipse around head and hair, with the face's hull.

    Args:
        points: (478, 2) landmarks in pixels.
        shape: Height and width of the mask.
        growth: Enlargement of the ellipse, in heights of the face.
    """
    center, up, height = face_axes(points)
    angle = float(np.degrees(np.arctan2(up[0], -up[1])))
    middle = center + 0.14 * height * up - 0.5
    axes = 2 * (0.56 + growth) * height, 2 * (0.72 + growth) * height
    mask = draw_face_hull(points, shape).astype(np.uint8)
    cv2.ellipse(mask, (tuple(map(float, middle)), tuple(map(float, axes)), angle), (1,), -1)
    return mask.astype(bool)


def draw_head(points: np.ndarray, shape: tuple[int, int], growth: float = 0.0) -> np.ndarray:
    """Return a (H, W) bool mask of a head with hair, a neck and shoulders around a face.

    Args:
        points: (478, 2) landmarks in pixels.
        shape: Height and width of the mask.
        growth: Enlargement of the outline, in heights of the face.
    """
    center, up, height = face_axes(points)
    right = np.array([-up[1], up[0]])
    mask = draw_skull(points, shape, growth).astype(np.uint8)
    # (sideways, upward) corners in heights of the face: neck, shoulders, and the body to below the image.
    corners = np.array([(0.3, -0.2), (0.34, -0.62), (1.05, -0.95), (1.25, -1.5), (1.25, -20.0)])
    corners += growth
    left_side = center + height * (corners * [-1, 1]) @ np.stack([right, up])
    right_side = center + height * corners @ np.stack([right, up])
    body = np.concatenate([left_side, right_side[::-1]])
    cv2.fillPoly(mask, [np.round(body - 0.5).astype(np.int32)], (1,))
    return mask.astype(bool)
