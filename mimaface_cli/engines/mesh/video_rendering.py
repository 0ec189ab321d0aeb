"""Rendering of a source video under a planned motion."""

from itertools import pairwise

from mimaface_cli.engines.base import FrameStream
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.renderer import render_video
from mimaface_cli.engines.mesh.video_layers import (
    moves_heads,
    prepare_moving_heads,
    prepare_still_heads,
)
from mimaface_cli.engines.sources import VideoSource, tee_originals
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.track import MotionTrack


def render_video_motion(
    source: VideoSource,
    track: MotionTrack,
    model: Face478,
    motion: MeshMotion,
    needs_originals: bool = False,
) -> FrameStream:
    """Render the frames of a source video under a planned motion.

    Args:
        source: The video.
        track: The first frames of its track, as many as the motion has.
        model: The face model.
        motion: The motion.
        needs_originals: Whether the stream must also provide the original frames.
    """
    notes: list[str] = []
    portraits, originals = source.portraits(track), None
    if needs_originals:
        portraits, originals = tee_originals(portraits)
    borders = [0, *track.meta.cuts, len(track)]
    shots = [range(start, end) for start, end in pairwise(borders)]
    if moves_heads(motion, track.pose):
        samples = source.portraits(track, detect=False)
        preparations = prepare_moving_heads(portraits, samples, shots, model, notes)
    else:
        preparations = prepare_still_heads(portraits, shots, model, notes)
    frames = render_video(preparations, model, motion)
    return FrameStream(frames, track.pts, track.frame_rate, originals, notes=notes)
