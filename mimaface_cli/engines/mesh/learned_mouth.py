"""The learned mouth: the mouth network's correction of the rendered mouth, laid over a frame."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mimaface_cli.engines.mesh.crop_blending import blend_crop, crop_box, measure_replacement, view_region
from mimaface_cli.engines.mesh.face_part import (
    PointMap,
    change_window,
    crop_image,
    draw_opening,
    matrix_scale,
    stack_planes,
)
from mimaface_cli.engines.mesh.image_patch import LUMA
from mimaface_cli.engines.mesh.mouth import UNITS_PER_MM
from mimaface_cli.engines.mesh.mouth_crop import CROP_WIDTH, MOUTH, build_condition, mouth_crop_matrix
from mimaface_cli.engines.mesh.part_network import PartNetwork
from mimaface_cli.face import topology
from mimaface_cli.motion.easing import smoothstep

# Movement of the lips since the photo, in millimeters, over which the correction appears.
_MOVED_FROM, _MOVED_UNTIL = 0.1, 1.6
# Width of the mouth, in pixels of the frame, over which the correction appears.
_WIDE_FROM, _WIDE_UNTIL = 20.0, 30.0
_MOUTH_SHARE = 0.5  # of the crop's width: a usual mouth
_RIM = np.ones((5, 5), np.uint8)  # pixels around the opening that count as the inside
_RIM_SIGMA = 1.5  # pixels of the crop
# Mean change, in gray levels, of skin and lips when the network is applied to the photo itself: up to the first value
# it knows the style of the image, from the second on it does not.
_KNOWN_STYLE, _FOREIGN_STYLE = 1.0, 3.0
# Pixels between the lips are teeth if they are brighter than this share of the skin, and not redder than this share of
# their brightness.
_TEETH_LEVEL, _REDDISH = 0.7, 0.25
# Share of the opening that the photo shows, over which the photo's mouth replaces the network's.
_SHOWN_FROM, _SHOWN_UNTIL = 0.3, 0.8
# The network paints the mean of all possible mouths. A share of its fine detail is added to it, so that tones and
# gradients have the contrast of true mouths and lips part visibly. Sigma of the low-pass filter: in pixels of the crop.
_DETAIL_SHARE, _DETAIL_SIGMA = 0.4, 4.0
MOUTH_LANDMARKS = np.concatenate([topology.OUTER_LIPS, topology.INNER_LIPS])


@dataclass(frozen=True)
class MouthFrame:
    """The mouth of a frame: its shape, and its place in the image.

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
        photo: (C, 64, 96) float32, see `PartNetwork.embed_photo`.
        teeth: (128, 192) float32, 1 where the photo shows teeth of the upper jaw, which stay as they are.
        opening: Area of the photo's opening in pixels of the crop; 0 if the painted mouth shows nothing of it.
    """

    network: PartNetwork
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
        return self.network.correct(crop.planes, self.photo, condition, self.chroma)

    def hide_inside(self) -> "LearnedMouth":
        """Return the mouth of a photo that shows nothing between the lips that is worth keeping."""
        return replace(self, teeth=np.zeros_like(self.teeth), opening=0.0)


def cut_mouth(image: np.ndarray, anchor: np.ndarray, frame: MouthFrame) -> MouthCrop:
    """Cut the crop of a mouth out of an image (H, W, 3); anchor: as in `LearnedMouth`."""
    matrix = mouth_crop_matrix(anchor, frame.pose, frame.to_image)
    return MouthCrop(crop_image(MOUTH, image, matrix), draw_opening(MOUTH, frame.ring, matrix), matrix)


def prepare_learned_mouth(
    network: PartNetwork, crop: MouthCrop, anchor: np.ndarray, chroma: float, photo: MouthFrame
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
    they are. It changes line drawings strongly.

    Args:
        mouth: The photo's mouth.
        crop: Its crop.
        photo: The mouth of the photo.

    Returns:
        0 (foreign) to 1 (known).
    """
    residual = mouth.correct(crop, photo.expression, photo.pose) @ LUMA
    weight = change_window(MOUTH) * (1 - crop.opening)
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
    box = crop_box(MOUTH, matrix, canvas.shape)
    if share == 0 or box is None:
        return
    region = canvas[box]
    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ [box[1].start, box[0].start]
    seen = view_region(canvas, alpha, under, box)
    crop = MouthCrop(crop_image(MOUTH, seen, local), draw_opening(MOUTH, frame.ring, matrix), local)
    residual = mouth.correct(crop, frame.expression, frame.pose)
    residual += measure_missing_detail(crop.colors + residual, crop.opening)
    # An opening that is hardly larger than the photo's shows the photo's own mouth, which stays as it is.
    shown = mouth.opening / max(float(crop.opening.sum()), 1.0)
    own = _ease((shown - _SHOWN_FROM) / (_SHOWN_UNTIL - _SHOWN_FROM))
    residual *= (1 - np.maximum(mouth.teeth, np.float32(own)) * crop.opening)[..., None]
    replaced = np.float32(share) * measure_replacement(residual, crop.opening, _RIM)
    residual *= np.float32(share) * change_window(MOUTH)[..., None]
    residual += replaced[..., None] * crop.colors
    blend_crop(region, residual, replaced, local)


def measure_missing_detail(colors: np.ndarray, opening: np.ndarray) -> np.ndarray:
    """Measure the detail that a network's mean of possible mouths lacks.

    Args:
        colors: (128, 192, 3) float32, the network's mouth.
        opening: (128, 192) float32, 1 between the lips.

    Returns:
        (128, 192, 1) float32, what to add between the lips.
    """
    luma = colors @ LUMA
    detail = luma - cv2.GaussianBlur(luma, (0, 0), _DETAIL_SIGMA)
    return np.asarray((np.float32(_DETAIL_SHARE) * opening * detail)[..., None])


def _ease(value: float) -> float:
    return float(smoothstep(np.array(value)))


def _measure_movement(head: np.ndarray, lips: np.ndarray) -> float:
    """Return how far the lips (L, 3) of the photo have moved at most in a face (478, 3), in millimeters."""
    return float(np.linalg.norm(head[MOUTH_LANDMARKS] - lips, axis=1).max()) / UNITS_PER_MM
