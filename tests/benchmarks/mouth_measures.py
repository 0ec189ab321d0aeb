"""Measures of the mouth benchmark: error and sharpness of the mouth, flicker, and jitter of what is inside.

Images are RGB. Landmarks are MediaPipe's 478, in pixels. Lengths are relative to the distance of the outer eye corners.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from mimaface_cli.face import topology
from tests.benchmarks.quality_measures import MOUTH_MARGIN, MOUTH_OUTLINE, eye_distance, landmark_box

SSIM_WINDOW = 7  # pixels
PEAK = 255.0
OPEN_GAP = 0.05  # inner-lip gap from which a mouth counts as open
LIP_INSET = 0.01  # depth by which measures inside the lips keep away from their edge
MIN_PIXELS = 24  # a smaller opening is not measured
# Landmarks that move with the skull: corners of the eyes, the ridge, tip and sides of the nose, the forehead.
SKULL = np.array([33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 98, 327, 9, 8, 151, 10, 107, 336, 109, 338])
SKULL_CROP = (192, 128)  # width, height in pixels
SKULL_CROP_EYES = 175.0  # distance of the eyes in a skull crop, pixels: the mouth is about half of the crop wide
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def to_luma(image: np.ndarray) -> np.ndarray:
    """Return the luma (..., H, W) float32, 0 to 255, of images (..., H, W, 3)."""
    return image.astype(np.float32) @ _LUMA


def lip_gap(points: np.ndarray) -> float:
    """Return the distance of the inner lips, relative to that of the eyes."""
    gap = np.linalg.norm(points[topology.UPPER_LIP] - points[topology.LOWER_LIP])
    return float(gap / eye_distance(points[None])[0])


def mouth_box(points: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return rows and columns of the mouth with a margin, within an image."""
    margin = MOUTH_MARGIN * float(eye_distance(points[None])[0])
    return landmark_box(points[list(MOUTH_OUTLINE)], margin, shape)


def inner_lip_mask(points: np.ndarray, shape: tuple[int, ...], inset: float = 0.0) -> np.ndarray:
    """Return the inside (H, W) bool of the inner lips.

    Args:
        points: (478, 2) landmarks.
        shape: Height and width of the image.
        inset: Width of the rim to leave out, relative to the distance of the eyes.
    """
    mask = np.zeros(shape[:2], np.uint8)
    # Landmarks have pixel centers at i + 0.5; fillPoly has them at i, with 4 fractional bits here.
    ring = np.round((points[topology.INNER_LIPS] - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [ring], 1, shift=4)
    radius = round(inset * float(eye_distance(points[None])[0]))
    if radius:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        return cv2.erode(mask, kernel) > 0
    return mask > 0


def psnr_of_error(squared_error: float) -> float:
    """Return the PSNR in dB of a mean squared error."""
    return float(10 * np.log10(PEAK**2 / max(squared_error, 1e-6)))


def compare_mouths(result: np.ndarray, truth: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """Compare the mouth of a frame with the true one.

    Args:
        result: (H, W, 3) uint8.
        truth: (H, W, 3) uint8.
        points: (478, 2) landmarks of the true frame.

    Returns:
        "PSNR" and "SSIM" of the mouth's box, as in scikit-image with a window of SSIM_WINDOW; "sharpness", the gradient
        energy of the box relative to the true one. For an open mouth also "inner error", the mean squared error inside
        the true inner lips, and "inner sharpness". Empty for a mouth smaller than the window.
    """
    box = mouth_box(points, truth.shape)
    first, second = result[box], truth[box]
    if min(first.shape[:2]) < SSIM_WINDOW:
        return {}
    error = float(((first.astype(np.float32) - second) ** 2).mean())
    values = {
        "PSNR": psnr_of_error(error),
        "SSIM": float(structural_similarity(second, first, channel_axis=2, win_size=SSIM_WINDOW)),
        "sharpness": sharpness_ratio(first, second),
    }
    corner = np.array([box[1].start, box[0].start])
    inside = inner_lip_mask(points - corner, first.shape)
    if lip_gap(points) >= OPEN_GAP and inside.sum() >= MIN_PIXELS:
        difference = first[inside].astype(np.float32) - second[inside]
        values["inner error"] = float((difference**2).mean())
        core = inner_lip_mask(points - corner, first.shape, LIP_INSET)
        if core.sum() >= MIN_PIXELS:
            values["inner sharpness"] = sharpness_ratio(first, second, core)
    return values


def sharpness_ratio(result: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Return the gradient energy of an image relative to that of the true one.

    Args:
        result: (H, W, 3) uint8.
        truth: (H, W, 3) uint8.
        mask: (H, W) bool, pixels that count; None for all.
    """
    energies = []
    for image in (result, truth):
        luma = to_luma(image)
        energy = cv2.Sobel(luma, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(luma, cv2.CV_32F, 0, 1) ** 2
        energies.append(float(energy.mean() if mask is None else energy[mask].mean()))
    return energies[0] / max(energies[1], 1e-6)


def measure_flicker(frames: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Measure how much the pixels of a still scene change over time.

    Args:
        frames: (N, H, W, 3) uint8.
        mask: (H, W) bool, pixels that count.

    Returns:
        Standard deviation over time in gray levels, as the mean over the pixels, and the same relative to the contrast:
        the standard deviation over the pixels of the mean frame.
    """
    luma = to_luma(frames)[:, mask]
    deviation = float(luma.std(0).mean())
    return deviation, deviation / max(float(luma.mean(0).std()), 1.0)


def skull_affine(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the affine (2, 3) from pixels of an image to a skull crop.

    In skull crops of the frames of one video, what is attached to the skull stays where it is, up to parallax.

    Args:
        points: (478, 2) landmarks of the frame.
        reference: (478, 2) landmarks of the video's reference frame, which defines the crop: upright, scaled by the
            distance of the eyes, with the mouth in the middle.
    """
    first, second = reference[33], reference[263]
    direction = (second - first) / np.linalg.norm(second - first)
    scale = SKULL_CROP_EYES / np.linalg.norm(second - first)
    upright = scale * np.array([direction, [-direction[1], direction[0]]])
    offset = np.array(SKULL_CROP) / 2 - upright @ reference[list(MOUTH_OUTLINE)].mean(0)
    target = reference[SKULL] @ upright.T + offset
    source = np.hstack([points[SKULL], np.ones((len(SKULL), 1))])
    return np.linalg.lstsq(source, target, rcond=None)[0].T


def warp_crop(image: np.ndarray, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a crop (height, width, 3) of an image, without aliasing.

    Args:
        image: (H, W, 3) uint8.
        affine: (2, 3) from coordinates of the image to those of the crop, pixel centers at i + 0.5.
        size: Width and height of the crop.
    """
    scale = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    if scale < 1:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
    matrix = affine.copy()
    matrix[:, 2] += affine[:, :2] @ [0.5, 0.5] - 0.5
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class SkullCrops:
    """The mouth of a video, in crops that are fixed to the skull.

    Attributes:
        images: (H, W, 3) uint8 of each frame.
        inside: (H, W) bool of each frame, inside of the mouth; empty where it is closed or not detected.
        skin: (H, W) bool of each frame, what is above the lips and beside them.
    """

    images: list[np.ndarray]
    inside: list[np.ndarray]
    skin: list[np.ndarray]


def crop_to_skull(frames: list[np.ndarray], points: list[np.ndarray | None], reference: np.ndarray) -> SkullCrops:
    """Return skull crops of a video.

    Args:
        frames: (H, W, 3) uint8.
        points: (478, 2) landmarks of each frame, or None.
        reference: (478, 2) landmarks of the frame that defines the crop.
    """
    crops = SkullCrops([], [], [])
    size = SKULL_CROP[::-1]
    for frame, landmarks in zip(frames, points, strict=True):
        image, inside, skin = np.zeros((*size, 3), np.uint8), np.zeros(size, bool), np.zeros(size, bool)
        if landmarks is not None:
            affine = skull_affine(landmarks, reference)
            image = warp_crop(frame, affine, SKULL_CROP)
            moved = landmarks @ affine[:, :2].T + affine[:, 2]
            if lip_gap(landmarks) >= OPEN_GAP:
                inside = inner_lip_mask(moved, size, LIP_INSET)
            skin = _mask_skin(moved, size)
        for series, value in ((crops.images, image), (crops.inside, inside), (crops.skin, skin)):
            series.append(value)
    return crops


def _mask_skin(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the part (height, width) bool of a skull crop above the corners of the mouth and outside the lips."""
    lips = np.zeros(size, np.uint8)
    hull = cv2.convexHull(points[topology.OUTER_LIPS].astype(np.float32))
    cv2.fillPoly(lips, [np.round(hull).astype(np.int32)], 1)
    skin = cv2.dilate(lips, np.ones((9, 9), np.uint8)) == 0
    corners = points[[topology.RIGHT_MOUTH_CORNER, topology.LEFT_MOUTH_CORNER], 1]
    skin[max(0, round(float(corners.mean()))) :] = False
    return skin


def measure_jitter_inside(crops: SkullCrops) -> dict[str, float]:
    """Measure how the inside of a mouth changes from frame to frame beyond smooth motion.

    Returns:
        "change": mean absolute difference in gray levels between a frame and the previous one, moved by the optical
        flow. "residual": the same relative to the standard deviation inside the mouth. "wobble": how unsteadily the
        inside moves against the skin above: mean length of the change of the difference of their median flows from
        frame to frame, in thousandths of the distance of the eyes. Absent where too few frames show the inside.
    """
    flow_model = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    residuals, differences, changes = [], [], []
    last_slip: np.ndarray | None = None
    grays = [to_luma(image) for image in crops.images]
    for k in range(1, len(grays)):
        before, after = grays[k - 1], grays[k]
        inside, skin = crops.inside[k - 1] & crops.inside[k], crops.skin[k - 1] & crops.skin[k]
        if inside.sum() < MIN_PIXELS or skin.sum() < MIN_PIXELS:
            last_slip = None
            continue
        start = np.zeros((*after.shape, 2), np.float32)
        flow = flow_model.calc(after.astype(np.uint8), before.astype(np.uint8), start)
        rows, columns = np.indices(after.shape, np.float32)
        moved = cv2.remap(before, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
        differences.append(float(np.abs(moved - after)[inside].mean()))
        residuals.append(differences[-1] / max(float(after[inside].std()), 1.0))
        slip = np.median(flow[inside], axis=0) - np.median(flow[skin], axis=0)
        if last_slip is not None:
            changes.append(float(np.linalg.norm(slip - last_slip)) / SKULL_CROP_EYES * 1000)
        last_slip = slip
    series = {"residual": residuals, "change": differences, "wobble": changes}
    return {name: float(np.mean(values)) for name, values in series.items() if values}
