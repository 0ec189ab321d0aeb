"""A portrait prepared for animation: its face as a surface, its eyes and mouth separated into layers."""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.engines.mesh.contact import (
    CLOSED_LID_SHARE,
    MAX_LID_OPENNESS,
    measure_lid_gap,
    measure_lid_openness,
)
from mimaface_cli.engines.mesh.eyes import SIDES, EyeLayers, build_eye_layers, locate_eyeballs, project_eye_anchors
from mimaface_cli.engines.mesh.mouth import MouthLayers, build_mouth_layers, project_mouth_anchors
from mimaface_cli.engines.mesh.surface import FineFace, SurroundingSheet, build_fine_face, build_surrounding_sheet
from mimaface_cli.face import camera
from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.rotation import rotation_matrix

_RELIABLE_OPENNESS = 0.35  # openness from which an eye shows how far it can open
_NEARLY_CLOSED = 0.12  # openness below which lids count as touching, although their landmarks are apart
_CHEEKS = np.array([50, 280, 101, 330, 117, 346, 205, 425])
_SPARE_SHARE = 0.1  # of the moving region's size: a head may lean out over what stays

LidCurve = tuple[np.ndarray, np.ndarray]  # openness (K,), ascending, and the lids' distance at each (K,), model units
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class PreparedPortrait:
    """Everything about a portrait that does not change from frame to frame.

    Attributes:
        portrait: The portrait it was prepared from.
        head: (478, 3) the photo's face in the head's frame; projects exactly onto the landmarks.
        lid_curves: For the left and right eye, how far the lids are apart at each openness.
        fine: The subdivided face.
        sheet: The surroundings of the face.
        texture: (V, 2) image pixels of the surface's vertices: fine face, then sheet.
        triangles: (T, 3) int32 indices of those vertices.
        moving_box: The part of the image that can change.
        identity_map: (h, w, 2) float32, for each pixel of `moving_box` its own position in the image.
        eyes: Layers of the eyes by side.
        mouth: Layers of the mouth.
    """

    portrait: Portrait
    head: np.ndarray
    lid_curves: list[LidCurve]
    fine: FineFace
    sheet: SurroundingSheet
    texture: np.ndarray
    triangles: np.ndarray
    moving_box: Box
    identity_map: np.ndarray
    eyes: dict[str, EyeLayers]
    mouth: MouthLayers

    def to_image(self, crop_pixels: np.ndarray) -> np.ndarray:
        """Convert crop pixels (..., 2) to image pixels."""
        return crop_to_image(self.portrait, crop_pixels)

    def lid_heights(self, openness: np.ndarray) -> np.ndarray:
        """Look up how far the left and right lids are apart.

        Args:
            openness: (2,) 0 closed, 1 open.

        Returns:
            (2,) heights in model units.
        """
        pairs = zip(openness, self.lid_curves, strict=True)
        return np.array([np.interp(value, *curve) for value, curve in pairs])


def crop_to_image(portrait: Portrait, crop_pixels: np.ndarray) -> np.ndarray:
    """Convert pixels (..., 2) of a portrait's 256 crop to pixels of its image."""
    return (crop_pixels - portrait.to_crop[:, 2]) / portrait.to_crop[0, 0]


def prepare_portrait(portrait: Portrait, model: Face478) -> PreparedPortrait:
    """Prepare a portrait for animation.

    Args:
        portrait: The portrait.
        model: The face model of its coefficients.
    """
    pose = portrait.pose
    height, width = portrait.image.shape[:2]
    placed = _place_landmarks(portrait, model)
    head = (placed - pose[3:]) @ rotation_matrix(pose[:3])
    fine = build_fine_face(model.face.tobytes())
    fine_placed = fine.matrix @ placed
    fine_crop = camera.project(fine_placed)[0]
    frame = transform_points(portrait.to_crop, np.array([[0.0, 0.0], [width, height]])).ravel()
    oval = fine.rings["oval"]
    sheet = build_surrounding_sheet(fine_crop[oval], fine_placed[oval], pose, frame)
    texture = crop_to_image(portrait, np.concatenate([fine_crop, sheet.texture]))
    # The rest of the sheet never moves.
    moving = sheet.triangles[(sheet.weight + sheet.stretch)[sheet.triangles].max(1) > 0] + len(fine_crop)
    triangles = np.concatenate([fine.triangles, triangulate_openings(fine), moving])
    box = _moving_box(texture[np.unique(moving)], width, height)
    left, top, right, bottom = box

    rest = model.shape(portrait.identity, np.zeros_like(portrait.expression))
    image_rings = {name: crop_to_image(portrait, fine_crop[ring]) for name, ring in fine.rings.items()}
    return PreparedPortrait(
        portrait=portrait,
        head=head,
        lid_curves=_fit_lid_curves(portrait, model, head, rest),
        fine=fine,
        sheet=sheet,
        texture=texture,
        triangles=triangles.astype(np.int32),
        moving_box=box,
        identity_map=np.mgrid[top:bottom, left:right][::-1].transpose(1, 2, 0).astype(np.float32),
        eyes=_build_eyes(portrait, head, image_rings),
        mouth=build_mouth_layers(
            portrait.image,
            image_rings["mouth"],
            head,
            rest,
            lambda anchor: crop_to_image(portrait, project_mouth_anchors(anchor, pose)),
            _estimate_skin_color(portrait),
        ),
    )


def _place_landmarks(portrait: Portrait, model: Face478) -> np.ndarray:
    """Landmarks (478, 3) in camera space: their pixels from the photo, their depth from the fitted model."""
    pose = portrait.pose
    shape = model.shape(portrait.identity, portrait.expression)
    depth = camera.CAMERA_DISTANCE - (shape @ rotation_matrix(pose[:3]).T + pose[3:])[:, 2]
    return camera.unproject(transform_points(portrait.to_crop, portrait.points), depth)


def _moving_box(vertices: np.ndarray, width: int, height: int) -> Box:
    """The part of a width×height image that vertices (V, 2) can reach."""
    spare = _SPARE_SHARE * (vertices.max(0) - vertices.min(0))
    low = np.clip(np.floor(vertices.min(0) - spare).astype(int), 0, [width, height])
    high = np.clip(np.ceil(vertices.max(0) + spare).astype(int), 0, [width, height])
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _fit_lid_curves(portrait: Portrait, model: Face478, head: np.ndarray, rest: np.ndarray) -> list[LidCurve]:
    """The lid curves of both eyes; head: the photo's face, rest: the model's resting face."""
    photo_gaps, rest_gaps = (np.array([measure_lid_gap(face, side) for side in SIDES]) for face in (head, rest))
    openness = measure_lid_openness(model, portrait.identity, portrait.expression[None])[0]
    pairs = zip(openness, photo_gaps, rest_gaps * (1 - CLOSED_LID_SHARE), strict=True)
    return [fit_lid_curve(*eye) for eye in pairs]


def fit_lid_curve(openness: float, height: float, usual_height: float) -> LidCurve:
    """Fit how far the lids are apart at each openness.

    Narrow eyes do not show how far they can open: they open to the model's height.

    Args:
        openness: Openness of the eye in the photo.
        height: Distance of its lids in the photo, model units.
        usual_height: Distance of the model's open lids.
    """
    reliability = min(openness / _RELIABLE_OPENNESS, 1.0)
    full = reliability * height / max(openness, _RELIABLE_OPENNESS) + (1 - reliability) * usual_height
    knot = float(np.clip(openness, 1e-3, 1 - 1e-3))
    knot_height = knot * full if reliability == 1 else min(height * min(knot / _NEARLY_CLOSED, 1.0), full)
    return np.array([0, knot, 1, MAX_LID_OPENNESS]), np.array([0, knot_height, full, MAX_LID_OPENNESS * full])


def _build_eyes(portrait: Portrait, head: np.ndarray, image_rings: dict[str, np.ndarray]) -> dict[str, EyeLayers]:
    balls = locate_eyeballs(head)
    eyes = {}
    for k, side in enumerate(SIDES):
        anchors = crop_to_image(portrait, project_eye_anchors(balls[side], portrait.pose))
        gaze = portrait.gaze[2 * k : 2 * k + 2]
        ring = image_rings[side + "_eye"]
        eyes[side] = build_eye_layers(portrait.image, ring, portrait.points, balls[side], anchors, gaze, side)
    return eyes


def _estimate_skin_color(portrait: Portrait) -> np.ndarray:
    """Median color (3,) of the cheeks."""
    height, width = portrait.image.shape[:2]
    cheeks = np.clip(portrait.points[_CHEEKS].astype(int), 0, [width - 1, height - 1])
    return np.median(portrait.image[cheeks[:, 1], cheeks[:, 0]].astype(float), axis=0)


def triangulate_openings(fine: FineFace) -> np.ndarray:
    """Triangulate the openings of eyes and mouth, so that the surface has no holes under what is rendered there.

    Returns:
        (T, 3) int32 vertex indices.
    """
    corners = []
    for name in ("left_eye", "right_eye", "mouth"):
        ring = fine.rings[name]
        half = len(ring) // 2
        lower, upper = ring[: half + 1], np.append(ring[half:], ring[0])[::-1]
        for i in range(half):
            corners += [(lower[i], lower[i + 1], upper[i + 1]), (lower[i], upper[i + 1], upper[i])]
    return np.array([triangle for triangle in corners if len(set(triangle)) == 3], np.int32)
