"""The embedded renderer: a photo on its fitted face model, posed by a track, with hidden surfaces removed.

It needs no weights but face478 and runs on a CPU. It never sees the driver's pixels, only its track.
"""

import os
from collections.abc import Generator, Iterable

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
from mimaface_cli.face.sampling import sample_image
from mimaface_cli.motion.rotation import rotation_matrix

NAME = "mesh"
_MAX_THREADS = 8

Job = tuple[PreparedPortrait | Portrait, Face478, MeshMotion, int]  # the last: index of the frame


def render_photo(portrait: Portrait, model: Face478, motion: MeshMotion) -> Generator[np.ndarray, None, None]:
    """Render a photo under a planned motion.

    Args:
        portrait: The photo.
        model: The face model.
        motion: The motion, N frames.

    Yields:
        N frames (H, W, 3) uint8, (H, W, 4) for a photo with alpha.
    """
    prepared = prepare_portrait(portrait, model)
    yield from _render_in_order((prepared, model, motion, k) for k in range(len(motion)))


def render_video(
    portraits: Iterable[Portrait], model: Face478, motion: MeshMotion
) -> Generator[np.ndarray, None, None]:
    """Render a source that is a video: one portrait for each frame of the motion, consumed one by one.

    Args:
        portraits: The source's frames; at least as many as the motion has.
        model: The face model.
        motion: The motion, N frames.

    Yields:
        N frames (H, W, 3) uint8, (H, W, 4) with alpha.
    """
    pairs = zip(range(len(motion)), portraits, strict=False)  # the source may be longer
    yield from _render_in_order((portrait, model, motion, k) for k, portrait in pairs)


def _render_in_order(jobs: Iterable[Job]) -> Generator[np.ndarray, None, None]:
    """Render frames on all cores, in order, never more than a few ahead of the consumer."""
    workers = min(_MAX_THREADS, os.cpu_count() or 1)
    return ordered_map(lambda job: _render_job(*job), jobs, workers)


def _render_job(source: PreparedPortrait | Portrait, model: Face478, motion: MeshMotion, k: int) -> np.ndarray:
    prepared = prepare_portrait(source, model) if isinstance(source, Portrait) else source
    frames = motion.coefficients
    return render_frame(prepared, model, frames.expression[k], frames.pose[k], frames.gaze[k], motion.lids[k])


def render_frame(
    prepared: PreparedPortrait,
    model: Face478,
    expression: np.ndarray,
    pose: np.ndarray,
    gaze: np.ndarray,
    lids: np.ndarray,
) -> np.ndarray:
    """Render one frame.

    Args:
        prepared: The prepared portrait.
        model: The face model.
        expression: (64,) expression coefficients.
        pose: (6,) rotation (radians) and translation (model units).
        gaze: (4,) yaw and pitch of the left and right eye, radians.
        lids: (2,) openness of the left and right eye: 0 closed, 1 open.

    Returns:
        (H, W, 3) uint8, (H, W, 4) with alpha.
    """
    portrait = prepared.portrait
    head = prepared.head + model.expression_basis @ (expression - portrait.expression)
    head = separate_lips(match_lids(head, model, prepared.lid_heights(lids)))
    xy, depth = project_surface(prepared, head @ rotation_matrix(pose[:3]).T + pose[3:], pose)
    left, top, right, bottom = prepared.moving_box
    corner = np.array([left, top])
    index, weights, _ = rasterize(xy - corner, depth, prepared.triangles, right - left, bottom - top)
    photo_map = interpolate(
        index, weights, prepared.triangles, prepared.texture - 0.5, background=prepared.identity_map
    )
    warped = sample_image(portrait.image, photo_map, cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101)
    soften_silhouettes(warped, photo_map)
    canvas = warped.astype(np.float32)

    def to_canvas(crop_pixels: np.ndarray) -> np.ndarray:
        return prepared.to_image(crop_pixels) - corner

    for k, side in enumerate(SIDES):
        eye = prepared.eyes[side]
        shift = _iris_shift(prepared, side, gaze[2 * k : 2 * k + 2])
        ring = xy[prepared.fine.rings[side + "_eye"]] - corner
        render_eye(canvas, photo_map, eye, ring, to_canvas(project_eye_anchors(eye.ball, pose)), shift)
    render_mouth(canvas, prepared.mouth, xy[prepared.fine.rings["mouth"]] - corner, head, pose, to_canvas)

    frame = portrait.image.copy()
    frame[top:bottom, left:right] = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    if portrait.alpha is None:
        return frame
    alpha = portrait.alpha.copy()
    alpha[top:bottom, left:right] = sample_image(alpha, photo_map, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    return np.dstack([frame, alpha])


def _iris_shift(prepared: PreparedPortrait, side: str, gaze: np.ndarray) -> np.ndarray:
    """Movement (2,) of an iris since the photo, in image pixels with the head as in the photo."""
    eye, pose = prepared.eyes[side], prepared.portrait.pose
    target, start = (project_iris_center(eye.ball, pose, angles) for angles in (gaze, eye.gaze))
    return prepared.to_image(target) - prepared.to_image(start)


def project_surface(prepared: PreparedPortrait, placed: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project the surface's vertices for one frame.

    Args:
        prepared: The prepared portrait.
        placed: (478, 3) face in camera space.
        pose: (6,) pose of the head.

    Returns:
        Image pixels (V, 2), and distances (V,) from the camera.
    """
    fine = prepared.fine.matrix @ placed
    sheet = prepared.sheet
    rigid = sheet.head @ rotation_matrix(pose[:3]).T + pose[3:]
    oval = fine[prepared.fine.rings["oval"]]
    rim = (1 - sheet.share)[:, None] * oval[sheet.rim[:, 0]] + sheet.share[:, None] * oval[sheet.rim[:, 1]]
    offset = rim - rigid.reshape(len(SHEET_RINGS), SHEET_ANGLES, 3)[FACE_RIM]
    stretched = rigid + sheet.stretch[:, None] * np.tile(offset, (len(SHEET_RINGS), 1))
    xy, depth = camera.project(np.concatenate([fine, stretched]))
    tail = slice(len(fine), None)
    xy[tail] = sheet.texture + sheet.weight[:, None] * (xy[tail] - sheet.texture)
    return prepared.to_image(xy), np.maximum(depth, 0.5)


def soften_silhouettes(canvas: np.ndarray, photo_map: np.ndarray, jump: float = 3.0) -> None:
    """Smooth the steps along edges at which one surface hides another, in place.

    Args:
        canvas: (H, W, 3) uint8.
        photo_map: (H, W, 2) float32, the photo's pixel at each pixel of the canvas; it jumps only at such edges.
        jump: Pixels of the photo between neighbors that count as a jump.
    """
    edge = np.zeros(canvas.shape[:2], np.uint8)
    if not mark_jumps(photo_map, jump, edge):
        return
    left, top, width, height = cv2.boundingRect(edge)
    box = np.s_[top : top + height, left : left + width]
    cv2.copyTo(cv2.GaussianBlur(canvas[box], (5, 5), 0.9), edge[box], canvas[box])
