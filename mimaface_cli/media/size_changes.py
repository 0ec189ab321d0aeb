"""Changes of the frame size midway, as in joined recordings and in video calls."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mimaface_cli.media.animated_webp import is_animated_webp
from mimaface_cli.media.clock import demux_continuous
from mimaface_cli.media.libav import DECODE_ERRORS, open_input, video_stream

_MAX_CHANGES = 20  # that are searched for; a call may change its size every few seconds


@dataclass(frozen=True)
class SizeChange:
    """A change of the frame size.

    Args:
        seconds: Time since the first frame.
        width: New coded width in pixels.
        height: New coded height in pixels.
    """

    seconds: float
    width: int
    height: int


def describe_size_changes(name: str, changes: list[SizeChange]) -> tuple[str, ...]:
    """Return a note about the changes of a video of that name, if there are any."""
    if not changes:
        return ()
    first = changes[0]
    times = f", {len(changes)} times in all" if len(changes) > 1 else ""
    return (
        f"{name}: the frame size changes to {first.width}x{first.height} at {first.seconds:.2f} s{times}; the frames "
        "are fitted to the size of the first, with bars if the aspect ratio differs",
    )


def find_size_changes(path: Path) -> list[SizeChange]:
    """Find the changes of the frame size of a video, up to any damage; only key frames are decoded.

    A video of key frames alone is not searched: it takes as long as reading it.

    Raises:
        InputError: If the file cannot be opened.
    """
    changes: list[SizeChange] = []
    if is_animated_webp(path):
        return []
    with open_input(path) as container:
        stream = video_stream(container, path)
        if stream.codec_context.codec.intra_only:
            return []
        stream.codec_context.skip_frame = "NONKEY"
        stream.codec_context.thread_type = "SLICE"  # frame threads would return the frames of later packets
        size = origin = None
        with suppress(*DECODE_ERRORS):
            for packet in demux_continuous(container):
                if packet.stream.index != stream.index or not (packet.is_keyframe or not packet.size):
                    continue
                for frame in stream.codec_context.decode(packet):
                    seconds = 0.0 if frame.time is None else frame.time
                    origin = seconds if origin is None else origin
                    if size is not None and (frame.width, frame.height) != size:
                        changes.append(SizeChange(seconds - origin, frame.width, frame.height))
                    size = frame.width, frame.height
                if len(changes) >= _MAX_CHANGES:
                    break
    return changes
