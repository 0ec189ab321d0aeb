"""Smooth skin for the parts of a face that the photo shows at a grazing angle."""

from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.engines.mesh.image_patch import blur_widely
from mimaface_cli.engines.mesh.vertex_smoothing import smooth_over_mesh
from mimaface_cli.face import camera
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.face.sampling import sample_image
from mimaface_cli.motion.easing import smoothstep

_BLUR = 0.012  # of the face's width: deviation of the blur
# Cosines between normal and view: from the first on, a vertex shows skin if its color fits that of the inner face, and
# from the second on it belongs to the inner face.
_RIM, _INNER = 0.5, 0.75
_FEATURE_CONTRAST, _RIM_CONTRAST = 22.0, 26.0  # gray levels by which brows, lips and eyes, and hair at the rim differ
_STEPS = 80
_EXTENSION = 0.015  # of the face's width by which the skin continues beyond the rim
# Factors on the size of skin since the photo from which, and up to which, smooth skin replaces it; the same for what
# is no skin.
_SKIN_STRETCH, _OTHER_STRETCH = (2.0, 4.0), (1.4, 2.6)
_RIM_SHARE = 0.4  # of the skin in the color at the rim: hair starts softly


@dataclass(frozen=True)
class SmoothSkin:
    """What replaces stretched parts of a face.

    Attributes:
        image: (H, W, 3) uint8, the photo, smoothed; at the rim of the face the skin of the inner face.
        is_other: (F,) 0 to 1, whether a vertex at the rim shows something else than skin.
    """

    image: np.ndarray
    is_other: np.ndarray

    def measure_share(self, stretch: np.ndarray) -> np.ndarray:
        """Return the opacity (F,) of the smooth skin for factors (F,) on the size of the skin since the photo."""
        start, end = (a + self.is_other * (b - a) for a, b in zip(_SKIN_STRETCH, _OTHER_STRETCH, strict=True))
        return np.clip((stretch - start) / (end - start), 0, 1)


def paint_smooth_skin(
    image: np.ndarray, texture: np.ndarray, visibility: np.ndarray, triangles: np.ndarray, rim: np.ndarray
) -> SmoothSkin:
    """Smooth an image, and continue the skin of the inner face to the rim of the face.

    What the photo shows at the rim is often hair, an ear or a scarf: stretched, it would become a blot on the cheek.

    Args:
        image: (H, W, 3) uint8 photo.
        texture: (F, 2) image pixels of the face's vertices.
        visibility: (F,) see `face_symmetry.measure_visibility`.
        triangles: (T, 3) vertex indices.
        rim: Indices of the vertices at the rim of the face.
    """
    width = float(np.ptp(texture[:, 0]))
    smooth = blur_widely(image, max(1.0, _BLUR * width))
    colors = sample_image(smooth, (texture - 0.5).astype(np.float32)[None], border=cv2.BORDER_REPLICATE)[0]
    colors = colors.astype(np.float64)
    inner = visibility > _INNER
    if not inner.any():
        return SmoothSkin(smooth, np.zeros(len(texture)))
    inner &= np.abs(colors - smooth_over_mesh(colors, triangles, _STEPS)).max(1) < _FEATURE_CONTRAST
    base = smooth_over_mesh(colors, triangles, _STEPS, inner)
    is_skin = inner | ((visibility > _RIM) & (np.abs(colors - base).max(1) < _RIM_CONTRAST))
    skin = smooth_over_mesh(colors, triangles, _STEPS, is_skin)
    share = np.where(is_skin, 0.0, 1.0)
    share[rim] *= _RIM_SHARE
    # Of triangles that overlap, the better visible one counts.
    index, weights, _ = rasterize(texture, camera.CAMERA_DISTANCE - visibility, triangles, *image.shape[1::-1])
    painted = interpolate(index, weights, triangles, np.column_stack([skin, share]))
    painted = _extend(painted, index >= 0, max(1.0, _EXTENSION * width))
    colors_at_rim = smooth + painted[..., 3:] * (painted[..., :3] - smooth)
    contrast = np.abs(colors - skin).max(1)
    is_other = smoothstep((contrast - _RIM_CONTRAST) / _RIM_CONTRAST) * smoothstep((_INNER - visibility) / 0.15)
    return SmoothSkin(np.clip(colors_at_rim + 0.5, 0, 255).astype(np.uint8), is_other)


def _extend(values: np.ndarray, is_known: np.ndarray, deviation: float) -> np.ndarray:
    """Continue values (H, W, C) a little beyond the pixels where they are known; further away they are 0."""
    weight = is_known.astype(np.float32)
    blurred = blur_widely(np.dstack([values * weight[..., None], weight]), deviation)
    extended = blurred[..., :-1] / np.maximum(blurred[..., -1:], 1e-3)
    return np.where(is_known[..., None], values, extended)
