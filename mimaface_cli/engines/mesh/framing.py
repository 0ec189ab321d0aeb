"""Framing: limits on the position and the scale of a driven head, so that the face never leaves the frame."""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.camera import CAMERA_DISTANCE, CROP_SIZE, FOCAL_PER_SIZE
from mimaface_cli.face.topology import OVAL
from mimaface_cli.motion.easing import ease_range
from mimaface_cli.motion.rotation import rotation_matrix

# Hair around the face, as factors on the oval's distances from its middle: to the sides, upward.
_HAIR_SIDE, _HAIR_TOP = 1.06, 1.3
_ROOM = 0.08  # model units (a face is 2 wide) that a head may move even where the frame cuts it
_FREE_SHARE = 0.5  # of the way to the frame's border that is not eased
# With "keep": distances from the head's place in the photo, unchanged up to the first and never beyond the sum, in
# model units; and the same for the logarithm of the scale.
_KEEP_SHIFT, _KEEP_SHIFT_MARGIN = 0.35, 0.35
_KEEP_SCALE = np.log(1.2), np.log(1.2)
_FOLLOW_SCALE = np.log(1.5), np.log(1.5)
_SCALE_ROOM = np.log(1.06)  # a head that fills the frame may become this much larger
_SCALE_RESERVE = 0.03  # logarithm of the scale by which a head stays smaller than the frame
_SCALE_STEPS = 4
_BLEND = 0.04  # difference of two limits from which the narrower one counts alone
_SOFTNESS = 0.01  # model units by which the largest of several distances is rounded up
_MIN_DISTANCE = 4.0  # of the camera from a head's nearest point, model units

Range = tuple[np.ndarray, np.ndarray]  # lowest and highest values


@dataclass(frozen=True)
class Viewport:
    """Size of a frame, and its position relative to the 256 crop.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        to_crop: (2, 3) or (N, 2, 3) transform (scale and shift) of its pixels to the 256 crop.
    """

    width: int
    height: int
    to_crop: np.ndarray

    def borders(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the corners of the viewport in the plane at distance 1 from the camera.

        Returns:
            Lowest and highest (x, y), each (2,) or (N, 2); x to the subject's left, y up.
        """
        corners = np.array([[0.0, 0.0], [self.width, self.height]])
        transforms = np.atleast_3d(self.to_crop).reshape(-1, 2, 3)
        crop = np.stack([transform_points(transform, corners) for transform in transforms])
        rays = (crop - CROP_SIZE / 2) / (FOCAL_PER_SIZE * CROP_SIZE) * [1, -1]
        return rays.min(1), rays.max(1)


def frame_head(
    shape: np.ndarray, pose: np.ndarray, rest: np.ndarray, viewport: Viewport, framing: str = "keep"
) -> np.ndarray:
    """Limit how far a head moves and how near it comes, so that the face stays in the frame.

    Positions near the photo's do not change. Further ones are eased, so that a head slows down before it stops. A face
    that the frame cuts in the source already may move a little.

    Args:
        shape: (478, 3) unposed face of the source.
        pose: (N, 6) driven poses; the angles do not change.
        rest: (6,) or (N, 6), pose of the source.
        viewport: Size and position of the frame.
        framing: "keep" also limits the distance from the photo's place, "follow" only to the frame.

    Returns:
        (N, 6) poses.
    """
    rest = np.broadcast_to(rest, pose.shape)
    borders = viewport.borders()
    home = rest[:, 3:5]
    face, hair = shape[OVAL], _outline_hair(shape[OVAL])
    at_rest = _head_ranges(face, hair, rest[:, :3], rest[:, 5], borders)
    # Hair or a face that the photo cuts already may leave a little further.
    excess = [(np.maximum(low - home + _ROOM, 0), np.maximum(home - high + _ROOM, 0)) for low, high in at_rest]
    depth = _ease_depth(face, pose, rest, borders, framing)
    rest_low, rest_high = _join_ranges(at_rest, excess)
    low, high = _join_ranges(_head_ranges(face, hair, pose[:, :3], depth, borders), excess)
    shift = pose[:, 3:5] - home
    if framing == "keep":
        shift = ease_range(shift, -_KEEP_SHIFT, _KEEP_SHIFT, _KEEP_SHIFT_MARGIN)
    eased_share = 1 - _FREE_SHARE
    position = _ease_into(home + shift, low, high, eased_share * (home - rest_low), eased_share * (rest_high - home))
    return np.concatenate([pose[:, :3], position, depth[:, None]], 1)


def _head_ranges(
    face: np.ndarray, hair: np.ndarray, angles: np.ndarray, depth: np.ndarray, borders: Range
) -> tuple[Range, Range]:
    """Return the translations between which the face is in the frame, and those for its hair.

    Where the frame is too small for both, a part of the hair counts.
    """
    low, high = _shift_range(face, angles, depth, *borders)
    hair_low, hair_high = _shift_range(hair, angles, depth, *borders)
    room = np.maximum(high - low, 1e-3)
    share = room / (room + 2 * (hair_low - low + high - hair_high))
    return (low, high), (low + share * (hair_low - low), high - share * (high - hair_high))


def _join_ranges(ranges: tuple[Range, Range], excess: list[Range]) -> Range:
    """Return the part (N, 2) that is common to two ranges, each of which is widened by its excess."""
    lows = [low - further for (low, _), (further, _) in zip(ranges, excess, strict=True)]
    highs = [high + further for (_, high), (_, further) in zip(ranges, excess, strict=True)]
    return -_smooth_minimum(-lows[0], -lows[1]), _smooth_minimum(highs[0], highs[1])


def _outline_hair(oval: np.ndarray) -> np.ndarray:
    """Return points (K, 3) around the hair of a face with this oval (K, 3)."""
    middle = (oval.min(0) + oval.max(0)) / 2
    offset = oval - middle
    offset[:, 0] *= _HAIR_SIDE
    offset[:, 1] = np.where(offset[:, 1] > 0, _HAIR_TOP * offset[:, 1], offset[:, 1])
    return np.concatenate([oval, middle + offset])


def _shift_range(points: np.ndarray, angles: np.ndarray, depth: np.ndarray, low: np.ndarray, high: np.ndarray) -> Range:
    """Return the translations between which all points are in the frame.

    Args:
        points: (K, 3) unposed.
        angles: (N, 3).
        depth: (N,), translation along z.
        low: (2,) or (N, 2), lowest corner of the frame at distance 1.
        high: As above, highest corner.

    Returns:
        Lowest and highest translations (N, 2) along x and y. They cross where the frame is too small.
    """
    posed = points @ np.swapaxes(rotation_matrix(angles), -1, -2)
    distance = np.maximum(CAMERA_DISTANCE - posed[..., 2:] - depth[:, None, None], _MIN_DISTANCE)
    lowest = _soft_maximum(low[:, None] * distance - posed[..., :2])
    highest = -_soft_maximum(posed[..., :2] - high[:, None] * distance)
    return lowest, highest


def _soft_maximum(values: np.ndarray) -> np.ndarray:
    """Return a smooth upper bound (N, 2) of the largest of values (N, K, 2)."""
    largest = values.max(1, keepdims=True)
    return largest[:, 0] + _SOFTNESS * np.log(np.exp((values - largest) / _SOFTNESS).sum(1))


def _ease_depth(face: np.ndarray, pose: np.ndarray, rest: np.ndarray, borders: Range, framing: str) -> np.ndarray:
    """Return translations along z (N,) at which the scale is limited and the face still fits into the frame."""
    rest_distance = CAMERA_DISTANCE - rest[:, 5]
    scale = np.log(rest_distance / np.maximum(CAMERA_DISTANCE - pose[:, 5], _MIN_DISTANCE))
    knee, margin = _KEEP_SCALE if framing == "keep" else _FOLLOW_SCALE
    scale = ease_range(scale, -knee, knee, margin)
    largest, at_rest = (_largest_scale(face, angles[:, :3], rest[:, 5], borders) for angles in (pose, rest))
    scale = _smooth_minimum(scale, largest + np.maximum(_SCALE_ROOM - at_rest, 0))
    return CAMERA_DISTANCE - rest_distance * np.exp(-scale)


def _largest_scale(face: np.ndarray, angles: np.ndarray, depth: np.ndarray, borders: Range) -> np.ndarray:
    """Return the logarithm (N,) of the scale at which a turned face fills the frame."""
    distance = CAMERA_DISTANCE - depth
    scale = np.zeros(len(depth))
    for _ in range(_SCALE_STEPS):  # perspective enlarges a nearer face more than the scale of its center
        nearer = distance * np.exp(-scale)
        lowest, highest = _shift_range(face, angles, CAMERA_DISTANCE - nearer, *borders)
        size = (borders[1] - borders[0]) * nearer[:, None]
        step = np.log(size / np.maximum(size - (highest - lowest), 1e-3)) - _SCALE_RESERVE
        scale = scale + _smooth_minimum(step[:, 0], step[:, 1])
    return scale


def _smooth_minimum(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the smaller values, less where both differ by less than _BLEND, without a kink."""
    return np.minimum(first, second) - np.maximum(_BLEND - np.abs(first - second), 0) ** 2 / (4 * _BLEND)


def _ease_into(
    value: np.ndarray, low: np.ndarray, high: np.ndarray, below: np.ndarray, above: np.ndarray
) -> np.ndarray:
    """Ease values (N, 2) into a range, from `below` its lowest and `above` its highest value on."""
    half = np.maximum((high - low) / 2, 1e-3)
    middle = (low + high) / 2
    # Where a large head leaves less room than in the photo, easing starts later.
    share = np.minimum(1, 0.95 * half / np.maximum(below, above))
    below, above = share * below, share * above
    low, high = middle - half + below, middle + half - above
    eased_above = above * np.tanh(np.maximum(value - high, 0) / above)
    eased_below = below * np.tanh(np.maximum(low - value, 0) / below)
    return np.clip(value, low, high) + eased_above - eased_below
