"""Options of retargeting: how a driver's motion is transferred to a source."""

from dataclasses import dataclass

from mimaface_cli.options import check_options, option

REGIONS = ("all", "face", "eyes", "lips", "pose")


@dataclass(frozen=True)
class RetargetOptions:
    """Options of the transfer of a driver's motion to a source.

    Attributes:
        motion: "relative" adds the driver's change since its reference frame to the source; "absolute" replaces the
            source's values with the driver's.
        reference: Index of the driver's reference frame, or None for the most neutral frame.
        region: Part of the face that is driven; the rest keeps the source's motion.
        strength: Factor on the driver's motion; 1 leaves it unchanged.
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
        help="Driver frame that counts as rest for relative motion: auto (the most neutral one) or a number from 0.",
    )
    region: str = option(
        "all",
        choices=REGIONS,
        metavar="REGION",
        help="Part to drive: all, face (no head motion), eyes, lips or pose (head motion only).",
    )
    strength: float = option(1.0, minimum=0, maximum=3, help="Factor on the driver's motion, 0 to 3.")

    def __post_init__(self) -> None:
        check_options(self)
