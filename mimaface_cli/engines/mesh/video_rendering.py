"""Rendering of a source video under a planned motion."""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from mimaface_cli.engines.base import FrameStream
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.mouth_network import MouthNetwork, describe_mouth
from mimaface_cli.engines.mesh.prepared_portrait import PAINTED_NOTE, knows_style, prepare_still_head
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
    mouth_network: MouthNetwork | None,
    needs_originals: bool = False,
) -> FrameStream:
    """Render the frames of a source video under a planned motion.

    Args:
        source: The video.
        track: The first frames of its track, as many as the motion has.
        model: The face model.
        motion: The motion.
        mouth_network: The network that corrects mouths, or None. It is not used if it does not know the style of the
            video.
        needs_originals: Whether the stream must also provide the original frames.
    """
    notes: list[str] = []
    if mouth_network is not None:
        sample = prepare_still_head(source.portrait(_find_sample(track)), model, mouth_network)
        if not knows_style(sample):
            mouth_network = None
            notes.append(PAINTED_NOTE)
    portraits, originals = source.portraits(track), None
    if needs_originals:
        portraits, originals = tee_originals(portraits)
    borders = [0, *track.meta.cuts, len(track)]
    shots = [range(start, end) for start, end in pairwise(borders)]
    if moves_heads(motion, track.pose):
        samples = source.portraits(track, detect=False)
        preparations = prepare_moving_heads(portraits, samples, shots, model, notes, mouth_network)
        frames = render_video(preparations, model, motion)
    else:
        portraits, join_alpha = split_alpha(portraits)
        preparations = prepare_still_heads(portraits, shots, model, notes, mouth_network)
        frames = join_alpha(render_video(preparations, model, motion))
    describe = partial(_describe, mouth_network)
    last = track.meta.last_duration
    return FrameStream(
        frames, track.pts, track.frame_rate, originals, notes=notes, describe=describe, last_duration=last
    )


def _describe(mouth_network: MouthNetwork | None) -> dict[str, Any]:
    return {"mouth": describe_mouth(mouth_network)}


def _find_sample(track: MotionTrack) -> int:
    """Return the index of the first frame that shows the face."""
    return int(np.argmax(track.valid))
