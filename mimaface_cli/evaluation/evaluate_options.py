"""Options of evaluate and of the lists that it evaluates."""

from dataclasses import dataclass

from mimaface_cli.engines.registry import engine_names, unknown_engine_error
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.list_recipes import recipe_names
from mimaface_cli.face.extract_options import check_face_selector
from mimaface_cli.media.strict_option import STRICT_HELP
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.options import check_options, option, option_info


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of evaluate.

    Attributes:
        size: Longest side in pixels at which frames are compared; 0 for their original size.
        face: Face selector in the result. The source's largest face is used.
        driver_face: Face selector in the driver.
        clip_frames: Frames between clip borders, or None to detect them.
        network_step: Network-based metrics run on every N-th frame.
        protocol: "same" (self-reenactment: the driver's frames are the ground truth), "cross" (cross-identity
            reenactment), or "auto": same if source and driver are one file.
        engine: Engine that renders the results of a list that are missing, or None.
        motion: How that engine moves the source; the paper uses absolute motion.
        provenance: Whether rendered results are marked as generated.
        strict: Whether a damaged input is an error: one that was cut short, or whose clock jumps.
    """

    size: int = option(
        512,
        minimum=16,
        special=0,
        unit="pixels",
        metavar="PIXELS",
        help="Longest side at which frames are compared; 0 for their original size.",
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
    network_step: int = option(
        1, minimum=1, maximum=1000, expert=True, help="Run network-based metrics on every N-th frame."
    )
    protocol: str = option(
        "auto",
        choices=("auto", "same", "cross"),
        metavar="PROTOCOL",
        help="same: the driver's frames are the ground truth (PSNR, SSIM and LPIPS are measured). cross: source and "
        "driver differ in identity. auto: same if source and driver are one file.",
    )
    engine: str | None = option(
        None,
        metavar="ENGINE",
        help="Engine that renders the missing results of a list (see mimaface doctor).",
    )
    motion: str = option(
        "absolute",
        choices=option_info(RetargetOptions, "motion").choices,
        metavar="MODE",
        help="Motion of rendered results: absolute (as in the paper) or relative.",
    )
    provenance: bool = option(
        True, help="Mark rendered results as generated; without the mark, metrics are those of the unmarked frames."
    )
    strict: bool = option(False, expert=True, help=STRICT_HELP)

    def __post_init__(self) -> None:
        if self.engine is not None and self.engine not in engine_names():
            raise unknown_engine_error(self.engine, engine_names())
        check_options(self)
        check_face_selector(self.face)
        check_face_selector(self.driver_face, "driver_face")


@dataclass(frozen=True)
class PairListOptions:
    """Options of a list of random pairs.

    Attributes:
        protocol: "same": the first frame of a video is the source, the video is the driver. "cross": a photo, or
            another person's first frame, is the source. Or the name of a recipe, see `list_recipes`.
        pairs: Number of pairs; None for 100, or for all of a recipe.
        seed: Random seed of the choice.
        frames: Driver frames of a pair; 0 for all.
        stride: Distance between driver frames.
        identity: Regular expression for paths with the person's name as its first group, or None.
    """

    protocol: str = option(
        "same",
        choices=("same", "cross", *recipe_names()),
        metavar="PROTOCOL",
        help="same: a video drives its own first frame. cross: it drives a photo, or the first frame of another "
        "person. Or a recipe of `mimaface evaluate protocols`.",
    )
    pairs: int | None = option(
        None, minimum=1, maximum=100_000, help="Number of pairs; by default 100, or all of a recipe."
    )
    seed: int = option(0, help="Random seed of the choice; the same files, options and seed give the same list.")
    frames: int = option(0, minimum=0, help="Driver frames of a pair, from the first on; 0 for all.")
    stride: int = option(1, minimum=1, help="Use every N-th driver frame.")
    identity: str | None = option(
        None,
        metavar="REGEX",
        help="Regular expression for paths below FOLDER; its first group is the person. By default VoxCeleb's id12345, "
        "else the first folder, else the file name.",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.protocol in recipe_names():
            for name in ("frames", "stride", "identity"):
                if getattr(self, name) != getattr(PairListOptions, name):
                    raise InputError(f"is fixed by the recipe {self.protocol}. Leave it out.", field=name)
