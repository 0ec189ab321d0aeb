"""Notes about the streams of a video that are not used."""

from av.container import InputContainer
from av.video.stream import VideoStream

from mimaface_cli.media.audio_streams import audio_stream
from mimaface_cli.media.libav import real_video_streams


def describe_unused_streams(container: InputContainer, used: VideoStream, name: str) -> tuple[str, ...]:
    """Return notes about further videos in a file, and about audio that cannot be decoded.

    Args:
        container: Open file.
        used: The video stream that is read.
        name: Name of the file.
    """
    notes = []
    videos = [stream for stream in real_video_streams(container) if stream.frames != 1]  # AVIF has a still beside it
    if len(videos) > 1:
        size = f"{used.codec_context.width}x{used.codec_context.height}"
        notes.append(f"{name}: the file has {len(videos)} videos; number {videos.index(used) + 1} ({size}) is used")
    if container.streams.audio and audio_stream(container) is None:
        notes.append(f"{name}: its audio cannot be decoded and is left out; name a file with the audio by `audio`")
    return tuple(notes)
