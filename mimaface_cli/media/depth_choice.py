"""Choice of an encoder's pixel format by the depth of the source and the requested depth of the output."""

from av.video.format import VideoFormat

from mimaface_cli.media.codecs import Codec
from mimaface_cli.media.deep_frame import format_depth
from mimaface_cli.media.encode_options import AUTO_DEPTH, EIGHT_BITS, EncodeOptions


def required_depth(options: EncodeOptions) -> int:
    """Return the least bits per channel that the options require."""
    return 8 if options.depth == AUTO_DEPTH else int(options.depth)


def choose_format(codec: Codec, options: EncodeOptions) -> str:
    """Return the pixel format of a codec if the options do not name one; it may have too few bits for the options.

    Args:
        codec: The codec.
        options: Options of video encoding.
    """
    formats = codec.alpha_formats if options.alpha else codec.pixel_formats
    is_plain = options.source_format is None or not codec.is_deep_by_default or _has_flat_profile(codec, options)
    if options.depth == EIGHT_BITS or (options.depth == AUTO_DEPTH and is_plain):
        return formats[0]
    source = options.source_format or formats[0]
    deep = [name for name in formats if format_depth(name) >= max(required_depth(options), 9)]
    return max(deep, key=lambda name: _rank(name, source), default=formats[0])


def _has_flat_profile(codec: Codec, options: EncodeOptions) -> bool:
    """Return whether the options name a profile of DNxHR, all of which have 8 bits."""
    return codec.encoder == "dnxhd" and options.preset is not None


def _rank(name: str, source: str) -> tuple[int, ...]:
    """Return how well a pixel format keeps a source's: its bits, model and subsampling, then a small size."""
    candidate, original = VideoFormat(name, 2, 2), VideoFormat(source, 2, 2)
    bits = format_depth(name)
    sides = candidate.chroma_width(2), candidate.chroma_height(2)
    needed = (1, 1) if original.is_rgb else (original.chroma_width(2), original.chroma_height(2))
    keeps_chroma = all(side >= need for side, need in zip(sides, needed, strict=True))
    is_same_model = candidate.is_rgb == original.is_rgb
    return min(bits, format_depth(source)), is_same_model, keeps_chroma, -bits, -sides[0] * sides[1]
