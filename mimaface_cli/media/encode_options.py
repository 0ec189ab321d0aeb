"""Options of video encoding."""

from dataclasses import dataclass

from mimaface_cli.options import option


@dataclass(frozen=True)
class EncodeOptions:
    """Options of video encoding; `mimaface_cli.media.encoding` checks them against the container and the frame size.

    Attributes:
        codec: Name of a codec, or None for the container's default, which depends on whether there is alpha.
        crf: Constant rate factor, or None for the codec's default; lower is better.
        preset: The codec's preset or profile, or None for its default.
        pixel_format: FFmpeg pixel format, or None for the codec's default.
        lossless: Whether every RGB value is preserved.
        alpha: Whether a video stores alpha; `animate` and `edit` set it if the frames have alpha.
    """

    codec: str | None = option(
        None,
        metavar="CODEC",
        help="h264, hevc, av1, vp9, prores, dnxhr, ffv1, qtrle or png; by default the container's usual codec.",
    )
    crf: int | None = option(None, help="Constant rate factor of the codec; lower is better.")
    preset: str | None = option(
        None,
        metavar="NAME",
        expert=True,
        help="Speed preset or profile of the codec, such as veryfast (h264) or hq (prores).",
    )
    pixel_format: str | None = option(
        None, metavar="FORMAT", expert=True, help="FFmpeg pixel format, such as yuv444p or yuv422p10le."
    )
    lossless: bool = option(False, help="Preserve every pixel value exactly.")
    alpha: bool = False
