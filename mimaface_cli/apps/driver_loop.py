"""A driver that is shorter than a source video: the result ends with it, or it is repeated."""

from mimaface_cli.apps.animate_options import DRIVER
from mimaface_cli.drivers.base import Driver
from mimaface_cli.engines.sources import PhotoSource, VideoSource
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.transforms import loop_track


def cover_source(track: MotionTrack, source: PhotoSource | VideoSource, loop: str) -> MotionTrack:
    """Return the driver's motion, repeated to the end of a source video if this was requested."""
    if loop != DRIVER or not isinstance(source, VideoSource) or not _is_shorter(track, source):
        return track
    return loop_track(track, source.track.duration)


def driver_notes(driver: Driver, source: PhotoSource | VideoSource, loop: str) -> list[str]:
    """Return notes about frames without a face, and about a driver that is shorter than a source video."""
    notes = []
    if driver.missing_frames:
        notes.append(f"{len(driver.missing_frames)} driver frames show no face; their motion is interpolated")
    if not isinstance(source, VideoSource) or not _is_shorter(driver.track, source):
        return notes
    durations = f"the driver lasts {driver.track.duration:.2f} of the source's {source.track.duration:.2f} s"
    if loop != DRIVER:
        notes.append(f"{durations}, and the result ends with it; `loop=driver` repeats it")
    elif driver.has_audio:
        notes.append(f"{durations} and is repeated; its audio plays once")
    return notes


def _is_shorter(track: MotionTrack, source: VideoSource) -> bool:
    """Return whether a source frame is not covered; a driver of one frame is held."""
    return len(track) > 1 and track.duration < source.track.duration - float(1 / source.track.frame_rate)
