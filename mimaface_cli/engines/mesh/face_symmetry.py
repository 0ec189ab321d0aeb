"""Completion of a face: texture that the photo does not show is taken from the mirrored half.

A half-profile hides one cheek, and a frontal photo shows both sides of the face at a grazing angle. Where the mirrored
vertex is more visible, the texture is taken from there, in the color and light of its new place.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mimaface_cli.engines.mesh.fine_face import build_fine_face
from mimaface_cli.engines.mesh.vertex_smoothing import smooth_over_mesh
from mimaface_cli.face import camera
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.rasterizer import rasterize
from mimaface_cli.face.sampling import sample_image
from mimaface_cli.face.shading import vertex_normals
from mimaface_cli.motion.easing import smoothstep

_WELL_VISIBLE = 0.5  # cosine between normal and view from which a vertex needs no completion
_MIN_ADVANTAGE, _FULL_ADVANTAGE = 0.08, 0.3  # of the mirrored vertex's cosine
_OCCLUSION_DEPTH = 0.04  # model units; a vertex that lies deeper behind the surface is hidden
_MAX_LOG_GAIN = 0.6  # of the color ratio between both halves
_SMOOTHING_STEPS = 60
_COLOR_BLUR = 0.03  # of the face's width; colors are compared at this scale


@dataclass(frozen=True)
class FaceCompletion:
    """Second texture of the fine face's V vertices.

    Attributes:
        texture: (V, 2) image pixels of the mirrored vertices.
        share: (V,) share of the second texture, 0 to 1.
        gain: (V, 3) factor on the second texture's colors.
    """

    texture: np.ndarray
    share: np.ndarray
    gain: np.ndarray


@lru_cache(maxsize=2)
def _find_mirrored(mean: bytes, triangles: bytes) -> np.ndarray:
    points = build_fine_face(triangles).matrix @ np.frombuffer(mean).reshape(-1, 3)
    mirrored = points * np.array([-1.0, 1.0, 1.0])
    # The nearest points have the smallest |p|² - 2 p·q. A search tree of SciPy would take longer to import.
    return ((points**2).sum(1) - 2 * mirrored @ points.T).argmin(1)


def find_mirrored_vertices(model: Face478) -> np.ndarray:
    """Return for each vertex (F,) of the fine face the index of its mirror image."""
    return _find_mirrored(np.asarray(model.mean, np.float64).tobytes(), model.face.tobytes())


def measure_visibility(placed: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Measure how well the camera sees each vertex of a face.

    Args:
        placed: (V, 3) vertices in camera space.
        triangles: (T, 3) vertex indices.

    Returns:
        (V,) cosine between normal and view, 0 for a vertex that is turned away or hidden.
    """
    normals = vertex_normals(placed, triangles)
    view = np.array([0.0, 0.0, camera.CAMERA_DISTANCE]) - placed
    cosine = (normals * view).sum(1) / np.linalg.norm(view, axis=1)
    cosine *= np.sign(np.median(cosine))  # the model's triangles may have either orientation
    pixels, depth = camera.project(placed)
    size = camera.CROP_SIZE
    nearest = rasterize(pixels, depth, triangles, size, size)[2]
    columns, rows = np.clip(pixels.astype(int), 0, size - 1).T
    is_hidden = depth > nearest[rows, columns] + _OCCLUSION_DEPTH
    return np.where(is_hidden, 0.0, np.clip(cosine, 0, 1))


def complete_face(
    image: np.ndarray, texture: np.ndarray, visibility: np.ndarray, mirrored: np.ndarray, triangles: np.ndarray
) -> FaceCompletion:
    """Choose where the other half of the face provides the texture.

    Args:
        image: (H, W, 3) uint8 photo.
        texture: (V, 2) image pixels of the vertices.
        visibility: (V,) see `measure_visibility`.
        mirrored: (V,) index of each vertex's mirror image.
        triangles: (T, 3) vertex indices.
    """
    advantage = visibility[mirrored] - visibility
    share = smoothstep((advantage - _MIN_ADVANTAGE) / (_FULL_ADVANTAGE - _MIN_ADVANTAGE))
    share = share * smoothstep((_WELL_VISIBLE - visibility) / 0.25)
    blur = cv2.GaussianBlur(image, (0, 0), max(1.0, _COLOR_BLUR * float(np.ptp(texture[:, 0]))))
    colors = sample_image(blur, (texture - 0.5).astype(np.float32)[None], border=cv2.BORDER_REPLICATE)[0]
    log_colors = np.log(colors.astype(float) + 8)
    ratio = np.clip(log_colors - log_colors[mirrored], -_MAX_LOG_GAIN, _MAX_LOG_GAIN)
    is_known = (np.minimum(visibility, visibility[mirrored]) > 0.3) & (share < 0.5)
    gain = np.exp(smooth_over_mesh(ratio, triangles, _SMOOTHING_STEPS, is_known))
    return FaceCompletion(texture[mirrored], share, gain)
