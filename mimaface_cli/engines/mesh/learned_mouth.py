"""The learned mouth: the mouth network's correction of the rendered mouth, laid over a frame."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mimaface_cli.engines.mesh.image_patch import LUMA
from mimaface_cli.engines.mesh.mouth import UNITS_PER_MM
from mimaface_cli.engines.mesh.mouth_crop import (
    CROP_HEIGHT,
    CROP_WIDTH,
    build_condition,
    change_window,
    crop_mouth,
    draw_opening,
    matrix_scale,
    mouth_crop_matrix,
    shift_matrix,
    stack_planes,
)
from mimaface_cli.engines.mesh.mouth_network import MouthNetwork
from mimaface_cli.face import topology
from mimaface_cli.motion.easing import smoothstep

# Millimeters that lips have moved since the photo from which, and until which, the correction appears.
_MOVED_FROM, _MOVED_UNTIL = 0.1, 1.6
# Width of the mouth in pixels of the frame from which, and until which, it appears.
_WIDE_FROM, _WIDE_UNTIL = 20.0, 30.0
_MOUTH_SHARE = 0.5  # of the crop's width: a usual mouth
# Mean change in gray levels from which, and until which, the fine structure of the painted mouth disappears.
_REPLACED_FROM, _REPLACED_UNTIL = 5.0, 20.0
_RIM = np.ones((5, 5), np.uint8)  # pixels around the opening that count as the inside
_RIM_SIGMA, _CHANGE_SIGMA = 1.5, 4.0  # pixels of the crop
_BLUR_ABOVE = 1.33  # pixels of the crop per pixel of the frame above which sampling alone would skip some
# Mean change in gray levels of skin and lips that the network makes to the photo itself: up to the first it knows the
# style of the image, from the second it does not.
_KNOWN_STYLE, _FOREIGN_STYLE = 1.0, 3.0
_LARGEST = 255.0  # gray levels: a change that counts as infinite
# Pixels between the lips are teeth if they are brighter than this share of the skin, and not redder than this share of
# their brightness.
_TEETH_LEVEL, _REDDISH = 0.7, 0.25
# Share of the opening that the photo shows from which, and until which, the photo's mouth replaces the network's.
_SHOWN_FROM, _SHOWN_UNTIL = 0.3, 0.8
_MARGIN = 4  # pixels around the crop, for interpolation
MOUTH_LANDMARKS = np.concatenate([topology.OUTER_LIPS, topology.INNER_LIPS])

PointMap = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class MouthFrame:
    """What a frame tells of its mouth.

    Attributes:
        head: (478, 3) face in the head's frame.
        expression: (64,) expression.
        pose: (6,) pose of the head.
        ring: (K, 2) inner lips in pixels of the image.
        to_image: Maps pixels of the 256 crop of the face to pixels of the image.
    """

    head: np.ndarray
    expression: np.ndarray
    pose: np.ndarray
    ring: np.ndarray
    to_image: PointMap


@dataclass(frozen=True)
class MouthCrop:
    """The crop of a mouth.

    Attributes:
        colors: (128, 192, 3) float32, 0 to 255.
        opening: (128, 192) float32, 1 between the lips.
        matrix: (2, 3) from the image to the crop, see `mouth_crop_matrix`.
    """

    colors: np.ndarray
    opening: np.ndarray
    matrix: np.ndarray

    @property
    def planes(self) -> np.ndarray:
        """(4, 128, 192) float32 as the network sees them."""
        return stack_planes(self.colors, self.opening)


@dataclass(frozen=True)
class LearnedMouth:
    """A photo's mouth as the network needs it.

    Attributes:
        network: The network.
        anchor: (3,) middle of the lip line in the head's frame.
        chroma: Saturation of the photo, 0 (gray) to 1.
        expression: (64,) the photo's expression.
        pose: (6,) the photo's pose.
        lips: (L, 3) the photo's lips in the head's frame.
        photo: (C, 64, 96) float32, see `MouthNetwork.embed_photo`.
        teeth: (128, 192) float32, 1 where the photo shows teeth of the upper jaw, which stay as they are.
        opening: Area of the photo's opening in pixels of the crop.
    """

    network: MouthNetwork
    anchor: np.ndarray
    chroma: float
    expression: np.ndarray
    pose: np.ndarray
    lips: np.ndarray
    photo: np.ndarray
    teeth: np.ndarray
    opening: float

    def correct(self, crop: MouthCrop, expression: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """Return what the network adds to a crop: (128, 192, 3) float32, in the photo's saturation."""
        condition = build_condition(expression, pose, self.expression, self.pose)
        # A model file with huge weights must not crash the renderer.
        with np.errstate(over="ignore", invalid="ignore"):
            residual = 127.5 * np.moveaxis(self.network(crop.planes, self.photo, condition), 0, -1)
        residual = np.nan_to_num(residual, nan=_LARGEST, posinf=_LARGEST, neginf=-_LARGEST)
        if self.chroma < 1:
            gray = residual @ LUMA
            residual = gray[..., None] + np.float32(self.chroma) * (residual - gray[..., None])
        return np.ascontiguousarray(residual, np.float32)


def cut_mouth(image: np.ndarray, anchor: np.ndarray, frame: MouthFrame) -> MouthCrop:
    """Cut the crop of a mouth out of an image (H, W, 3); anchor: as in `LearnedMouth`."""
    matrix = mouth_crop_matrix(anchor, frame.pose, frame.to_image)
    return MouthCrop(crop_mouth(image, matrix), draw_opening(frame.ring, matrix), matrix)


def prepare_learned_mouth(
    network: MouthNetwork, crop: MouthCrop, anchor: np.ndarray, chroma: float, photo: MouthFrame
) -> LearnedMouth:
    """Prepare a photo's mouth for the network.

    Args:
        network: The network.
        crop: The photo's crop, see `cut_mouth`.
        anchor: (3,) as in `LearnedMouth`.
        chroma: As in `LearnedMouth`.
        photo: The mouth of the photo.
    """
    embedded = network.embed_photo(crop.planes)
    return LearnedMouth(
        network,
        anchor,
        chroma,
        photo.expression,
        photo.pose,
        photo.head[MOUTH_LANDMARKS],
        embedded,
        find_teeth(crop),
        float(crop.opening.sum()),
    )


def find_teeth(crop: MouthCrop) -> np.ndarray:
    """Find the teeth in a photo's crop.

    Args:
        crop: The crop.

    Returns:
        (128, 192) float32, 0 to 1.
    """
    luma = crop.colors @ LUMA
    inside = cv2.erode(crop.opening, _RIM) > 0.5
    skin = float(np.median(luma[crop.opening < 0.5]))
    reddish = crop.colors[..., 0] - crop.colors[..., 1] > _REDDISH * np.maximum(luma, 1)
    teeth = (inside & (luma > _TEETH_LEVEL * skin) & ~reddish).astype(np.float32)
    return cv2.GaussianBlur(teeth, (0, 0), _RIM_SIGMA)


def measure_confidence(mouth: LearnedMouth, crop: MouthCrop, photo: MouthFrame) -> float:
    """Measure whether the network knows the style of a photo, from what it changes in the photo itself.

    With the photo's own expression, a network that knows the style leaves the surroundings of the opening nearly as
    they are. Of line drawings it makes something else.

    Args:
        mouth: The photo's mouth.
        crop: Its crop.
        photo: The mouth of the photo.

    Returns:
        0 (foreign) to 1 (known).
    """
    residual = mouth.correct(crop, photo.expression, photo.pose) @ LUMA
    weight = fade_border()[..., 0] * (1 - crop.opening)
    change = float(np.average(np.abs(residual), weights=weight))
    return 1 - _ease((change - _KNOWN_STYLE) / (_FOREIGN_STYLE - _KNOWN_STYLE))


def correct_mouth(
    canvas: np.ndarray, mouth: LearnedMouth, frame: MouthFrame, alpha: np.ndarray, under: np.ndarray
) -> None:
    """Let the network correct the rendered mouth of a frame, in place.

    As long as the lips are those of the photo, nothing changes.

    Args:
        canvas: (H, W, 3) float32 frame in progress, with the painted mouth.
        mouth: The photo's mouth.
        frame: The mouth of the frame; its pixels are the canvas's.
        alpha: (H, W, 1) float32 alpha of the canvas, 0 to 1.
        under: (H, W, 3) uint8, what is behind the canvas.
    """
    share = _ease((_measure_movement(frame.head, mouth.lips) - _MOVED_FROM) / (_MOVED_UNTIL - _MOVED_FROM))
    matrix = mouth_crop_matrix(mouth.anchor, frame.pose, frame.to_image)
    scale = matrix_scale(matrix)
    width = _MOUTH_SHARE * CROP_WIDTH / max(scale, 1e-6)
    share *= _ease((width - _WIDE_FROM) / (_WIDE_UNTIL - _WIDE_FROM))
    box = _crop_box(matrix, canvas.shape)
    if share == 0 or box is None:
        return
    region = canvas[box]
    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ [box[1].start, box[0].start]
    seen = region
    if alpha[box].min() < 1:
        behind = under[box].astype(np.float32)
        seen = behind + alpha[box] * (region - behind)
    crop = MouthCrop(crop_mouth(seen, local), draw_opening(frame.ring, matrix), local)
    residual = mouth.correct(crop, frame.expression, frame.pose)
    # An opening that is hardly larger than the photo's shows the photo's own mouth, which stays as it is.
    shown = mouth.opening / max(float(crop.opening.sum()), 1.0)
    own = _ease((shown - _SHOWN_FROM) / (_SHOWN_UNTIL - _SHOWN_FROM))
    residual *= (1 - np.maximum(mouth.teeth, np.float32(own)) * crop.opening)[..., None]
    replaced = np.float32(share) * _measure_replacement(residual, crop.opening)
    residual *= np.float32(share) * fade_border()
    residual += replaced[..., None] * crop.colors
    _blend_crop(region, residual, replaced, local)


@lru_cache(maxsize=1)
def fade_border() -> np.ndarray:
    """Return the weight of the correction in the crop, (128, 192, 1) float32: 1, falling to 0 at the border."""
    return change_window()[..., None]


def _ease(value: float) -> float:
    return float(smoothstep(np.array(value)))


def _measure_movement(head: np.ndarray, lips: np.ndarray) -> float:
    """Return how far the lips (L, 3) of the photo have moved at most in a face (478, 3), in millimeters."""
    return float(np.linalg.norm(head[MOUTH_LANDMARKS] - lips, axis=1).max()) / UNITS_PER_MM


def _crop_box(matrix: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Return the rows and columns of an image of a shape that a crop shows, with a margin; None outside the image."""
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [CROP_WIDTH, 0], [0, CROP_HEIGHT], [CROP_WIDTH, CROP_HEIGHT]])
    corners = corners @ inverse[:, :2].T + inverse[:, 2]
    margin = _MARGIN + 2 / matrix_scale(matrix)
    limit = np.array(shape[1::-1])
    left, top = np.clip(np.floor(corners.min(0) - margin).astype(int), 0, limit).tolist()
    right, bottom = np.clip(np.ceil(corners.max(0) + margin).astype(int), 0, limit).tolist()
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def _measure_replacement(residual: np.ndarray, opening: np.ndarray) -> np.ndarray:
    """Return how far the network replaces the painted mouth, rather than corrects it, (128, 192) float32, 0 to 1.

    What it replaces must not keep edges that are finer than the crop. Teeth of the photo, which it keeps, must.

    Args:
        residual: (128, 192, 3) float32, what it adds.
        opening: (128, 192) float32, 1 between the lips.
    """
    inside = cv2.GaussianBlur(cv2.dilate(opening, _RIM), (0, 0), _RIM_SIGMA)
    change = cv2.GaussianBlur(np.abs(residual @ LUMA), (0, 0), _CHANGE_SIGMA)
    return inside * smoothstep((change - _REPLACED_FROM) / (_REPLACED_UNTIL - _REPLACED_FROM))


def _blend_crop(region: np.ndarray, colors: np.ndarray, alpha: np.ndarray, matrix: np.ndarray) -> None:
    """Blend a crop over a part of an image, in place; the result is limited to 0 to 255.

    Args:
        region: (H, W, 3) float32.
        colors: (128, 192, 3) float32, multiplied by alpha, and what is to be added to the region; 0 at its border.
        alpha: (128, 192) float32, 0 to 1.
        matrix: (2, 3) from the region to the crop.
    """
    added, covered = (_warp_to_region(layer, region, matrix) for layer in (colors, alpha))
    region *= cv2.merge([1 - covered] * 3)
    region += added
    np.clip(region, 0, 255, out=region)


def _warp_to_region(layer: np.ndarray, region: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Warp a layer (128, 192, C) of the crop to a part of an image; 0 beyond the crop."""
    scale = matrix_scale(matrix)
    if scale > _BLUR_ABOVE:
        layer = cv2.GaussianBlur(layer, (0, 0), 0.4 * scale)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(layer, shift_matrix(matrix, np.zeros(2)), region.shape[1::-1], flags=flags)
