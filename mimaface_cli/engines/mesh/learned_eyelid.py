"""Learned eyelids: the eyelid network's correction of closing lids, laid over a frame."""

from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.engines.mesh.crop_blending import blend_crop, crop_box, view_region
from mimaface_cli.engines.mesh.eyelid_crop import (
    EYELID,
    build_eyelid_condition,
    eyelid_crop_matrix,
    measure_crop_opening,
)
from mimaface_cli.engines.mesh.face_part import (
    PointMap,
    change_window,
    crop_image,
    draw_opening,
    matrix_scale,
    stack_planes,
)
from mimaface_cli.engines.mesh.image_patch import LUMA
from mimaface_cli.engines.mesh.part_network import PartNetwork
from mimaface_cli.motion.easing import smoothstep

# Height of the opening, relative to the photo's, over which the correction appears.
_CLOSING_FROM, _CLOSING_UNTIL = 0.6, 0.25
# Height of the photo's opening, in widths of the crop, over which it starts to count as open.
_OPEN_FROM, _OPEN_UNTIL = 0.03, 0.06
# Width of the eye, in pixels of the frame, over which the correction appears.
_WIDE_FROM, _WIDE_UNTIL = 12.0, 18.0
# Width over which a share of the painted lids returns, and that share: larger eyes are sharper than the crop.
_SHARP_FROM, _SHARP_UNTIL, _SHARP_SHARE = 60.0, 100.0, 0.3
_EYE_SHARE = 0.6  # of the crop's width: a usual eye
# Radians of the head's turn since the photo, and of its yaw, over which the correction disappears.
_TURNED_FROM, _TURNED_UNTIL = np.radians([25.0, 35.0])
_SIDE_FROM, _SIDE_UNTIL = np.radians([35.0, 50.0])
# Mean change, in gray levels, of the skin when the network is applied to the photo itself: up to the first value it
# knows the style of the image, from the second on it does not.
_KNOWN_STYLE, _FOREIGN_STYLE = 5.0, 13.0
_SKIN_DISTANCE = 7  # pixels of the crop between an opening and what counts as skin


@dataclass(frozen=True)
class EyeFrame:
    """An eye of a frame: its shape, and its place in the image.

    Attributes:
        expression: (64,) expression.
        pose: (6,) pose of the head.
        ring: (K, 2) rim of the lids in pixels of the image.
        to_image: Maps pixels of the 256 crop of the face to pixels of the image.
    """

    expression: np.ndarray
    pose: np.ndarray
    ring: np.ndarray
    to_image: PointMap


@dataclass(frozen=True)
class LearnedEyelid:
    """An eye of a photo as the network needs it.

    Attributes:
        network: The network.
        side: "left" or "right".
        ball: (3,) center of the eyeball in the head's frame.
        chroma: Saturation of the photo, 0 (gray) to 1.
        expression: (64,) the photo's expression.
        pose: (6,) the photo's pose.
        photo: (C, 32, 48) float32, see `PartNetwork.embed_photo`.
        mask: (64, 96) float32, 1 in the photo's opening.
        opening: Height of the photo's opening, see `measure_crop_opening`.
    """

    network: PartNetwork
    side: str
    ball: np.ndarray
    chroma: float
    expression: np.ndarray
    pose: np.ndarray
    photo: np.ndarray
    mask: np.ndarray
    opening: float

    def correct(self, colors: np.ndarray, mask: np.ndarray, opening: float, frame: EyeFrame) -> np.ndarray:
        """Return what the network adds to a crop: (64, 96, 3) float32, in the photo's saturation.

        Args:
            colors: (64, 96, 3) float32 crop, 0 to 255.
            mask: (64, 96) float32, 1 between the lids.
            opening: Height of the opening, see `measure_crop_opening`.
            frame: The eye of the frame.
        """
        condition = build_eyelid_condition(
            self.side, (opening, self.opening), (frame.expression, self.expression), (frame.pose, self.pose)
        )
        return self.network.correct(stack_planes(colors, mask), self.photo, condition, self.chroma)


def prepare_learned_eyelid(
    network: PartNetwork, image: np.ndarray, side: str, ball: np.ndarray, chroma: float, photo: EyeFrame
) -> LearnedEyelid:
    """Prepare an eye of a photo for the network.

    Args:
        network: The network.
        image: (H, W, 3) uint8 photo.
        side: "left" or "right".
        ball: (3,) center of the eyeball in the head's frame.
        chroma: As in `LearnedEyelid`.
        photo: The eye in the photo.
    """
    matrix = eyelid_crop_matrix(side, ball, photo.pose, photo.to_image)
    mask = draw_opening(EYELID, photo.ring, matrix)
    embedded = network.embed_photo(stack_planes(crop_image(EYELID, image, matrix), mask))
    opening = measure_crop_opening(photo.ring, matrix)
    return LearnedEyelid(network, side, ball, chroma, photo.expression, photo.pose, embedded, mask, opening)


def measure_lid_confidence(eye: LearnedEyelid, image: np.ndarray, photo: EyeFrame) -> float:
    """Measure whether the network knows the style of a photo, from what it changes in the photo itself.

    With the photo's own expression, a network that knows the style leaves the skin around the eye nearly as it is.

    Args:
        eye: The photo's eye.
        image: (H, W, 3) uint8 photo.
        photo: The eye in the photo.

    Returns:
        0 (foreign) to 1 (known).
    """
    matrix = eyelid_crop_matrix(eye.side, eye.ball, photo.pose, photo.to_image)
    colors = crop_image(EYELID, image, matrix)
    change = np.abs(eye.correct(colors, eye.mask, eye.opening, photo) @ LUMA)
    reach = np.ones((2 * _SKIN_DISTANCE + 1,) * 2, np.uint8)
    weight = change_window(EYELID) * (1 - cv2.dilate(eye.mask, reach))
    return 1 - _ease(float(np.average(change, weights=weight)), _KNOWN_STYLE, _FOREIGN_STYLE)


def correct_eyelid(
    canvas: np.ndarray, eye: LearnedEyelid, frame: EyeFrame, alpha: np.ndarray, under: np.ndarray
) -> None:
    """Let the network correct a closing eye of a frame, in place. An eye as open as in the photo does not change.

    Args:
        canvas: (H, W, 3) float32 frame in progress, with the painted eye.
        eye: The photo's eye.
        frame: The eye of the frame; its pixels are the canvas's.
        alpha: (H, W, 1) float32 alpha of the canvas, 0 to 1.
        under: (H, W, 3) uint8, what is behind the canvas.
    """
    matrix = eyelid_crop_matrix(eye.side, eye.ball, frame.pose, frame.to_image)
    opening = measure_crop_opening(frame.ring, matrix)
    width = _EYE_SHARE * EYELID.width / max(matrix_scale(matrix), 1e-6)
    share = weigh_closing(opening, eye.opening) * _weigh_turn(frame.pose, eye.pose)
    share *= _ease(width, _WIDE_FROM, _WIDE_UNTIL) * (1 - _SHARP_SHARE * _ease(width, _SHARP_FROM, _SHARP_UNTIL))
    box = crop_box(EYELID, matrix, canvas.shape)
    if share == 0 or box is None:
        return
    region = canvas[box]
    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ [box[1].start, box[0].start]
    colors = crop_image(EYELID, view_region(canvas, alpha, under, box), local)
    residual = eye.correct(colors, draw_opening(EYELID, frame.ring, matrix), opening, frame)
    residual *= np.float32(share) * change_window(EYELID)[..., None]
    blend_crop(region, residual, None, local)


def weigh_closing(opening: float, photo_opening: float) -> float:
    """Return the share of the correction, 0 (eye open as in the photo) to 1 (closing).

    Args:
        opening: Height of the frame's opening, see `measure_crop_opening`.
        photo_opening: Height of the photo's opening. Eyes that the photo shows nearly closed stay as they are.
    """
    closing = _ease(-opening / max(photo_opening, 1e-6), -_CLOSING_FROM, -_CLOSING_UNTIL)
    return closing * _ease(photo_opening, _OPEN_FROM, _OPEN_UNTIL)


def _weigh_turn(pose: np.ndarray, photo_pose: np.ndarray) -> float:
    """Return the share of the correction at the head's yaw."""
    turned = abs(float(pose[1] - photo_pose[1]))
    sideways = max(abs(float(pose[1])), abs(float(photo_pose[1])))
    return (1 - _ease(turned, _TURNED_FROM, _TURNED_UNTIL)) * (1 - _ease(sideways, _SIDE_FROM, _SIDE_UNTIL))


def _ease(value: float, start: float, end: float) -> float:
    """Return 0 up to `start`, 1 from `end` on, smooth between."""
    return float(smoothstep(np.array((value - start) / (end - start))))
