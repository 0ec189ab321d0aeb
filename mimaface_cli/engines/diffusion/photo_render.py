"""Condition renders of a photo in face478, which show its coefficients only (paper, section 3.1)."""

from collections.abc import Callable

import cv2
import numpy as np

from mimaface_cli.face import shading
from mimaface_cli.face.alignment import invert, to_center_origin
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.head_mesh import render_coefficients
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.face.skin_color import fit_illumination, fit_texture, sample_colors
from mimaface_cli.motion.coefficients import EXPRESSION_DIM
from mimaface_cli.motion.rotation import rotation_matrix

CROP = 256  # pixels of the aligned crop, the camera of the pose coefficients


def photo_renderer(square: Portrait, model: Face478) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Fit texture and light to a photo and return a function that renders it.

    Args:
        square: The photo's 512×512 square.
        model: The face model.

    Returns:
        A function of expression (64,) and pose (6,) that returns the render, (512, 512, 3) uint8 on black, with the
        photo's identity, texture and light.
    """
    normals = shading.vertex_normals(model.shape(square.identity, np.zeros(EXPRESSION_DIM)), model.triangles)
    rotation = rotation_matrix(square.pose[:3])
    colors = sample_colors(square.image, square.points)
    texture = fit_texture(model, colors[None], normals, rotation[None])
    light = fit_illumination(model.albedo(texture), normals @ rotation.T, colors)
    to_square = to_center_origin(invert(square.to_crop))

    def render(expression: np.ndarray, pose: np.ndarray) -> np.ndarray:
        crop = render_coefficients(model, square.identity, texture, light, expression, pose, CROP)
        return cv2.warpAffine(crop, to_square, (SQUARE, SQUARE), flags=cv2.INTER_LINEAR)

    return render
