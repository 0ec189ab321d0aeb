"""Eyes: the photo's eyeballs without their lids, so that lids can close over them and irises can turn."""

from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.face import camera, topology
from mimaface_cli.face.gaze import IRIS_DISTANCE, eyeball_centers, gaze_direction
from mimaface_cli.motion.rotation import rotation_matrix

SIDES = ("left", "right")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FADED = 0.4  # radii of the iris: moved that far, the photo's own detail of an eye is gone
_DARK = 0.9  # of the white of an eye: what is darker beside the iris belongs to it
_IRIS = {"left": topology.LEFT_IRIS, "right": topology.RIGHT_IRIS}


@dataclass(frozen=True)
class EyeLayers:
    """One eye of the source. white: H×W×3 float32, the eyeball with its iris taken out and continued under the lids;
    iris: H×W×4 float32 (alpha last, 0..1), made whole; radius: its, in pixels; detail: H×W×3 float32, what the photo
    shows beyond those two; lid: H×W×4 float32, the upper lid's skin without its lashes (alpha: where they were);
    height: of the opening in the photo; lash: 3, color of the line where lids meet; origin: left, top of all in
    picture pixels; ball: 3, center of the eyeball in the head's frame; frame: the source's 3 anchor points 3×2 in
    picture pixels; gaze: 2, rad.
    """

    white: np.ndarray
    iris: np.ndarray
    radius: float
    detail: np.ndarray
    lid: np.ndarray
    lash: np.ndarray
    height: float
    origin: np.ndarray
    ball: np.ndarray
    frame: np.ndarray
    gaze: np.ndarray


def project_eye_anchors(ball: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Crop pixels (3×2) of three points fixed to the head on an eyeball's front: middle, to the side, above."""
    radius = IRIS_DISTANCE
    points = ball + np.array([[0, 0, radius], [radius, 0, radius], [0, radius, radius]])
    return camera.project(points @ rotation_matrix(pose[:3]).T + pose[3:])[0]


def project_iris_center(ball: np.ndarray, pose: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Crop pixels (2) of the center of an iris that looks along gaze (yaw, pitch)."""
    point = ball + IRIS_DISTANCE * gaze_direction(*gaze)
    return camera.project((rotation_matrix(pose[:3]) @ point + pose[3:])[None])[0][0]


def build_eye_layers(
    image: np.ndarray,
    ring: np.ndarray,
    landmarks: np.ndarray,
    ball: np.ndarray,
    frame: np.ndarray,
    gaze: np.ndarray,
    side: str,
) -> EyeLayers:
    """Take an eye apart. ring: K×2 lid rim and landmarks: 478×2, both in picture pixels; frame: its anchors there."""
    points = landmarks[_IRIS[side]]
    center = points[0]
    radius = max(float(np.linalg.norm(points[1:] - center, axis=1).mean()), 1.0)
    width = float(np.ptp(ring[:, 0]))
    margin = int(np.ceil(max(0.55 * width, 2.2 * radius))) + 2
    low = np.floor(ring.min(0) - margin).astype(int)
    high = np.ceil(ring.max(0) + margin).astype(int)
    patch = crop_padded(image, low, high).astype(np.float32)
    ring, center = ring - low, center - low
    rows, columns = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    distance = np.hypot(columns + 0.5 - center[0], rows + 0.5 - center[1])

    open_mask = compute_polygon_depth(ring, patch.shape[:2])
    inside = open_mask > 0.06 * width  # well within the lids: neither lashes nor their shadow
    if inside.sum() < 12:
        inside = open_mask > 0
    white, level = estimate_sclera(patch, inside, distance / radius, width)
    colors = complete_iris(patch, inside & (distance <= 1.22 * radius), center, radius)
    alpha = np.clip((1.2 * radius - distance) / (0.15 * radius), 0, 1)
    alpha = alpha * alpha * (3 - 2 * alpha)
    # Beside the circle only what is darker than the white is iris: no halo of white goes along.
    darker = np.clip((0.98 * level - colors @ LUMA) / np.maximum((0.98 - _DARK) * level, 1), 0, 1)
    alpha = (alpha * np.where(distance > 0.95 * radius, darker, 1)).astype(np.float32)[..., None]
    detail = (patch - white - alpha * (colors - white)) * feather_mask(open_mask > 0, 0.03 * width)[..., None]
    rim = np.clip(ring.astype(int), 0, np.array(patch.shape[1::-1]) - 1)
    lashes = patch[rim[:, 1], rim[:, 0]]
    lash = lashes[lashes.sum(1) <= np.quantile(lashes.sum(1), 0.3)].mean(0)
    return EyeLayers(
        white,
        np.dstack([colors, alpha]),
        radius,
        detail,
        remove_lashes(patch, ring, width),
        lash,
        measure_eye_opening(ring),
        low.astype(float),
        ball,
        frame,
        gaze,
    )


def estimate_sclera(
    patch: np.ndarray, inside: np.ndarray, distance: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray]:
    """The white of an eye over a whole patch H×W×3, as if there were no iris, and how bright (H×W) it is where nothing
    shades it. inside: H×W, the opening; distance: H×W from the iris's middle, in its radii; width: the eye's.
    """
    luma, seen = patch @ LUMA, inside & (distance > 1.22)
    # An iris ends softly and not quite where landmarks say: what is darker than the white beside it is still iris.
    clear = diffuse_colors(patch, seen & (luma >= np.median(luma[seen])), width) if seen.any() else None
    if clear is not None:
        seen &= (luma > _DARK * (clear @ LUMA)) | (distance > 1.8)
    white = diffuse_colors(patch, seen, width)
    if white is None:  # a narrow or closed eye shows no white: a dull one in the picture's own light
        around = np.median(patch.reshape(-1, 3), axis=0)
        white = np.broadcast_to(0.5 * around + 0.5 * around.mean() + 18, patch.shape).astype(np.float32)
    level = (white if clear is None else clear) @ LUMA
    # Under the lids it is darker: what appears there when the eye opens wider lies in their shadow.
    away = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3) / (0.16 * width)
    white = white * (1 - 0.30 * np.clip(away, 0, 1))[..., None]
    keep = feather_mask(seen, 0.05 * width)[..., None]
    return white * (1 - keep) + patch * keep, level


def measure_eye_opening(ring: np.ndarray) -> float:
    """Height of a lid rim (K×2) at its middle, in its own pixels."""
    half = len(ring) // 2
    return float(np.linalg.norm(ring[half // 2] - ring[half + half // 2]))


def select_upper_lid(ring: np.ndarray) -> np.ndarray:
    """The upper half of a lid rim, corner to corner."""
    return np.concatenate([ring[len(ring) // 2 :], ring[:1]])


def remove_lashes(patch: np.ndarray, ring: np.ndarray, width: float) -> np.ndarray:
    """Lid skin over the rim with dark pixels (lashes, their shadow, make-up) replaced by the skin around them. A
    closing lid is stretched: lashes left in it would smear over the whole eye.
    """
    upper, middle = select_upper_lid(ring), ring.mean(0)
    away = upper - middle
    lifted = upper + away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6) * 0.30 * width
    opened = compute_polygon_depth(ring, patch.shape[:2]) > 0
    band = (compute_polygon_depth(np.concatenate([upper, lifted[::-1]]), patch.shape[:2]) > 0) & ~opened
    luma = patch @ LUMA
    # The skin's own level: the white of the eye may be far brighter.
    skin_level = np.quantile(luma[band], 0.7) if band.any() else luma.mean()
    skin = diffuse_colors(patch, band & (luma > 0.8 * skin_level), width)
    if skin is None:
        return np.dstack([patch, np.zeros(luma.shape, np.float32)])
    deficit = (skin @ LUMA - luma) / max(float(skin_level), 1.0)
    dark = np.clip((deficit - 0.14) / 0.18, 0, 1)  # a shaded or painted lid stays as it is, lashes go
    alpha = cv2.GaussianBlur(np.where(opened, 1.0, dark * band).astype(np.float32), (0, 0), max(0.02 * width, 0.6))
    return np.dstack([skin, alpha]).astype(np.float32)


def complete_iris(patch: np.ndarray, seen: np.ndarray, center: np.ndarray, radius: float) -> np.ndarray:
    """The iris where lids hide it: its mirror image where that is seen, else the mean color at that radius."""
    height, width = seen.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(columns + 0.5 - center[0], rows + 0.5 - center[1]) / radius
    bins = np.clip((distance * 10).astype(int), 0, 14)
    profile = np.zeros((15, 3), np.float32)
    known = np.zeros(15, bool)
    for k in range(15):
        ring = seen & (bins == k)
        if ring.sum() >= 3:
            profile[k], known[k] = np.median(patch[ring], axis=0), True
    if not known.any():  # eyes shut in the photo: a dark brown iris with a lighter rim
        tone = np.median(patch.reshape(-1, 3), axis=0) * 0.35
        profile[:] = tone
        profile[:4] = tone * 0.3
    else:
        index = np.arange(15)
        for channel in range(3):
            profile[:, channel] = np.interp(index, index[known], profile[known, channel])
    filled = profile[bins]
    for flip_x, flip_y in ((False, True), (True, False), (True, True)):
        map_x = 2 * center[0] - columns - 1 if flip_x else columns
        map_y = 2 * center[1] - rows - 1 if flip_y else rows
        mirrored = cv2.remap(patch, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR)
        there = cv2.remap(seen.astype(np.float32), map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR)
        share = (feather_mask(there > 0.99, 0.12 * radius) * 0.6)[..., None]
        filled = filled * (1 - share) + mirrored * share
    keep = feather_mask(seen, 0.1 * radius)[..., None]
    return (filled * (1 - keep) + patch * keep).astype(np.float32)


def crop_padded(image: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """image[low:high] in (x, y) corners, with its edge pixels repeated beyond the picture."""
    columns = np.clip(np.arange(low[0], high[0]), 0, image.shape[1] - 1)
    rows = np.clip(np.arange(low[1], high[1]), 0, image.shape[0] - 1)
    return image[np.ix_(rows, columns)]


def compute_polygon_depth(ring: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """For each pixel of a picture, how deep inside a closed polygon (K×2 pixels) it lies; 0 outside. Anti-aliased."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round((ring - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    depth = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)
    return np.maximum(depth - 1 + mask / 255.0, 0.0) * (mask > 0)


def feather_mask(mask: np.ndarray, width: float) -> np.ndarray:
    """A soft version of a bool mask that falls to 0 at its edge within `width` pixels inside it."""
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    return np.clip(depth / max(width, 1.0), 0, 1).astype(np.float32)


def diffuse_colors(patch: np.ndarray, seen: np.ndarray, reach: float) -> np.ndarray | None:
    """Spread the seen pixels' colors over a whole patch, near ones first; None when almost nothing is seen."""
    if seen.sum() < 8:
        return None
    weight = seen.astype(np.float32)
    filled = np.zeros_like(patch)
    done = np.zeros(seen.shape, np.float32)
    for sigma in (0.04 * reach, 0.12 * reach, 0.4 * reach, 2.0 * reach):
        sigma = max(sigma, 0.7)
        spread = cv2.GaussianBlur(weight, (0, 0), sigma)
        color = cv2.GaussianBlur(patch * weight[..., None], (0, 0), sigma) / np.maximum(spread, 1e-6)[..., None]
        share = np.clip(spread / 0.15, 0, 1) * (1 - done)
        filled += color * share[..., None]
        done += share
    return filled + (1 - done)[..., None] * (patch[seen].mean(0))


def render_eye(
    canvas: np.ndarray, where: np.ndarray, eye: EyeLayers, ring: np.ndarray, frame: np.ndarray, shift: np.ndarray
) -> None:
    """Paint an eye into a float32 canvas H×W×3. where: H×W×2, the photo's pixel under each of the canvas; ring: K×2
    lids and frame: 3×2 anchors in canvas pixels now; shift: 2, how far the iris has moved in the photo's pixels.
    """
    width = float(np.linalg.norm(ring.max(0) - ring.min(0)))
    beside, above = int(0.4 * width) + 2, int(0.55 * width) + 2
    low = np.maximum(np.floor(ring.min(0)).astype(int) - [beside, above], 0)
    high = np.minimum(np.ceil(ring.max(0)).astype(int) + [beside, 3], canvas.shape[1::-1])
    if (high - low < 2).any():
        return
    size = int(high[0] - low[0]), int(high[1] - low[1])
    depth = compute_polygon_depth(ring - low, size[::-1])
    box = np.s_[low[1] : high[1], low[0] : high[0]]
    target = canvas[box]
    scale = float(np.linalg.norm(frame[1] - frame[0]) / max(np.linalg.norm(eye.frame[1] - eye.frame[0]), 1e-6))
    shut = float(np.clip((0.92 - measure_eye_opening(ring) / max(eye.height * scale, 1e-6)) / 0.45, 0, 1))
    if shut > 0:
        lid = cv2.remap(eye.lid, where[box] - eye.origin.astype(np.float32), None, cv2.INTER_LINEAR)
        target += shut * lid[..., 3:] * (lid[..., :3] - target)
        _draw_line(target, select_upper_lid(ring) - low, eye.lash, max(0.035 * width, 1.0), shut)
    alpha = np.clip((depth - 0.012 * width) / max(0.045 * width, 1.0), 0, 1)[..., None].astype(np.float32)
    if not alpha.any():
        return
    to_canvas = cv2.getAffineTransform(
        (eye.frame - eye.origin - 0.5).astype(np.float32), (frame - low - 0.5).astype(np.float32)
    )
    flags = cv2.INTER_CUBIC
    ball = cv2.warpAffine(eye.white, to_canvas, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    moved = to_canvas.copy()
    moved[:, 2] += to_canvas[:, :2] @ shift
    iris = cv2.warpAffine(eye.iris, moved, size, flags=flags, borderMode=cv2.BORDER_CONSTANT)
    cover = np.clip(iris[..., 3:], 0, 1)
    ball = ball * (1 - cover) + iris[..., :3] * cover
    # Shadows, glints and the iris's own edge are where they are in the photo: they fade as the eye looks elsewhere.
    kept = 1 - float(np.linalg.norm(shift)) / (_FADED * eye.radius)
    if kept > 0:
        ball += kept * cv2.warpAffine(
            eye.detail, to_canvas, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        )
    target += alpha * (ball - target)


def _draw_line(target: np.ndarray, line: np.ndarray, color: np.ndarray, thickness: float, strength: float) -> None:
    mask = np.zeros(target.shape[:2], np.uint8)
    points = np.round((line - 0.5) * 16).astype(np.int32)
    cv2.polylines(mask, [points], False, 255, max(1, round(thickness)), cv2.LINE_AA, 4)
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.3 * thickness, 0.5)).astype(np.float32) / 255.0
    target += (strength * mask)[..., None] * (color.astype(np.float32) - target)


def locate_eyeballs(head: np.ndarray) -> dict[str, np.ndarray]:
    """Centers of both eyeballs in the head's frame, by side."""
    return dict(zip(SIDES, eyeball_centers(head)))
