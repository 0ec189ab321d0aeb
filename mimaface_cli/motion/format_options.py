"""Options of track export and import."""

from dataclasses import dataclass
from typing import Literal, get_args

from mimaface_cli.options import check_options, option

Format = Literal["csv", "json", "livelink"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True)
class FormatOptions:
    """Options of track export and import.

    Attributes:
        format: Format of the file; None chooses it by suffix (export) or content (import).
    """

    format: str | None = option(
        None,
        choices=FORMATS,
        metavar="FORMAT",
        help="csv (all curves), json (everything) or livelink (CSV of Epic's Live Link Face: ARKit's 52 curves, head "
        "and eyes).",
    )

    def __post_init__(self) -> None:
        check_options(self)
