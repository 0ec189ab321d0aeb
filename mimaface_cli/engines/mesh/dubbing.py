"""Rendering of a source video whose mouth alone is replaced: everything outside the lower face stays as it is."""

import os
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, pairwise

import numpy as np

from mimaface_cli.concurrency import ordered_map, prefetch
from mimaface_cli.engines.base import FrameStream
from mimaface_cli.engines.mesh.dub_plan import DubbedShape, plan_shape
from mimaface_cli.engines.mesh.face_networks import FaceNetworks
from mimaface_cli.engines.mesh.face_presence import RENDERED_FROM, ease_motion, presence_weights
from mimaface_cli.engines.mesh.learned_mouth import MOUTH_LANDMARKS, MouthFrame, correct_mouth
from mimaface_cli.engines.mesh.lower_face import LowerFace, WarpedFace, find_lower_face, lay_over, warp_lower_face
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.mouth import render_mouth
from mimaface_cli.engines.mesh.part_network import PartNetwork
from mimaface_cli.engines.mesh.prepared_portrait import prepare_still_head, select_known_networks
from mimaface_cli.engines.mesh.shot_mouth import ShotMouth, find_shot_mouth
from mimaface_cli.engines.sources import VideoSource, split_alpha, tee_originals
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.frame_landmarks import FrameLandmarks
from mimaface_cli.face.occlusion import Occlusion
from mimaface_cli.face.occlusion_reference import project_face, sample_look
from mimaface_cli.face.occlusion_tracking import OcclusionTracker
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.easing import smoothstep
from mimaface_cli.motion.track import MotionTrack

_MAX_THREADS = 8
_SIDE_VIEW = np.radians(34.0), np.radians(44.0)  # range of yaw or pitch over which the new mouth disappears
_RENDERED = 0.5  # share of the motion below which a frame counts as not dubbed


@dataclass(frozen=True)
class _Dub:
    """What all frames of a dubbed video share."""

    model: Face478
    face: LowerFace
    neutral: np.ndarray
    motion: MeshMotion
    weights: np.ndarray


@dataclass(frozen=True)
class _Job:
    """A frame to dub; `mouth` is None for a frame that stays as it is."""

    index: int
    portrait: Portrait
    mouth: ShotMouth | None
    occlusion: Occlusion | None


def render_dubbed_video(
    source: VideoSource,
    track: MotionTrack,
    model: Face478,
    motion: MeshMotion,
    neutral: np.ndarray,
    mouth_network: PartNetwork | None,
    needs_originals: bool = False,
) -> FrameStream:
    """Replace the mouth in the frames of a source video.

    Args:
        source: The video.
        track: The first frames of its track, as many as the motion has.
        model: The face model.
        motion: The planned motion; only what it does to the lower face counts.
        neutral: (478, 3) the person's neutral face in the head's frame.
        mouth_network: The network that corrects mouths, or None. It is not used if it does not know the style of the
            video.
        needs_originals: Whether the stream must also provide the original frames.
    """
    notes: list[str] = []
    mouth_network = _check_style(source, track, model, mouth_network, notes)
    weights = presence_weights(track)
    missing = np.flatnonzero(weights == 0).tolist()
    if missing:
        notes.append(f"{len(missing)} source frames show no face; they stay as they are")
    weights = weights * _frontal_shares(track, notes)
    motion = ease_motion(motion, track, weights, model)
    portraits, originals = source.portraits(track, detect=False), None
    if needs_originals:
        portraits, originals = tee_originals(portraits)
    portraits, join_alpha = split_alpha(portraits)
    dub = _Dub(model, find_lower_face(model), neutral, motion, weights)
    jobs = prefetch(_prepare_jobs(source, track, portraits, dub, mouth_network, notes), depth=2)
    return FrameStream(
        join_alpha(_render(dub, jobs)),
        track.pts,
        track.frame_rate,
        originals,
        notes=notes,
        describe=FaceNetworks(mouth_network).describe,
        last_duration=track.meta.last_duration,
        source_frames_without_face=missing,
    )


def _frontal_shares(track: MotionTrack, notes: list[str]) -> np.ndarray:
    """Return 1 for each frame (N,), down to 0 where the head is turned so far that half of the mouth is hidden."""
    angle = np.abs(track.pose[:, :2].astype(np.float64)) / _SIDE_VIEW[0]
    shares = 1 - smoothstep((angle.max(1) - 1) / (_SIDE_VIEW[1] / _SIDE_VIEW[0] - 1))
    count = int((track.valid & (shares < _RENDERED)).sum())
    if count:
        notes.append(f"{count} source frames show the face from the side; their mouth stays as it is, or nearly so")
    return np.asarray(shares)


def _check_style(
    source: VideoSource, track: MotionTrack, model: Face478, network: PartNetwork | None, notes: list[str]
) -> PartNetwork | None:
    """Return the network that corrects mouths, or None, with a note, if it does not know the style of the video."""
    if network is None:
        return None
    sample = prepare_still_head(source.portrait(int(np.argmax(track.valid))), model, FaceNetworks(network))
    known, style_notes = select_known_networks(sample)
    notes += style_notes
    return known.mouth if style_notes else network


def _prepare_jobs(
    source: VideoSource,
    track: MotionTrack,
    portraits: Generator[Portrait, None, None],
    dub: _Dub,
    network: PartNetwork | None,
    notes: list[str],
) -> Generator[_Job, None, None]:
    """Yield the frames, with their landmarks, the mouth of their shot, and what covers the face."""
    tracker, landmarks = OcclusionTracker(), FrameLandmarks()
    samples = source.portraits(track, detect=False)
    try:
        for start, end in pairwise([0, *track.meta.cuts, len(track)]):
            tracker.start_shot(sample_look(islice(samples, end - start), end - start, dub.model))
            mouth: ShotMouth | None = None
            for index, portrait in zip(range(start, end), portraits, strict=False):
                if dub.weights[index] == 0:
                    yield _Job(index, portrait, None, None)
                    continue
                if mouth is None:
                    mouth = find_shot_mouth(source, track, range(start, end), dub.model, network)
                face = landmarks(portrait.image, portrait.points)
                located = portrait if face is None else replace(portrait, points=face.points)
                occlusion = tracker(portrait.image, located.points, project_face(portrait, dub.model))
                is_covered = occlusion is not None and occlusion.covers_mouth
                yield _Job(index, located, None if is_covered else mouth, occlusion)
    finally:
        notes += tracker.notes
        landmarks.close()
        samples.close()
        portraits.close()


def _render(dub: _Dub, jobs: Generator[_Job, None, None]) -> Generator[np.ndarray, None, None]:
    try:
        yield from ordered_map(partial(_render_job, dub), jobs, min(_MAX_THREADS, os.cpu_count() or 1))
    finally:
        jobs.close()


def _render_job(dub: _Dub, job: _Job) -> np.ndarray:
    portrait, image = job.portrait, job.portrait.image
    if job.mouth is None:
        return image
    expression, weight = dub.motion.coefficients.expression[job.index], float(dub.weights[job.index])
    shape = plan_shape(portrait, dub.model, dub.face, dub.neutral, expression)
    warped = warp_lower_face(image, dub.face, portrait.points, weight * shape.movement, shape.depth)
    if warped is None:
        return image
    _render_inside(warped, job.mouth, portrait, shape, expression)
    if job.occlusion is not None:
        alpha = job.occlusion.alpha[warped.box][..., None]
        warped = replace(warped, share=warped.share * (1 - alpha))
    return lay_over(image, warped, min(weight / RENDERED_FROM, 1.0))


def _render_inside(
    warped: WarpedFace, mouth: ShotMouth, portrait: Portrait, shape: DubbedShape, expression: np.ndarray
) -> None:
    """Render the inside of the mouth into a moved face, in place, and let the network correct it."""

    def to_box(crop_pixels: np.ndarray) -> np.ndarray:
        return shape.place(portrait, crop_pixels) - warped.corner

    skin = warped.colors.copy()
    render_mouth(warped.colors, mouth.layers, warped.ring, shape.head, portrait.pose, to_box)
    warped.colors[:] = skin + warped.opening * (warped.colors - skin)
    if mouth.learned is None:
        return
    learned = replace(mouth.learned, lips=shape.lips[MOUTH_LANDMARKS])
    frame = MouthFrame(shape.head, expression, portrait.pose, warped.ring, to_box)
    alpha = np.ones((*warped.colors.shape[:2], 1), np.float32)
    correct_mouth(warped.colors, learned, frame, alpha, warped.colors)
