"""The lower face of a video frame: which skin a dubbed mouth moves, and the warp that moves it.

Everything outside it stays exactly as it is. Movement fades out toward the nose and the eyes, and beyond the jaw.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mimaface_cli.engines.mesh.fine_face import FineFace, build_fine_face
from mimaface_cli.engines.mesh.head_geometry import triangulate_openings
from mimaface_cli.engines.mesh.person_render import soften_silhouettes
from mimaface_cli.face import topology
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.mask_box import find_mask_box
from mimaface_cli.face.rasterizer import interpolate, rasterize
from mimaface_cli.motion.coefficients import EXPRESSION_DIM, IDENTITY_DIM
from mimaface_cli.motion.easing import smoothstep

_NOSE_BASE, _EYE_CORNERS = 2, (33, 133, 362, 263)
_NOSE = np.concatenate(
    [
        [1, 2, 3, 4, 5, 19, 20, 44, 45, 48, 51, 59, 60, 64, 75, 79, 94, 97, 98, 99],
        [115, 125, 141, 166, 195, 197, 218, 219, 220, 235, 237, 238, 239, 240, 242, 248, 250, 274, 275, 278],
        [281, 289, 290, 294, 305, 309, 326, 327, 328, 344, 354, 370, 392, 438, 439, 440, 455, 457, 458, 459],
        [460, 462],
    ]
)
# Range of the way from the base of the nose up to the eyes over which the movement of the skin fades out.
_FULL_BELOW, _STILL_ABOVE = 0.05, 0.62
_LIP_REACH = 8.0, 24.0  # range of distances from the lips, in millimeters, over which `LowerFace.lip_share` falls
_CHIN_REACH = 1.6  # by how much more lips reach downward
_MILLIMETERS = 0.607 / 63.0  # model units
# Rings around the jaw: distance from it in heights of the face, and share of its movement.
_RINGS = ((0.0, 1.0), (0.06, 0.72), (0.15, 0.34), (0.27, 0.08), (0.36, 0.0))
# Widths of the mouth by which the edge of parted lips moves outward, at most by a share of the lip, and the gap from
# which on it does so fully.
_INSET, _MAX_INSET, _PARTED = 0.028, 0.35, 0.03
_FILL, _LIP_SHADE = 3, 0.72  # pixels around the opening whose colors fill it, and their brightness
_RIM = np.ones((3, 3), np.uint8)
_BEHIND = 2.0  # model units: the surroundings of the face lie so far behind it
_BLEND_BELOW = 0.12  # weight below which the warped frame is blended with the frame itself


@dataclass(frozen=True)
class LowerFace:
    """The part of the face model that a dubbed mouth moves.

    Attributes:
        fine: The subdivided face.
        weight: (478,) share of the movement that each landmark follows, 0 outside the lower face.
        lip_share: (478,) 1 at the lips, 0 far from them: where positions are those of the detected landmarks.
        fine_weight: (F,) weight of the fine vertices, exactly 0 where all neighbors are.
        triangles: (T, 3) int32: the fine face with its openings, then the surroundings of the jaw.
        mouth_triangles: Rows of `triangles` between the lips.
    """

    fine: FineFace
    weight: np.ndarray
    lip_share: np.ndarray
    fine_weight: np.ndarray
    triangles: np.ndarray
    mouth_triangles: slice


@dataclass(frozen=True)
class WarpedFace:
    """The lower face of a frame, moved.

    Attributes:
        box: Rows and columns of the frame that contain it.
        corner: (2,) left and top of the box in pixels.
        colors: (h, w, 3) float32.
        share: (h, w, 1) float32, opacity: 0 where the frame stays exactly as it is.
        ring: (K, 2) inner lips in pixels of the box.
        opening: (h, w, 1) float32, 1 where the opening of the lips is in front, 0 elsewhere.
    """

    box: tuple[slice, slice]
    corner: np.ndarray
    colors: np.ndarray
    share: np.ndarray
    ring: np.ndarray
    opening: np.ndarray


def find_lower_face(model: Face478) -> LowerFace:
    """Return the lower face of a face model."""
    mean = model.shape(np.zeros(IDENTITY_DIM), np.zeros(EXPRESSION_DIM))
    return _find_lower_face(mean.tobytes(), model.face.tobytes())


@lru_cache(maxsize=2)
def _find_lower_face(vertices: bytes, triangles: bytes) -> LowerFace:
    """Return the lower face for the bytes of a mean face (478, 3) float64 and of its triangles: hashable arguments."""
    mean = np.frombuffer(vertices).reshape(-1, 3)
    base, eyes = mean[_NOSE_BASE, 1], mean[list(_EYE_CORNERS), 1].mean()
    height = (mean[:, 1] - base) / (eyes - base)
    weight = 1 - smoothstep((height - _FULL_BELOW) / (_STILL_ABOVE - _FULL_BELOW))
    weight[_NOSE] = 0
    lips = mean[np.concatenate([topology.OUTER_LIPS, topology.INNER_LIPS])]
    distance = np.linalg.norm(mean[:, None] - lips[None], axis=2).min(1) / _MILLIMETERS
    below = np.clip((lips[:, 1].min() - mean[:, 1]) / _MILLIMETERS / np.maximum(distance, 1e-6), 0, 1)
    distance /= 1 + _CHIN_REACH * below  # the chin moves with the lower lip
    nearest, farthest = _LIP_REACH
    lip_share = 1 - smoothstep((distance - nearest) / (farthest - nearest))
    fine = build_fine_face(triangles)
    oval, count = fine.rings["oval"], fine.matrix.shape[0]
    openings = triangulate_openings(fine)
    corners = np.concatenate([fine.triangles, openings, _triangulate_rings(len(oval), count)])
    mouth = np.flatnonzero(np.isin(openings, fine.rings["mouth"]).all(1)) + len(fine.triangles)
    mouth_triangles = slice(int(mouth[0]), int(mouth[-1]) + 1)
    return LowerFace(fine, weight, lip_share, fine.matrix @ weight, corners.astype(np.int32), mouth_triangles)


def _triangulate_rings(size: int, start: int) -> np.ndarray:
    """Triangulate closed rings of vertices (T, 3), each with `size`, that are numbered from `start` on."""
    inner = np.arange(size)
    after = (inner + 1) % size
    corners = []
    for ring in range(len(_RINGS) - 1):
        a, b = start + ring * size + inner, start + ring * size + after
        corners += [np.stack([a, b, b + size], 1), np.stack([a, b + size, a + size], 1)]
    return np.concatenate(corners)


def warp_lower_face(
    image: np.ndarray, face: LowerFace, points: np.ndarray, movement: np.ndarray, depth: np.ndarray
) -> WarpedFace | None:
    """Move the lower face of a frame.

    Args:
        image: (H, W, 3) uint8 frame.
        face: The lower face of the model.
        points: (478, 2) landmarks in pixels.
        movement: (478, 2) movement of the landmarks in pixels.
        depth: (478,) distances of the landmarks from the camera.

    Returns:
        The moved part, or None where the frame does not show it.
    """
    matrix, count = face.fine.matrix, face.fine.matrix.shape[0]
    inset = _inset_lips(points)
    source, moved = matrix @ (points + inset), matrix @ (movement * face.weight[:, None] - inset)
    distance = np.maximum(matrix @ depth, 0.5)
    oval = face.fine.rings["oval"]
    outward = source[oval] - source[oval].mean(0)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    height = float(np.linalg.norm(points[topology.CHIN] - points[topology.OVAL[0]]))
    reach = np.array([ring[0] for ring in _RINGS])[:, None, None] * height * outward
    share = np.array([ring[1] for ring in _RINGS])[:, None]
    source = np.concatenate([source, (source[oval] + reach).reshape(-1, 2)])
    moved = np.concatenate([moved, (share[..., None] * moved[oval]).reshape(-1, 2)])
    weight = np.concatenate([face.fine_weight, (share * face.fine_weight[oval]).ravel()])
    distance = np.append(distance, np.full(len(source) - count, distance.max() + _BEHIND))
    target = source + moved
    box = _find_box(np.concatenate([source[weight > 0], target[weight > 0]]), image.shape)
    if box is None:
        return None
    corner = np.array([box[1].start, box[0].start])
    size = box[1].stop - box[1].start, box[0].stop - box[0].start
    index, barycentric, _ = rasterize(target - corner, distance, face.triangles, *size)
    attributes = np.concatenate([moved, weight[:, None]], 1)
    field = interpolate(index, barycentric, face.triangles, attributes).astype(np.float32)
    columns, rows = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    places = np.dstack([columns, rows]) + corner.astype(np.float32) - field[..., :2]
    colors = cv2.remap(image, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]  # OpenCV's stub misses None
    colors = colors.astype(np.float32)
    soften_silhouettes(colors, places)
    opacity = smoothstep(field[..., 2:] / _BLEND_BELOW).astype(np.float32)
    ring = target[face.fine.rings["mouth"]] - corner
    is_skin = (index < face.mouth_triangles.start) | (index >= face.mouth_triangles.stop)
    opening = cv2.blur(1 - cv2.erode(is_skin.astype(np.float32), _RIM), (3, 3))[..., None]
    _close_opening(colors, is_skin)
    return WarpedFace(box, corner, colors, opacity, ring, opening)


def _close_opening(colors: np.ndarray, is_skin: np.ndarray) -> None:
    """Fill what the frame itself shows between the lips with the colors of the lips, darkened, in place.

    Args:
        colors: (H, W, 3) float32.
        is_skin: (H, W) bool, False between the lips.
    """
    inside = find_mask_box(~is_skin, _FILL)
    if inside is None:
        return
    skin, part = is_skin[inside].astype(np.float32)[..., None], colors[inside]
    size = (2 * _FILL + 1, 2 * _FILL + 1)
    weight = cv2.GaussianBlur(skin, size, 0)[..., None]
    lips = cv2.GaussianBlur(part * skin, size, 0) / np.maximum(weight, 1e-3)
    part += (1 - skin) * (_LIP_SHADE * lips - part)


def _inset_lips(points: np.ndarray) -> np.ndarray:
    """Return by how much (478, 2) to move the inner edge of parted lips, so that teeth do not stick to it."""
    inset = np.zeros_like(points)
    inner, outer = points[topology.INNER_LIPS], points[topology.OUTER_LIPS]
    across = outer - inner
    thickness = np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    width = float(np.linalg.norm(inner[0] - inner[len(inner) // 2]))
    gap = float(np.linalg.norm(points[topology.UPPER_LIP] - points[topology.LOWER_LIP]))
    parted = min(gap / max(_PARTED * width, 1e-6), 1.0)
    inset[topology.INNER_LIPS] = parted * across * np.minimum(_INSET * width / thickness, _MAX_INSET)
    return inset


def _find_box(points: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Return the rows and columns of an image of a shape that contain points (N, 2); None if it contains none."""
    limit = np.array(shape[1::-1])
    left, top = np.clip(np.floor(points.min(0)).astype(int) - 2, 0, limit).tolist()
    right, bottom = np.clip(np.ceil(points.max(0)).astype(int) + 3, 0, limit).tolist()
    return (slice(top, bottom), slice(left, right)) if left + 1 < right and top + 1 < bottom else None


def lay_over(frame: np.ndarray, warped: WarpedFace, strength: float = 1.0) -> np.ndarray:
    """Return a frame (H, W, 3) uint8 with its moved lower face; strength: opacity, 0 to 1."""
    result = frame.copy()
    region = frame[warped.box].astype(np.float32)
    region += strength * warped.share * (warped.colors - region)
    result[warped.box] = np.clip(np.rint(region), 0, 255).astype(np.uint8)
    return result
