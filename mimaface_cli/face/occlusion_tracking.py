"""Occluders of a face in a video: detected frame by frame, smoothed over time."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from mimaface_cli.face.color_lines import ColorLines, apply_lines
from mimaface_cli.face.face_outline import face_axes
from mimaface_cli.face.mask_box import find_mask_box
from mimaface_cli.face.occluder_extent import continue_object
from mimaface_cli.face.occlusion import (
    MASK,
    OBJECT,
    FaceEvidence,
    Occlusion,
    classify_regions,
    find_regions,
    gather_evidence,
    measure_covered,
)
from mimaface_cli.face.occlusion_network import FACE_PLANE, SIDE, load_occlusion_network
from mimaface_cli.face.occlusion_reference import FaceLook, place_region, unroll_face
from mimaface_cli.face.portrait import limited_size

_MEMORY = 0.4  # share of the previous frame's probabilities where they fall
_CLEAR = 0.9  # probability from which one frame suffices; else two in a row are needed
_CLEAN_SHARE = 0.2  # a shot with more frames that show the whole face has no worn mask
_WORK_FACE = 90  # height of the face in pixels at which edges are filtered
_RADIUS = 0.05  # of the windows of the filter, in heights of the face
_CLEAN_SIDE = 320  # pixels of the longer side at which the first and the last frame without an occluder are kept
_NEW_LEVELS = 24.0  # gray levels: a pixel that differs more from one of them is new
_FOREIGN = 0.95  # probability where the face does not look as usual


@dataclass
class OcclusionTracker:
    """Finds the occluders of a face in the frames of a video, in order.

    Attributes:
        frames: Number of frames so far.
        front_frames: Number of them in which something passes in front of the face.
        worn_frames: Number of them in which a worn mask covers the mouth.
    """

    frames: int = 0
    front_frames: int = 0
    worn_frames: int = 0
    _previous: np.ndarray | None = None
    _run: int = 0
    _clean: int = 0
    _votes: list[bool] = field(default_factory=list)
    _look: FaceLook | None = None
    _clean_frames: list[np.ndarray] = field(default_factory=list)

    def start_shot(self, look: FaceLook | None = None) -> None:
        """Forget the earlier frames.

        Args:
            look: The usual look of the face in the shot, with which occluders in the colors of skin are detected too.
        """
        self._previous, self._run, self._clean, self._votes = None, 0, 0, []
        self._look, self._clean_frames = look, []

    def __call__(self, image: np.ndarray, points: np.ndarray, fitted: np.ndarray | None = None) -> Occlusion | None:
        """Find the occluder of the face in the next frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            points: (478, 2) landmarks of the face in pixels.
            fitted: (478, 2) the landmarks of its coefficients, see `project_face`; None to compare no look.
        """
        self.frames += 1
        evidence = gather_evidence(load_occlusion_network(), image, points)
        foreign = self._find_foreign(image, fitted, evidence)
        if self._previous is not None:
            smooth = evidence.probability + _MEMORY * np.maximum(self._previous - evidence.probability, 0)
            evidence = FaceEvidence(smooth, evidence.planes, evidence.matrix)
        self._previous = evidence.probability
        if foreign is not None:
            seen = np.where(foreign, np.maximum(evidence.probability, _FOREIGN), evidence.probability)
            evidence = FaceEvidence(seen, evidence.planes, evidence.matrix)
        regions = find_regions(evidence, points)
        self._run = self._run + 1 if regions.any() else 0
        if not self._run:
            self._clean += 1
            if self._look is not None:
                self._clean_frames = [*self._clean_frames[:1], _shrink(image)]
            return None
        if self._run == 1 and evidence.probability[regions & (evidence.planes[FACE_PLANE] > 0)].max() < _CLEAR:
            return None
        # What the face does not show usually is nothing that it wears.
        kind = self._classify(evidence, regions, points) if foreign is None else OBJECT
        self.worn_frames += kind == MASK
        self.front_frames += kind == OBJECT
        covers_mouth, covers_eyes = measure_covered(evidence, regions, points)
        if kind == MASK:
            return Occlusion(np.zeros(image.shape[:2], np.float32), kind, covers_mouth, covers_eyes)
        clean = [] if foreign is None else self._clean_frames
        return Occlusion(_filter_regions(image, points, evidence, regions, clean), kind, covers_mouth, covers_eyes)

    def _find_foreign(self, image: np.ndarray, fitted: np.ndarray | None, evidence: FaceEvidence) -> np.ndarray | None:
        """Return where the face does not look as usual, (64, 64) bool in the crop; None if it does."""
        if self._look is None or fitted is None:
            return None
        region = self._look.find_foreign(unroll_face(image, fitted))
        if not region.any():
            return None
        return place_region(region, fitted @ evidence.matrix[:, :2].T + evidence.matrix[:, 2], SIDE)

    def _classify(self, evidence: FaceEvidence, regions: np.ndarray, points: np.ndarray) -> str:
        """Return whether the shot shows a worn mask, or something that passes in front of the face."""
        self._votes.append(classify_regions(evidence, regions, points, has_hand=False) == MASK)
        votes = len(self._votes)
        is_worn = 2 * sum(self._votes) > votes and self._clean <= _CLEAN_SHARE * (votes + self._clean)
        return MASK if is_worn else OBJECT

    @property
    def notes(self) -> list[str]:
        """Notes for the user about the frames so far."""
        notes = []
        if self.front_frames:
            notes.append(
                f"something passes in front of the face in {self.front_frames} of {self.frames} frames; "
                "it stays in front"
            )
        if self.worn_frames:
            notes.append(
                f"the mouth is covered in {self.worn_frames} of {self.frames} frames; it is not animated there"
            )
        return notes


def _shrink(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return cv2.resize(image, limited_size(width, height, _CLEAN_SIDE), interpolation=cv2.INTER_AREA)


def _filter_regions(
    image: np.ndarray, points: np.ndarray, evidence: FaceEvidence, regions: np.ndarray, clean: list[np.ndarray]
) -> np.ndarray:
    """Return the opacity (H, W) float32 of regions (64, 64); a guided filter moves its edges to those of the colors.

    With earlier frames of the shot without the occluder, (h, w, 3) uint8, it is continued beside the face.
    """
    height, width = image.shape[:2]
    scale = min(1.0, _WORK_FACE / face_axes(points)[2])
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grown = cv2.dilate(regions.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    confidence = evidence.to_image(evidence.probability * grown, size[::-1], scale)
    small_image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if clean:
        changes = [cv2.absdiff(small_image, cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)) for frame in clean]
        is_new = cv2.blur(np.max(changes, axis=(0, 3)), (3, 3)) > _NEW_LEVELS
        confidence = continue_object(small_image, points * scale, confidence, is_new)
    alpha = np.zeros((height, width), np.float32)
    radius = max(2, round(_RADIUS * scale * face_axes(points)[2]))
    box = find_mask_box(confidence > 0.05, 2 * radius)
    if box is None:
        return alpha
    part = np.ascontiguousarray(confidence[box])
    small = np.ascontiguousarray(small_image[box])
    lines = ColorLines(small, radius, 1e-3).fit(part)
    window = (2 * radius + 1, 2 * radius + 1)
    filtered = apply_lines([cv2.blur(line, window) for line in lines], small)
    near = cv2.blur(((part > 0.05) & (part < 0.95)).astype(np.float32), window) > 0
    sharp = np.clip((np.where(near, filtered, part) - 0.25) / 0.5, 0, 1)
    full = np.zeros(size[::-1], np.float32)
    full[box] = sharp
    return cv2.resize(full, (width, height), interpolation=cv2.INTER_LINEAR)
