"""Choice of the audio streams of a file: the main one, a numbered one, or a pair of mono streams that is stereo."""

from dataclasses import dataclass

from av.audio.stream import AudioStream
from av.container import InputContainer

from mimaface_cli.errors import InputError
from mimaface_cli.media.channel_layout import ChannelPlan, can_convert, plan_channels, stream_layout

_UNKNOWN_LANGUAGE = "und"


@dataclass(frozen=True)
class AudioSelection:
    """The audio streams to read.

    Args:
        streams: One stream, or two mono streams that are left and right.
        plan: Conversion of the channels of all streams to a standard layout.
        channel_count: Number of channels of all streams.
        needs_program: Whether PyAV cannot decode the streams safely.
        notes: Notes for the user about joined and unused streams.
    """

    streams: list[AudioStream]
    plan: ChannelPlan
    channel_count: int
    needs_program: bool
    notes: list[str]


def audio_streams(container: InputContainer) -> list[AudioStream]:
    """Return the audio streams that can be decoded, in the order of the file."""
    return [
        stream
        for stream in container.streams.audio
        if stream.codec_context is not None and stream.codec_context.sample_rate
    ]


def audio_stream(container: InputContainer) -> AudioStream | None:
    """Return the main audio stream that can be decoded, or None."""
    streams = audio_streams(container)
    best = container.streams.best("audio")
    return best if best in streams else next(iter(streams), None)


def select_audio(container: InputContainer, number: int | None = None) -> AudioSelection | None:
    """Return the audio streams to read, or None if the file has no audio.

    Args:
        container: Open file.
        number: Number of the audio stream, from 1; None for the main one, or for a pair of mono streams around it.

    Raises:
        InputError: If the file has audio, but no stream of this number.
    """
    streams = audio_streams(container)
    main = audio_stream(container)
    if main is None:
        return None
    if number is not None:
        if not 1 <= number <= len(streams):
            limit = f"a number up to {len(streams)}" if len(streams) > 1 else "1"
            raise InputError(f"the file has no audio stream {number}. Give {limit}.", field="audio_stream")
        return _select_one(streams[number - 1], [])
    pair = _mono_pair(streams, main)
    if pair is not None:
        notes = [_pair_note(pair, streams)]
        return AudioSelection(pair, plan_channels("stereo", ("FL", "FR")), 2, True, notes)
    return _select_one(main, [_unused_note(main, streams)] if len(streams) > 1 else [])


def _select_one(stream: AudioStream, notes: list[str]) -> AudioSelection:
    name, channels = stream_layout(stream.codec_context)
    plan = plan_channels(name, channels)
    return AudioSelection([stream], plan, len(channels), not can_convert(name, len(channels)), notes)


def _mono_pair(streams: list[AudioStream], main: AudioStream) -> list[AudioStream] | None:
    """Return the pair of uncompressed mono streams around the main stream: cameras store stereo like this."""
    alike = [stream for stream in streams if _mono_kind(stream) is not None and _mono_kind(stream) == _mono_kind(main)]
    if main not in alike:
        return None
    first = alike.index(main) // 2 * 2
    pair = alike[first : first + 2]
    return pair if len(pair) == 2 else None


def _mono_kind(stream: AudioStream) -> tuple[str, int, str] | None:
    """Return what the streams of a pair have in common, or None for a stream that belongs to no pair."""
    context = stream.codec_context
    if not context.codec.canonical_name.startswith("pcm_") or len(stream_layout(context)[1]) != 1:
        return None
    return context.codec.canonical_name, context.sample_rate, _language(stream)


def _language(stream: AudioStream) -> str:
    return str(stream.metadata.get("language", _UNKNOWN_LANGUAGE))


def _pair_note(pair: list[AudioStream], streams: list[AudioStream]) -> str:
    first, second = (streams.index(stream) + 1 for stream in pair)
    rest = f"; the other {len(streams) - 2} are left out, `audio_stream` selects one" if len(streams) > 2 else ""
    return f"the mono audio streams {first} and {second} are joined to stereo{rest}"


def _unused_note(main: AudioStream, streams: list[AudioStream]) -> str:
    number = streams.index(main) + 1
    language = "" if _language(main) == _UNKNOWN_LANGUAGE else f" ({_language(main)})"
    others = [_language(stream) for stream in streams if stream is not main]
    listed = f" ({', '.join(others)})" if any(other != _UNKNOWN_LANGUAGE for other in others) else ""
    return (
        f"the file has {len(streams)} audio streams; number {number}{language} is used, the others{listed} are left "
        "out; `audio_stream` selects another"
    )
