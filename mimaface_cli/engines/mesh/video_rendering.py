"""Rendering of a source video under a planned motion."""

from itertools import pairwise

import numpy as np

from mimaface_cli.engines.base import FrameStream
from mimaface_cli.engines.mesh.face_networks import PAINTED_FACE, FaceNetworks
from mimaface_cli.engines.mesh.face_presence import ease_motion, presence_weights
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_still_head, select_known_networks
from mimaface_cli.engines.mesh.renderer import render_video
from mimaface_cli.engines.mesh.video_layers import (
    moves_heads,
    prepare_moving_heads,
    prepare_still_heads,
)
from mimaface_cli.engines.sources import VideoSource, split_alpha, tee_originals
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.track import MotionTrack


def render_video_motion(
    source: VideoSource,
    track: MotionTrack,
    model: Face478,
    motion: MeshMotion,
    networks: FaceNetworks,
    needs_originals: bool = False,
) -> FrameStream:
    """Render the frames of a source video under a planned motion.

    Args:
        source: The video.
        track: The first frames of its track, as many as the motion has.
        model: The face model.
        motion: The motion.
        networks: The networks that correct the face. One that does not know the style of the video is not used.
        needs_originals: Whether the stream must also provide the original frames.
    """
    notes: list[str] = []
    if networks != PAINTED_FACE:
        sample = prepare_still_head(source.portrait(_find_sample(track)), model, networks)
        networks, style_notes = select_known_networks(sample)
        notes += style_notes
    portraits, originals = source.portraits(track), None
    if needs_originals:
        portraits, originals = tee_originals(portraits)
    weights = presence_weights(track)
    motion = ease_motion(motion, track, weights, model)
    missing = np.flatnonzero(weights == 0).tolist()
    notes += _describe_untouched(len(missing), source.frames_of_other_turn)
    borders = [0, *track.meta.cuts, len(track)]
    shots = [range(start, end) for start, end in pairwise(borders)]
    samples = source.portraits(track, detect=False)
    if moves_heads(motion, track.pose):
        source_frames = prepare_moving_heads(portraits, samples, shots, weights > 0, model, notes, networks)
        frames = render_video(source_frames, model, motion, weights)
    else:
        portraits, join_alpha = split_alpha(portraits)
        source_frames = prepare_still_heads(portraits, shots, weights > 0, model, notes, networks, samples)
        frames = join_alpha(render_video(source_frames, model, motion, weights))
    describe = networks.describe
    return FrameStream(
        frames,
        track.pts,
        track.frame_rate,
        originals,
        notes=notes,
        describe=describe,
        last_duration=track.meta.last_duration,
        source_frames_without_face=missing,
    )


def _describe_untouched(untouched: int, other_turn: int) -> list[str]:
    """Return notes about frames that stay as they are, some of them because their face is not upright."""
    notes = []
    if untouched > other_turn:
        notes.append(f"{untouched - other_turn} source frames show no face; they stay as they are")
    if other_turn:
        notes.append(
            f"in {other_turn} source frames the face is turned otherwise than in most (on its side, or upside down); "
            "they stay as they are"
        )
    return notes


def _find_sample(track: MotionTrack) -> int:
    """Return the index of the first frame that shows the face."""
    return int(np.argmax(track.valid))
