"""Options of the preparation of training clips from footage."""

from dataclasses import dataclass

from mimaface_cli.motion.track_meta import FACE478, SPACES
from mimaface_cli.options import check_options, option


@dataclass(frozen=True)
class ClipOptions:
    """Options of the training clips that are extracted from footage.

    Attributes:
        size: Side of the square crop in pixels.
        frames: Frames of a clip.
        per_video: Largest number of clips of a video.
        condition: What conditions the network: "textured" (the mesh engine's frames) or "render" (the paper's renders
            of the coefficients); empty for the space's default.
    """

    size: int = option(512, metavar="PIXELS", help="Side of the crop in pixels, a multiple of 8 up to 512.")
    frames: int = option(24, help="Frames of a clip.")
    per_video: int = option(20, metavar="CLIPS", help="Largest number of clips of a video, spread over it.")
    condition: str = option(
        "",
        choices=("textured", "render"),
        metavar="CONDITION",
        help="What conditions the network: textured (the mesh engine's frames, default of face478) or render (the "
        "paper's renders of the coefficients; the only one of bfm09).",
    )


@dataclass(frozen=True)
class PreparationOptions:
    """Options of the preparation of training clips that do not change how a clip is cut.

    Attributes:
        space: Coefficient space, "face478" or "bfm09".
        jobs: Number of videos that are processed in parallel.
        strict: Whether damaged videos are skipped: those that were cut short, or whose clock jumps.
    """

    space: str = option(
        FACE478,
        choices=SPACES,
        metavar="SPACE",
        help="Coefficient space: face478 (embedded) or bfm09 (needs weights).",
    )
    jobs: int = option(1, minimum=1, maximum=256, metavar="N", help="Number of videos to process in parallel.")
    strict: bool = option(
        False, expert=True, help="Skip videos that are cut short or whose clock jumps, instead of using what is there."
    )

    def __post_init__(self) -> None:
        check_options(self)
