"""Person segmentation: which pixels belong to the person of a face."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.errors import WeightsError
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.face_outline import draw_face_hull, face_axes
from mimaface_cli.face.head_mask import segment_by_head
from mimaface_cli.face.landmarks import load_mediapipe, native_silence, silence_first_call
from mimaface_cli.face.person_region import correct_by_colors, isolate_person, measure_width

SEGMENTER, HEAD = "segmenter", "head"
NO_MODEL_NOTE = (
    "the person segmentation model is not installed; the person's outline is estimated from the head. "
    "Run mimaface weights pull person_segmenter"
)
IMPLAUSIBLE_NOTE = (
    "the person segmentation model did not recognize the person; the person's outline is estimated from the head"
)
OVERLAP_NOTE = "other people overlap the person; the border between them is approximate"
WIDE_NOTE = "the person's outline is unusually wide; people or objects next to the head may move with it"

_NETWORK_SIDE = 256
_CLOSE_SIDE = 3.0  # side of the square around head and shoulders, in heights of the face
_CLOSE_DROP = 0.3  # distance of its center below the face's, in heights of the face
_CLOSE_BELOW = 0.7  # the square is segmented if its share of the image's area is lower
_MIN_COVERAGE = 0.85  # share of the face that a plausible mask covers
_MIN_AREA = 1.1  # area of a plausible mask, in areas of the face
_FULL_IMAGE = 0.97  # share of the image that only a mask of a large face may cover
_LARGE_FACE = 0.3  # share of the image that a large face covers
_WIDE, _VERY_WIDE = 0.38, 0.7  # area beside the head in areas of the head: maybe several people, probably not the head
_SMOOTHING = 0.7  # share of the previous frame's mask where a mask is most uncertain
_STILL = 6.0  # gray levels: a region that changes less is still, one that changes by twice as much moves
# Longest side of the image and height of the face at which photos and frames are segmented, in pixels.
_PHOTO_SIDE, _PHOTO_FACE = 1024, 192
_FRAME_SIDE, _FRAME_FACE = 512, 96


@dataclass(frozen=True)
class PersonMask:
    """Confidence that a pixel belongs to the person of a face.

    Attributes:
        confidence: (H, W) float32 in 0..1.
        method: "segmenter" for the network, "head" for the estimate from the landmarks.
        notes: Limits of the mask, for the user.
    """

    confidence: np.ndarray
    method: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Region:
    """A rectangle of an image in whole pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        return (self.right - self.left) * (self.bottom - self.top)

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)


class SegmentationNetwork:
    """MediaPipe's ImageSegmenter with the selfie segmentation model.

    Args:
        asset: The model file (.tflite).
    """

    def __init__(self, asset: Path) -> None:
        with native_silence():
            self._mediapipe, base_options, vision = load_mediapipe()
            self._segmenter = vision.ImageSegmenter.create_from_options(
                vision.ImageSegmenterOptions(
                    # A buffer, because the native code cannot open every path that Python can.
                    base_options=base_options(model_asset_buffer=asset.read_bytes()),
                    running_mode=vision.RunningMode.IMAGE,
                    output_confidence_masks=True,
                    output_category_mask=False,
                )
            )
        self._run = silence_first_call(self._segmenter.segment)

    def __call__(self, image: np.ndarray, *, is_mirrored_too: bool = False) -> np.ndarray:
        """Segment an image, which is stretched to the network's square.

        Args:
            image: (H, W, 3) uint8 RGB.
            is_mirrored_too: Whether to segment the mirror image as well and return the mean.

        Returns:
            (256, 256) float32 confidences in 0..1.
        """
        size = (_NETWORK_SIDE, _NETWORK_SIDE)
        is_smaller = max(image.shape[:2]) < _NETWORK_SIDE
        square = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR if is_smaller else cv2.INTER_AREA)
        confidence = self._segment(np.ascontiguousarray(square))
        if is_mirrored_too:
            mirrored = self._segment(np.ascontiguousarray(square[:, ::-1]))
            confidence = (confidence + mirrored[:, ::-1]) / 2
        return confidence

    def _segment(self, square: np.ndarray) -> np.ndarray:
        network_image = self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, square)
        result = self._run(network_image)
        # A copy, because the view belongs to the native result. The last mask is the person's.
        mask = np.array(result.confidence_masks[-1].numpy_view(), np.float32)
        return np.nan_to_num(mask.reshape(square.shape[:2])).clip(0, 1)

    def close(self) -> None:
        """Release the native segmenter."""
        with native_silence():
            self._segmenter.close()


def segment_person(image: np.ndarray, points: np.ndarray, others: Sequence[np.ndarray] | None = None) -> PersonMask:
    """Segment the person of a face in a photo.

    The network sees the whole image and a square around head and shoulders, so that a small face in a large photo has a
    mask of usable resolution. Other people belong to the background. Where the network is missing or misses the person,
    the mask is estimated from the landmarks.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (478, 2) landmarks of the face in pixels.
        others: Landmarks (478, 2) of the other faces in the image, or None to detect them where the mask is so wide
            that it may show several people.

    Returns:
        The mask, with notes about its limits.
    """
    asset = _locate_model()
    if asset is None:
        return PersonMask(segment_by_head(image, points), HEAD, (NO_MODEL_NOTE,))
    height, width = image.shape[:2]
    image, points, scale = _reduce(image, points, _PHOTO_SIDE, _PHOTO_FACE)
    if scale < 1:
        others = None if others is None else [other * scale for other in others]
    network = SegmentationNetwork(asset)
    try:
        people = _run_network(network, image, points, is_mirrored_too=True)
    finally:
        network.close()
    mask = _build_mask(image, people, points, others)
    if mask is None:
        mask = PersonMask(segment_by_head(image, points), HEAD, (IMPLAUSIBLE_NOTE,))
    return replace(mask, confidence=_enlarge(mask.confidence, width, height)) if scale < 1 else mask


def _build_mask(
    image: np.ndarray, people: np.ndarray, points: np.ndarray, others: Sequence[np.ndarray] | None
) -> PersonMask | None:
    """Make the mask of a person from the confidences (H, W) of all people; None if it is not plausible."""
    confidence, has_overlap = isolate_person(image, people, points, others or ())
    if not is_plausible(confidence, points):
        return None
    width = measure_width(confidence, points)
    if others is None and width > _WIDE:
        confidence, has_overlap = isolate_person(image, people, points, _detect_others(image, points))
        width = measure_width(confidence, points)
    notes = [OVERLAP_NOTE] * has_overlap + [WIDE_NOTE] * (width > _VERY_WIDE)
    confidence = _cover_face(correct_by_colors(image, confidence, points), points)
    return PersonMask(confidence, SEGMENTER, tuple(notes))


def _detect_others(image: np.ndarray, points: np.ndarray) -> list[np.ndarray]:
    """Return the landmarks of all faces but the one at `points`."""
    try:
        faces = detect_faces(image)
    except WeightsError:
        return []
    center, _, height = face_axes(points)
    return [face.points for face in faces if np.linalg.norm(face_axes(face.points)[0] - center) > 0.5 * height]


def _reduce(image: np.ndarray, points: np.ndarray, side: int, face: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Scale an image and landmarks down to a longest side, or a height of the face; more pixels only cost time."""
    height, width = image.shape[:2]
    scale = min(1.0, max(side / max(height, width), face / face_axes(points)[2]))
    if scale == 1:
        return image, points, scale
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), points * scale, scale


def _locate_model() -> Path | None:
    from mimaface_cli.weights.locate import locate

    try:
        return locate("person_segmenter", download=False)
    except WeightsError:
        return None


def _run_network(
    network: SegmentationNetwork, image: np.ndarray, points: np.ndarray, *, is_mirrored_too: bool
) -> np.ndarray:
    """Segment the image and, if it is much smaller, the square around head and shoulders; return (H, W) float32."""
    height, width = image.shape[:2]
    close = _close_region(points, height, width)
    if close.area >= _CLOSE_BELOW * height * width:
        return _enlarge(network(image, is_mirrored_too=is_mirrored_too), width, height)
    confidence = _enlarge(network(image, is_mirrored_too=is_mirrored_too), width, height)
    crop = image[close.slices]
    detail = _enlarge(network(crop, is_mirrored_too=is_mirrored_too), crop.shape[1], crop.shape[0])
    weight = _border_weight(close, height, width)
    part = confidence[close.slices]
    part += weight * (detail - part)
    return confidence


def _enlarge(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a mask; cubic, because linear interpolation shows the pixels of a small mask as steps."""
    return np.clip(cv2.resize(mask, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def _close_region(points: np.ndarray, height: int, width: int) -> _Region:
    """Return the square around head and shoulders, moved into the image where possible."""
    center, up, face_height = face_axes(points)
    side = max(round(_CLOSE_SIDE * face_height), 16)
    middle = center - _CLOSE_DROP * face_height * up
    limits = []
    for position, length in zip(middle, (width, height), strict=True):
        extent = min(side, length)
        low = round(float(np.clip(position - extent / 2, 0, length - extent)))
        limits.append((low, low + extent))
    (left, right), (top, bottom) = limits
    return _Region(left, top, right, bottom)


def _border_weight(region: _Region, height: int, width: int) -> np.ndarray:
    """Return weights of a region's pixels: 1 inside, falling to 0 at its borders that lie inside the image."""
    axes = []
    for low, high, length in ((region.top, region.bottom, height), (region.left, region.right, width)):
        position, band = np.arange(low, high) + 0.5, 0.12 * (high - low)
        near_low = (position - low) / band if low > 0 else np.ones(high - low)
        near_high = (high - position) / band if high < length else np.ones(high - low)
        axes.append(np.clip(np.minimum(near_low, near_high), 0, 1))
    return np.minimum.outer(axes[0], axes[1]).astype(np.float32)


def is_plausible(confidence: np.ndarray, points: np.ndarray) -> bool:
    """Return whether a mask can be that of the person of a face.

    Args:
        confidence: (H, W) float32 in 0..1.
        points: (478, 2) landmarks of the face in pixels.
    """
    face = draw_face_hull(points, confidence.shape)
    if not face.any():
        return False
    region = confidence > 0.5
    face_area, area = float(face.sum()), float(region.sum())
    if float(region[face].mean()) < _MIN_COVERAGE:
        return False
    if face_area > _LARGE_FACE * face.size:
        return True
    return _MIN_AREA * face_area < area < _FULL_IMAGE * face.size


def _cover_face(confidence: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Set the confidence of the face itself to 1, softly at its edge."""
    face = draw_face_hull(points, confidence.shape).astype(np.float32)
    size = 2 * max(1, round(0.015 * face_axes(points)[2])) + 1
    return np.maximum(confidence, cv2.blur(face, (size, size)) * face)


@dataclass
class PersonSegmenter:
    """Person segmentation of video frames.

    The masks are smoothed over time where they are uncertain and the image stands still, so that outlines do not
    flicker and moving parts leave no trail.

    Attributes:
        notes: Limits of the masks so far, for the user.
    """

    notes: list[str] = field(default_factory=list)
    _network: SegmentationNetwork | None = None
    _previous: np.ndarray | None = None
    _previous_gray: np.ndarray | None = None

    def __post_init__(self) -> None:
        asset = _locate_model()
        if asset is None:
            self.notes.append(NO_MODEL_NOTE)
        else:
            self._network = SegmentationNetwork(asset)

    def start_shot(self) -> None:
        """Forget the masks of earlier frames."""
        self._previous = self._previous_gray = None

    def __call__(self, image: np.ndarray, points: np.ndarray) -> PersonMask:
        """Segment the next frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            points: (478, 2) landmarks of the face in pixels.
        """
        height, width = image.shape[:2]
        image, points, scale = _reduce(image, points, _FRAME_SIDE, _FRAME_FACE)
        method, confidence = SEGMENTER, None
        if self._network is not None:
            people = _run_network(self._network, image, points, is_mirrored_too=False)
            confidence, _ = isolate_person(image, people, points)
            if not is_plausible(confidence, points):
                confidence = None
                if IMPLAUSIBLE_NOTE not in self.notes:
                    self.notes.append(IMPLAUSIBLE_NOTE)
        if confidence is None:
            method, confidence = HEAD, segment_by_head(image, points, is_fast=True)
        confidence = _cover_face(self._smooth(confidence, image), points)
        if scale < 1:
            confidence = cv2.resize(confidence, (width, height), interpolation=cv2.INTER_LINEAR)
        return PersonMask(confidence, method, tuple(self.notes))

    def _smooth(self, confidence: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Mix a mask with the previous one, the more the less certain it is, where the image has not changed."""
        height, width = confidence.shape
        scale = min(1.0, _NETWORK_SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        gray = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        previous, previous_gray = self._previous, self._previous_gray
        if previous is not None and previous_gray is not None and previous.shape == confidence.shape:
            change = cv2.blur(cv2.absdiff(gray, previous_gray).astype(np.float32), (5, 5))
            stillness = cv2.resize(np.clip(2 - change / _STILL, 0, 1), (width, height), interpolation=cv2.INTER_LINEAR)
            uncertainty = 1 - (2 * confidence - 1) ** 2
            confidence = confidence + _SMOOTHING * stillness * uncertainty * (previous - confidence)
        self._previous, self._previous_gray = confidence, gray
        return confidence

    def close(self) -> None:
        """Release the native segmenter."""
        if self._network is not None:
            self._network.close()
            self._network = None
