"""Frames of a clip, rendered by the mesh engine from another frame of it: what networks of face parts learn from."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.engines.mesh.face_part import PointMap
from mimaface_cli.engines.mesh.head_geometry import project_head
from mimaface_cli.engines.mesh.person_render import render_person
from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait, prepare_still_head
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.landmarks import select_face
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.media.reader import read_frames
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack

_MAX_SHOTS = 3  # per clip, the longest
MIN_SHOT = 12  # frames
_MAX_YAW = np.radians(40.0)


def find_shots(track: MotionTrack) -> list[tuple[int, int]]:
    """Return the longest shots as first frame and end."""
    borders = [0, *track.meta.cuts, len(track)]
    shots = [(start, end) for start, end in pairwise(borders) if end - start >= MIN_SHOT]
    return sorted(sorted(shots, key=lambda shot: shot[0] - shot[1])[:_MAX_SHOTS])


def mark_usable_frames(track: MotionTrack) -> np.ndarray:
    """Return (N,) bool, whether a frame shows a face that is not turned too far."""
    return track.valid & (np.abs(track.pose[:, 1]) < _MAX_YAW)


def read_clip_frames(path: Path, track: MotionTrack, needed: Iterable[int]) -> dict[int, np.ndarray]:
    """Read some frames of a clip, by their number in its track."""
    numbers = set(needed)
    frames = read_frames(path, max_frames=len(track), start=float(track.pts[0]))
    try:
        return {k: frame.image for k, frame in enumerate(frames) if k in numbers}
    finally:
        frames.close()


def frame_map(track: MotionTrack, k: int) -> PointMap:
    """Return the map from pixels (N, 2) of the 256 crop of the face to pixels of frame k of a clip."""
    crop = track.crop[k].astype(np.float64)

    def to_image(pixels: np.ndarray) -> np.ndarray:
        return (pixels - crop[:, 2]) / crop[0, 0]

    return to_image


@dataclass(frozen=True)
class ClipRenderer:
    """Renders frames of a clip from one of them.

    Attributes:
        prepared: That frame.
        track: Motion of the clip.
        model: The face model.
    """

    prepared: PreparedPortrait
    track: MotionTrack
    model: Face478

    @classmethod
    def of(cls, image: np.ndarray, track: MotionTrack, photo: int, model: Face478) -> "ClipRenderer | None":
        """Prepare a frame as the photo; None where no face is detected."""
        face = select_face(detect_faces(image), "largest")
        if face is None:
            return None
        values = (array[photo].astype(np.float64) for array in (track.crop, track.expression, track.pose, track.gaze))
        crop, expression, pose, gaze = values
        identity, light = track.identity.astype(np.float64), track.illumination[photo].astype(np.float64)
        portrait = Portrait(image, None, face.points, crop, identity, expression, pose, gaze, None, light)
        square = portrait.warped(portrait.square_matrix(), SQUARE, SQUARE)
        return cls(prepare_still_head(square, model), track, model)

    def move_head(self, k: int) -> np.ndarray:
        """Return the photo's head (478, 3) with the expression of frame k."""
        change = self.track.expression[k].astype(np.float64) - self.prepared.portrait.expression
        return np.asarray(self.prepared.head + self.model.expression_basis @ change)

    def render(self, head: np.ndarray, pose: np.ndarray, gaze: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Render a frame.

        Args:
            head: (478, 3) face in the head's frame.
            pose: (6,) pose of the head.
            gaze: (4,) yaw and pitch of both eyes, radians.

        Returns:
            The frame (H, W, 3) float32, and the vertices (V, 2) in it, in pixels.
        """
        prepared = self.prepared
        colors = prepared.portrait.image.astype(np.float32)
        person = render_person(prepared, head, pose, gaze)
        if person is not None:
            left, top, right, bottom = person.box
            region = colors[top:bottom, left:right]
            region += person.alpha * (person.colors - region)
        xy, _ = project_head(prepared.geometry, head @ rotation_matrix(pose[:3]).T + pose[3:], pose)
        return colors, prepared.to_image(xy)


def measure_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Measure the optical flow between two crops.

    Args:
        first: (H, W, 3) uint8.
        second: The same crop in the next frame.

    Returns:
        (H/2, W/2, 2) float16: where each pixel of the second lies in the first, minus its own place, at half resolution
        in pixels of the full one.
    """
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (second, first)]
    flow = estimator.calc(*gray, None)  # type: ignore[call-overload]  # the stub does not know the default
    return cv2.resize(flow, (flow.shape[1] // 2, flow.shape[0] // 2), interpolation=cv2.INTER_AREA).astype(np.float16)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Round values of 0 to 255 to uint8."""
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
