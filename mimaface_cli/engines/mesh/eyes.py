"""Eyes: the photo's eyeballs without their lids, so that lids can close over them and irises can turn."""

from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.engines.mesh.image_patch import (
    LUMA,
    MIN_VISIBLE_PIXELS,
    SUBPIXEL_BITS,
    compute_polygon_depth,
    crop_padded,
    diffuse_colors,
    feather_mask,
    to_subpixels,
)
from mimaface_cli.engines.mesh.iris_completion import complete_iris, draw_iris
from mimaface_cli.face import camera, topology
from mimaface_cli.face.gaze import IRIS_DISTANCE, eyeball_centers, gaze_direction
from mimaface_cli.face.sampling import sample_image
from mimaface_cli.motion.easing import smoothstep
from mimaface_cli.motion.rotation import rotation_matrix

SIDES = ("left", "right")
_LEAST_IRIS_WIDTH = 0.78  # of an iris that is seen from the side, relative to its height; narrower ones look slit
_DETAIL_REACH = 0.4  # iris radii: after this much iris movement the photo's detail of the eye has faded out
_STRAND = 0.045  # eye widths: half the width of the strands of lashes that are removed from the lid
_SHUT, _SLIT = 0.03, 0.12  # range of openness over which the eyeball appears between the lids
# The sclera under the iris: quantile of the visible sclera's luma that counts as white, share of its tint that is
# removed, its least level relative to the skin, limit of that correction; the lids' shadow, and reaches in eye widths.
_WHITE_QUANTILE, _WHITE_PALLOR, _WHITE_SKIN_SHARE, _MAX_WHITENING = 0.7, 0.35, 1.05, 2.0
_LID_SHADOW, _SHADOW_REACH, _WHITE_REACH = 0.12, 0.12, 0.1
_IRIS_LUMA_SHARE = 0.9  # of the sclera's luma: darker pixels beside the iris belong to the iris
_LASH_SHARE = 0.7  # of the color of the lid rim: lashes are thinner than pixels, which mix them with skin
_LASH_TAPER, _LASH_END = 0.12, 0.5  # share of the lash line that fades toward each end, and its opacity there
_FRONT, _IRIS = slice(0, 3), slice(3, 6)  # rows of the anchor points
_IRIS_LANDMARKS = {"left": topology.LEFT_IRIS, "right": topology.RIGHT_IRIS}


@dataclass(frozen=True)
class EyeLayers:
    """One eye of the photo, separated into layers. All images share one patch of H×W pixels.

    Attributes:
        sclera: (H, W, 3) float32, the eyeball without its iris, continued under the lids.
        iris: (H, W, 4) float32, the whole iris; alpha last, 0 to 1.
        radius: Radius of the iris in pixels.
        detail: (H, W, 3) float32, the difference between the photo and the two layers above.
        lid: (H, W, 4) float32, the upper lid's skin without its lashes; alpha: where the lashes were.
        lash_color: (3,) color of the line where the lids meet.
        open_height: Height of the opening in the photo, in pixels.
        origin: (2,) left, top of the patch in image pixels.
        ball: (3,) center of the eyeball in the head's frame.
        anchors: (6, 2) anchor points of eyeball and iris in image pixels, see `project_eye_anchors`.
    """

    sclera: np.ndarray
    iris: np.ndarray
    radius: float
    detail: np.ndarray
    lid: np.ndarray
    lash_color: np.ndarray
    open_height: float
    origin: np.ndarray
    ball: np.ndarray
    anchors: np.ndarray


def locate_eyeballs(head: np.ndarray) -> dict[str, np.ndarray]:
    """Locate the centers of both eyeballs, by side, in the frame of a head (478, 3)."""
    return dict(zip(SIDES, eyeball_centers(head), strict=True))


def project_eye_anchors(ball: np.ndarray, pose: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Project three points fixed to the head on an eyeball's front, and three on its iris: middle, to the side, above.

    A turned iris is a narrow ellipse.

    Args:
        ball: (3,) center of the eyeball in the head's frame.
        pose: (6,) pose of the head.
        gaze: (2,) yaw and pitch of the eye, radians.

    Returns:
        (6, 2) crop pixels.
    """
    radius, rotation = IRIS_DISTANCE, rotation_matrix(pose[:3])
    front = ball + np.array([[0, 0, radius], [radius, 0, radius], [0, radius, radius]])
    direction = gaze_direction(*gaze)
    side = np.array([np.cos(gaze[0]), 0, -np.sin(gaze[0])])
    axes = rotation[:2] @ np.stack([side, np.cross(direction, side)], -1)
    left, widths, right = np.linalg.svd(axes)
    axes = left @ np.diag(np.maximum(widths, _LEAST_IRIS_WIDTH)) @ right
    middle = rotation @ (ball + radius * direction)
    iris = middle + radius * np.array([[0, 0, 0], [*axes[:, 0], 0], [*axes[:, 1], 0]])
    return camera.project(np.concatenate([front @ rotation.T, iris]) + pose[3:])[0]


def project_iris_center(ball: np.ndarray, pose: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Project the center of an iris that looks along `gaze` (yaw, pitch in radians) to crop pixels (2,)."""
    point = ball + IRIS_DISTANCE * gaze_direction(*gaze)
    return camera.project((rotation_matrix(pose[:3]) @ point + pose[3:])[None])[0][0]


def build_eye_layers(
    image: np.ndarray,
    ring: np.ndarray,
    landmarks: np.ndarray,
    ball: np.ndarray,
    anchors: np.ndarray,
    side: str,
) -> EyeLayers:
    """Separate an eye of a photo into layers.

    Args:
        image: (H, W, 3) uint8 photo.
        ring: (K, 2) rim of the lids in image pixels: lower half first, corner to corner.
        landmarks: (478, 2) landmarks in image pixels.
        ball: (3,) center of the eyeball in the head's frame.
        anchors: (6, 2) anchor points of eyeball and iris in image pixels, see `project_eye_anchors`.
        side: "left" or "right".
    """
    points = landmarks[_IRIS_LANDMARKS[side]]
    center = points[0]
    radius = max(float(np.linalg.norm(points[1:] - center, axis=1).mean()), 1.0)
    width = float(np.ptp(ring[:, 0]))
    margin = int(np.ceil(max(0.55 * width, 2.2 * radius))) + 2
    low = np.floor(ring.min(0) - margin).astype(int)
    high = np.ceil(ring.max(0) + margin).astype(int)
    patch = crop_padded(image, low, high).astype(np.float32)
    ring, center = ring - low, center - low
    distance = _distance_from(center, patch.shape[:2])

    depth = compute_polygon_depth(ring, patch.shape[:2])
    inside = depth > 0.06 * width  # well within the lids: no lashes and no shadow of theirs
    if inside.sum() < 12:
        inside = depth > 0
    sclera, level = estimate_sclera(patch, inside, distance / radius, width)
    colors = complete_iris(patch, inside & (distance <= 1.22 * radius), center, radius)
    alpha = _iris_alpha(draw_iris(patch @ LUMA, inside, distance / radius, level), colors, level, distance / radius)
    photo = feather_mask(depth > 0, 0.03 * width)[..., None]
    detail = (patch - sclera - alpha * (colors - sclera)) * photo
    return EyeLayers(
        sclera=sclera,
        iris=np.dstack([colors, alpha]),
        radius=radius,
        detail=detail,
        lid=remove_lashes(patch, ring, width),
        lash_color=_estimate_lash_color(patch, ring),
        open_height=measure_eye_opening(ring),
        origin=low.astype(float),
        ball=ball,
        anchors=anchors,
    )


def _distance_from(center: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Distance of each pixel's center from a point, in pixels."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.hypot(columns + 0.5 - center[0], rows + 0.5 - center[1])


def _iris_alpha(disk: np.ndarray, colors: np.ndarray, level: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Alpha (H, W, 1) of the iris: its disk (H, W), and at the edge only what is darker than the sclera.

    The second condition keeps a halo of sclera from moving with the iris. distance: (H, W) from the center, in radii.
    """
    darkness = (0.98 * level - colors @ LUMA) / np.maximum((0.98 - _IRIS_LUMA_SHARE) * level, 1)
    darker = cv2.GaussianBlur(np.clip(darkness, 0, 1).astype(np.float32), (0, 0), 0.7)
    return (disk * np.where(distance > 0.95, darker, 1)).astype(np.float32)[..., None]


def _estimate_lash_color(patch: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Color (3,) of closed lashes, from the darkest 30 % of the pixels on the lid rim."""
    rim = np.clip(ring.astype(int), 0, np.array(patch.shape[1::-1]) - 1)
    lashes = patch[rim[:, 1], rim[:, 0]]
    return _LASH_SHARE * lashes[lashes.sum(1) <= np.quantile(lashes.sum(1), 0.3)].mean(0)


def estimate_sclera(
    patch: np.ndarray, inside: np.ndarray, distance: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the sclera over a whole patch as if there were no iris.

    Args:
        patch: (H, W, 3) float32 colors.
        inside: (H, W) bool mask of the opening.
        distance: (H, W) distance from the iris's center, in iris radii.
        width: Width of the eye in pixels.

    Returns:
        The sclera (H, W, 3), and its unshaded luma (H, W).
    """
    luma, visible = patch @ LUMA, inside & (distance > 1.22)
    # An iris ends softly and not exactly where landmarks put it: darker pixels beside the sclera are still iris.
    unshaded = None
    if visible.any():
        unshaded = diffuse_colors(patch, visible & (luma >= np.median(luma[visible])), width)
    if unshaded is not None:
        visible &= (luma > _IRIS_LUMA_SHARE * (unshaded @ LUMA)) | (distance > 1.8)
    sclera = diffuse_colors(patch, visible, width)
    if sclera is None:  # a narrow or closed eye shows no sclera: use a dull one in the patch's own light
        median = np.median(patch.reshape(-1, 3), axis=0)
        sclera = np.broadcast_to(0.5 * median + 0.5 * median.mean() + 18, patch.shape).astype(np.float32)
    level = (sclera if unshaded is None else unshaded) @ LUMA
    sclera = _whiten_hidden_sclera(patch, sclera, visible, inside, width)
    # Under the lids it is darker: the part that appears when the eye opens wider lies in their shadow.
    hidden_depth = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3) / (0.16 * width)
    sclera = sclera * (1 - 0.30 * np.clip(hidden_depth, 0, 1))[..., None]
    photo = feather_mask(visible, 0.05 * width)[..., None]
    return sclera * (1 - photo) + patch * photo, level


def _whiten_hidden_sclera(
    patch: np.ndarray, sclera: np.ndarray, visible: np.ndarray, inside: np.ndarray, width: float
) -> np.ndarray:
    """Return the sclera (H, W, 3) with the color of its brightest visible part where the iris covers it.

    What is visible beside an iris lies in the shadow of lids and lashes, but the middle of an eyeball does not.
    """
    if visible.sum() < MIN_VISIBLE_PIXELS:
        return sclera
    luma = patch @ LUMA
    bright = visible & (luma >= np.quantile(luma[visible], _WHITE_QUANTILE))
    white = patch[bright].mean(0)
    level = float(white @ LUMA)
    skin_level = float(np.median(luma[~inside]))
    white = white + _WHITE_PALLOR * (level - white)
    white = white * np.clip(_WHITE_SKIN_SHARE * skin_level / max(level, 1.0), 1.0, _MAX_WHITENING)
    inner_depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3) / (_SHADOW_REACH * width)
    shade = 1 - _LID_SHADOW * (1 - np.clip(inner_depth, 0, 1))[..., None]
    covered = cv2.distanceTransform((~visible).astype(np.uint8), cv2.DIST_L2, 3) / (_WHITE_REACH * width)
    share = np.clip(covered, 0, 1)[..., None]
    return (sclera + share * (white * shade - sclera)).astype(np.float32)


def measure_eye_opening(ring: np.ndarray) -> float:
    """Measure the height of a lid rim (K, 2) at its middle, in the rim's pixels."""
    half = len(ring) // 2
    return float(np.linalg.norm(ring[half // 2] - ring[half + half // 2]))


def select_upper_lid(ring: np.ndarray) -> np.ndarray:
    """Select the upper half of a lid rim, from corner to corner."""
    return np.concatenate([ring[len(ring) // 2 :], ring[:1]])


def remove_lashes(patch: np.ndarray, ring: np.ndarray, width: float) -> np.ndarray:
    """Replace dark pixels above the lid rim (lashes, their shadow, make-up) by the skin around them.

    A closing lid is stretched: lashes left in it would smear over the whole eye.

    Args:
        patch: (H, W, 3) float32 colors.
        ring: (K, 2) lid rim in patch pixels.
        width: Width of the eye in pixels.

    Returns:
        (H, W, 4) float32: skin, and alpha where it replaces the photo.
    """
    upper, middle = select_upper_lid(ring), ring.mean(0)
    outward = upper - middle
    lifted = upper + outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6) * 0.30 * width
    opened = compute_polygon_depth(ring, patch.shape[:2]) > 0
    lid = compute_polygon_depth(np.concatenate([upper, lifted[::-1]]), patch.shape[:2]) > 0
    band = lid & ~opened
    luma = patch @ LUMA
    # The skin's own level: the sclera may be far brighter.
    skin_level = np.quantile(luma[band], 0.7) if band.any() else luma.mean()
    skin = diffuse_colors(patch, band & (luma > 0.8 * skin_level), width)
    if skin is None:
        return np.dstack([patch, np.zeros(luma.shape, np.float32)])
    deficit = (skin @ LUMA - luma) / max(float(skin_level), 1.0)
    # A shaded or painted lid stays, lashes go; softly toward the corners, where the lid ends.
    soft = feather_mask(lid | opened, 0.12 * width)
    combed = _comb_lashes(patch, width)
    contrast = (combed - patch) @ LUMA / max(float(skin_level), 1.0)
    masks = np.dstack(
        [
            np.where(opened, 1.0, np.clip((deficit - 0.14) / 0.18, 0, 1) * soft * band),
            np.clip((contrast - 0.02) / 0.05, 0, 1) * soft * band,
        ]
    )
    dark, strand = np.moveaxis(cv2.GaussianBlur(masks.astype(np.float32), (0, 0), max(0.02 * width, 0.6)), 2, 0)
    color = combed + dark[..., None] * (skin - combed)
    return np.dstack([color, np.maximum(dark, np.minimum(1.5 * strand, 1))]).astype(np.float32)


def _comb_lashes(patch: np.ndarray, width: float) -> np.ndarray:
    """Return colors (H, W, 3) without thin dark strands across the rows, such as single lashes."""
    side = 2 * max(1, round(_STRAND * width)) + 1
    closed = cv2.morphologyEx(patch, cv2.MORPH_CLOSE, np.ones((1, side), np.uint8))
    return cv2.GaussianBlur(closed, (0, 0), max(_STRAND * width / 2, 0.6))


def render_eye(
    canvas: np.ndarray,
    photo_map: np.ndarray,
    eye: EyeLayers,
    ring: np.ndarray,
    anchors: np.ndarray,
) -> None:
    """Render an eye into a canvas, in place.

    Args:
        canvas: (H, W, 3) float32 frame in progress.
        photo_map: (H, W, 2) float32, the photo's pixel under each pixel of the canvas.
        eye: The eye's layers.
        ring: (K, 2) rim of the lids in canvas pixels, in this frame.
        anchors: (6, 2) anchor points of eyeball and iris in canvas pixels, in this frame.
    """
    width = float(np.linalg.norm(ring.max(0) - ring.min(0)))
    beside, above = int(0.4 * width) + 2, int(0.55 * width) + 2
    low = np.maximum(np.floor(ring.min(0)).astype(int) - np.array([beside, above]), 0)
    high = np.minimum(np.ceil(ring.max(0)).astype(int) + np.array([beside, 3]), canvas.shape[1::-1])
    if (high - low < 2).any():
        return
    size = int(high[0] - low[0]), int(high[1] - low[1])
    depth = compute_polygon_depth(ring - low, size[::-1])
    box = np.s_[low[1] : high[1], low[0] : high[0]]
    target = canvas[box]
    scale = float(np.linalg.norm(anchors[1] - anchors[0]))
    scale /= max(float(np.linalg.norm(eye.anchors[1] - eye.anchors[0])), 1e-6)
    openness = measure_eye_opening(ring) / max(eye.open_height * scale, 1e-6)
    closure = float(np.clip((0.92 - openness) / 0.45, 0, 1))
    if closure > 0:
        lid = sample_image(eye.lid, photo_map[box] - eye.origin.astype(np.float32))
        target += closure * lid[..., 3:] * (lid[..., :3] - target)
        _render_lash_line(target, select_upper_lid(ring) - low, eye.lash_color, max(0.035 * width, 1.0), closure)
    alpha = np.clip((depth - 0.012 * width) / max(0.045 * width, 1.0), 0, 1)[..., None].astype(np.float32)
    alpha *= float(np.clip((openness - _SHUT) / (_SLIT - _SHUT), 0, 1))
    if alpha.any():
        target += alpha * (_render_eyeball(eye, anchors - low, size) - target)


def _render_eyeball(eye: EyeLayers, anchors: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Render sclera, iris and detail of an eye; anchors and size (width, height) are those of the target box."""
    start, end = (points.astype(np.float32) for points in (eye.anchors - eye.origin - 0.5, anchors - 0.5))
    to_canvas, iris_to_canvas = (cv2.getAffineTransform(start[part], end[part]) for part in (_FRONT, _IRIS))
    shift = np.linalg.solve(to_canvas[:, :2], end[3] - to_canvas[:, 2]) - start[3]
    flags = cv2.INTER_CUBIC
    ball = cv2.warpAffine(eye.sclera, to_canvas, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    iris = cv2.warpAffine(eye.iris, iris_to_canvas, size, flags=flags, borderMode=cv2.BORDER_CONSTANT)
    cover = np.clip(iris[..., 3:], 0, 1)
    ball = ball * (1 - cover) + iris[..., :3] * cover
    # Shadows, glints and the edge of the iris stay where they are in the photo: they fade as the eye looks elsewhere.
    strength = 1 - float(np.linalg.norm(shift)) / (_DETAIL_REACH * eye.radius)
    if strength > 0:
        detail = cv2.warpAffine(eye.detail, to_canvas, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        ball = ball + strength * detail
    return ball


def _render_lash_line(
    target: np.ndarray, line: np.ndarray, color: np.ndarray, thickness: float, strength: float
) -> None:
    """Blend a soft line into the target, in place; it fades toward its ends."""
    stroke = np.zeros(target.shape[:2], np.uint8)
    corners = to_subpixels(line)
    length = np.cumsum(np.append(0, np.linalg.norm(np.diff(line, axis=0), axis=1)))
    middle = (length[1:] + length[:-1]) / 2 / max(float(length[-1]), 1e-6)
    levels = _LASH_END + (1 - _LASH_END) * smoothstep(np.minimum(middle, 1 - middle) / _LASH_TAPER)
    for k in np.argsort(levels):  # the darkest part last: strokes overlap
        level = (round(255 * float(levels[k])),)
        cv2.line(stroke, corners[k], corners[k + 1], level, max(1, round(thickness)), cv2.LINE_AA, SUBPIXEL_BITS)
    blurred = cv2.GaussianBlur(stroke, (0, 0), max(0.3 * thickness, 0.5))
    mask = blurred.astype(np.float32) / 255.0
    target += (strength * mask)[..., None] * (color.astype(np.float32) - target)
