"""The embedded engine: a photo laid on its fitted model, posed by a track, drawn with hidden surfaces removed.

It needs no weights but face478 and runs on a CPU. It never sees the driver's pixels, only its track.
"""

import os
from collections.abc import Generator, Iterable, Iterator

import cv2
import numpy as np

from mimaface_cli.concurrency import ordered_map
from mimaface_cli.engines.mesh.contact import match_lids, separate_lips
from mimaface_cli.engines.mesh.eyes import SIDES, project_eye_anchors, project_iris_center, render_eye
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.mouth import render_mouth
from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait, prepare_portrait
from mimaface_cli.engines.mesh.surface import FACE_RIM, SHEET_ANGLES, SHEET_RINGS
from mimaface_cli.face import camera
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.face.rasterizer import interpolate, mark_jumps, rasterize
from mimaface_cli.motion.rotation import rotation_matrix

NAME = "mesh"


def render_photo(portrait: Portrait, model: Face478, motion: MeshMotion) -> Iterator[np.ndarray]:
    """The frames of a photo under a planned motion: H×W×3 uint8, H×W×4 where the photo has alpha."""
    source = prepare_portrait(portrait, model)
    yield from _in_order((source, model, motion, k) for k in range(len(motion)))


def render_video(portraits: Iterable[Portrait], model: Face478, motion: MeshMotion) -> Iterator[np.ndarray]:
    """The same for a source that moves itself: one portrait for each frame of the motion, taken as they come."""
    yield from _in_order((portrait, model, motion, k) for k, portrait in zip(range(len(motion)), portraits))


def _in_order(
    jobs: Iterable[tuple[PreparedPortrait | Portrait, Face478, MeshMotion, int]],
) -> Generator[np.ndarray, None, None]:
    """Render frames on all cores, in order and at most a few ahead of the consumer."""
    return ordered_map(lambda job: _draw_job(*job), jobs, workers=min(8, os.cpu_count() or 1))


def _draw_job(source: PreparedPortrait | Portrait, model: Face478, motion: MeshMotion, k: int) -> np.ndarray:
    if isinstance(source, Portrait):
        source = prepare_portrait(source, model)
    moved = motion.coefficients
    return render_frame(source, model, moved.expression[k], moved.pose[k], moved.gaze[k], motion.lids[k])


def render_frame(
    source: PreparedPortrait,
    model: Face478,
    expression: np.ndarray,
    pose: np.ndarray,
    gaze: np.ndarray,
    lids: np.ndarray,
) -> np.ndarray:
    """One frame H×W×3 (×4 with alpha) uint8: the source under expression 64, pose 6, gaze 4 and lids (openness of the left and right
    eye, 0 shut, 1 open).
    """
    head = source.head + model.expression_basis @ (expression - source.portrait.expression)
    head = separate_lips(match_lids(head, model, source.lid_heights(lids)))
    placed = head @ rotation_matrix(pose[:3]).T + pose[3:]
    xy, depth = project_surface(source, placed, pose)
    left, top, right, bottom = source.roi
    corner = np.array([left, top])
    index, weights, _ = rasterize(xy - corner, depth, source.triangles, right - left, bottom - top)
    where = interpolate(index, weights, source.triangles, source.texture - 0.5, background=source.still)
    canvas = cv2.remap(source.portrait.image, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    soften_silhouettes(canvas, where)
    canvas = canvas.astype(np.float32)

    to_canvas = lambda pixels: source.to_picture(pixels) - corner  # noqa: E731
    rest = source.portrait.pose
    for k, side in enumerate(SIDES):
        eye = source.eyes[side]
        look = gaze[2 * k : 2 * k + 2]
        shift = source.to_picture(project_iris_center(eye.ball, rest, look)) - source.to_picture(
            project_iris_center(eye.ball, rest, eye.gaze)
        )
        ring = xy[source.fine.rings[side + "_eye"]] - corner
        render_eye(canvas, where, eye, ring, to_canvas(project_eye_anchors(eye.ball, pose)), shift)
    render_mouth(canvas, source.mouth, xy[source.fine.rings["mouth"]] - corner, head, pose, to_canvas)

    frame = source.portrait.image.copy()
    frame[top:bottom, left:right] = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    if source.portrait.alpha is None:
        return frame
    alpha = source.portrait.alpha.copy()
    alpha[top:bottom, left:right] = cv2.remap(alpha, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.dstack([frame, alpha])


def project_surface(source: PreparedPortrait, placed: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the surface's vertices lie now: picture pixels V×2 and distance from the camera V. placed: 478×3."""
    fine = source.fine.matrix @ placed
    sheet = source.sheet
    rigid = sheet.head @ rotation_matrix(pose[:3]).T + pose[3:]
    oval = fine[source.fine.rings["oval"]]
    rim = (1 - sheet.share)[:, None] * oval[sheet.rim[:, 0]] + sheet.share[:, None] * oval[sheet.rim[:, 1]]
    offset = rim - rigid.reshape(len(SHEET_RINGS), SHEET_ANGLES, 3)[FACE_RIM]
    around = rigid + sheet.stretch[:, None] * np.tile(offset, (len(SHEET_RINGS), 1))
    xy, depth = camera.project(np.concatenate([fine, around]))
    tail = slice(len(fine), None)
    xy[tail] = sheet.texture + sheet.weight[:, None] * (xy[tail] - sheet.texture)
    return source.to_picture(xy), np.maximum(depth, 0.5)


def soften_silhouettes(canvas: np.ndarray, where: np.ndarray, jump: float = 3.0) -> None:
    """Smooth the steps along edges at which one surface hides another. where: H×W×2, the photo's pixel at each pixel of
    the canvas (H×W×3 uint8): it jumps there and nowhere else.
    """
    edge = np.zeros(canvas.shape[:2], np.uint8)
    if not mark_jumps(where, jump, edge):
        return
    left, top, width, height = cv2.boundingRect(edge)
    box = np.s_[top : top + height, left : left + width]
    cv2.copyTo(cv2.GaussianBlur(canvas[box], (5, 5), 0.9), edge[box], canvas[box])
