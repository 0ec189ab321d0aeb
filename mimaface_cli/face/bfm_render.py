"""Rendering of the Basel Face Model that conditions the released models, with PyTorch3D's conventions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mimaface_cli.face.bfm import CROP_CAMERA, Bfm09, Camera, PosedFace
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.motion.track import MotionTrack


@dataclass(frozen=True)
class Render:
    """A rendered face.

    Attributes:
        rgb: (H, W, 3) float32 in 0..255, 0 outside the face.
        mask: (H, W) bool, True on the face.
        face_index: (H, W) int32 triangle of each pixel, -1 outside the face.
        depth: (H, W) distance from the camera, inf outside the face.
    """

    rgb: np.ndarray
    mask: np.ndarray
    face_index: np.ndarray
    depth: np.ndarray


def render_face(model: Bfm09, face: PosedFace, camera: Camera = CROP_CAMERA) -> Render:
    """Render a posed face with its vertex colors; both sides of each triangle, without antialiasing.

    Args:
        model: The face model.
        face: The posed and lit face.
        camera: The camera.
    """
    pixels, depth = camera.project(face.vertices)
    face_index, weights, depth_map = rasterize(pixels, depth, model.triangles, camera.size, camera.size)
    rgb = interpolate(face_index, weights, model.triangles, face.colors).clip(0, 255)
    return Render(rgb, face_index >= 0, face_index, depth_map)


def render_track(model: Bfm09, track: MotionTrack) -> Iterator[np.ndarray]:
    """Render each frame of a track in its 256 crop.

    Args:
        model: The face model.
        track: A track in the bfm09 space.

    Yields:
        (256, 256, 3) uint8 RGB frames on black.
    """
    for index in range(len(track)):
        groups = {
            "identity": track.identity,
            "texture": track.texture,
            "expression": track.expression[index],
            "illumination": track.illumination[index],
            "angles": track.pose[index, :3],
            "translation": track.pose[index, 3:],
        }
        yield (render_face(model, model.face(groups)).rgb + 0.5).astype(np.uint8)
