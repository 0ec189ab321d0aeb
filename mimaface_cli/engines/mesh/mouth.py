"""The inside of the mouth: the photo's pixels where it shows them, else synthetic teeth, tongue and cavity."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mimaface_cli.engines.mesh.image_patch import LUMA, compute_polygon_depth, crop_padded, diffuse_colors
from mimaface_cli.face import camera, topology
from mimaface_cli.motion.rotation import rotation_matrix

# Model units per millimeter: adult pupils are 63 mm apart.
UNITS_PER_MM = 0.607 / 63.0
PIXELS_PER_UNIT = 640.0  # resolution of a plate of teeth
TEETH_PLATE_SIZE = (384, 160)  # width, height of a plate of teeth in pixels
JAW_SKIN = np.array([17, 18, 200, 199, 83, 313])  # landmarks over the lower teeth, which move as the jaw does
_TEETH_DEPTH = 5 * UNITS_PER_MM  # distance of the front teeth behind the lips
_VISIBLE_UPPER_TEETH = 2.2 * UNITS_PER_MM  # height of the upper front teeth visible below the resting upper lip
_MOUTH_CORNERS = (78, 308)
_AXIS_LENGTH = 0.1  # model units between the mouth's anchor points
_SOFTNESS_STEPS = 16  # levels of blur for each factor of 2: frames share a blurred plate
_CAVITY_COLOR = np.array([46.0, 20.0, 20.0], np.float32)
_TONGUE_COLOR = np.array([165.0, 84.0, 82.0], np.float32)

PointMap = Callable[[np.ndarray], np.ndarray]
# Maps how far a part of the mouth is lowered (model units) to its anchor points (3, 2) in pixels.
AnchorMap = Callable[[float], np.ndarray]


@dataclass(frozen=True)
class MouthLayers:
    """The mouth of the photo: its visible pixels, and the geometry for the synthetic parts.

    Attributes:
        photo: (H, W, 4) float32, the opening in the photo (alpha last), or None for closed lips.
        jaw_split: (W,) for each column of `photo`, the row above which the pixels belong to the skull and below which
            they move with the jaw.
        has_lower_part: Whether the photo shows anything that moves with the jaw.
        origin: (2,) left, top of `photo` in image pixels.
        anchor: (3,) middle of the lip line in the head's frame.
        upper_edge: y of the upper teeth's edge in the head's frame.
        lower_edge: y of the lower teeth's edge with the jaw closed.
        rest_jaw: Mean y of the `JAW_SKIN` landmarks at rest.
        photo_jaw: Mean y of the `JAW_SKIN` landmarks in the photo.
        photo_anchors: (3, 2) anchor points in image pixels, see `project_mouth_anchors`.
        brightness: Factor on the synthetic colors, 0.25 to 1.35.
        chroma: Saturation of the photo, 0 (gray) to 1.
    """

    photo: np.ndarray | None
    jaw_split: np.ndarray
    has_lower_part: bool
    origin: np.ndarray
    anchor: np.ndarray
    upper_edge: float
    lower_edge: float
    rest_jaw: float
    photo_jaw: float
    photo_anchors: np.ndarray
    brightness: float
    chroma: float


def project_mouth_anchors(anchor: np.ndarray, pose: np.ndarray, drop: float = 0.0) -> np.ndarray:
    """Project the mouth's axes: its middle, a point to the side and a point above.

    Args:
        anchor: (3,) middle of the lip line in the head's frame.
        pose: (6,) pose of the head.
        drop: How far the points are lowered, in model units.

    Returns:
        (3, 2) crop pixels.
    """
    step = _AXIS_LENGTH
    points = anchor + np.array([[0, -drop, 0], [step, -drop, 0], [0, step - drop, 0]])
    return camera.project(points @ rotation_matrix(pose[:3]).T + pose[3:])[0]


def find_mouth_anchor(neutral: np.ndarray) -> np.ndarray:
    """Return the middle of the lip line, (3,) in the head's frame; neutral: (478, 3) resting face."""
    corners = neutral[list(_MOUTH_CORNERS)]
    upper_lip = neutral[topology.UPPER_LIP]
    return np.array([corners[:, 0].mean(), upper_lip[1], upper_lip[2] - _TEETH_DEPTH])


def build_mouth_layers(
    image: np.ndarray,
    ring: np.ndarray,
    head: np.ndarray,
    neutral: np.ndarray,
    project_anchors: PointMap,
    skin: np.ndarray,
) -> MouthLayers:
    """Separate the mouth of a photo into layers.

    Args:
        image: (H, W, 3) uint8 photo.
        ring: (K, 2) inner lips in image pixels.
        head: (478, 3) face of the photo in the head's frame.
        neutral: (478, 3) resting face in the head's frame.
        project_anchors: Maps an anchor (3,) to its anchor points (3, 2) in image pixels.
        skin: (3,) median color of the skin.
    """
    anchor = find_mouth_anchor(neutral)
    photo, jaw_split, has_lower_part, low = None, np.zeros(0), False, np.zeros(2)
    opening = head[topology.UPPER_LIP, 1] - head[topology.LOWER_LIP, 1]
    if opening > 3 * UNITS_PER_MM and float(np.ptp(ring[:, 1])) > 4:
        width = float(np.linalg.norm(np.ptp(ring, axis=0)))
        margin = int(0.12 * width)  # room above and below to continue the visible part
        low = np.floor(ring.min(0)).astype(int) - np.array([2, margin])
        high = np.ceil(ring.max(0)).astype(int) + np.array([3, margin])
        patch = crop_padded(image, low, high).astype(np.float32)
        depth = compute_polygon_depth(ring - low, patch.shape[:2])
        inset = 0.02 * width
        photo = extend_opening(patch, depth, inset, width)
        jaw_split, has_lower_part = find_jaw_split(patch, depth > inset)
    luma = float(skin @ [0.299, 0.587, 0.114])
    return MouthLayers(
        photo=photo,
        jaw_split=jaw_split,
        has_lower_part=has_lower_part,
        origin=np.asarray(low, float),
        anchor=anchor,
        upper_edge=neutral[topology.UPPER_LIP, 1] - _VISIBLE_UPPER_TEETH,
        lower_edge=neutral[topology.LOWER_LIP, 1] - 0.8 * UNITS_PER_MM,
        rest_jaw=float(neutral[JAW_SKIN, 1].mean()),
        photo_jaw=float(head[JAW_SKIN, 1].mean()),
        photo_anchors=project_anchors(anchor),
        brightness=float(np.clip(luma / 150.0, 0.25, 1.35)),
        chroma=float(np.clip((skin.max() - skin.min()) / 14.0, 0, 1)),  # a gray photo gets a gray mouth
    )


def extend_opening(patch: np.ndarray, depth: np.ndarray, inset: float, width: float) -> np.ndarray:
    """Continue the opening's pixels under the lips, so that lips can part further than in the photo.

    Args:
        patch: (H, W, 3) float32 colors.
        depth: (H, W) depth inside the opening in pixels.
        inset: Depth in pixels from which pixels count as the inside of the mouth.
        width: Width of the mouth in pixels.

    Returns:
        (H, W, 4) float32; alpha is 1 in the columns of the opening.
    """
    visible = depth > inset
    colors = diffuse_colors(patch, visible, width)
    if colors is None:
        colors = patch
    share = np.clip((depth - inset) / max(inset, 1.0), 0, 1)[..., None].astype(np.float32)
    columns = visible.any(0)
    alpha = cv2.GaussianBlur(np.tile(columns.astype(np.float32), (len(visible), 1)), (0, 0), max(inset, 0.8))
    return np.dstack([colors * (1 - share) + patch * share, alpha]).astype(np.float32)


def find_jaw_split(patch: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, bool]:
    """Find the row of an open mouth below which the pixels move with the jaw.

    That is the darkest row under the upper teeth, or the lower end of the opening when teeth fill it.

    Args:
        patch: (H, W, 3) float32 colors.
        inside: (H, W) bool mask of the opening.

    Returns:
        The row for each column (W,), and whether there is a gap between the rows of teeth.
    """
    luma = patch @ LUMA
    columns = np.flatnonzero(inside.any(0))
    middle = slice(int(np.quantile(columns, 0.3)), int(np.quantile(columns, 0.7)) + 1) if len(columns) else slice(0)
    rows = np.flatnonzero(inside[:, middle].sum(1) > 0)
    ends = np.where(inside.any(0), patch.shape[0] - inside[::-1].argmax(0), patch.shape[0]).astype(np.float32)
    if len(rows) < 3:
        return ends, False
    levels = np.array([luma[row, middle][inside[row, middle]].mean() for row in rows])
    levels = np.convolve(np.pad(levels, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    first = len(rows) // 3  # the rows above lie in the upper lip's shadow
    darkest = first + int(levels[first:].argmin())
    if levels[darkest] > 0.72 * np.quantile(levels, 0.9):  # no gap between the rows of teeth
        return ends, False
    return np.minimum(ends, rows[darkest] + 0.5).astype(np.float32), True


@lru_cache(maxsize=2)
def render_teeth(upper: bool) -> np.ndarray:
    """Render a row of synthetic teeth.

    Args:
        upper: Whether to render the upper row.

    Returns:
        RGBA float32 (colors 0 to 255, alpha 0 to 1) of `TEETH_PLATE_SIZE` at `PIXELS_PER_UNIT`. The biting edge is at
        the middle row; the gum side is above it (below it for the lower row).
    """
    oversampling = 3
    width, height = TEETH_PLATE_SIZE[0] * oversampling, TEETH_PLATE_SIZE[1] * oversampling
    pixels_per_mm = UNITS_PER_MM * PIXELS_PER_UNIT * oversampling
    # Widths of the teeth from the middle outward, and how much shorter than the first each one is, in mm.
    widths = [8.4, 6.6, 7.6, 7.0, 7.0, 9.5] if upper else [5.3, 5.8, 6.8, 7.0, 7.0, 10.0]
    shorter = [0.0, 0.9, 0.1, 1.0, 1.4, 1.8] if upper else [0.0, 0.1, -0.2, 0.7, 1.0, 1.4]
    arch = 25.0 if upper else 22.0  # radius of the dental arch in mm
    x = (np.arange(width) + 0.5 - width / 2) / pixels_per_mm
    y = ((np.arange(height) + 0.5 - height / 2) / pixels_per_mm)[:, None] * (1 if upper else -1)  # grows from the gum
    angle = np.arcsin(np.clip(np.abs(x) / arch, 0, 0.999))
    along = angle * arch  # mm along the arch from the middle
    edges = np.concatenate([[0], np.cumsum(widths)])
    tooth = np.clip(np.searchsorted(edges, along, "right") - 1, 0, len(widths) - 1)
    across = (along - edges[tooth]) / np.array(widths)[tooth] * 2 - 1  # -1 to 1 over the width of a tooth
    bite = -np.array(shorter)[tooth] - 0.9 * np.abs(across) ** 4 - 0.03 * (along / 5) ** 2
    cover = np.clip((bite[None] - y) * pixels_per_mm / oversampling + 0.5, 0, 1)
    seam = np.clip((np.abs(across) - 0.86) / 0.14, 0, 1) ** 2
    rounding = 1 - 0.16 * np.abs(across) ** 2.5 - 0.22 * seam
    facing = np.clip(np.cos(angle), 0, 1) ** 1.3
    toward_gum = np.clip((-y - 2.0) / 8.0, 0, 1)
    level = rounding * facing * (1 - 0.18 * toward_gum) * (1 - 0.10 * np.clip((y - bite + 1.2) / 1.2, 0, 1))
    tint = np.array([236.0, 221.0, 200.0]) - toward_gum[..., None] * np.array([6.0, 14.0, 26.0])
    color = level[..., None] * tint
    plate = np.dstack([color, cover * (np.abs(x) < 0.97 * arch)]).astype(np.float32)
    return cv2.resize(plate, TEETH_PLATE_SIZE, interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=32)
def _soften_teeth(upper: bool, level: int) -> np.ndarray:
    """Return a row of teeth, blurred by a deviation of 2^(level / _SOFTNESS_STEPS) pixels."""
    return cv2.GaussianBlur(render_teeth(upper), (0, 0), 2 ** (level / _SOFTNESS_STEPS))


def render_mouth(
    canvas: np.ndarray, mouth: MouthLayers, ring: np.ndarray, head: np.ndarray, pose: np.ndarray, to_canvas: PointMap
) -> None:
    """Render the inside of the mouth into a canvas, in place.

    Args:
        canvas: (H, W, 3) float32 frame in progress.
        mouth: The mouth's layers.
        ring: (K, 2) inner lips in canvas pixels, in this frame.
        head: (478, 3) face in the head's frame, in this frame.
        pose: (6,) pose of the head.
        to_canvas: Maps crop pixels to canvas pixels.
    """
    low = np.maximum(np.floor(ring.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(ring.max(0)).astype(int) + 2, canvas.shape[1::-1])
    if (high - low < 2).any():
        return
    size = int(high[0] - low[0]), int(high[1] - low[1])
    depth = compute_polygon_depth(ring - low, size[::-1])
    lip_width = max(0.012 * float(np.ptp(ring[:, 0])), 1.0)
    alpha = np.clip(depth / lip_width, 0, 1)[..., None].astype(np.float32)
    if not alpha.any():
        return
    jaw_drop = mouth.rest_jaw - float(head[JAW_SKIN, 1].mean())

    def project_anchors(drop: float) -> np.ndarray:
        return to_canvas(project_mouth_anchors(mouth.anchor, pose, drop)) - low - 0.5

    inside = _render_synthetic(mouth, size, project_anchors, depth, jaw_drop)
    if mouth.photo is not None:
        drop_since_photo = jaw_drop - (mouth.rest_jaw - mouth.photo_jaw)
        _overlay_photo(inside, mouth.photo, mouth, project_anchors, drop_since_photo)
    target = canvas[low[1] : high[1], low[0] : high[0]]
    target += alpha * (inside - target)


def _render_synthetic(
    mouth: MouthLayers, size: tuple[int, int], project_anchors: AnchorMap, depth: np.ndarray, jaw_drop: float
) -> np.ndarray:
    """Render cavity, tongue and both rows of teeth, (H, W, 3) float32; size: width, height of the box."""
    origin, aside, _ = project_anchors(0)
    unit = float(np.linalg.norm(aside - origin)) / _AXIS_LENGTH  # canvas pixels per model unit
    inside = np.broadcast_to(_CAVITY_COLOR, (size[1], size[0], 3)).copy()
    depth_share = np.clip(depth / (0.06 * unit), 0, 1)
    inside *= 1.0 - 0.45 * depth_share[..., None]
    _overlay_tongue(inside, mouth, project_anchors, jaw_drop)
    for upper in (False, True):
        edge = (mouth.upper_edge if upper else mouth.lower_edge - jaw_drop) - mouth.anchor[1]
        teeth = _warp_teeth(upper, project_anchors(-edge), size)
        # Teeth are in the shadow of the lips, the lower row more than the upper one and in warmer light.
        warmth = np.array([1.0, 1.0, 1.0] if upper else [1.0, 0.92, 0.84], np.float32)
        light = (0.42 if upper else 0.32) + 0.32 * depth_share
        inside += teeth[..., 3:] * (teeth[..., :3] * light[..., None] * warmth - inside)
    inside *= mouth.brightness
    gray = inside @ LUMA
    return gray[..., None] + mouth.chroma * (inside - gray[..., None])


def _overlay_tongue(inside: np.ndarray, mouth: MouthLayers, project_anchors: AnchorMap, jaw_drop: float) -> None:
    """Blend the tongue, a dome with a groove that moves with the jaw, over the cavity, in place."""
    height, width = inside.shape[:2]
    top = mouth.lower_edge - mouth.anchor[1] - jaw_drop + 3.5 * UNITS_PER_MM  # y of the tongue from the anchor
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    to_units = cv2.getAffineTransform(
        project_anchors(0).astype(np.float32),
        np.array([[0, 0], [_AXIS_LENGTH, 0], [0, _AXIS_LENGTH]], np.float32),
    )
    across = to_units[0, 0] * columns + to_units[0, 1] * rows + to_units[0, 2]
    upward = to_units[1, 0] * columns + to_units[1, 1] * rows + to_units[1, 2]
    fall_aside = (across / (17 * UNITS_PER_MM)) ** 2
    fall_down = ((upward - top + 8 * UNITS_PER_MM) / (10 * UNITS_PER_MM)) ** 2
    dome = np.clip(1.15 - fall_aside - fall_down, 0, 1)
    groove = 1 - 0.25 * np.exp(-((across / (1.5 * UNITS_PER_MM)) ** 2))
    tongue = _TONGUE_COLOR * (0.40 + 0.5 * dome * groove)[..., None]
    inside += np.clip(dome * 2.5, 0, 1)[..., None] * (tongue - inside)


def _warp_teeth(upper: bool, anchors: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Warp a row of teeth into the box: its middle row lies on the teeth's edge, its axes are the mouth's."""
    middle = np.array(TEETH_PLATE_SIZE) / 2 - 0.5
    step = _AXIS_LENGTH * PIXELS_PER_UNIT
    corners = np.array([middle, middle + np.array([step, 0]), middle - np.array([0, step])], np.float32)
    matrix = cv2.getAffineTransform(corners, anchors.astype(np.float32))
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    plate = render_teeth(upper)
    if scale < 0.5:  # keeps thin seams from flickering when the mouth is small
        plate = _soften_teeth(upper, round(_SOFTNESS_STEPS * float(np.log2(0.35 / max(scale, 0.01)))))
    return cv2.warpAffine(plate, matrix, size, flags=cv2.INTER_LINEAR)


def _overlay_photo(
    inside: np.ndarray, photo: np.ndarray, mouth: MouthLayers, project_anchors: AnchorMap, drop: float
) -> None:
    """Blend the photo's mouth over the synthetic one, in place.

    Its upper part is fixed to the skull, its lower part to the jaw, which has dropped by `drop` since the photo.
    """
    rows = np.arange(photo.shape[0], dtype=np.float32)[:, None] + 0.5
    upper = np.clip((mouth.jaw_split[None] - rows) / max(2.0, 0.03 * photo.shape[1]) + 0.5, 0, 1)
    anchors = (mouth.photo_anchors - mouth.origin - 0.5).astype(np.float32)
    parts = [(1 - upper, drop)] if mouth.has_lower_part else []
    for share, part_drop in [*parts, (upper, 0.0)]:
        layer = photo.copy()
        layer[..., 3] *= share
        matrix = cv2.getAffineTransform(anchors, project_anchors(part_drop).astype(np.float32))
        warped = cv2.warpAffine(layer, matrix, inside.shape[1::-1], flags=cv2.INTER_CUBIC)
        inside += np.clip(warped[..., 3:], 0, 1) * (warped[..., :3] - inside)
