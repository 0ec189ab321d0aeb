"""Checks for damaged and truncated videos."""

from pathlib import Path

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from mimaface_cli.errors import InputError

_COMPLETE_SHARE = 0.98  # some headers count frames that were dropped while recording
_MISSING_SECONDS = 0.5  # a Matroska file that ends this much before the end in its header was cut short


def check_index(container: InputContainer, stream: VideoStream, path: Path) -> None:
    """Raise InputError if the index of an MP4 points beyond the end of the file.

    The index of a fragmented MP4 grows while it is read, so it is checked before and after.
    """
    if "mov" in container.format.name:
        size = path.stat().st_size
        end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
        if end > size:
            raise InputError(f"{path}: cut short, it has {size} of at least {end} bytes. Get the complete file.")


def check_length(
    container: InputContainer, stream: VideoStream, path: Path, packet_count: int, end_seconds: float
) -> None:
    """Raise InputError if a video that was read to its end is clearly shorter than its header states."""
    if packet_count < _COMPLETE_SHARE * stream.frames:
        raise InputError(f"{path}: cut short, it has {packet_count} of {stream.frames} frames. Get the complete file.")
    duration = (container.duration or 0) / 1e6
    if "matroska" in container.format.name and end_seconds < duration - _MISSING_SECONDS:
        raise InputError(f"{path}: cut short, it has {end_seconds:.1f} of {duration:.1f} s. Get the complete file.")


def damage_error(path: Path, count: int, packet: Packet) -> InputError:
    """Return the error for a packet that cannot be decoded after `count` frames."""
    where = "" if packet.pts is None else f" near {float(packet.pts * packet.time_base):.2f} s"
    return InputError(
        f"{path}: damaged{where} (frame {count} cannot be decoded). Re-encode the video, or cut it there."
    )
