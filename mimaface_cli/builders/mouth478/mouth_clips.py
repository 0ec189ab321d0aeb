"""Training data of the mouth network: what the mesh engine renders of a clip from one of its frames, and the truth.

A clip yields pairs of consecutive frames. Each pair is rendered from another frame of the same shot, the photo.
"""

from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.engines.mesh.contact import separate_lips
from mimaface_cli.engines.mesh.head_geometry import project_head
from mimaface_cli.engines.mesh.mouth_crop import (
    CROP_HEIGHT,
    CROP_WIDTH,
    build_condition,
    crop_mouth,
    draw_opening,
    mouth_crop_matrix,
)
from mimaface_cli.engines.mesh.person_render import render_person
from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait, prepare_still_head
from mimaface_cli.face import face478, topology
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.extract_options import MAX_FACES
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.landmarks import FaceLandmarker, locate_landmark_model, select_face
from mimaface_cli.face.portrait import SQUARE, Portrait
from mimaface_cli.files import atomic_path
from mimaface_cli.media.reader import read_frames
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.speech.mouth_motion import lip_gap_gradient

PHOTOS = 2  # per shot: the most closed mouth, and others at random
PAIRS = 12  # per photo
_MAX_SHOTS = 3  # per clip, the longest
_MIN_SHOT = 12  # frames
_MAX_YAW = np.radians(40.0)
_MIN_DISTANCE = 3  # frames between a photo and what is rendered from it
_BASE_WEIGHT = 0.25  # of closed lips among the rendered frames, relative to the widest opening


@dataclass(frozen=True, eq=False)
class MouthSamples:
    """Crops of a clip: R photos and N pairs of consecutive frames. Colors are RGB, openings 0 to 255.

    Attributes:
        photos: (R, 128, 192, 3) uint8.
        photo_openings: (R, 128, 192) uint8.
        photo: (N,) index of each pair's photo.
        truths: (N, 2, 128, 192, 3) uint8, the frames of the clip.
        renders: (N, 2, 128, 192, 3) uint8, the same frames rendered from the photo.
        openings: (N, 2, 128, 192) uint8, opening of the rendered lips.
        true_openings: (N, 2, 128, 192) uint8, opening of the lips in the clip; empty where no face was detected.
        conditions: (N, 2, CONDITION_DIM) float32, see `build_condition`.
        flows: (N, 64, 96, 2) float16, see `measure_flow`.
        closed: (R,) whether a photo is the most closed mouth of its shot.
    """

    photos: np.ndarray
    photo_openings: np.ndarray
    photo: np.ndarray
    truths: np.ndarray
    renders: np.ndarray
    openings: np.ndarray
    true_openings: np.ndarray
    conditions: np.ndarray
    flows: np.ndarray
    closed: np.ndarray

    def __len__(self) -> int:
        return len(self.photo)

    def save(self, path: Path) -> None:
        """Write the samples to a file, which appears when it is complete."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "MouthSamples":
        """Read the samples from a file."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{field.name: file[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class _Plan:
    """The frames to read of a shot: photos, and for each the first frames of its pairs."""

    photos: list[int]
    pairs: list[list[int]]

    def frames(self) -> set[int]:
        return {*self.photos, *(k + step for pairs in self.pairs for k in pairs for step in (0, 1))}


def make_mouth_samples(path: Path, track: MotionTrack, rng: np.random.Generator) -> MouthSamples | None:
    """Render the samples of a clip.

    Args:
        path: The clip.
        track: Its motion.
        rng: Random numbers that choose the frames.

    Returns:
        The samples, or None for a clip that is too short, or in which no photo shows a face.
    """
    plans = [_plan_shot(track, start, end, rng) for start, end in _find_shots(track)]
    needed = set().union(*(plan.frames() for plan in plans)) if plans else set()
    if not needed:
        return None
    frames = read_frames(path, max_frames=len(track), start=float(track.pts[0]))
    try:
        images = {k: frame.image for k, frame in enumerate(frames) if k in needed}
    finally:
        frames.close()
    model, rings = face478.load(), _find_lips(images)
    photos, samples = [], []
    for plan in plans:
        for number, (photo, pairs) in enumerate(zip(plan.photos, plan.pairs, strict=True)):
            renderer = _ClipRenderer.of(images[photo], track, photo, model)
            if renderer is None:
                continue
            photos.append((*renderer.photo_crop(), number == 0))
            samples += [(len(photos) - 1, *renderer.render_pair(images, rings, k)) for k in pairs]
    if not samples:
        return None
    columns = [np.stack(column) for column in zip(*samples, strict=True)]
    photo_columns = [np.stack(column) for column in zip(*photos, strict=True)]
    names = [field.name for field in fields(MouthSamples)]
    return MouthSamples(**dict(zip(names, [*photo_columns[:2], *columns, photo_columns[2]], strict=True)))


def _find_shots(track: MotionTrack) -> list[tuple[int, int]]:
    """The longest shots as first frame and end."""
    borders = [0, *track.meta.cuts, len(track)]
    shots = [(start, end) for start, end in pairwise(borders) if end - start >= _MIN_SHOT]
    return sorted(sorted(shots, key=lambda shot: shot[0] - shot[1])[:_MAX_SHOTS])


def _plan_shot(track: MotionTrack, start: int, end: int, rng: np.random.Generator) -> _Plan:
    frames = np.arange(start, end)
    usable = track.valid[frames] & (np.abs(track.pose[frames, 1]) < _MAX_YAW)
    gap = track.expression[frames].astype(np.float64) @ lip_gap_gradient()
    candidates = frames[usable]
    firsts = frames[:-1][usable[:-1] & usable[1:]]
    if len(candidates) < _MIN_SHOT or not len(firsts):
        return _Plan([], [])
    others = rng.choice(candidates, PHOTOS - 1, replace=False)
    photos = [int(candidates[gap[usable].argmin()]), *map(int, others)]
    opening = gap[firsts - start] - gap.min()
    weights = _BASE_WEIGHT + opening / max(float(opening.max()), 1e-6)
    pairs = []
    for photo in photos:
        allowed = np.abs(firsts - photo) > _MIN_DISTANCE
        count = min(PAIRS, int(allowed.sum()))
        share = weights * allowed
        chosen = rng.choice(firsts, count, replace=False, p=share / share.sum()).tolist() if count else []
        pairs.append(sorted(chosen))
    return _Plan(photos, pairs)


@dataclass(frozen=True)
class _ClipRenderer:
    """Renders frames of a clip from one of them."""

    prepared: PreparedPortrait
    track: MotionTrack
    model: Face478

    @classmethod
    def of(cls, image: np.ndarray, track: MotionTrack, photo: int, model: Face478) -> "_ClipRenderer | None":
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

    def photo_crop(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the photo's crop and opening, uint8."""
        prepared = self.prepared
        portrait = prepared.portrait
        matrix = mouth_crop_matrix(prepared.mouth.anchor, portrait.pose, prepared.to_image)
        ring = prepared.geometry.texture[prepared.geometry.fine.rings["mouth"]]
        return _to_bytes(crop_mouth(portrait.image, matrix)), _to_bytes(draw_opening(ring, matrix) * 255)

    def render_pair(
        self, images: dict[int, np.ndarray], rings: dict[int, np.ndarray], first: int
    ) -> tuple[np.ndarray, ...]:
        """Render two frames.

        Args:
            images: Frames of the clip.
            rings: (20, 2) inner lips in them, where a face was detected.
            first: The first frame.

        Returns:
            Truths, renders, both openings, conditions and flow, as in `MouthSamples`.
        """
        frames = first, first + 1
        rendered = [self._render(k) for k in frames]
        matrices = [truth_matrix(self.prepared.mouth.anchor, self.track, k) for k in frames]
        truths = np.stack([_to_bytes(crop_mouth(images[k], m)) for k, m in zip(frames, matrices, strict=True)])
        renders, openings, conditions = (np.stack(column) for column in zip(*rendered, strict=True))
        true_openings = draw_true_openings(rings, frames, matrices)
        return truths, renders, openings, true_openings, conditions, measure_flow(truths[0], truths[1])

    def _render(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Render a frame; return its crop, opening and condition."""
        prepared, portrait = self.prepared, self.prepared.portrait
        expression, pose = self.track.expression[k].astype(np.float64), self.track.pose[k].astype(np.float64)
        head = separate_lips(prepared.head + self.model.expression_basis @ (expression - portrait.expression))
        colors = portrait.image.astype(np.float32)
        person = render_person(prepared, head, pose, portrait.gaze)
        if person is not None:
            left, top, right, bottom = person.box
            region = colors[top:bottom, left:right]
            region += person.alpha * (person.colors - region)
        xy, _ = project_head(prepared.geometry, head @ rotation_matrix(pose[:3]).T + pose[3:], pose)
        ring = prepared.to_image(xy[prepared.geometry.fine.rings["mouth"]])
        matrix = mouth_crop_matrix(prepared.mouth.anchor, pose, prepared.to_image)
        condition = build_condition(expression, pose, portrait.expression, portrait.pose)
        return _to_bytes(crop_mouth(colors, matrix)), _to_bytes(draw_opening(ring, matrix) * 255), condition


def _find_lips(images: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Detect the inner lips (20, 2), in pixels, of the largest face in each image that shows one."""
    rings = {}
    landmarker = FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=MAX_FACES)
    try:
        for k, image in images.items():
            face = select_face(landmarker(image), "largest")
            if face is not None:
                rings[k] = face.points[topology.INNER_LIPS]
    finally:
        landmarker.close()
    return rings


def truth_matrix(anchor: np.ndarray, track: MotionTrack, k: int) -> np.ndarray:
    """Return the (2, 3) similarity from frame k of a clip to the crop of its mouth; anchor: as in `MouthLayers`."""
    crop = track.crop[k].astype(np.float64)

    def to_image(pixels: np.ndarray) -> np.ndarray:
        return (pixels - crop[:, 2]) / crop[0, 0]

    return mouth_crop_matrix(anchor, track.pose[k].astype(np.float64), to_image)


def draw_true_openings(rings: dict[int, np.ndarray], frames: tuple[int, int], matrices: list[np.ndarray]) -> np.ndarray:
    """Draw the openings (2, 128, 192) uint8 of a pair of frames; empty where no face was detected."""
    openings = np.zeros((2, CROP_HEIGHT, CROP_WIDTH), np.uint8)
    for j, (k, matrix) in enumerate(zip(frames, matrices, strict=True)):
        if k in rings:
            openings[j] = _to_bytes(draw_opening(rings[k], matrix) * 255)
    return openings


def measure_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Measure the optical flow between two crops.

    Args:
        first: (128, 192, 3) uint8.
        second: The same crop in the next frame.

    Returns:
        (64, 96, 2) float16: where each pixel of the second lies in the first, minus its own place, at half resolution
        in pixels of the full one.
    """
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (second, first)]
    flow = estimator.calc(*gray, None)  # type: ignore[call-overload]  # the stub does not know the default
    return cv2.resize(flow, (flow.shape[1] // 2, flow.shape[0] // 2), interpolation=cv2.INTER_AREA).astype(np.float16)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
