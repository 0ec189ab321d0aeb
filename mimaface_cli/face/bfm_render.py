"""The face picture that conditions the released models: PyTorch3D's conventions on the shared rasteriser."""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.face.bfm import Bfm09, Camera, Face
from mimaface_cli.face.raster import interpolate, rasterize


@dataclass(frozen=True)
class Render:
    """rgb (H, W, 3) float32 in 0..255, 0 outside the face; mask (H, W) bool; triangle per pixel (-1: none); depth."""

    rgb: np.ndarray
    mask: np.ndarray
    face_index: np.ndarray
    depth: np.ndarray


def render(model: Bfm09, face: Face, camera: Camera = Camera()) -> Render:
    """Draw a posed face with its vertex colours as they are, both sides of every triangle, no smoothing at the rim."""
    pixels, depth = camera.project(face.vertices)
    face_index, weights, zbuffer = rasterize(pixels, depth, model.triangles, camera.size, camera.size)
    rgb = interpolate(face_index, weights, model.triangles, face.colors).clip(0, 255)
    return Render(rgb, face_index >= 0, face_index, zbuffer)
