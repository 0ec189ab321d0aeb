"""Checks for damaged and truncated videos."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mimaface_cli.errors import InputError

_COMPLETE_SHARE = 0.98  # some headers count frames that were dropped while recording
_MISSING_SECONDS = 0.5  # a Matroska file that ends this much before the end in its header was cut short
_UNSEEN_SECONDS = 0.3  # between the times of the last frame and the last packet, from which frames are missing
_HEADER_BYTES = 1 << 20  # of an MP4, which hold the movie box if there are fragments
_LARGE_BOX, _TO_THE_END = 1, 0  # special sizes of MP4 boxes
_EBML_HEADER, _SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")


def is_cut_short(container: InputContainer, path: Path) -> bool:
    """Return whether a file has fewer bytes than its own structure states: boxes, chunks, segment or index.

    Args:
        container: The open file.
        path: Its path.
    """
    size = path.stat().st_size
    name = container.format.name
    with open(path, "rb") as file:
        if "mov" in name:
            entries = [entry for stream in container.streams.video for entry in stream.index_entries]
            index_end = max((entry.pos + entry.size for entry in entries), default=0)
            return max(index_end, _boxes_end(file, size)) > size
        if name == "avi":
            return _chunks_end(file, size) > size
        if "matroska" in name:
            return _segment_end(file) > size
    return False


def is_fragmented(path: Path) -> bool:
    """Return whether an MP4 has fragments, whose index is known only once they are read."""
    with open(path, "rb") as file:
        return b"mvex" in file.read(_HEADER_BYTES)


def count_index(stream: VideoStream, path: Path) -> tuple[int, int]:
    """Return how many frames of the index of an MP4 are in the file, and how many are missing."""
    size = path.stat().st_size
    shown = [entry for entry in stream.index_entries if not entry.is_discard]
    present = sum(entry.pos + entry.size <= size for entry in shown)
    return present, len(shown) - present


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Return the end of the last top-level box of an MP4. Source: ISO/IEC 14496-12, 4.2."""
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(16)
        length = int.from_bytes(header[:4])
        if length == _LARGE_BOX:
            length = int.from_bytes(header[8:])
        if length == _TO_THE_END or length < 8:
            break
        position += length
    return position


def _chunks_end(file: BinaryIO, size: int) -> int:
    """Return the end of the last RIFF chunk of an AVI; large files have several."""
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(8)
        if header[:4] != b"RIFF":
            break
        position += 8 + int.from_bytes(header[4:], "little")
    return position


def _segment_end(file: BinaryIO) -> int:
    """Return the end of the segment of a Matroska file, or 0 if it is unknown. Source: RFC 8794, 4."""
    if file.read(4) != _EBML_HEADER:
        return 0
    length = _read_size(file)
    file.seek(length or 0, 1)
    if length is None or file.read(4) != _SEGMENT:
        return 0
    length = _read_size(file)
    return 0 if length is None else file.tell() + length


def _read_size(file: BinaryIO) -> int | None:
    """Read a size of variable length; None if it is unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    count = 9 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] - (1 << (8 - count))]) + file.read(count - 1))
    return None if value == (1 << 7 * count) - 1 else value


@dataclass
class PacketSummary:
    """Summary of the packets that were read of a video.

    Attributes:
        stream: Index of the video stream.
        count: Number of its packets.
        last: The last of them in presentation order that is shown.
        end: End of the last packet of any stream, in seconds on the file's clock.
    """

    stream: int
    count: int = 0
    last: Packet | None = None
    end: float = 0.0

    def add(self, packet: Packet) -> None:
        """Add a packet of any stream."""
        if packet.pts is not None:
            self.end = max(self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != self.stream:
            return
        self.count += packet.size > 0
        if packet.pts is None or packet.is_discard:
            return
        if self.last is None or self.last.pts is None or packet.pts > self.last.pts:
            self.last = packet


def check_length(
    container: InputContainer, stream: VideoStream, path: Path, packet_count: int, end_seconds: float
) -> None:
    """Raise InputError if a video that was read to its end is clearly shorter than its header states."""
    if packet_count < _COMPLETE_SHARE * stream.frames:
        raise InputError(f"{path}: cut short, it has {packet_count} of {stream.frames} frames. Get the complete file.")
    duration = (container.duration or 0) / 1e6
    if "matroska" in container.format.name and end_seconds < duration - _MISSING_SECONDS:
        raise InputError(f"{path}: cut short, it has {end_seconds:.1f} of {duration:.1f} s. Get the complete file.")


def check_last_frame(path: Path, frame: VideoFrame | None, count: int, packet: Packet | None) -> None:
    """Raise InputError if the last packets of a video gave no frame, as after a change of the codec.

    Args:
        path: The video.
        frame: Its last frame.
        count: Number of frames.
        packet: The last packet in presentation order.
    """
    if frame is None or packet is None or frame.pts is None or frame.time_base is None or packet.pts is None:
        return
    if float(packet.pts * packet.time_base) - float(frame.pts * frame.time_base) > _UNSEEN_SECONDS:
        raise damage_error(path, count, packet)


def damage_error(path: Path, count: int, packet: Packet) -> InputError:
    """Return the error for a packet that cannot be decoded after `count` frames."""
    where = "" if packet.pts is None else f" near {float(packet.pts * packet.time_base):.2f} s"
    return InputError(
        f"{path}: damaged{where} (frame {count} cannot be decoded). Re-encode the video, or cut it there."
    )
