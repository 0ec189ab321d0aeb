"""Options of motion extraction, and the face selector that all commands share."""

from dataclasses import dataclass

from mimaface_cli.errors import InputError
from mimaface_cli.media.strict_option import STRICT_HELP
from mimaface_cli.motion.track_meta import SPACES
from mimaface_cli.options import check_options, option

MAX_FACES = 8  # faces that are detected in one image


def check_face_selector(selector: str, field: str = "face") -> str:
    """Return a valid face selector.

    Args:
        selector: "largest", "left", "right" or a number from 1, counted from left to right.
        field: Name of the option, for the error.

    Raises:
        InputError: For any other selector.
    """
    if selector in ("largest", "left", "right") or (selector.isdecimal() and 1 <= int(selector) <= MAX_FACES):
        return selector
    raise InputError(
        f"unknown face selector {selector[:40]!r}. Choose largest, left, right or a number from 1 to {MAX_FACES} "
        "(left to right).",
        field=field,
    )


@dataclass(frozen=True)
class ExtractOptions:
    """Options of the extraction of a motion track from an image or a video.

    Attributes:
        face: Face selector.
        smooth: Strength of temporal smoothing.
        skin: Whether skin tracking refines the landmarks (`mimaface_cli.face.skin_tracking`); used in the face478
            space for inputs of several frames.
        space: Coefficient space to extract, or None for face478. A track file stays in the space that it has.
        strict: Whether a damaged input is an error: one that was cut short, or whose clock jumps.
    """

    face: str = option(
        "largest", metavar="FACE", help="Face to use: largest, left, right or a number from 1 (left to right)."
    )
    smooth: float = option(1.0, minimum=0, maximum=3, help="Temporal smoothing of the motion, 0 (off) to 3.")
    skin: bool = option(
        True,
        expert=True,
        help="Track the skin as well as the landmarks: more accurate brows, lips and jaw, but slower.",
    )
    space: str | None = option(
        None,
        choices=SPACES,
        metavar="SPACE",
        help="Coefficient space: face478 (embedded, the default) or bfm09 (of the released diffusion weights, which it "
        "needs).",
    )
    strict: bool = option(False, expert=True, help=STRICT_HELP)

    def __post_init__(self) -> None:
        check_face_selector(self.face)
        check_options(self)
