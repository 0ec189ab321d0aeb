"""Choice of codec, channel layout and sample rate for audio that is encoded again."""

from dataclasses import dataclass

from av.audio.codeccontext import AudioCodecContext
from av.audio.format import AudioFormat
from av.codec import Codec as FFmpegCodec

from mimaface_cli.media.channel_layout import standard_channels
from mimaface_cli.media.codecs import Container

_BITS_PER_CHANNEL = 96_000  # bits per second
# Encoded in the same codec where the container allows it: cutting loses nothing.
_LOSSLESS_CODECS = ("flac", "alac")
_PCM_BY_BITS = {16: "pcm_s16le", 24: "pcm_s24le", 32: "pcm_s32le"}
# Layouts that decoders and players handle everywhere, from few to many channels.
_LAYOUTS = {
    "aac": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"),
    "libopus": ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "7.1"),
    "flac": ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "7.1"),
    "alac": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1"),
}


@dataclass(frozen=True)
class AudioEncoding:
    """Configuration of an audio encoder.

    Args:
        encoder: Name of the FFmpeg encoder.
        layout: Name of the channel layout.
        sample_rate: Samples per second.
        sample_format: FFmpeg sample format.
        bit_rate: Bits per second, for lossy codecs.
    """

    encoder: str
    layout: str
    sample_rate: int
    sample_format: AudioFormat
    bit_rate: int

    @property
    def channel_count(self) -> int:
        """Number of channels."""
        return len(standard_channels(self.layout))


def choose_audio_encoding(source: AudioCodecContext, layout: str, container: Container) -> AudioEncoding:
    """Return the encoder settings that preserve most of a stream in a container.

    Lossless audio stays lossless where the container has a lossless codec for it.

    Args:
        source: The source's codec.
        layout: Name of the standard layout of the decoded frames.
        container: Format of the output file.
    """
    lossless = _lossless_encoder(source, container)
    encoder = FFmpegCodec(lossless or container.audio_encoder, "w")
    rate = source.sample_rate if lossless else _lossy_sample_rate(source.sample_rate, encoder.name)
    layout = _encoder_layout(layout, encoder.name)
    bits = _sample_bits(source)
    sample_format = min(encoder.audio_formats or (), key=lambda candidate: abs(candidate.bits - bits))
    return AudioEncoding(encoder.name, layout, rate, sample_format, _BITS_PER_CHANNEL * len(standard_channels(layout)))


def describe_change(source: AudioCodecContext, source_channels: int, encoding: AudioEncoding) -> str | None:
    """Return a note about what encoding changes: codec, channels or sample rate; None if it changes nothing."""
    old_codec = source.codec.canonical_name
    new_codec = FFmpegCodec(encoding.encoder, "w").canonical_name
    new_channels = encoding.channel_count
    changes = []
    if old_codec != new_codec:
        changes.append(f"{old_codec} to {new_codec}")
    if source_channels != new_channels:
        changes.append(f"{source_channels} channels to {new_channels}")
    if source.sample_rate != encoding.sample_rate:
        changes.append(f"{source.sample_rate} to {encoding.sample_rate} Hz")
    return f"the audio is converted: {', '.join(changes)}" if changes else None


def _lossless_encoder(source: AudioCodecContext, container: Container) -> str | None:
    """Return the lossless encoder for a lossless source, or None."""
    codec = source.codec
    if not codec.lossless or codec.lossy:
        return None
    name = codec.canonical_name
    if not (name.startswith("pcm_") or name in _LOSSLESS_CODECS) or name not in container.copied_audio_codecs:
        if source.format and source.format.name.startswith(("flt", "dbl")):
            name = "pcm_f32le"
        else:
            name = _PCM_BY_BITS[min(bits for bits in _PCM_BY_BITS if bits >= min(_sample_bits(source), 32))]
    return name if name in container.copied_audio_codecs else None


def _sample_bits(source: AudioCodecContext) -> int:
    """Return the bits of a sample: 24 in containers of 32 for pcm_s24le, 16 if the format is not known in advance."""
    name = source.codec.canonical_name
    sample_format: AudioFormat | None = source.format
    if sample_format is None:
        return 16
    return 24 if name.startswith("pcm_") and "24" in name else sample_format.bits


def _encoder_layout(layout: str, encoder: str) -> str:
    """Return the smallest layout of an encoder that keeps every channel of a layout, or stereo."""
    layouts = _LAYOUTS.get(encoder)
    if layouts is None or layout in layouts:
        return layout
    channels = set(standard_channels(layout))
    if "BL" not in channels:  # side speakers of 5.1 are back speakers in AAC
        channels = {{"SL": "BL", "SR": "BR"}.get(channel, channel) for channel in channels}
    return next((other for other in layouts if channels <= set(standard_channels(other))), "stereo")


def _lossy_sample_rate(rate: int, encoder: str) -> int:
    """Return a sample rate of the same family that all players support, with packets short enough to end on time."""
    return 44_100 if encoder == "aac" and 44_100 % rate == 0 else 48_000
