"""Options of retargeting: how a driver's motion is transferred to a source."""

from dataclasses import dataclass

from mimaface_cli.options import check_options, option

FRAMINGS = ("keep", "follow")
REGIONS = ("all", "face", "eyes", "lips", "pose")


@dataclass(frozen=True)
class RetargetOptions:
    """Options of the transfer of a driver's motion to a source.

    Attributes:
        motion: "relative" adds the driver's change since its reference frame to the source; "absolute" replaces the
            source's values with the driver's.
        reference: Index of the driver's reference frame, or None for the frame that fits the source best.
        region: Part of the face that is driven; the rest keeps the source's motion.
        strength: Factor on the driver's motion; 1 leaves it unchanged.
        framing: "keep" lets the head move around its place in the source; "follow" moves and scales it as far as the
            driver's. In both cases the face stays in the frame. The mesh engine uses it.
    """

    motion: str = option(
        "relative",
        choices=("relative", "absolute"),
        metavar="MODE",
        help="relative: add the driver's change to the source. absolute: copy the driver's pose and expression.",
    )
    reference: int | None = option(
        None,
        minimum=0,
        metavar="FRAME",
        expert=True,
        help="Driver frame from which relative motion starts: auto (the one most like the photo) or a number from 0.",
    )
    region: str = option(
        "all",
        choices=REGIONS,
        metavar="REGION",
        help="Part to drive: all, face (no head motion), eyes, lips or pose (head motion only).",
    )
    strength: float = option(1.0, minimum=0, maximum=3, help="Factor on the driver's motion, 0 to 3.")
    framing: str = option(
        "keep",
        choices=FRAMINGS,
        metavar="MODE",
        help="keep: the head stays near its place in the photo. follow: it moves and comes closer as the driver does.",
    )

    def __post_init__(self) -> None:
        check_options(self)
