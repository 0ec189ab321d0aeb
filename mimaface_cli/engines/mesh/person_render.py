"""Rendering of the moving person of one frame: front of head and neck, light, and the hidden parts of the head."""

from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.engines.mesh.blend_kernels import blend_texture, fade_alpha, multiply_colors, underlay_texture
from mimaface_cli.engines.mesh.eyes import SIDES, project_eye_anchors, render_eye
from mimaface_cli.engines.mesh.head_geometry import project_head
from mimaface_cli.engines.mesh.learned_eyelid import EyeFrame, correct_eyelid
from mimaface_cli.engines.mesh.learned_mouth import MouthFrame, correct_mouth
from mimaface_cli.engines.mesh.mouth import render_mouth
from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait
from mimaface_cli.engines.mesh.render_kernels import SILHOUETTE_JUMP, Box, Raster, blur_marked, sample_person
from mimaface_cli.face.rasterizer import mark_jumps, rasterize_surface
from mimaface_cli.motion.rotation import rotation_matrix

# Degrees of head rotation since the photo over which the hidden parts appear.
_HIDDEN_FROM, _HIDDEN_UNTIL = 1.0, 5.0
_AT_REST = 1.5  # pixels of movement of the head's surroundings up to which the photo's soft outline is exact
_SILHOUETTE_BLUR = cv2.getGaussianKernel(5, 0.9, cv2.CV_32F)[:, 0]
_EDGE_BLUR = cv2.getGaussianKernel(5, 1.0, cv2.CV_32F)[:, 0]  # of the hidden parts


@dataclass(frozen=True)
class PersonLayer:
    """The moving person in a part of a frame.

    Attributes:
        box: The part of the frame.
        colors: (h, w, 3) float32, not multiplied by alpha.
        alpha: (h, w, 1) float32, 0 to 1.
        rest_share: 1 while the head does not move, falling to 0 as it starts to move.
    """

    box: Box
    colors: np.ndarray
    alpha: np.ndarray
    rest_share: float


def render_person(
    prepared: PreparedPortrait,
    head: np.ndarray,
    pose: np.ndarray,
    gaze: np.ndarray,
    expression: np.ndarray | None = None,
) -> PersonLayer | None:
    """Render the moving person.

    Args:
        prepared: The prepared portrait.
        head: (478, 3) face of this frame in the head's frame.
        pose: (6,) rotation (radians) and translation (model units).
        gaze: (4,) yaw and pitch of the left and right eye, radians.
        expression: (64,) expression of this frame; without it, mouth and lids are painted alone.

    Returns:
        The person, or None where the frame does not show it.
    """
    geometry = prepared.geometry
    xy, depth = project_head(geometry, head @ rotation_matrix(pose[:3]).T + pose[3:], pose)
    xy = prepared.to_image(xy)
    box = _visible_box(prepared, xy)
    if box is None:
        return None
    left, top, right, bottom = box
    corner = np.array([left, top])
    size = right - left, bottom - top
    front = _rasterize(xy - corner, depth, geometry.front, size)
    colors, alpha, photo_map = _render_front(prepared, front, pose, xy - corner)

    def to_box(crop_pixels: np.ndarray) -> np.ndarray:
        return prepared.to_image(crop_pixels) - corner

    rings = {side: xy[geometry.fine.rings[f"{side}_eye"]] - corner for side in SIDES}
    for k, side in enumerate(SIDES):
        if not prepared.is_eye_covered(side):
            eye = prepared.eyes[side]
            anchors = to_box(project_eye_anchors(eye.ball, pose, gaze[2 * k : 2 * k + 2]))
            render_eye(colors, photo_map, eye, rings[side], anchors)
    lips = xy[geometry.fine.rings["mouth"]] - corner
    if not prepared.is_mouth_covered:
        render_mouth(colors, prepared.mouth, lips, head, pose, to_box)
    ratio = _light_colors(prepared, front, pose, colors, alpha)
    share = _hidden_share(prepared, pose)
    if share > 0 and prepared.is_fading.any():
        fading = _find_box(xy - corner, geometry.front[prepared.is_fading], alpha.shape)
        fade_alpha(front, prepared.opacity[:, 1].astype(np.float32), prepared.is_fading, share, alpha, fading)
    for triangles in geometry.hidden if share > 0 else ():
        # The coverage has to be known around each pixel that is not opaque.
        skip = cv2.erode((alpha >= 1).view(np.uint8), np.ones((5, 5), np.uint8)).view(np.bool_)
        hidden = _rasterize(xy - corner, depth, triangles, size, skip)
        _underlay_hidden(prepared, hidden, ratio, share, colors, alpha)
    if expression is not None:
        mouth = MouthFrame(head, expression, pose, lips, to_box)
        under = prepared.layers.background[top:bottom, left:right]
        _correct_parts(prepared, mouth, rings, colors, alpha[..., None], under)
    count = len(geometry.placed)
    movement = float(np.abs(xy[count:] - prepared.to_image(geometry.anchor[count:])).max())
    return PersonLayer(box, colors, alpha[..., None], float(np.clip(1 - movement / _AT_REST, 0, 1)))


def _correct_parts(
    prepared: PreparedPortrait,
    mouth: MouthFrame,
    rings: dict[str, np.ndarray],
    colors: np.ndarray,
    alpha: np.ndarray,
    under: np.ndarray,
) -> None:
    """Let the networks correct mouth and closing lids, in place; rings: rims (K, 2) of the lids by side."""
    if prepared.learned is not None:
        correct_mouth(colors, prepared.learned, mouth, alpha, under)
    for side, eyelid in prepared.eyelids.items():
        eye = EyeFrame(mouth.expression, mouth.pose, rings[side], mouth.to_image)
        correct_eyelid(colors, eyelid, eye, alpha, under)


def _light_colors(
    prepared: PreparedPortrait, front: Raster, pose: np.ndarray, colors: np.ndarray, alpha: np.ndarray
) -> np.ndarray | None:
    """Apply the light at a pose to the colors, in place; return its factors (V,), or None where nothing changes."""
    ratio = prepared.light.ratio(pose)
    if ratio is None:
        return None
    factors: np.ndarray = ratio[:, 0].astype(np.float32)  # one factor for all channels
    multiply_colors(front, factors, colors, alpha)
    return factors


def _rasterize(
    xy: np.ndarray, depth: np.ndarray, triangles: np.ndarray, size: tuple[int, int], skip: np.ndarray | None = None
) -> Raster:
    index, weights = rasterize_surface(xy, depth, triangles, *size, skip)
    return index, weights, triangles


def _find_box(xy: np.ndarray, triangles: np.ndarray, shape: tuple[int, ...], margin: int = 0) -> Box:
    """Return the part of an image (H, W) that triangles of vertices at pixels (V, 2) may cover.

    Args:
        xy: (V, 2) pixels.
        triangles: Indices of their vertices.
        shape: Height and width of the image.
        margin: Pixels by which the part is larger.
    """
    corners = np.ascontiguousarray(np.take(xy, triangles.ravel(), 0).T)  # NumPy reduces long rows ten times as fast
    limit = np.array(shape[1::-1])
    left, top = np.clip(np.floor(corners.min(1)).astype(int) - margin, 0, limit).tolist()
    right, bottom = np.clip(np.ceil(corners.max(1)).astype(int) + margin, 0, limit).tolist()
    return left, top, right, bottom


def _visible_box(prepared: PreparedPortrait, xy: np.ndarray) -> Box | None:
    """The part of the image that vertices at image pixels (V, 2) cover."""
    height, width = prepared.portrait.image.shape[:2]
    box = _find_box(xy, prepared.geometry.rendered, (height, width), margin=2)
    return box if box[0] < box[2] and box[1] < box[3] else None


def _render_front(
    prepared: PreparedPortrait, front: Raster, pose: np.ndarray, xy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render what the photo shows, without the inside of eyes and mouth.

    Returns:
        Colors (h, w, 3) float32, alpha (h, w) float32, and the photo's pixel (h, w, 2) at each pixel.
    """
    height, width = front[0].shape
    colors = np.empty((height, width, 3), np.float32)
    alpha, photo_map = np.empty((height, width), np.float32), np.empty((height, width, 2), np.float32)
    texture = (prepared.geometry.texture - 0.5).astype(np.float32)
    edge = np.zeros((height, width), np.uint8)
    if sample_person(front, texture, prepared.person, colors, alpha, photo_map, edge):
        blur_marked(colors, edge, _SILHOUETTE_BLUR)
    _smooth_stretched_skin(prepared, front, pose, xy, colors, alpha)
    if prepared.is_completed.any():
        image, attributes = prepared.portrait.image, prepared.completed_texture
        box = _find_box(xy, prepared.geometry.fine.triangles[prepared.is_completed], alpha.shape)
        blend_texture(front, prepared.is_completed, attributes, image, colors, alpha, True, box)
    return colors, alpha, photo_map


def _smooth_stretched_skin(
    prepared: PreparedPortrait,
    front: Raster,
    pose: np.ndarray,
    xy: np.ndarray,
    colors: np.ndarray,
    alpha: np.ndarray,
) -> None:
    """Blend smooth skin over the part of the face that is stretched far from a grazing view, in place.

    Few pixels of the photo would otherwise become streaks.
    """
    stretch = prepared.light.facing(pose) / np.maximum(prepared.light.rest_facing, 0.03)
    share = prepared.smooth.measure_share(stretch)
    if not share.any():
        return
    is_stretched = (share > 0)[prepared.geometry.fine.triangles].any(1)
    columns = [prepared.smooth.texture - 0.5, share[:, None], np.ones((len(share), 3))]
    attributes = np.concatenate(columns, 1).astype(np.float32)
    box = _find_box(xy, prepared.geometry.fine.triangles[is_stretched], alpha.shape)
    blend_texture(front, is_stretched, attributes, prepared.smooth.image, colors, alpha, False, box)


def _hidden_share(prepared: PreparedPortrait, pose: np.ndarray) -> float:
    """Opacity of the hidden parts: 0 near the photo's pose, whose outline is soft."""
    turn = rotation_matrix(pose[:3]) @ rotation_matrix(prepared.portrait.pose[:3]).T
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    return float(np.clip((angle - _HIDDEN_FROM) / (_HIDDEN_UNTIL - _HIDDEN_FROM), 0, 1))


def _underlay_hidden(
    prepared: PreparedPortrait,
    hidden: Raster,
    ratio: np.ndarray | None,
    share: float,
    colors: np.ndarray,
    alpha: np.ndarray,
) -> None:
    """Lay the hidden parts of the head under colors and alpha, in place."""
    geometry = prepared.geometry
    light = np.ones(len(geometry.texture)) if ratio is None else ratio
    columns = [geometry.texture - 0.5, prepared.opacity, light[:, None]]
    attributes = np.concatenate(columns, 1).astype(np.float32)
    is_inner = cv2.erode((hidden[0] >= 0).view(np.uint8), np.ones((len(_EDGE_BLUR), len(_EDGE_BLUR)), np.uint8))
    underlay_texture(hidden, attributes, prepared.person, is_inner, _EDGE_BLUR, share, colors, alpha)


def soften_silhouettes(canvas: np.ndarray, photo_map: np.ndarray) -> None:
    """Smooth the steps along edges at which one surface hides another, in place.

    Args:
        canvas: (H, W, 3) float32.
        photo_map: (H, W, 2) float32, the photo's pixel at each pixel of the canvas; it jumps only at such edges.
    """
    edge = np.zeros(canvas.shape[:2], np.uint8)
    if mark_jumps(photo_map, SILHOUETTE_JUMP, edge):
        blur_marked(canvas, edge, _SILHOUETTE_BLUR)
