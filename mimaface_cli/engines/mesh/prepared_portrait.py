"""A photo made ready for animation: its face as a surface, its eyes and mouth taken apart."""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.engines.mesh.contact import CLOSED_LID_SHARE, MAX_LID_OPENNESS, measure_lid_gap, measure_lid_openness
from mimaface_cli.engines.mesh.eyes import SIDES, EyeLayers, build_eye_layers, locate_eyeballs, project_eye_anchors
from mimaface_cli.engines.mesh.mouth import MouthLayers, build_mouth_layers, project_mouth_anchors
from mimaface_cli.engines.mesh.surface import FineFace, SurroundingSheet, build_fine_face, build_surrounding_sheet
from mimaface_cli.face import camera
from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.rotation import rotation_matrix

_TELLING = 0.35  # openness from which an eye tells how far it can open
_NEARLY_SHUT = 0.12  # openness below which lids are taken to meet: landmarks stand apart all the same
_CHEEKS = np.array([50, 280, 101, 330, 117, 346, 205, 425])


@dataclass(frozen=True)
class PreparedPortrait:
    """portrait: what it was made from; head: 478×3, the seen face in the head's own frame (its landmarks met exactly);
    lids: for the left and right eye, openings (K, ascending) and how high the lids stand apart at each (K, model units);
    texture: V×2 picture pixels of the surface (fine face, then sheet); triangles: T×3 over them; roi: left, top, right,
    bottom of what can change; still: h×w×2, each of its pixels' own place in the photo.
    """

    portrait: Portrait
    head: np.ndarray
    lids: list[tuple[np.ndarray, np.ndarray]]
    fine: FineFace
    sheet: SurroundingSheet
    texture: np.ndarray
    triangles: np.ndarray
    roi: tuple[int, int, int, int]
    still: np.ndarray
    eyes: dict[str, EyeLayers]
    mouth: MouthLayers

    def to_picture(self, crop_pixels: np.ndarray) -> np.ndarray:
        """Crop pixels …×2 to picture pixels."""
        return (crop_pixels - self.portrait.to_crop[:, 2]) / self.portrait.to_crop[0, 0]

    def lid_heights(self, openness: np.ndarray) -> np.ndarray:
        """How high the left and right lids stand apart (2, model units) at an openness (2: 0 shut, 1 open)."""
        return np.array([np.interp(one, *lid) for one, lid in zip(openness, self.lids)])


def prepare_portrait(portrait: Portrait, model: Face478) -> PreparedPortrait:
    """Everything about a portrait that does not change from frame to frame."""
    image, landmarks, to_crop = portrait.image, portrait.points, portrait.to_crop
    identity, expression, pose, gaze = portrait.identity, portrait.expression, portrait.pose, portrait.gaze
    height, width = image.shape[:2]
    shape = model.shape(identity, expression)
    turn = rotation_matrix(pose[:3])
    depth = camera.CAMERA_DISTANCE - (shape @ turn.T + pose[3:])[:, 2]
    placed = camera.unproject(transform_points(to_crop, landmarks), depth)
    head = (placed - pose[3:]) @ turn
    fine = build_fine_face(model.face.tobytes())
    fine_placed = fine.matrix @ placed
    fine_crop = camera.project(fine_placed)[0]
    frame = transform_points(to_crop, np.array([[0.0, 0.0], [width, height]])).ravel()
    oval = fine.rings["oval"]
    sheet = build_surrounding_sheet(fine_crop[oval], fine_placed[oval], pose, frame)
    to_picture = lambda pixels: (pixels - to_crop[:, 2]) / to_crop[0, 0]  # noqa: E731
    texture = to_picture(np.concatenate([fine_crop, sheet.texture]))
    around = sheet.triangles[(sheet.weight + sheet.stretch)[sheet.triangles].max(1) > 0]  # the rest never moves
    moving = texture[np.unique(around) + len(fine_crop)]
    spare = 0.1 * (moving.max(0) - moving.min(0))  # a head may lean out over what stays
    low = np.clip(np.floor(moving.min(0) - spare).astype(int), 0, [width, height])
    high = np.clip(np.ceil(moving.max(0) + spare).astype(int), 0, [width, height])

    rest = model.shape(identity, np.zeros_like(expression))
    seen, usual = (np.array([measure_lid_gap(face, side) for side in SIDES]) for face in (head, rest))
    openness = measure_lid_openness(model, identity, expression[None])[0]
    lids = [fit_lid_curve(*eye) for eye in zip(openness, seen, usual * (1 - CLOSED_LID_SHARE))]

    balls = locate_eyeballs(head)
    eyes = {}
    for k, side in enumerate(SIDES):
        ring = to_picture(fine_crop[fine.rings[side + "_eye"]])
        anchor = to_picture(project_eye_anchors(balls[side], pose))
        eyes[side] = build_eye_layers(image, ring, landmarks, balls[side], anchor, gaze[2 * k : 2 * k + 2], side)
    ring = to_picture(fine_crop[fine.rings["mouth"]])
    cheeks = np.clip(landmarks[_CHEEKS].astype(int), 0, [width - 1, height - 1])
    skin = np.median(image[cheeks[:, 1], cheeks[:, 0]].astype(float), axis=0)
    mouth = build_mouth_layers(image, ring, head, rest, lambda a: to_picture(project_mouth_anchors(a, pose)), skin)
    triangles = np.concatenate([fine.triangles, triangulate_openings(fine), around + len(fine_crop)])
    return PreparedPortrait(
        portrait,
        head,
        lids,
        fine,
        sheet,
        texture,
        triangles.astype(np.int32),
        (int(low[0]), int(low[1]), int(high[0]), int(high[1])),
        np.mgrid[low[1] : high[1], low[0] : high[0]][::-1].transpose(1, 2, 0).astype(np.float32),
        eyes,
        mouth,
    )


def fit_lid_curve(own: float, seen: float, usual: float) -> tuple[np.ndarray, np.ndarray]:
    """Openings and how high lids stand apart at each. own, seen: the photo's openness and height, which go together;
    usual: the height of the model's open eye, to which narrow eyes open: they do not tell how far they could.
    """
    told = min(own / _TELLING, 1.0)
    full = told * seen / max(own, _TELLING) + (1 - told) * usual
    own = float(np.clip(own, 1e-3, 1 - 1e-3))
    seen = own * full if told == 1 else min(seen * min(own / _NEARLY_SHUT, 1.0), full)
    return np.array([0, own, 1, MAX_LID_OPENNESS]), np.array([0, seen, full, MAX_LID_OPENNESS * full])


def triangulate_openings(fine: FineFace) -> np.ndarray:
    """Triangles over the fine rims of eyes and mouth, so that the surface has no holes under what is painted there."""
    corners = []
    for name in ("left_eye", "right_eye", "mouth"):
        ring = fine.rings[name]
        half = len(ring) // 2
        lower, upper = ring[: half + 1], np.append(ring[half:], ring[0])[::-1]
        for i in range(half):
            corners += [(lower[i], lower[i + 1], upper[i + 1]), (lower[i], upper[i + 1], upper[i])]
    return np.array([tri for tri in corners if len(set(tri)) == 3], np.int32)
