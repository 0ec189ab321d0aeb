"""Rendering of a source video under a planned motion."""

from mimaface_cli.engines.base import FrameStream
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.renderer import render_video
from mimaface_cli.engines.mesh.video_layers import (
    moves_heads,
    prepare_moving_heads,
    prepare_still_heads,
    sample_background,
)
from mimaface_cli.engines.mesh.video_plate import VideoPlate
from mimaface_cli.engines.sources import VideoSource, tee_originals
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback, ignore_progress

SAMPLING_STAGE = "sampling the source's background"


def render_video_motion(
    source: VideoSource,
    track: MotionTrack,
    model: Face478,
    motion: MeshMotion,
    needs_originals: bool = False,
    progress: ProgressCallback = ignore_progress,
) -> FrameStream:
    """Render the frames of a source video under a planned motion.

    Args:
        source: The video.
        track: The first frames of its track, as many as the motion has.
        model: The face model.
        motion: The motion.
        needs_originals: Whether the stream must also provide the original frames.
        progress: Called while the background is sampled, if the head moves.
    """
    notes: list[str] = []
    portraits, originals = source.portraits(track), None
    if needs_originals:
        portraits, originals = tee_originals(portraits)
    if moves_heads(motion, track.pose):
        cuts = track.meta.cuts

        def sample() -> VideoPlate:
            undetected = source.portraits(track, detect=False)
            return sample_background(undetected, cuts, lambda done: progress(SAMPLING_STAGE, done, len(track)))

        preparations = prepare_moving_heads(portraits, cuts, sample, model, notes)
    else:
        preparations = prepare_still_heads(portraits, model)
    frames = render_video(preparations, model, motion)
    return FrameStream(frames, track.pts, track.frame_rate, originals, notes=notes)
