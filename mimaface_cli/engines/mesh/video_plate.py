"""Background plates of a source video: colors behind the person in one frame, taken from other frames."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from mimaface_cli.engines.mesh.camera_motion import View, estimate_motion, largest_displacement, make_view
from mimaface_cli.engines.mesh.inpainting import fill_hole
from mimaface_cli.engines.mesh.smooth_fill import fill_smoothly

MOVING_CAMERA_NOTE = "the camera moves; the background behind the head is filled in and carried from frame to frame"

# Samples stored for every pixel; the plate is their median.
_SAMPLES = 7
# Frames of a shot that are sampled at first; then every second one of as many again, and so on.
_DENSE_FRAMES = 16
# Displacement of a still camera, as a share of the frame's longer side.
_STILL = 0.0015
# Share of the sampled frames that a still camera shows unmoved.
_STILL_SHARE = 0.85
# Widths, as shares of the frame's longer side: of the rim that a person tints, and of the pixels inside the outline of
# what was never visible that are filled by exemplars.
_RIM, _BAND = 0.008, 0.1
# Largest difference (gray levels) of brightness between plate and frame that is corrected, beyond that of the whole
# frame: larger ones are shadows and edges that do not meet.
_LOCAL_CORRECTION = 12.0
# Share of the needed pixels that an anchor frame may not show, and number of frames after which a new one is taken.
_MISSING, _ANCHOR_FRAMES = 0.005, 40


def person_hole(confidence: np.ndarray) -> np.ndarray:
    """Return the pixels that a person covers or tints.

    Args:
        confidence: (H, W) float32 in 0..1, of a person mask.

    Returns:
        (H, W) bool.
    """
    size = 2 * max(1, round(_RIM * max(confidence.shape))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.dilate((confidence > 0.1).astype(np.uint8), kernel) > 0


def _near_rim(hole: np.ndarray) -> np.ndarray:
    """Return the pixels of a hole that are filled by exemplars."""
    distance = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
    return hole & (distance <= _BAND * max(hole.shape))


def _as_levels(values: np.ndarray) -> np.ndarray:
    """Round and limit gray levels to uint8."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@dataclass
class _BackgroundSamples:
    """Samples of the background of one shot.

    Attributes:
        frame_count: Number of frames so far.
        view: First sampled frame at low resolution.
        samples: (_SAMPLES, H, W, 3) uint8, colors of background pixels.
        counts: (H, W) uint16, how often a pixel was visible.
        sampled: Number of sampled frames.
        unmoved: Number of those that show the first one's view.
        plate: (H, W, 3) uint8, or None before `finish` and for a moving camera.
    """

    frame_count: int = 0
    view: View | None = None
    samples: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0, 3), np.uint8))
    counts: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint16))
    sampled: int = 0
    unmoved: int = 0
    plate: np.ndarray | None = None

    @property
    def is_still(self) -> bool:
        """Whether the camera stands still."""
        return self.sampled > 0 and self.unmoved >= _STILL_SHARE * self.sampled

    def is_due(self) -> bool:
        """Return whether the next frame is sampled."""
        stride = 1
        while self.frame_count >= 2 * _DENSE_FRAMES * stride:
            stride *= 2
        return self.frame_count % stride == 0

    def add(self, image: np.ndarray, confidence: np.ndarray) -> None:
        """Sample the background of a frame."""
        hole = person_hole(confidence)
        view = make_view(image, hole)
        self.sampled += 1
        if self.view is None:
            self.view, self.samples = view, np.zeros((_SAMPLES, *image.shape), np.uint8)
            self.counts = np.zeros(hole.shape, np.uint16)
        motion = estimate_motion(self.view, view)
        if motion is None or largest_displacement(motion, *hole.shape) > _STILL:
            return
        self.unmoved += 1
        if self.is_still:
            _store_samples(self.samples, self.counts, _match_levels(image, hole, self.view, view), ~hole, self.sampled)

    def finish(self) -> None:
        """Make the plate of a still camera, and free the memory of the samples."""
        if self.is_still and self.counts.any():
            median = _median(self.samples, self.counts)
            never = self.counts == 0
            if never.any():
                median = fill_hole(median, never, _near_rim(never))
            self.plate = median
        self.samples = self.samples[:0]
        self.view = None


def _match_levels(image: np.ndarray, hole: np.ndarray, first: View, view: View) -> np.ndarray:
    """Return a frame in the exposure of the shot's first one."""
    both = first.known & view.known
    if both.sum() < 16:
        return image
    gain = float(np.median((first.gray[both].astype(np.float32) + 4) / (view.gray[both].astype(np.float32) + 4)))
    if abs(gain - 1) < 0.01:
        return image
    return np.where(hole[..., None], image, _as_levels(image * gain))


def _store_samples(samples: np.ndarray, counts: np.ndarray, image: np.ndarray, known: np.ndarray, seed: int) -> None:
    """Store the known pixels of a frame: in a free place, later in place of a random earlier sample."""
    draw = np.random.default_rng(seed).random()
    places = np.where(counts < len(samples), counts, (draw * (counts.astype(np.float32) + 1)).astype(np.int64))
    for place in range(len(samples)):
        chosen = known & (places == place)
        samples[place][chosen] = image[chosen]
    counts[known] = np.minimum(counts[known], np.iinfo(np.uint16).max - 1) + 1


def _median(samples: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the median color of every pixel over its samples, 0 where it has none."""
    plate = np.zeros(samples.shape[1:], np.uint8)
    for count in range(1, len(samples) + 1):
        rows, columns = np.nonzero(counts >= count if count == len(samples) else counts == count)
        if len(rows):
            chosen = np.sort(samples[:count, rows, columns], axis=0)
            middle = chosen[(count - 1) // 2].astype(np.uint16) + chosen[count // 2]
            plate[rows, columns] = (middle + 1) // 2
    return plate


def _match_brightness(plate: np.ndarray, image: np.ndarray, hole: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Give a plate the frame's low frequencies at the rim of the hole; return the frame with the hole replaced."""
    unknown = hole | ~valid
    if unknown.all():
        return np.where(hole[..., None], plate, image)
    difference = image.astype(np.float32) - plate
    middle = np.median(difference[::4, ::4][~unknown[::4, ::4]], axis=0) if (~unknown[::4, ::4]).any() else 0.0
    difference = np.clip(difference, middle - _LOCAL_CORRECTION, middle + _LOCAL_CORRECTION)
    corrected = _as_levels(plate + fill_smoothly(difference, unknown))
    return np.where(hole[..., None], corrected, image)


@dataclass
class _Anchor:
    """A frame whose filled plate is carried to the frames after it.

    Attributes:
        index: Index of the frame.
        view: The frame at low resolution.
        plate: (H, W, 3) uint8.
        filled: (H, W) bool, background of the frame and pixels filled by exemplars, not smoothly.
        last_view: Last frame that it was carried to.
        last_motion: (3, 3) homography from the anchor to that frame.
    """

    index: int
    view: View
    plate: np.ndarray
    filled: np.ndarray
    last_view: View
    last_motion: np.ndarray

    def find_motion(self, view: View) -> np.ndarray | None:
        """Return the homography to a frame, directly or by way of the last frame; None if neither is reliable."""
        motion = estimate_motion(self.view, view)
        if motion is None:
            step = estimate_motion(self.last_view, view)
            motion = None if step is None else step @ self.last_motion
        if motion is not None:
            self.last_view, self.last_motion = view, motion
        return motion


class VideoPlate:
    """The background of one shot of a source video, without its person.

    The first pass samples the shot: `wants_frame` says whether `add_frame` needs the next frame and its mask. After
    `finish`, `plate_for` returns the plate of each frame.

    A still camera has one plate: the median of the samples, with pixels that no frame shows filled. If the camera
    moves, the first frame's hole is filled, and the filled frame is moved with the camera to the frames that follow,
    until a new frame is filled. Then frames should be requested in order; another order gives plates that change
    between frames.

    Attributes:
        notes: Limits of the plates, for the user.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._background = _BackgroundSamples()
        self._anchor: _Anchor | None = None

    def wants_frame(self) -> bool:
        """Return whether the next frame is sampled."""
        return self._background.is_due()

    def add_frame(self, image: np.ndarray | None = None, confidence: np.ndarray | None = None) -> None:
        """Take the next frame of the first pass into account.

        Args:
            image: (H, W, 3) uint8 RGB; None for a frame that is not sampled.
            confidence: (H, W) float32 in 0..1, the person mask; None for a frame that is not sampled.
        """
        if image is not None and confidence is not None and self._background.is_due():
            self._background.add(image, confidence)
        self._background.frame_count += 1

    def finish(self) -> None:
        """End the first pass."""
        self._background.finish()
        if self._background.plate is None:
            self.notes.append(MOVING_CAMERA_NOTE)

    def plate_for(
        self, index: int, image: np.ndarray, hole: np.ndarray, needed: np.ndarray | None = None
    ) -> np.ndarray:
        """Return a frame without its person.

        Args:
            index: Index of the frame in the shot.
            image: (H, W, 3) uint8 RGB, the frame.
            hole: (H, W) bool, pixels to replace, the person and its soft rim.
            needed: (H, W) bool, pixels of the hole that can become visible; None for all.

        Returns:
            (H, W, 3) uint8 RGB, equal to the frame outside the hole.
        """
        plate = self._background.plate
        if plate is not None and plate.shape == image.shape:
            return _match_brightness(plate, image, hole, np.ones(hole.shape, bool))
        return self._carry(index, image, hole, needed)

    def _carry(self, index: int, image: np.ndarray, hole: np.ndarray, needed: np.ndarray | None) -> np.ndarray:
        """Move the plate of the anchor frame to a frame, and take a new anchor where that does not work."""
        view = make_view(image, hole)
        anchor, target = self._anchor, hole if needed is None else hole & needed
        is_usable = anchor is not None and anchor.index <= index and anchor.plate.shape == image.shape
        motion = anchor.find_motion(view) if anchor is not None and is_usable else None
        if anchor is None or motion is None:
            target = target | _near_rim(hole)
            plate = fill_hole(image, hole, target)
            self._anchor = _Anchor(index, view, plate, ~hole | target, view, np.eye(3))
            return plate
        size = (hole.shape[1], hole.shape[0])
        moved = cv2.warpPerspective(anchor.plate, motion, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        filled = cv2.warpPerspective(anchor.filled.astype(np.uint8) * 255, motion, size, flags=cv2.INTER_LINEAR) > 250
        plate = _match_brightness(moved, image, hole, filled)
        unfilled = hole & ~filled
        is_missing = (target & unfilled).sum() > _MISSING * target.sum()
        if is_missing:
            target = (target | _near_rim(hole)) & unfilled
            plate, filled = fill_hole(plate, unfilled, target), filled | target
        if is_missing or index - anchor.index >= _ANCHOR_FRAMES:
            self._anchor = _Anchor(index, view, plate, filled | ~hole, view, np.eye(3))
        elif unfilled.any() and not unfilled.all():
            plate = np.where(unfilled[..., None], _as_levels(fill_smoothly(plate.astype(np.float32), unfilled)), plate)
        return plate
