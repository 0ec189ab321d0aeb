"""The layer of an occluder: a hand, a microphone or another object, which stays where it is in the photo."""

from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.engines.mesh.occluded_face import complete_occluded_face
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.face_outline import draw_face_hull
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM

_LEAST_ALPHA = 0.08  # opacity from which the color of the occluder is known
_CLOTH = 0.25  # share of the jaw's movement that a covered mouth shows
_MOUTH_PARTS = ("mouth", "jaw", "cheekPuff", "tongue")


def _covered_mouth_shares() -> np.ndarray:
    shares = np.ones(EXPRESSION_DIM)
    shares[len(BLENDSHAPES) :] = 0  # the other columns move mouth and cheeks as well
    for index, name in enumerate(BLENDSHAPES):
        if name.startswith(_MOUTH_PARTS):
            shares[index] = _CLOTH if name == "jawOpen" else 0
    return shares


COVERED_MOUTH_SHARES = _covered_mouth_shares()  # (64,) shares of the expression that a covered mouth follows


@dataclass(frozen=True)
class FrontLayer:
    """The topmost layer of a frame.

    Attributes:
        box: Rows and columns of the frame.
        colors: (h, w, 3) float32, multiplied by alpha.
        alpha: (h, w, 1) float32, 0 to 1.
    """

    box: tuple[slice, slice]
    colors: np.ndarray
    alpha: np.ndarray

    def overlay(self, frame: np.ndarray) -> None:
        """Lay the layer over a frame (H, W, 3) or (H, W, 4) uint8, in place; colors not multiplied by alpha."""
        region = frame[self.box]
        under = region[..., :3].astype(np.float32)
        if frame.shape[2] == 3:
            colors: np.ndarray = self.colors + (1 - self.alpha) * under
        else:
            under_alpha = region[..., 3:].astype(np.float32) / 255
            total = self.alpha + (1 - self.alpha) * under_alpha
            colors = (self.colors + (1 - self.alpha) * under_alpha * under) / np.maximum(total, 1e-6)
            region[..., 3:] = np.clip(total * 255 + 0.5, 0, 255)
        region[..., :3] = np.clip(colors + 0.5, 0, 255)


def build_front_layer(occluder: np.ndarray | None) -> FrontLayer | None:
    """Build the front layer from the occluder (H, W, 4) uint8 RGBA of a photo; None where there is none."""
    if occluder is None:
        return None
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(occluder[..., 3]))
    if not width:
        return None
    box = slice(top, top + height), slice(left, left + width)
    alpha = occluder[box][..., 3:].astype(np.float32) / 255
    return FrontLayer(box, occluder[box][..., :3] * alpha, alpha)


@dataclass(frozen=True)
class LiftedOccluder:
    """An occluder, and the photo without it.

    Attributes:
        completed: (H, W, 3) uint8, the photo with the face completed.
        occluder: (H, W, 4) uint8 RGBA; over `completed` it gives the photo.
        beside: (H, W) float32, opacity of the occluder beside the face.
    """

    completed: np.ndarray
    occluder: np.ndarray
    beside: np.ndarray


def lift_occluder(portrait: Portrait, model: Face478, alpha: np.ndarray, *, is_fast: bool = False) -> LiftedOccluder:
    """Remove the occluder of a face from a photo.

    Args:
        portrait: The photo.
        model: The face model of its coefficients.
        alpha: (H, W) float32 opacity of the occluder.
        is_fast: Whether to complete the face without texture.
    """
    image = portrait.image
    completed = complete_occluded_face(portrait, model, alpha, is_fast=is_fast)
    beside = alpha * ~draw_face_hull(portrait.points, image.shape[:2])
    return LiftedOccluder(completed, _lift(image, completed, alpha), beside)


def _lift(image: np.ndarray, completed: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the occluder (H, W, 4) uint8: over the completed photo, it gives the photo."""
    opacity = np.where(alpha < _LEAST_ALPHA, 0, alpha)[..., None]
    under = completed.astype(np.float32)
    colors = under + (image - under) / np.maximum(opacity, _LEAST_ALPHA)
    levels = np.clip(np.rint(np.concatenate([colors, opacity * 255], 2)), 0, 255)
    return levels.astype(np.uint8)
