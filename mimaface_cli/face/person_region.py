"""The region of one person in a mask of all people: other people removed, outline corrected by colors."""

from collections.abc import Sequence

import cv2
import numpy as np

from mimaface_cli.face.face_outline import draw_face_hull, draw_head, draw_skull, face_axes

_WORK_SIDE, _WORK_FACE = 384, 64  # pixels: longest side of the image, height of the face for the analysis of regions
_REACH = 0.25  # soft confidences count up to this distance around the person's region, in heights of the face
_BINS = 20  # bins of the color histograms along each axis
_RARE = 2e-4  # share of pixels below which a color says nothing
_MAX_EVIDENCE = 3.5  # bound of the logarithm of the likelihood ratio of a color
_BAND = 0.15  # heights of the face: colors correct the mask this far from its outline, and fade to twice that
_MIN_SAMPLES = 50  # pixels of person and of background that the histograms need


def isolate_person(
    image: np.ndarray, confidence: np.ndarray, points: np.ndarray, others: Sequence[np.ndarray] = ()
) -> tuple[np.ndarray, bool]:
    """Remove other people and loose parts from a mask of all people.

    Args:
        image: (H, W, 3) uint8 RGB.
        confidence: (H, W) float32 in 0..1 that a pixel belongs to anybody.
        points: (478, 2) landmarks of the face in pixels.
        others: Landmarks (478, 2) of the other faces.

    Returns:
        (H, W) float32 confidence of the person, and whether other people overlap the person.
    """
    height, width = confidence.shape
    size, scale = _work_size(confidence, points)
    small = cv2.resize(confidence, size, interpolation=cv2.INTER_AREA)
    people = small > 0.5
    face = draw_face_hull(points * scale, people.shape)
    people |= face
    region = _component_of(people, face)
    overlapping = [other for other in others if _touches(region, other * scale)]
    if overlapping:
        small_image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        region = _split_people(small_image, region, points * scale, [other * scale for other in overlapping])
    # Soft confidence around the region belongs to it, unless another region is nearer.
    distance = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 3)
    foreign = people & ~region
    gate = np.clip(2 - distance / max(_REACH * face_axes(points)[2] * scale, 1.0), 0, 1)
    if foreign.any():
        foreign_distance = cv2.distanceTransform((~foreign).astype(np.uint8), cv2.DIST_L2, 3)
        gate *= np.clip(0.5 + (foreign_distance - distance) / 2, 0, 1)
    return confidence * cv2.resize(gate.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR), bool(
        overlapping
    )


def _component_of(people: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Return the connected region of the face; bridges of a pixel do not connect."""
    opened = cv2.morphologyEx(people.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) | face
    _, components = cv2.connectedComponents(opened.astype(np.uint8), connectivity=4)
    is_selected = np.zeros(int(components.max()) + 1, bool)
    is_selected[components[face]] = True
    is_selected[0] = False
    region = is_selected[components]
    # Opening removes thin parts of the person too: take back what touches the region.
    return people & (cv2.dilate(region.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)


def _touches(region: np.ndarray, points: np.ndarray) -> bool:
    """Return whether a good part of another face lies in a region."""
    hull = draw_face_hull(points, region.shape)
    return bool(hull.any()) and float(region[hull].mean()) > 0.3


def _split_people(image: np.ndarray, region: np.ndarray, points: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """Split a region that several people share along edges of the image, by watershed from their faces."""
    markers = np.zeros(region.shape, np.int32)
    for index, other in enumerate(others):
        markers[draw_face_hull(other, region.shape)] = 3 + index
    # The person's head and body count as seeds where they are not another person's face.
    core = draw_head(points, region.shape, -0.18) & (markers == 0)
    markers[core] = 2
    markers[draw_face_hull(points, region.shape)] = 2
    markers[~cv2.dilate(region.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)] = 1
    smooth = np.ascontiguousarray(cv2.GaussianBlur(image, (0, 0), 1.0))
    cv2.watershed(smooth, markers)
    person = (markers == 2) & region
    # Watershed lines have the label -1; they belong to the person where they lie between its pixels.
    closed = cv2.morphologyEx(person.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)).astype(bool)
    return closed & region & (markers < 3)


def correct_by_colors(image: np.ndarray, confidence: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Correct a mask near its outline by the colors of person and background.

    Networks close gaps between strands of hair and cut hats and sleeves. A doubtful pixel near the outline with a color
    of the other side moves there, and a clear one becomes doubtful.

    Args:
        image: (H, W, 3) uint8 RGB.
        confidence: (H, W) float32 in 0..1.
        points: (478, 2) landmarks of the face in pixels.

    Returns:
        (H, W) float32 confidence in 0..1.
    """
    height, width = confidence.shape
    size, scale = _work_size(confidence, points)
    small = cv2.resize(confidence, size, interpolation=cv2.INTER_AREA)
    region = (small > 0.5).astype(np.uint8)
    if not region.any() or region.all():
        return confidence
    unit = face_axes(points)[2] * scale
    inside = cv2.distanceTransform(region, cv2.DIST_L2, 3)
    outside = cv2.distanceTransform(1 - region, cv2.DIST_L2, 3)
    person = (small > 0.95) & (inside > 0.1 * unit)
    background = (small < 0.05) & (outside > 0.05 * unit) & (outside < unit)
    if min(person.sum(), background.sum()) < _MIN_SAMPLES:
        return confidence
    lab = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    evidence = _color_evidence(lab, person, background)
    evidence = cv2.GaussianBlur(evidence, (0, 0), max(0.03 * unit, 0.8))
    evidence *= np.clip(2 - (inside + outside) / (_BAND * unit), 0, 1)
    evidence[draw_face_hull(points * scale, small.shape)] = 0
    evidence = cv2.resize(evidence, (width, height), interpolation=cv2.INTER_LINEAR)
    bounded = np.clip(confidence, 0.02, 0.98)
    corrected = 1 / (1 + (1 / bounded - 1) * np.exp(-evidence))
    # Clear confidences give way to clear evidence only.
    keeps = (np.abs(confidence - 0.5) > 0.48) & (np.abs(evidence) < 1)
    return np.where(keeps, confidence, corrected).astype(np.float32)


def _color_evidence(lab: np.ndarray, person: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return (H, W) log-likelihood ratios of the colors, positive for the person."""
    bins = (lab.astype(np.int32) * _BINS) // 256
    index = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
    ratio = (_histogram(index[person]) + _RARE) / (_histogram(index[background]) + _RARE)
    return np.clip(np.log(ratio), -_MAX_EVIDENCE, _MAX_EVIDENCE)[index].astype(np.float32)


def _histogram(index: np.ndarray) -> np.ndarray:
    """Return the shares of color bins, smoothed over neighboring bins."""
    counts = np.bincount(index, minlength=_BINS**3).reshape(_BINS, _BINS, _BINS) / len(index)
    for axis in range(3):
        padded = np.pad(counts, [(int(k == axis),) * 2 for k in range(3)])
        before, middle, after = (np.take(padded, np.arange(k, k + _BINS), axis) for k in range(3))
        counts = 0.25 * before + 0.5 * middle + 0.25 * after
    return counts.ravel()


def measure_width(confidence: np.ndarray, points: np.ndarray) -> float:
    """Measure how far a mask reaches beside and above the head: other people, raised arms, a hat, big hair.

    Args:
        confidence: (H, W) float32 in 0..1.
        points: (478, 2) landmarks of the face in pixels.

    Returns:
        Area of the mask outside the head and above the chin, in areas of the head.
    """
    size, scale = _work_size(confidence, points)
    region = cv2.resize(confidence, size, interpolation=cv2.INTER_AREA) > 0.5
    placed = points * scale
    center, up, unit = face_axes(placed)
    rows, columns = np.arange(region.shape[0]) + 0.5 - center[1], np.arange(region.shape[1]) + 0.5 - center[0]
    above = rows[:, None] * up[1] + columns[None] * up[0] > -0.3 * unit
    head = draw_skull(placed, region.shape, 0.15)
    return float((region & above & ~head).sum()) / max(float((head & above).sum()), 1.0)


def _work_size(confidence: np.ndarray, points: np.ndarray) -> tuple[tuple[int, int], float]:
    """Return width and height of the reduced image for the analysis of regions, and its scale."""
    height, width = confidence.shape
    scale = min(1.0, max(_WORK_SIDE / max(height, width), _WORK_FACE / face_axes(points)[2]))
    return (max(1, round(width * scale)), max(1, round(height * scale))), scale
