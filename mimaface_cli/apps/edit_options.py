"""Options of edit."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from mimaface_cli.apps.animate_options import OUTPUT_MODES, AnimateOptions
from mimaface_cli.apps.background_option import BACKGROUND_HELP, KEEP, check_background
from mimaface_cli.engines.mesh.part_option import LEARNED, PART_HELP, check_part_option
from mimaface_cli.face.extract_options import check_face_selector
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.strict_option import STRICT_HELP
from mimaface_cli.motion.mix_regions import check_regions
from mimaface_cli.options import check_options, option, option_info
from mimaface_cli.provenance.provenance_options import ProvenanceOptions

SHORTEST, LONGEST = 0.04, 3600.0  # seconds of a video made from a photo


@dataclass(frozen=True)
class EditOptions:
    """Options of edit. The terms are text, as on the command line; `mimaface_cli.apps.edit_terms` parses them.

    Attributes:
        set: NAME=VALUE, values that replace curves.
        add: NAME=VALUE, values added to curves, after `set`.
        scale: NAME=FACTOR, factors on recorded curves, before `set`.
        presets: NAME or NAME=FRACTION, expressions to add.
        keys: SECONDS:NAME=VALUE, keyframes.
        keys_file: CSV file with keyframes, or None.
        mix: Track, photo or video that `regions` are taken from, or None.
        regions: Regions to take from `mix`.
        strength: Factor on the motion relative to the rest pose.
        smooth: Temporal smoothing.
        speed: Playback speed of a track; 2 is twice as fast.
        start: First second of a track to keep.
        duration: Seconds of a track to keep, or None for up to the end.
        grid: NAME=FROM:TO:COUNT, one or two axes of a grid of variations.
        cell: Side of a grid cell in pixels.
        seconds: Duration of a video or track made from a photo; None for up to the last keyframe, or 3 seconds.
        frame_rate: Frame rate of a video or track made from a photo.
        bfm: BFM09 model file, for expression names and regions in the bfm09 space, or None.
        face: Face selector.
        output_mode: "full" (the whole photo) or "crop" (the paper's 512×512 square).
        max_size: Longest side of the result in pixels; 0 for no limit; None for 1920 if a photo becomes a video, and no
            limit otherwise.
        background: Background of the result, as in AnimateOptions.
        mouth: How the inside of mouths is rendered, as in AnimateOptions.
        strict: Whether a damaged input is an error: one that was cut short, or whose clock jumps.
        encode: How a video is encoded.
        provenance: Options of the provenance marks; records do not list them.
    """

    set: tuple[str, ...] = option((), metavar="NAME=VALUE...", help="Set curves to values, such as yaw=20 jawOpen=0.4.")
    add: tuple[str, ...] = option((), metavar="NAME=VALUE...", help="Add values to curves, after `set`.")
    scale: tuple[str, ...] = option(
        (), metavar="NAME=FACTOR...", help="Multiply recorded curves by factors, before `set`."
    )
    presets: tuple[str, ...] = option(
        (),
        metavar="NAME",
        help="Add an expression: smile, laugh, surprise, sad, angry, disgust, kiss, winkLeft or winkRight; or a "
        "fraction of it, such as smile=0.5.",
    )
    keys: tuple[str, ...] = option(
        (),
        metavar="SECONDS:NAME=VALUE...",
        help="Keyframes with smooth interpolation, such as 0.5:yaw=20 1:yaw=-10.",
    )
    keys_file: Path | None = option(
        None,
        metavar="CSV",
        help="Read keyframes from a CSV file: a time column in seconds, then one column per curve; an empty field sets "
        "no keyframe.",
    )
    mix: Path | None = option(
        None, metavar="OTHER", help="Take regions from another track, photo or video, matched by time."
    )
    regions: tuple[str, ...] = option(
        ("mouth",),
        metavar="REGION",
        help="Region that `mix` takes: mouth, eyes, brows, head or gaze; can be repeated.",
    )
    strength: float = option(1.0, help="Factor on the motion relative to the rest pose, 0 to 3.")
    smooth: float = option(
        0.0, help="Temporal smoothing: 0 (off), 1 (removes jitter) to 10 (only slow motion remains)."
    )
    speed: float = option(1.0, help="Playback speed of a track; 2 is twice as fast.")
    start: float = option(0.0, metavar="SECONDS", help="Start of the part of a track to keep.")
    duration: float | None = option(None, metavar="SECONDS", help="Duration of a track to keep.")
    grid: tuple[str, ...] = option(
        (),
        metavar="NAME=FROM:TO:COUNT...",
        help="Render a grid of variations as one image: the first curve across, an optional second one down.",
    )
    cell: int = option(
        256, minimum=32, maximum=1024, unit="pixels", metavar="PIXELS", help="Side of a grid cell in pixels."
    )
    seconds: float | None = option(
        None,
        minimum=SHORTEST,
        maximum=LONGEST,
        unit="seconds",
        help="Duration of a video or track made from a photo; by default up to the last keyframe, or 3 seconds.",
    )
    frame_rate: Fraction = option(
        Fraction(25),
        minimum=1,
        maximum=240,
        metavar="RATE",
        help="Frame rate of a video or track made from a photo, such as 25, 29.97 or 30000/1001.",
    )
    bfm: Path | None = option(
        None,
        metavar="FILE",
        expert=True,
        help="BFM09_model_info.mat, for expression names and regions in tracks of the bfm09 space.",
    )
    face: str = option(
        "largest", metavar="FACE", help="Face to edit: largest, left, right or a number from 1 (left to right)."
    )
    output_mode: str = option(
        "full", choices=OUTPUT_MODES, metavar="MODE", help=option_info(AnimateOptions, "output_mode").help
    )
    max_size: int | None = option(
        None,
        minimum=64,
        special=0,
        unit="pixels",
        metavar="PIXELS",
        help="Longest side of the result (default: 1920 for a video of a photo, else no limit); 0 for no limit.",
    )
    background: str = option(KEEP, metavar="VALUE", may_be_path=True, help=BACKGROUND_HELP)
    mouth: str = option(LEARNED, metavar="MOUTH", may_be_path=True, help=PART_HELP)
    eyes: str = option(LEARNED, metavar="EYES", may_be_path=True, expert=True, help=f"Closing eyelids: {PART_HELP}")
    strict: bool = option(False, expert=True, help=STRICT_HELP)
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    provenance: ProvenanceOptions = field(default_factory=ProvenanceOptions, metadata={"recorded": False})

    def __post_init__(self) -> None:
        check_options(self)
        check_face_selector(self.face)
        check_regions(self.regions)
        check_background(self.background)
        check_part_option(self.mouth, "mouth")
        check_part_option(self.eyes, "eyes")

    @property
    def animate(self) -> AnimateOptions:
        """The options that rendering a photo needs."""
        return AnimateOptions(
            face=self.face, output_mode=self.output_mode, max_size=self.max_size, background=self.background
        )

    @property
    def changes_time(self) -> bool:
        """Whether the frame times of the result differ from those of the input."""
        return self.speed != 1 or self.start != 0 or self.duration is not None
