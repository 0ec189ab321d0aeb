"""The layers of a source video's frames.

Where no head moves, all of a frame counts as the person. Otherwise each frame is separated as a photo is, by faster
methods, and what its head uncovers comes from other frames, where they show it.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from mimaface_cli.engines.mesh.face_networks import PAINTED_FACE, FaceNetworks
from mimaface_cli.engines.mesh.layers import (
    PhotoLayers,
    clean_matte,
    opaque_layers,
    separate_layers,
    separate_occluder,
)
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait, prepare_portrait
from mimaface_cli.engines.mesh.smooth_fill import fill_smoothly
from mimaface_cli.engines.mesh.video_plate import VideoPlate
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.matting import matte_frame
from mimaface_cli.face.occlusion import Occlusion
from mimaface_cli.face.occlusion_reference import LookSampler, project_face, sample_look
from mimaface_cli.face.occlusion_tracking import OcclusionTracker
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.face.segmentation import PersonSegmenter

_SAME_POSE = 1e-6  # radians and model units


@dataclass(frozen=True)
class SourceFrame:
    """A frame of a source video.

    Attributes:
        image: (H, W, 3) uint8, or (H, W, 4) with alpha.
        prepare: Returns the frame, prepared for animation; None for a frame that stays as it is.
    """

    image: np.ndarray
    prepare: Callable[[], PreparedPortrait] | None = None


def moves_heads(motion: MeshMotion, source_pose: np.ndarray) -> bool:
    """Return whether a motion moves the head of a source with poses (N, 6) in any frame."""
    return bool(np.abs(motion.coefficients.pose - source_pose).max() > _SAME_POSE)


def _source_image(portrait: Portrait) -> np.ndarray:
    """Return the frame (H, W, 3) or (H, W, 4) of a portrait."""
    return portrait.image if portrait.alpha is None else np.dstack([portrait.image, portrait.alpha])


def prepare_still_heads(
    portraits: Generator[Portrait, None, None],
    shots: list[range],
    has_face: np.ndarray,
    model: Face478,
    notes: list[str],
    networks: FaceNetworks = PAINTED_FACE,
    samples: Generator[Portrait, None, None] | None = None,
) -> Generator[SourceFrame, None, None]:
    """Yield the frames of a video whose head is not moved.

    Args:
        portraits: The frames.
        shots: The frames of each shot.
        has_face: (N,) bool, whether a frame shows the face.
        model: The face model of their coefficients.
        notes: List to which notes for the user are appended.
        networks: The networks that correct the face.
        samples: The same frames once more, to learn how the face looks in each shot; None to detect fewer occluders.
    """
    tracker = OcclusionTracker()
    try:
        for shot in shots:
            look = None if samples is None else sample_look(islice(samples, len(shot)), len(shot), model)
            tracker.start_shot(look)
            for frame, portrait in zip(shot, portraits, strict=False):
                image = _source_image(portrait)
                if not has_face[frame]:
                    yield SourceFrame(image)
                    continue
                occlusion = tracker(portrait.image, portrait.points, project_face(portrait, model))
                prepare = partial(_prepare_still_head, portrait, model, occlusion, networks)
                yield SourceFrame(image, prepare)
    finally:
        notes += tracker.notes
        portraits.close()
        if samples is not None:
            samples.close()


def _prepare_still_head(
    portrait: Portrait, model: Face478, occlusion: Occlusion | None, networks: FaceNetworks
) -> PreparedPortrait:
    layers = separate_occluder(opaque_layers(portrait), portrait, model, occlusion, is_fast=True)
    return prepare_portrait(portrait, model, layers, networks)


def sample_background(portraits: Iterator[Portrait], look: LookSampler | None = None) -> VideoPlate:
    """Sample the background that the frames of one shot show.

    Args:
        portraits: The frames of the shot.
        look: Also gets each frame, or None.
    """
    plate, segmenter = VideoPlate(), PersonSegmenter()
    try:
        for portrait in portraits:
            if look is not None:
                look.add_frame(portrait)
            if plate.wants_frame():
                plate.add_frame(portrait.image, segmenter(portrait.image, portrait.points).confidence)
            else:
                plate.add_frame()
        plate.finish()
    finally:
        segmenter.close()
    return plate


def prepare_moving_heads(
    portraits: Generator[Portrait, None, None],
    samples: Generator[Portrait, None, None],
    shots: list[range],
    has_face: np.ndarray,
    model: Face478,
    notes: list[str],
    networks: FaceNetworks = PAINTED_FACE,
) -> Generator[SourceFrame, None, None]:
    """Yield the frames of a video whose head is moved.

    Args:
        portraits: The frames.
        samples: The same frames once more; one shot is read before its frames are prepared.
        shots: The frames of each shot.
        has_face: (N,) bool, whether a frame shows the face.
        model: The face model of their coefficients.
        notes: List to which notes for the user are appended.
        networks: The networks that correct the face.
    """
    segmenter, tracker = PersonSegmenter(), OcclusionTracker()
    try:
        for shot in shots:
            segmenter.start_shot()
            look = LookSampler(len(shot), model)
            plate = sample_background(islice(samples, len(shot)), look)
            tracker.start_shot(look.finish())
            for index, portrait in enumerate(islice(portraits, len(shot))):
                image = _source_image(portrait)
                if not has_face[shot[index]]:
                    yield SourceFrame(image)
                    continue
                layers = _separate_frame(portrait, index, segmenter, plate, model)
                occlusion = tracker(portrait.image, portrait.points, project_face(portrait, model))
                layers = separate_occluder(layers, portrait, model, occlusion, is_fast=True)
                notes += [note for note in (*plate.notes, *layers.notes) if note not in notes]
                prepare = partial(prepare_portrait, portrait, model, layers, networks)
                yield SourceFrame(image, prepare)
    finally:
        notes += tracker.notes
        portraits.close()
        samples.close()
        segmenter.close()


def _separate_frame(
    portrait: Portrait, index: int, segmenter: PersonSegmenter, plate: VideoPlate, model: Face478
) -> PhotoLayers:
    """Separate one frame of a shot; frames have to be separated in order."""
    mask = segmenter(portrait.image, portrait.points)
    matte = clean_matte(matte_frame(portrait.image, mask.confidence, portrait.points), portrait.alpha)
    return separate_layers(portrait, model, matte, mask.notes, partial(plate.plate_for, index), _fill_body)


def _fill_body(image: np.ndarray, hole: np.ndarray, needed: np.ndarray) -> np.ndarray:
    """Fill a hole (H, W) bool of an image (H, W, 3) uint8 smoothly near the needed pixels (H, W) bool."""
    rows, columns = np.flatnonzero(needed.any(1)), np.flatnonzero(needed.any(0))
    margin = 2 + max(len(rows), len(columns)) // 4
    box = np.s_[max(rows[0] - margin, 0) : rows[-1] + margin, max(columns[0] - margin, 0) : columns[-1] + margin]
    filled = image.copy()
    if not hole[box].all():
        smooth = fill_smoothly(image[box].astype(np.float32), hole[box])
        filled[box] = np.clip(np.rint(smooth), 0, 255)
    return filled
