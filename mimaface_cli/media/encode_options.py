"""Options of video encoding."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

from mimaface_cli.options import check_options, option

if TYPE_CHECKING:
    from mimaface_cli.media.color_space import ColorSpace

AUTO_DEPTH, EIGHT_BITS = "auto", "8"
DEPTHS = (AUTO_DEPTH, EIGHT_BITS, "10", "16")


@dataclass(frozen=True)
class EncodeOptions:
    """Options of video encoding; `mimaface_cli.media.encoding` checks them against the container and the frame size.

    Attributes:
        codec: Name of a codec, or None for the container's default, which depends on whether there is alpha.
        crf: Constant rate factor, or None for the codec's default; lower is better.
        preset: The codec's preset or profile, or None for its default.
        pixel_format: FFmpeg pixel format, or None for the codec's default.
        lossless: Whether every RGB value is preserved.
        depth: Bits per channel: "auto", "8", or at least "10" or "16".
        alpha: Whether a video stores alpha; `animate` and `edit` set it if the frames have alpha.
        source_format: FFmpeg pixel format of a source with more than 8 bits per channel, if the frames have all of
            them; `animate` sets it.
        space: Color space of such frames.
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
    depth: str = option(
        AUTO_DEPTH,
        choices=DEPTHS,
        metavar="BITS",
        expert=True,
        help="Bits per channel: auto (those of the source, if the output can store them), 8, 10 or 16.",
    )
    alpha: bool = False
    source_format: str | None = field(default=None, metadata={"recorded": False})
    space: Optional["ColorSpace"] = field(default=None, metadata={"recorded": False})

    def __post_init__(self) -> None:
        check_options(self)
