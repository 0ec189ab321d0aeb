"""Options of the measurement of one result."""

from dataclasses import dataclass

from mimaface_cli.face.extract_options import check_face_selector
from mimaface_cli.options import check_options, option

SIZE = 512  # pixels of the longest side at which images are compared


@dataclass(frozen=True)
class MeasureOptions:
    """Options of the measurement of one result.

    Attributes:
        size: Longest side in pixels at which images are compared; 0 for their original size.
        face: Face selector in the result and the source.
        driver_face: Face selector in the driver.
        clip_frames: Frames between clip borders, or None to detect them.
        step: Network-based metrics run on every step-th frame.
    """

    size: int = option(
        SIZE,
        minimum=16,
        special=0,
        unit="pixels",
        metavar="PIXELS",
        help="Longest side at which images are compared; 0 for their original size.",
    )
    face: str = option(
        "largest", metavar="FACE", help="Face to measure: largest, left, right or a number from 1 (left to right)."
    )
    driver_face: str = option("largest", metavar="FACE", help="Face of the driver, as for `face`.")
    clip_frames: int | None = option(
        None,
        minimum=2,
        maximum=1000,
        metavar="FRAMES",
        expert=True,
        help="Frames between clip borders, for the jump at the borders; by default they are detected.",
    )
    step: int = option(1, minimum=1, maximum=1000, expert=True, help="Run network-based metrics on every N-th frame.")

    def __post_init__(self) -> None:
        check_options(self)
        check_face_selector(self.face)
        check_face_selector(self.driver_face, "driver_face")
