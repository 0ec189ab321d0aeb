"""The paper's rendered image over face478 for a real photo, in its 512 square: what the coefficients alone show."""

from collections.abc import Callable

import cv2
import numpy as np

from mimaface_cli.builders.rendered_people.scene import draw_plain
from mimaface_cli.face import alignment as align
from mimaface_cli.face import shading
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.face.skin_color import fit_illumination, fit_texture, sample_colors
from mimaface_cli.motion.coefficients import EXPRESSION_DIM
from mimaface_cli.motion.rotation import rotation_matrix

CROP = 256  # pixels of the aligned crop, in which pose counts


def render_of(square: Portrait, model: Face478) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function of expression (64) and pose (6) that gives the render (512, 512, 3) uint8, black around: identity,
    texture and light are those of the photo, a portrait's square.
    """
    normals = shading.vertex_normals(model.shape(square.identity, np.zeros(EXPRESSION_DIM)), model.triangles)
    turn = rotation_matrix(square.pose[:3])
    colors = sample_colors(square.image, square.points)
    texture = fit_texture(model, colors[None], normals, turn[None])
    light = fit_illumination(model.albedo(texture), normals @ turn.T, colors)
    place = align.to_center_origin(align.invert(square.to_crop))

    def draw(expression: np.ndarray, pose: np.ndarray) -> np.ndarray:
        drawn = draw_plain(model, square.identity, texture, light, expression, pose, CROP)
        return cv2.warpAffine(drawn, place, (SQUARE, SQUARE), flags=cv2.INTER_LINEAR)

    return draw
