"""The inside of the mouth: what the photo shows of it, and painted teeth, tongue and cavity where it shows nothing."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mimaface_cli.engines.mesh.eyes import LUMA, compute_polygon_depth, crop_padded, diffuse_colors
from mimaface_cli.face import camera, topology
from mimaface_cli.motion.rotation import rotation_matrix

# Millimeters to model units: adult eyes stand 63 mm apart.
UNITS_PER_MM = 0.607 / 63.0
PIXELS_PER_UNIT = 640.0
TEETH_PLATE_SIZE = (384, 160)  # width, height of a painted row of teeth
JAW_SKIN = np.array([17, 18, 200, 199, 83, 313])  # skin over the lower teeth: moves as the jaw does
PLANE = 5 * UNITS_PER_MM  # the front teeth stand this far behind the lips
SHOWN = 2.2 * UNITS_PER_MM  # upper front teeth below the resting upper lip


@dataclass(frozen=True)
class MouthLayers:
    """The source's mouth. photo: H×W×4 float32 (alpha last) of the opening as seen, or None; split: for each column
    of it, the row that parts what hangs from the skull from what the jaw carries; below: whether there
    is anything of the latter; origin: left, top of photo in picture pixels; anchor: 3,
    middle of the lip line in the head's frame; upper, lower: y of the teeth's edges there, jaw closed; jaw: y of the
    JAW skin at rest; seen_jaw: its y in the photo; frame: 3×2 anchors in picture pixels; light: brightness 0..1.5;
    chroma: 0..1, how much color the picture has.
    """

    photo: np.ndarray | None
    split: np.ndarray
    below: bool
    origin: np.ndarray
    anchor: np.ndarray
    upper: float
    lower: float
    jaw: float
    seen_jaw: float
    frame: np.ndarray
    light: float
    chroma: float


def project_mouth_anchors(anchor: np.ndarray, pose: np.ndarray, drop: float = 0.0) -> np.ndarray:
    """Crop pixels (3×2) of the mouth's own axes: middle, 0.1 units to the side, 0.1 above; lowered by `drop` units."""
    points = anchor + np.array([[0, -drop, 0], [0.1, -drop, 0], [0, 0.1 - drop, 0]])
    return camera.project(points @ rotation_matrix(pose[:3]).T + pose[3:])[0]


def build_mouth_layers(
    image: np.ndarray, ring: np.ndarray, head: np.ndarray, neutral: np.ndarray, frame_of, skin: np.ndarray
) -> MouthLayers:
    """ring: K×2 inner lips in picture pixels; head, neutral: 478×3 seen and resting face in the head's frame;
    frame_of: maps an anchor to its 3×2 picture pixels; skin: 3, median skin color.
    """
    corners = neutral[[78, 308]]
    anchor = np.array([corners[:, 0].mean(), neutral[topology.UPPER_LIP, 1], neutral[topology.UPPER_LIP, 2] - PLANE])
    width = float(np.linalg.norm(np.ptp(ring, axis=0)))
    luma = float(skin @ [0.299, 0.587, 0.114])
    chroma = float(np.clip((skin.max() - skin.min()) / 14.0, 0, 1))  # a gray photo gets a gray mouth
    photo, split, below, low = None, np.zeros(0), False, np.zeros(2)
    gap = float(np.ptp(ring[:, 1]))
    opening = head[topology.UPPER_LIP, 1] - head[topology.LOWER_LIP, 1]
    if opening > 3 * UNITS_PER_MM and gap > 4:
        reach = int(0.12 * width)  # room to continue above and below what is seen
        low = np.floor(ring.min(0)).astype(int) - [2, reach]
        high = np.ceil(ring.max(0)).astype(int) + [3, reach]
        patch = crop_padded(image, low, high).astype(np.float32)
        depth = compute_polygon_depth(ring - low, patch.shape[:2])
        inset = 0.02 * width
        photo = extend_opening(patch, depth, inset, width)
        split, below = find_jaw_split(patch, depth > inset)
    return MouthLayers(
        photo,
        split,
        below,
        np.asarray(low, float),
        anchor,
        upper=neutral[topology.UPPER_LIP, 1] - SHOWN,
        lower=neutral[topology.LOWER_LIP, 1] - 0.8 * UNITS_PER_MM,
        jaw=float(neutral[JAW_SKIN, 1].mean()),
        seen_jaw=float(head[JAW_SKIN, 1].mean()),
        frame=frame_of(anchor),
        light=float(np.clip(luma / 150.0, 0.25, 1.35)),
        chroma=chroma,
    )


def extend_opening(patch: np.ndarray, depth: np.ndarray, inset: float, width: float) -> np.ndarray:
    """The opening's pixels as H×W×4, continued under the lips so that lips can part further than in the photo."""
    seen = depth > inset
    colors = diffuse_colors(patch, seen, width)
    if colors is None:
        colors = patch
    keep = np.clip((depth - inset) / max(inset, 1.0), 0, 1)[..., None].astype(np.float32)
    columns = seen.any(0)
    alpha = cv2.GaussianBlur(np.tile(columns.astype(np.float32), (len(seen), 1)), (0, 0), max(inset, 0.8))
    return np.dstack([colors * (1 - keep) + patch * keep, alpha]).astype(np.float32)


def find_jaw_split(patch: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, bool]:
    """For each column of an open mouth's picture, the row below which the jaw carries what is seen: the darkest one
    under the upper teeth, or the lower end of the opening when teeth fill it; and whether there is such a gap.
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
    first = len(rows) // 3  # the top rows lie in the upper lip's shadow
    darkest = first + int(levels[first:].argmin())
    if levels[darkest] > 0.72 * np.quantile(levels, 0.9):  # no gap between the rows of teeth
        return ends, False
    return np.minimum(ends, rows[darkest] + 0.5).astype(np.float32), True


@lru_cache(maxsize=2)
def render_teeth(upper: bool) -> np.ndarray:
    """A row of teeth as RGBA float32 (0..255, alpha 0..1), PLATE pixels at PIXELS_PER_UNIT; the biting edge is at the
    middle row, the gum side above it (below it for the lower row).
    """
    scale = 3
    width, height = TEETH_PLATE_SIZE[0] * scale, TEETH_PLATE_SIZE[1] * scale
    per_mm = UNITS_PER_MM * PIXELS_PER_UNIT * scale
    widths = [8.4, 6.6, 7.6, 7.0, 7.0, 9.5] if upper else [5.3, 5.8, 6.8, 7.0, 7.0, 10.0]
    shorter = [0.0, 0.9, 0.1, 1.0, 1.4, 1.8] if upper else [0.0, 0.1, -0.2, 0.7, 1.0, 1.4]
    arch = 25.0 if upper else 22.0  # mm, radius of the dental arch
    x = (np.arange(width) + 0.5 - width / 2) / per_mm
    y = ((np.arange(height) + 0.5 - height / 2) / per_mm)[:, None] * (1 if upper else -1)  # grows away from the gum
    angle = np.arcsin(np.clip(np.abs(x) / arch, 0, 0.999))
    along = angle * arch  # mm along the arch from the middle
    edges = np.concatenate([[0], np.cumsum(widths)])
    tooth = np.clip(np.searchsorted(edges, along, "right") - 1, 0, len(widths) - 1)
    inside = (along - edges[tooth]) / np.array(widths)[tooth] * 2 - 1  # -1..1 across a tooth
    bite = -np.array(shorter)[tooth] - 0.9 * np.abs(inside) ** 4 - 0.03 * (along / 5) ** 2
    cover = np.clip((bite[None] - y) * per_mm / scale + 0.5, 0, 1)
    seam = np.clip((np.abs(inside) - 0.86) / 0.14, 0, 1) ** 2
    round_off = 1 - 0.16 * np.abs(inside) ** 2.5 - 0.22 * seam
    turn_away = np.clip(np.cos(angle), 0, 1) ** 1.3
    toward_gum = np.clip((-y - 2.0) / 8.0, 0, 1)
    level = round_off * turn_away * (1 - 0.18 * toward_gum) * (1 - 0.10 * np.clip((y - bite + 1.2) / 1.2, 0, 1))
    tint = np.array([236.0, 221.0, 200.0]) - toward_gum[..., None] * np.array([6.0, 14.0, 26.0])
    color = level[..., None] * tint
    plate = np.dstack([color, cover * (np.abs(x) < 0.97 * arch)]).astype(np.float32)
    return cv2.resize(plate, TEETH_PLATE_SIZE, interpolation=cv2.INTER_AREA)


def render_mouth(
    canvas: np.ndarray, mouth: MouthLayers, ring: np.ndarray, head: np.ndarray, pose: np.ndarray, to_canvas
) -> None:
    """Paint the inside of the mouth into a float32 canvas H×W×3. ring: K×2 inner lips in canvas pixels now; head:
    478×3 the face now in its own frame; to_canvas: maps crop pixels to canvas pixels.
    """
    low = np.maximum(np.floor(ring.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(ring.max(0)).astype(int) + 2, canvas.shape[1::-1])
    if (high - low < 2).any():
        return
    size = int(high[0] - low[0]), int(high[1] - low[1])
    depth = compute_polygon_depth(ring - low, size[::-1])
    lip = max(0.012 * float(np.ptp(ring[:, 0])), 1.0)
    alpha = np.clip(depth / lip, 0, 1)[..., None].astype(np.float32)
    if not alpha.any():
        return
    jaw_drop = mouth.jaw - float(head[JAW_SKIN, 1].mean())
    place = lambda drop: to_canvas(project_mouth_anchors(mouth.anchor, pose, drop)) - low - 0.5  # noqa: E731
    inside = _painted(mouth, size, place, depth, jaw_drop)
    if mouth.photo is not None:
        _lay_photo(inside, mouth, size, place, jaw_drop - (mouth.jaw - mouth.seen_jaw))
    target = canvas[low[1] : high[1], low[0] : high[0]]
    target += alpha * (inside - target)


def _painted(mouth: MouthLayers, size: tuple[int, int], place, depth: np.ndarray, jaw_drop: float) -> np.ndarray:
    unit = float(np.linalg.norm(place(0)[1] - place(0)[0])) / 0.1  # canvas pixels per model unit
    cavity = np.array([46.0, 20.0, 20.0], np.float32)
    inside = np.broadcast_to(cavity, (size[1], size[0], 3)).copy()
    deep = np.clip(depth / (0.06 * unit), 0, 1)[..., None]
    inside *= 1.0 - 0.45 * deep

    tongue_y = mouth.lower - mouth.anchor[1] - jaw_drop + 3.5 * UNITS_PER_MM  # top of the tongue, from the anchor
    rows, columns = np.mgrid[: size[1], : size[0]].astype(np.float32)
    back = cv2.getAffineTransform(place(0).astype(np.float32), np.array([[0, 0], [0.1, 0], [0, 0.1]], np.float32))
    across = back[0, 0] * columns + back[0, 1] * rows + back[0, 2]
    upward = back[1, 0] * columns + back[1, 1] * rows + back[1, 2]
    dome = np.clip(
        1.15
        - (across / (17 * UNITS_PER_MM)) ** 2
        - ((upward - tongue_y + 8 * UNITS_PER_MM) / (10 * UNITS_PER_MM)) ** 2,
        0,
        1,
    )
    groove = 1 - 0.25 * np.exp(-((across / (1.5 * UNITS_PER_MM)) ** 2))
    tongue = np.array([165.0, 84.0, 82.0], np.float32) * (0.40 + 0.5 * dome * groove)[..., None]
    inside += np.clip(dome * 2.5, 0, 1)[..., None] * (tongue - inside)

    for upper in (False, True):
        edge = (mouth.upper if upper else mouth.lower - jaw_drop) - mouth.anchor[1]
        # The plate's middle row lies on the edge; its axes are the mouth's.
        axes = place(-edge)
        half = np.array(TEETH_PLATE_SIZE) / 2 - 0.5
        step = 0.1 * PIXELS_PER_UNIT
        corners = np.array([half, half + [step, 0], half - [0, step]], np.float32)
        matrix = cv2.getAffineTransform(corners, axes.astype(np.float32))
        plate = render_teeth(upper)
        shrink = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
        if shrink < 0.5:  # keep thin seams from sparkling when the mouth is small
            plate = cv2.GaussianBlur(plate, (0, 0), 0.35 / shrink)
        teeth = cv2.warpAffine(plate, matrix, size, flags=cv2.INTER_LINEAR)
        # Teeth stand in the shadow of the lips, the lower row more than the upper.
        warm = np.array([1.0, 1.0, 1.0] if upper else [1.0, 0.92, 0.84], np.float32)  # light that reached the lower row
        lit = (0.42 if upper else 0.32) + 0.32 * np.clip(depth / (0.06 * unit), 0, 1)
        inside += teeth[..., 3:] * (teeth[..., :3] * lit[..., None] * warm - inside)
    inside *= mouth.light
    gray = inside @ LUMA
    return gray[..., None] + mouth.chroma * (inside - gray[..., None])


def _lay_photo(inside: np.ndarray, mouth: MouthLayers, size: tuple[int, int], place, dropped: float) -> None:
    """The photo's own mouth over the painted one: its upper part fixed to the skull, its lower part to the jaw."""
    rows = np.arange(mouth.photo.shape[0], dtype=np.float32)[:, None] + 0.5
    above = np.clip((mouth.split[None] - rows) / max(2.0, 0.03 * mouth.photo.shape[1]) + 0.5, 0, 1)
    source = (mouth.frame - mouth.origin - 0.5).astype(np.float32)
    for share, drop in ((1 - above, dropped), (above, 0.0))[0 if mouth.below else 1 :]:
        layer = mouth.photo.copy()
        layer[..., 3] *= share
        matrix = cv2.getAffineTransform(source, place(drop).astype(np.float32))
        seen = cv2.warpAffine(layer, matrix, size, flags=cv2.INTER_CUBIC)
        inside += np.clip(seen[..., 3:], 0, 1) * (seen[..., :3] - inside)
