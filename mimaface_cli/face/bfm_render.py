"""The face picture that conditions the released models: PyTorch3D's conventions on the shared rasterizer."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mimaface_cli.face.bfm import Bfm09, Camera, Face
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.motion.track import MotionTrack


@dataclass(frozen=True)
class Render:
    """rgb (H, W, 3) float32 in 0..255, 0 outside the face; mask (H, W) bool; triangle per pixel (-1: none); depth."""

    rgb: np.ndarray
    mask: np.ndarray
    face_index: np.ndarray
    depth: np.ndarray


def render(model: Bfm09, face: Face, camera: Camera = Camera()) -> Render:
    """Draw a posed face with its vertex colors as they are, both sides of every triangle, no smoothing at the rim."""
    pixels, depth = camera.project(face.vertices)
    face_index, weights, zbuffer = rasterize(pixels, depth, model.triangles, camera.size, camera.size)
    rgb = interpolate(face_index, weights, model.triangles, face.colors).clip(0, 255)
    return Render(rgb, face_index >= 0, face_index, zbuffer)


def render_track(model: Bfm09, track: MotionTrack) -> Iterator[np.ndarray]:
    """The face of each frame of a bfm09 track in its 256 crop, 256×256×3 uint8 RGB on black."""
    for k in range(len(track)):
        groups = {"identity": track.identity, "texture": track.texture, "expression": track.expression[k]}
        groups |= {"illumination": track.illumination[k], "angles": track.pose[k, :3], "translation": track.pose[k, 3:]}
        yield (render(model, model.face(groups)).rgb + 0.5).astype(np.uint8)
