"""Rendering of the moving person of one frame: front of head and neck, light, and the hidden parts of the head."""

from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.engines.mesh.eyes import SIDES, project_eye_anchors, project_iris_center, render_eye
from mimaface_cli.engines.mesh.head_geometry import project_head
from mimaface_cli.engines.mesh.learned_mouth import MouthFrame, correct_mouth
from mimaface_cli.engines.mesh.mouth import render_mouth
from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait
from mimaface_cli.face.rasterizer import NOWHERE, interpolate, mark_jumps, rasterize
from mimaface_cli.face.sampling import sample_image, sample_points
from mimaface_cli.motion.rotation import rotation_matrix

_LIGHT_STRIDE = 2  # light is interpolated at a fraction of the resolution
_STRETCHED_FROM, _STRETCHED_UNTIL = 2.0, 4.0  # factors on the size of skin since the photo
# Degrees of head rotation since the photo from which, and until which, the hidden parts appear.
_HIDDEN_FROM, _HIDDEN_UNTIL = 1.0, 5.0
_AT_REST = 1.5  # pixels of movement of the head's surroundings up to which the photo's soft outline is exact

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


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


@dataclass(frozen=True)
class _Raster:
    """Vertices rasterized into a box: triangle index (h, w), weights (h, w, 3) and the triangles."""

    index: np.ndarray
    weights: np.ndarray
    triangles: np.ndarray

    def interpolate(self, attributes: np.ndarray, background: float = 0.0) -> np.ndarray:
        return interpolate(self.index, self.weights, self.triangles, attributes, background)

    def select(self, mask: np.ndarray) -> "_Pixels | None":
        """Select the pixels of a bool mask (h, w), or return None for an empty one."""
        place = np.nonzero(mask)
        if not len(place[0]):
            return None
        return _Pixels(place, _Raster(self.index[place][None], self.weights[place][None], self.triangles))


@dataclass(frozen=True)
class _Pixels:
    """Some pixels of a raster: rows and columns, each (N,), and their triangles and weights in one row."""

    place: tuple[np.ndarray, ...]
    raster: _Raster

    def interpolate(self, attributes: np.ndarray) -> np.ndarray:
        """Return the attributes (N, C) of the pixels."""
        return self.raster.interpolate(attributes)[0]


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
        expression: (64,) expression of this frame; without it, the mouth is painted alone.

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
    colors, alpha, photo_map = _render_front(prepared, front, pose)

    def to_box(crop_pixels: np.ndarray) -> np.ndarray:
        return prepared.to_image(crop_pixels) - corner

    for k, side in enumerate(SIDES):
        if prepared.is_eye_covered(side):
            continue
        eye = prepared.eyes[side]
        shift = _iris_shift(prepared, side, gaze[2 * k : 2 * k + 2])
        ring = xy[geometry.fine.rings[side + "_eye"]] - corner
        render_eye(colors, photo_map, eye, ring, to_box(project_eye_anchors(eye.ball, pose)), shift)
    lips = xy[geometry.fine.rings["mouth"]] - corner
    if not prepared.is_mouth_covered:
        render_mouth(colors, prepared.mouth, lips, head, pose, to_box)
    ratio = prepared.light.ratio(pose)
    if ratio is not None:
        _apply_light(colors, front, ratio)
    share = _hidden_share(prepared, pose)
    if share > 0:
        _fade_front(prepared, front, share, alpha)
    for triangles in geometry.hidden if share > 0 else ():
        _underlay_hidden(prepared, _rasterize(xy - corner, depth, triangles, size), ratio, share, colors, alpha)
    if prepared.learned is not None and expression is not None:
        under = prepared.layers.background[top:bottom, left:right]
        correct_mouth(colors, prepared.learned, MouthFrame(head, expression, pose, lips, to_box), alpha, under)
    count = len(geometry.placed)
    movement = float(np.abs(xy[count:] - prepared.to_image(geometry.anchor[count:])).max())
    return PersonLayer(box, colors, alpha, float(np.clip(1 - movement / _AT_REST, 0, 1)))


def _rasterize(xy: np.ndarray, depth: np.ndarray, triangles: np.ndarray, size: tuple[int, int]) -> _Raster:
    index, weights, _ = rasterize(xy, depth, triangles, *size)
    return _Raster(index, weights, triangles)


def _visible_box(prepared: PreparedPortrait, xy: np.ndarray) -> Box | None:
    """The part of the image that vertices at image pixels (V, 2) cover."""
    height, width = prepared.portrait.image.shape[:2]
    vertices = xy[prepared.geometry.rendered]
    left, top = np.clip(np.floor(vertices.min(0)).astype(int) - 2, 0, None)
    right, bottom = np.minimum(np.ceil(vertices.max(0)).astype(int) + 2, [width, height])
    return (int(left), int(top), int(right), int(bottom)) if left < right and top < bottom else None


def _render_front(
    prepared: PreparedPortrait, front: _Raster, pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render what the photo shows, without the inside of eyes and mouth.

    Returns:
        Colors (h, w, 3) float32, alpha (h, w, 1) float32, and the photo's pixel (h, w, 2) at each pixel.
    """
    photo_map = front.interpolate(prepared.geometry.texture - 0.5, NOWHERE)
    sharp = sample_image(prepared.layers.foreground, photo_map, cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101)
    soften_silhouettes(sharp, photo_map)
    colors = sharp.astype(np.float32)
    opacity = sample_image(prepared.layers.moving_alpha, photo_map, border=cv2.BORDER_REFLECT_101)
    alpha = ((opacity / np.float32(255)) * (front.index >= 0))[..., None]
    _smooth_stretched_skin(prepared, front, pose, colors, photo_map)
    _complete_face(prepared, front, colors, alpha)
    return colors, alpha, photo_map


def _select_face(prepared: PreparedPortrait, front: _Raster, is_selected: np.ndarray) -> _Pixels | None:
    """Select the pixels of the face's triangles at some of its vertices.

    Args:
        prepared: The prepared portrait.
        front: The rasterized front.
        is_selected: (F,) bool, vertices of the fine face.

    Returns:
        The pixels, or None where no such vertex is visible.
    """
    triangles = prepared.geometry.fine.triangles
    has_selected = np.zeros(len(front.triangles) + 1, bool)  # the last: empty pixels, whose index is -1
    has_selected[: len(triangles)] = is_selected[triangles].any(1)
    return front.select(has_selected[front.index]) if has_selected.any() else None


def _smooth_stretched_skin(
    prepared: PreparedPortrait, front: _Raster, pose: np.ndarray, colors: np.ndarray, photo_map: np.ndarray
) -> None:
    """Blend smooth skin over the part of the face that is stretched far from a grazing view, in place.

    Few pixels of the photo would otherwise become streaks.
    """
    stretch = prepared.light.facing(pose) / np.maximum(prepared.light.facing(prepared.portrait.pose), 0.03)
    share = np.clip((stretch - _STRETCHED_FROM) / (_STRETCHED_UNTIL - _STRETCHED_FROM), 0, 1)
    pixels = _select_face(prepared, front, share > 0)
    if pixels is None:
        return
    place = pixels.place
    smooth = sample_points(prepared.smooth, photo_map[place])
    colors[place] += pixels.interpolate(share[:, None]) * (smooth - colors[place])


def _complete_face(prepared: PreparedPortrait, front: _Raster, colors: np.ndarray, alpha: np.ndarray) -> None:
    """Blend the second texture of the face over colors and alpha, in place."""
    completion = prepared.completion
    pixels = _select_face(prepared, front, completion.share > 0)
    if pixels is None:
        return
    place = pixels.place
    attributes = np.concatenate([completion.texture - 0.5, completion.share[:, None], completion.gain], 1)
    values = pixels.interpolate(attributes)
    share = values[:, 2:3]
    second = sample_points(prepared.portrait.image, values[:, :2])
    colors[place] += share * (second * values[:, 3:] - colors[place])
    alpha[place] += share * (1 - alpha[place])


def _apply_light(colors: np.ndarray, raster: _Raster, ratio: np.ndarray) -> None:
    """Multiply colors (h, w, 3) by the light ratio (V, 3) of the vertices, in place."""
    step = np.s_[::_LIGHT_STRIDE, ::_LIGHT_STRIDE]
    small = _Raster(
        np.ascontiguousarray(raster.index[step]), np.ascontiguousarray(raster.weights[step]), raster.triangles
    )
    factor = small.interpolate(ratio, 1.0)
    colors *= cv2.resize(factor, colors.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _hidden_share(prepared: PreparedPortrait, pose: np.ndarray) -> float:
    """Opacity of the hidden parts: 0 near the photo's pose, whose outline is soft."""
    turn = rotation_matrix(pose[:3]) @ rotation_matrix(prepared.portrait.pose[:3]).T
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    return float(np.clip((angle - _HIDDEN_FROM) / (_HIDDEN_UNTIL - _HIDDEN_FROM), 0, 1))


def _fade_front(prepared: PreparedPortrait, front: _Raster, share: float, alpha: np.ndarray) -> None:
    """Fade the parts of the front out that do not belong to a turned head, in place."""
    fades = np.append((prepared.opacity[front.triangles, 1] < 1).any(1), False)
    pixels = front.select(fades[front.index]) if fades.any() else None
    if pixels is not None:
        alpha[pixels.place] *= 1 - share * (1 - pixels.interpolate(prepared.opacity[:, 1:]))


def _underlay_hidden(
    prepared: PreparedPortrait,
    hidden: _Raster,
    ratio: np.ndarray | None,
    share: float,
    colors: np.ndarray,
    alpha: np.ndarray,
) -> None:
    """Lay the hidden parts of the head under colors and alpha, in place."""
    pixels = hidden.select((hidden.index >= 0) & (alpha[..., 0] < 1))
    if pixels is None:
        return
    place = pixels.place
    attributes = np.concatenate([prepared.geometry.texture - 0.5, prepared.opacity], 1)
    values = pixels.interpolate(attributes)
    layer = sample_points(prepared.person, values[:, :2], cv2.BORDER_REFLECT_101).astype(np.float32)
    behind = layer[:, :3]
    if ratio is not None:
        behind = behind * pixels.interpolate(ratio)
    cover = cv2.GaussianBlur((hidden.index >= 0).astype(np.float32), (5, 5), 1.0)[place]
    edge = np.clip(2 * cover - 1, 0, 1)
    opacity = (np.maximum(values[:, 2], layer[:, 3] / 255) * values[:, 3] * edge * share)[:, None]
    total = alpha[place] + (1 - alpha[place]) * opacity
    colors[place] = behind + alpha[place] / np.maximum(total, 1e-6) * (colors[place] - behind)
    alpha[place] = total


def _iris_shift(prepared: PreparedPortrait, side: str, gaze: np.ndarray) -> np.ndarray:
    """Movement (2,) of an iris since the photo, in image pixels with the head as in the photo."""
    eye, pose = prepared.eyes[side], prepared.portrait.pose
    target, start = (project_iris_center(eye.ball, pose, angles) for angles in (gaze, eye.gaze))
    return prepared.to_image(target) - prepared.to_image(start)


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
