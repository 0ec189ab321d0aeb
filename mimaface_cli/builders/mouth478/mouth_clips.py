"""Training data of the mouth network: what the mesh engine renders of a clip from one of its frames, and the truth.

A clip yields pairs of consecutive frames. Each pair is rendered from another frame of the same shot, the photo.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.builders.clip_renderer import (
    MIN_SHOT,
    ClipRenderer,
    find_shots,
    frame_map,
    mark_usable_frames,
    measure_flow,
    read_clip_frames,
    to_bytes,
)
from mimaface_cli.builders.clip_samples import ClipSamples
from mimaface_cli.engines.mesh.contact import separate_lips
from mimaface_cli.engines.mesh.face_part import crop_image, draw_opening
from mimaface_cli.engines.mesh.mouth_crop import (
    CROP_HEIGHT,
    CROP_WIDTH,
    MOUTH,
    build_condition,
    mouth_crop_matrix,
)
from mimaface_cli.face import face478, topology
from mimaface_cli.face.extract_options import MAX_FACES
from mimaface_cli.face.landmarks import FaceLandmarker, locate_landmark_model, select_face
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.speech.mouth_motion import lip_gap_gradient

PHOTOS = 2  # per shot: the most closed mouth, and others at random
PAIRS = 12  # per photo
_MIN_DISTANCE = 3  # frames between a photo and what is rendered from it
_BASE_WEIGHT = 0.25  # of closed lips among the rendered frames, relative to the widest opening


@dataclass(frozen=True, eq=False)
class MouthSamples(ClipSamples):
    """Crops of a clip: R photos and N pairs of consecutive frames. Colors are RGB, openings 0 to 255.

    Attributes:
        photo: (N,) index of each pair's photo.
        photos: (R, 128, 192, 3) uint8.
        photo_openings: (R, 128, 192) uint8.
        closed: (R,) whether a photo is the most closed mouth of its shot.
        truths: (N, 2, 128, 192, 3) uint8, the frames of the clip.
        renders: (N, 2, 128, 192, 3) uint8, the same frames rendered from the photo.
        openings: (N, 2, 128, 192) uint8, opening of the rendered lips.
        true_openings: (N, 2, 128, 192) uint8, opening of the lips in the clip; empty where no face was detected.
        conditions: (N, 2, CONDITION_DIM) float32, see `build_condition`.
        flows: (N, 64, 96, 2) float16, see `measure_flow`.
    """

    photos: np.ndarray
    photo_openings: np.ndarray
    closed: np.ndarray
    truths: np.ndarray
    renders: np.ndarray
    openings: np.ndarray
    true_openings: np.ndarray
    conditions: np.ndarray
    flows: np.ndarray


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
    plans = [_plan_shot(track, start, end, rng) for start, end in find_shots(track)]
    needed = set().union(*(plan.frames() for plan in plans)) if plans else set()
    if not needed:
        return None
    images = read_clip_frames(path, track, needed)
    model, rings = face478.load(), _find_lips(images)
    photos, samples = [], []
    for plan in plans:
        for number, (photo, pairs) in enumerate(zip(plan.photos, plan.pairs, strict=True)):
            renderer = ClipRenderer.of(images[photo], track, photo, model)
            if renderer is None:
                continue
            photos.append((*_crop_photo(renderer), number == 0))
            samples += [(len(photos) - 1, *_render_pair(renderer, images, rings, k)) for k in pairs]
    return MouthSamples.stack(samples, photos) if samples else None


def _plan_shot(track: MotionTrack, start: int, end: int, rng: np.random.Generator) -> _Plan:
    frames = np.arange(start, end)
    usable = mark_usable_frames(track)[frames]
    gap = track.expression[frames].astype(np.float64) @ lip_gap_gradient()
    candidates = frames[usable]
    firsts = frames[:-1][usable[:-1] & usable[1:]]
    if len(candidates) < MIN_SHOT or not len(firsts):
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


def _crop_photo(renderer: ClipRenderer) -> tuple[np.ndarray, np.ndarray]:
    """Return the photo's crop and opening, uint8."""
    prepared = renderer.prepared
    portrait = prepared.portrait
    matrix = mouth_crop_matrix(prepared.mouth.anchor, portrait.pose, prepared.to_image)
    ring = prepared.geometry.texture[prepared.geometry.fine.rings["mouth"]]
    return to_bytes(crop_image(MOUTH, portrait.image, matrix)), to_bytes(draw_opening(MOUTH, ring, matrix) * 255)


def _render_pair(
    renderer: ClipRenderer, images: dict[int, np.ndarray], rings: dict[int, np.ndarray], first: int
) -> tuple[np.ndarray, ...]:
    """Render two frames.

    Args:
        renderer: Renders from the photo.
        images: Frames of the clip.
        rings: (20, 2) inner lips in them, where a face was detected.
        first: The first frame.

    Returns:
        Truths, renders, both openings, conditions and flow, as in `MouthSamples`.
    """
    frames = first, first + 1
    rendered = [_render(renderer, k) for k in frames]
    matrices = [truth_matrix(renderer.prepared.mouth.anchor, renderer.track, k) for k in frames]
    truths = np.stack([to_bytes(crop_image(MOUTH, images[k], m)) for k, m in zip(frames, matrices, strict=True)])
    renders, openings, conditions = (np.stack(column) for column in zip(*rendered, strict=True))
    true_openings = draw_true_openings(rings, frames, matrices)
    return truths, renders, openings, true_openings, conditions, measure_flow(truths[0], truths[1])


def _render(renderer: ClipRenderer, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render a frame; return its crop, opening and condition."""
    prepared, portrait = renderer.prepared, renderer.prepared.portrait
    expression, pose = (array[k].astype(np.float64) for array in (renderer.track.expression, renderer.track.pose))
    colors, xy = renderer.render(separate_lips(renderer.move_head(k)), pose, portrait.gaze)
    ring = xy[prepared.geometry.fine.rings["mouth"]]
    matrix = mouth_crop_matrix(prepared.mouth.anchor, pose, prepared.to_image)
    condition = build_condition(expression, pose, portrait.expression, portrait.pose)
    opening = draw_opening(MOUTH, ring, matrix)
    return to_bytes(crop_image(MOUTH, colors, matrix)), to_bytes(opening * 255), condition


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
    return mouth_crop_matrix(anchor, track.pose[k].astype(np.float64), frame_map(track, k))


def draw_true_openings(rings: dict[int, np.ndarray], frames: tuple[int, int], matrices: list[np.ndarray]) -> np.ndarray:
    """Draw the openings (2, 128, 192) uint8 of a pair of frames; empty where no face was detected."""
    openings = np.zeros((2, CROP_HEIGHT, CROP_WIDTH), np.uint8)
    for j, (k, matrix) in enumerate(zip(frames, matrices, strict=True)):
        if k in rings:
            openings[j] = to_bytes(draw_opening(MOUTH, rings[k], matrix) * 255)
    return openings
