"""Smooth skin for the parts of a face that the photo shows at a grazing angle.

The photo has a few pixels for them only. Their colors are therefore kept by vertex, and drawn into an image of the face
unrolled like a cylinder.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.engines.mesh.image_patch import blur_widely
from mimaface_cli.engines.mesh.vertex_smoothing import smooth_over_mesh
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.face.sampling import sample_image
from mimaface_cli.motion.easing import smoothstep

_BLUR = 0.012  # of the face's width: deviation of the blur
# Cosines between normal and view: from the first on, a vertex shows skin if its color fits that of the inner face, and
# from the second on it belongs to the inner face.
_RIM, _INNER = 0.5, 0.75
_FEATURE_CONTRAST, _RIM_CONTRAST = 22.0, 26.0  # gray levels by which brows, lips and eyes, and hair at the rim differ
_STEPS = 80
_SIDE, _EXTENSION = 128, 3.0  # pixels of the unrolled face; by which its colors continue beyond the rim
_AXIS_DEPTH = 0.9  # model units from the front of the face to the axis of the cylinder
# Range of the factor by which the photo is stretched over which smooth skin replaces it: for skin, and for all else.
_SKIN_STRETCH, _OTHER_STRETCH = (2.0, 4.0), (1.4, 2.6)
_RIM_SHARE = 0.4  # of the skin in the color at the rim: hair starts softly


@dataclass(frozen=True)
class SmoothSkin:
    """What replaces stretched parts of a face.

    Attributes:
        image: (S, S, 3) uint8, the face unrolled, smoothed; at its rim is the skin of the inner face.
        texture: (F, 2) pixels of the vertices in that image.
        is_other: (F,) 0 to 1, whether a vertex at the rim shows something else than skin.
    """

    image: np.ndarray
    texture: np.ndarray
    is_other: np.ndarray

    def measure_share(self, stretch: np.ndarray) -> np.ndarray:
        """Return the opacity (F,) of the smooth skin for factors (F,) on the size of the skin since the photo."""
        start, end = (a + self.is_other * (b - a) for a, b in zip(_SKIN_STRETCH, _OTHER_STRETCH, strict=True))
        return np.clip((stretch - start) / (end - start), 0, 1)


def paint_smooth_skin(
    image: np.ndarray,
    texture: np.ndarray,
    visibility: np.ndarray,
    face: np.ndarray,
    triangles: np.ndarray,
    rim: np.ndarray,
) -> SmoothSkin:
    """Smooth the colors of a face, and continue the skin of the inner face to its rim.

    What the photo shows at the rim is often hair, an ear or a scarf: stretched, it would become a blot on the cheek.

    Args:
        image: (H, W, 3) uint8 photo.
        texture: (F, 2) image pixels of the face's vertices.
        visibility: (F,) see `face_symmetry.measure_visibility`.
        face: (F, 3) the vertices in the head's frame.
        triangles: (T, 3) vertex indices.
        rim: Indices of the vertices at the rim of the face.
    """
    blurred = blur_widely(image, max(1.0, _BLUR * float(np.ptp(texture[:, 0]))))
    colors = sample_image(blurred, (texture - 0.5).astype(np.float32)[None], border=cv2.BORDER_REPLICATE)[0]
    colors = colors.astype(np.float64)
    inner = visibility > _INNER
    inner &= np.abs(colors - smooth_over_mesh(colors, triangles, _STEPS)).max(1) < _FEATURE_CONTRAST
    places = _unroll(face)
    if not inner.any():
        return SmoothSkin(_draw(colors, places, triangles), places, np.zeros(len(texture)))
    base = smooth_over_mesh(colors, triangles, _STEPS, inner)
    is_skin = inner | ((visibility > _RIM) & (np.abs(colors - base).max(1) < _RIM_CONTRAST))
    skin = smooth_over_mesh(colors, triangles, _STEPS, is_skin)
    share = np.where(is_skin, 0.0, 1.0)
    share[rim] *= _RIM_SHARE
    contrast = np.abs(colors - skin).max(1)
    is_other = smoothstep((contrast - _RIM_CONTRAST) / _RIM_CONTRAST) * smoothstep((_INNER - visibility) / 0.15)
    return SmoothSkin(_draw(colors + share[:, None] * (skin - colors), places, triangles), places, is_other)


def _unroll(face: np.ndarray) -> np.ndarray:
    """Return the pixels (F, 2) of vertices (F, 3) in the unrolled face."""
    angle = np.arctan2(face[:, 0], face[:, 2] - face[:, 2].max() + _AXIS_DEPTH)
    places = np.stack([angle, -face[:, 1]], -1)
    low, high = places.min(0), places.max(0)
    margin = 2 * _EXTENSION
    return margin + (places - low) / (high - low) * (_SIDE - 2 * margin)


def _draw(colors: np.ndarray, places: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Draw the colors (F, 3) of vertices into the unrolled face, and continue them beyond its rim."""
    index, weights, _ = rasterize(places, np.ones(len(places)), triangles, _SIDE, _SIDE)
    drawn, is_known = interpolate(index, weights, triangles, colors), index >= 0
    weight = is_known.astype(np.float32)
    near = cv2.GaussianBlur(np.dstack([drawn * weight[..., None], weight]), (0, 0), _EXTENSION)
    drawn = np.where(is_known[..., None], drawn, near[..., :3] / np.maximum(near[..., 3:], 1e-3))
    return np.clip(drawn + 0.5, 0, 255).astype(np.uint8)
