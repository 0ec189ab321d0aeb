"""Occluders, things in front of a face: hands, microphones and other objects, and worn masks.

A small network (`occlusion_network`) marks what does not belong to the face; hand landmarks, where their model is
installed, add the whole hand; matting makes the edges exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mimaface_cli.face.closed_form_matting import solve_alpha
from mimaface_cli.face.face_outline import draw_face_hull, face_axes
from mimaface_cli.face.hands import Hand, HandLandmarker, draw_hand, locate_hand_model
from mimaface_cli.face.mask_box import find_mask_box
from mimaface_cli.face.occluder_extent import continue_object
from mimaface_cli.face.occlusion_network import (
    EYES_PLANE,
    FACE_PLANE,
    LIPS_PLANE,
    SIDE,
    OcclusionNetwork,
    crop_face,
    load_occlusion_network,
)

HAND, OBJECT, MASK = "hand", "object", "mask"
COVERED_MOUTH_NOTE = "the mouth is covered; it is not animated"
_FRONT_NOTES = {
    HAND: "a hand in front of the face stays where it is in the photo",
    OBJECT: "an object in front of the face stays where it is in the photo",
}

_REGION = 0.3  # probability of a region's extent
# Probability of the core of a small region, and of one that covers this share of the face, as a beard may.
_CORE, _LARGE_CORE, _LARGE = 0.7, 0.85, 0.15
_MIN_SHARE = 0.015  # area of a region on the face, as a share of the face
# Mean probability of a region on the face, and of one at the eyes, where glasses are frequent.
_MIN_CERTAINTY, _EYES_CERTAINTY = 0.5, 0.7
_EYES_FROM = 0.0  # heights of the face above its center from which a region is at the eyes
_FOREHEAD = 0.17  # heights of the face above its center from which hair and hats begin
_ORDINARY_SHARE = 0.75  # share of a region at the forehead that makes it hair or a hat
_BORDER = 3  # pixels at the border of the crop, where the network lacks context
_MOUTH_COVERED, _EYE_COVERED = 0.5, 0.6  # shares of lips and eye
# Worn masks: least share of the lips; landmarks of cheeks and chin, of which at least three are covered; largest share
# of the region that lies outside the face.
_MASK_LIPS, _MASK_LANDMARKS, _MASK_OUTSIDE = 0.75, (205, 425, 152, 199), 0.3
_MIN_HAND_SCORE = 0.85
# The hand model detects some chins as hands. A hand with more than the first share on the face therefore needs a mean
# probability of the network above the second.
_HAND_ON_FACE, _HAND_EVIDENCE = 0.5, 0.3
_HAND_REACH = 0.2  # heights of the face beyond its outline where a hand could move with the head
_IN_FRONT, _BESIDE = "in front", "beside"  # places of hands
_HAND_SIZES = 0.15, 0.9  # sizes of a palm in heights of the face
_WORK_FACE = 180  # height of the face in pixels at which edges are matted


@dataclass(frozen=True)
class Occlusion:
    """The occluder of a face.

    Attributes:
        alpha: (H, W) float32 opacity of the occluder, 0 to 1.
        kind: "hand", "object" or "mask"; a mask is worn and moves with the face, the others stay where they are.
        covers_mouth: Whether most of the mouth is hidden.
        covers_eyes: Whether most of the left and of the right eye (the subject's) is hidden.
        notes: Notes for the user.
    """

    alpha: np.ndarray
    kind: str
    covers_mouth: bool
    covers_eyes: tuple[bool, bool]
    notes: tuple[str, ...] = ()

    @property
    def is_worn(self) -> bool:
        """Whether it moves with the face."""
        return self.kind == MASK


@dataclass(frozen=True)
class FaceEvidence:
    """Output of the network for an upright crop of a face.

    Attributes:
        probability: (64, 64) float32 that a pixel belongs to an occluder.
        planes: (6, 64, 64) float32 colors and regions of the crop, see `occlusion_network.crop_face`.
        matrix: (2, 3) from image pixels to the crop.
    """

    probability: np.ndarray
    planes: np.ndarray
    matrix: np.ndarray

    def at(self, region: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Look up a region (64, 64) of the crop at pixels (N, 2) of the image."""
        placed = (points @ self.matrix[:, :2].T + self.matrix[:, 2]).astype(int)
        columns, rows = np.clip(placed, 0, SIDE - 1).T
        return region[rows, columns]

    def crop(self, values: np.ndarray) -> np.ndarray:
        """Resample values (H, W) float32 of the image to the crop (64, 64)."""
        matrix = self.matrix.copy()
        matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
        return cv2.warpAffine(values, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)

    def to_image(self, values: np.ndarray, shape: tuple[int, int], scale: float = 1.0) -> np.ndarray:
        """Resample values (64, 64) to an image of a shape (H, W) that is reduced by `scale`; 0 outside the crop."""
        matrix = self.matrix.copy()
        matrix[:, :2] /= scale
        matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(values.astype(np.float32), matrix, shape[::-1], flags=flags)


def gather_evidence(
    network: OcclusionNetwork, image: np.ndarray, points: np.ndarray, *, is_mirrored_too: bool = False
) -> FaceEvidence:
    """Run the network on a face.

    Args:
        network: The network.
        image: (H, W, 3) uint8 RGB.
        points: (478, 2) landmarks in pixels.
        is_mirrored_too: Whether to run it on the mirror image as well and take the mean.
    """
    planes, matrix = crop_face(image, points)
    logits = network(planes)
    if is_mirrored_too:
        logits = (logits + network(np.ascontiguousarray(planes[:, :, ::-1]))[:, ::-1]) / 2
    probability = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    is_border = np.ones(probability.shape, bool)
    is_border[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    return FaceEvidence(np.where(is_border, 0, probability).astype(np.float32), planes, matrix)


def find_regions(evidence: FaceEvidence, points: np.ndarray) -> np.ndarray:
    """Select the regions of occluders, without hair and hats.

    Args:
        evidence: The network's evidence.
        points: (478, 2) landmarks in pixels of the image.

    Returns:
        (64, 64) bool.
    """
    probability = evidence.probability
    on_face = evidence.planes[FACE_PLANE] > 0
    count, labels = cv2.connectedComponents((probability > _REGION).astype(np.uint8))
    selected = np.zeros(probability.shape, bool)
    is_forehead = _above(evidence, points, _FOREHEAD)
    near_eyes = _above(evidence, points, _EYES_FROM)
    for label in range(1, count):
        region = labels == label
        part = region & on_face
        certainty = _EYES_CERTAINTY if part.any() and near_eyes[part].mean() > 0.5 else _MIN_CERTAINTY
        if part.sum() < _MIN_SHARE * on_face.sum() or probability[part].mean() < certainty:
            continue
        core = _LARGE_CORE if part.sum() > _LARGE * on_face.sum() else _CORE
        if not (part & (probability > core)).any() or is_forehead[part].mean() > _ORDINARY_SHARE:
            continue
        selected |= region
    return selected


def _above(evidence: FaceEvidence, points: np.ndarray, level: float) -> np.ndarray:
    """Return the pixels (64, 64) bool above a level, in heights of the face above its center."""
    center, _, height = face_axes(points)
    scale = float(np.sqrt(abs(np.linalg.det(evidence.matrix[:, :2]))))
    middle = evidence.matrix[:, :2] @ center + evidence.matrix[:, 2]
    above = (middle[1] - (np.arange(SIDE) + 0.5)) / (scale * height)
    return np.broadcast_to((above > level)[:, None], (SIDE, SIDE))


def find_occluders(
    image: np.ndarray,
    points: np.ndarray,
    network: OcclusionNetwork | None = None,
    hands: Sequence[Hand] | None = None,
) -> Occlusion | None:
    """Find the occluder of a face in a photo.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (478, 2) landmarks of the face in pixels.
        network: The network, by default the one that ships with the package.
        hands: The hands of the photo, or None to detect them if the hand model is installed.

    Returns:
        The occluder, or None if there is none.
    """
    evidence = gather_evidence(network or load_occlusion_network(), image, points, is_mirrored_too=True)
    regions = find_regions(evidence, points)
    if hands is None:
        hands = detect_hands(image)
    shape = image.shape[:2]
    placed = [(hand, _place_hand(hand, evidence, points, shape)) for hand in hands]
    is_hand_in_front = any(place == _IN_FRONT for _, place in placed)
    near_hands = [hand for hand, place in placed if place is not None]
    if not regions.any() and not near_hands:
        return None
    kind = classify_regions(evidence, regions, points, has_hand=is_hand_in_front)
    if not regions.any():
        kind = HAND
    outline = np.zeros(shape, np.float32)
    for hand in near_hands:
        outline = np.maximum(outline, draw_hand(hand, shape).astype(np.float32))
    alpha = _matte_regions(image, points, evidence, regions, outline)
    covers_mouth, covers_eyes = measure_covered(evidence, regions | (evidence.crop(outline) > 0.5), points)
    # A hand beside the face changes nothing that a user would miss.
    has_note = kind != MASK and (regions.any() or is_hand_in_front)
    notes = [_FRONT_NOTES[kind]] if has_note else []
    if covers_mouth:
        notes.append(COVERED_MOUTH_NOTE)
    return Occlusion(alpha, kind, covers_mouth, covers_eyes, tuple(notes))


def detect_hands(image: np.ndarray) -> list[Hand]:
    """Detect the hands of a photo; none where the hand model is not installed."""
    asset = locate_hand_model()
    if asset is None:
        return []
    landmarker = HandLandmarker(asset)
    try:
        return landmarker(image)
    finally:
        landmarker.close()


def _place_hand(hand: Hand, evidence: FaceEvidence, points: np.ndarray, shape: tuple[int, int]) -> str | None:
    """Return whether a hand lies in front of the face, or beside it and so close that it could move with the head."""
    height = face_axes(points)[2]
    low, high = _HAND_SIZES
    if hand.score < _MIN_HAND_SCORE or not low < hand.palm_size / height < high:
        return None
    outline = draw_hand(hand, shape) > 0
    face = draw_face_hull(points, shape)
    area, on_face = outline.sum(), outline & face
    if not area:
        return None
    if on_face.any() and on_face.sum() <= _HAND_ON_FACE * area:
        return _IN_FRONT
    if on_face.any():
        rows, columns = np.nonzero(on_face)
        values = evidence.at(evidence.probability, np.stack([columns, rows], 1) + 0.5)
        return _IN_FRONT if float(values.mean()) > _HAND_EVIDENCE else None
    distance = cv2.distanceTransform((~face).astype(np.uint8), cv2.DIST_L2, 3)
    return _BESIDE if float(distance[outline].min()) < _HAND_REACH * height else None


def classify_regions(evidence: FaceEvidence, regions: np.ndarray, points: np.ndarray, *, has_hand: bool) -> str:
    """Classify occluders as a worn mask, a hand or another object.

    Args:
        evidence: The network's evidence.
        regions: (64, 64) bool, see `find_regions`.
        points: (478, 2) landmarks in pixels of the image.
        has_hand: Whether a hand was detected in front of the face.
    """
    if has_hand:
        return HAND
    lips = evidence.planes[LIPS_PLANE] > 0
    near_face = cv2.dilate((evidence.planes[FACE_PLANE] > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    outside = (regions & ~near_face).sum() / max(int(regions.sum()), 1)
    landmarks = evidence.at(regions, points[list(_MASK_LANDMARKS)]).sum()
    is_mask = regions[lips].mean() > _MASK_LIPS and landmarks >= len(_MASK_LANDMARKS) - 1 and outside < _MASK_OUTSIDE
    return MASK if is_mask else OBJECT


def measure_covered(evidence: FaceEvidence, regions: np.ndarray, points: np.ndarray) -> tuple[bool, tuple[bool, bool]]:
    """Measure whether regions (64, 64) cover most of the mouth, of the left and of the right eye."""
    lips, eyes = (evidence.planes[plane] > 0 for plane in (LIPS_PLANE, EYES_PLANE))
    covers_mouth = bool(regions[lips].mean() > _MOUTH_COVERED) if lips.any() else False
    middle = evidence.matrix[:, :2] @ face_axes(points)[0] + evidence.matrix[:, 2]
    is_right = np.broadcast_to(np.arange(SIDE)[None] + 0.5 < middle[0], eyes.shape)
    sides = [eyes & ~is_right, eyes & is_right]  # the subject's left eye is at the right of the image
    covered = [bool(eye.any() and regions[eye].mean() > _EYE_COVERED) for eye in sides]
    return covers_mouth, (covered[0], covered[1])


def _matte_regions(
    image: np.ndarray, points: np.ndarray, evidence: FaceEvidence, regions: np.ndarray, outline: np.ndarray
) -> np.ndarray:
    """Return the opacity (H, W) float32 of regions of the crop and of outlines of hands (H, W), with exact edges."""
    height, width = image.shape[:2]
    grown = cv2.dilate(regions.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    confidence = evidence.to_image(evidence.probability * grown, (height, width))
    confidence = continue_object(image, points, np.clip(1.6 * confidence, 0, 1))
    confidence = np.maximum(confidence, cv2.GaussianBlur(outline, (0, 0), max(0.8, 0.012 * face_axes(points)[2])))
    alpha = np.zeros((height, width), np.float32)
    box = find_mask_box(confidence > 0.05, round(0.08 * face_axes(points)[2]) + 2)
    if box is None:
        return alpha
    part = confidence[box]
    scale = min(1.0, _WORK_FACE / face_axes(points)[2])
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    region = (small > 0.5).astype(np.uint8)
    band = max(2.0, 0.028 * scale * face_axes(points)[2])
    inside, outside = (cv2.distanceTransform(mask, cv2.DIST_L2, 3) for mask in (region, 1 - region))
    is_unknown = (inside > 0) & (inside < band) | (outside > 0) & (outside < band)
    if not region.any() or region.all():
        return alpha
    trimap = np.where(is_unknown, 0.5, region).astype(np.float32)
    crop = cv2.resize(np.ascontiguousarray(image[box]), size, interpolation=cv2.INTER_AREA)
    soft = solve_alpha(crop, trimap, np.clip(small, 0, 1))
    alpha[box] = cv2.resize(soft, part.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return alpha
