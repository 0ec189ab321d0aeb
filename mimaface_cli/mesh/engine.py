"""The embedded engine: a photo laid on its fitted model, posed by a track, drawn with hidden surfaces removed.

It needs no weights but face478 and runs on a CPU. It never sees the driver's pixels, only its track.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from mimaface_cli.face import camera
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.raster import interpolate, rasterize
from mimaface_cli.mesh.contact import match_lids, part_lips
from mimaface_cli.mesh.eyes import SIDES, anchors, draw_eye, iris_place
from mimaface_cli.mesh.mouth import draw_mouth
from mimaface_cli.mesh.source import Source
from mimaface_cli.mesh.surface import ANGLES, RIM, RINGS
from mimaface_cli.motion.rotation import rotation_matrix

NAME = "mesh"


def draw(source: Source, model: Face478, expression: np.ndarray, pose: np.ndarray, gaze: np.ndarray, lids: np.ndarray) -> np.ndarray:
    """One frame H×W×3 uint8: the source under expression 64, pose 6, gaze 4 and lids (openness of the left and right
    eye, 0 shut, 1 open)."""
    head = source.head + model.expression_basis @ (expression - source.expression)
    head = part_lips(match_lids(head, model, lids * source.lids))
    placed = head @ rotation_matrix(pose[:3]).T + pose[3:]
    xy, depth = place_surface(source, placed, pose)
    left, top, right, bottom = source.roi
    corner = np.array([left, top])
    index, weights, _ = rasterize(xy - corner, depth, source.triangles, right - left, bottom - top)
    where = interpolate(index, weights, source.triangles, source.texture - 0.5, background=-1.0)
    canvas = cv2.remap(source.image, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101).astype(np.float32)

    to_canvas = lambda pixels: source.to_picture(pixels) - corner  # noqa: E731
    for k, side in enumerate(SIDES):
        eye = source.eyes[side]
        look = gaze[2 * k : 2 * k + 2]
        shift = source.to_picture(iris_place(eye.ball, source.pose, look)) - source.to_picture(
            iris_place(eye.ball, source.pose, eye.gaze)
        )
        ring = xy[source.fine.rings[side + "_eye"]] - corner
        draw_eye(canvas, eye, ring, to_canvas(anchors(eye.ball, pose)), shift)
    draw_mouth(canvas, source.mouth, xy[source.fine.rings["mouth"]] - corner, head, pose, to_canvas)

    frame = source.image.copy()
    frame[top:bottom, left:right] = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return frame


def place_surface(source: Source, placed: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the surface's vertices lie now: picture pixels V×2 and distance from the camera V. placed: 478×3."""
    fine = source.fine.matrix @ placed
    sheet = source.sheet
    rigid = sheet.head @ rotation_matrix(pose[:3]).T + pose[3:]
    oval = fine[source.fine.rings["oval"]]
    rim = (1 - sheet.share)[:, None] * oval[sheet.rim[:, 0]] + sheet.share[:, None] * oval[sheet.rim[:, 1]]
    offset = rim - rigid.reshape(len(RINGS), ANGLES, 3)[RIM]
    around = rigid + sheet.stretch[:, None] * np.tile(offset, (len(RINGS), 1))
    xy, depth = camera.project(np.concatenate([fine, around]))
    tail = slice(len(fine), None)
    xy[tail] = sheet.texture + sheet.weight[:, None] * (xy[tail] - sheet.texture)
    return source.to_picture(xy), np.maximum(depth, 0.5)
