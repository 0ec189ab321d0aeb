"""Options of animate."""

from dataclasses import dataclass, field
from pathlib import Path

from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
from mimaface_cli.engines.registry import AUTO, engine_names, unknown_engine_error
from mimaface_cli.errors import InputError
from mimaface_cli.face.extract_options import ExtractOptions, check_face_selector
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.trim import Trim
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.options import check_options, option, option_info
from mimaface_cli.provenance.provenance_options import ProvenanceOptions

OUTPUT_MODES = ("full", "crop")
LONGEST_SIDE = 4096  # pixels; the limit of hardware decoders of H.264


@dataclass(frozen=True)
class AnimateOptions:
    """Options of animate.

    Attributes:
        engine: Name of the engine, or "auto".
        retarget: How the driver's motion is transferred.
        face: Face selector in the source.
        driver_face: Face selector in the driver.
        smooth: Temporal smoothing of the driver's motion, as in ExtractOptions.
        follow_skin: Whether skin tracking refines the driver's motion, as in ExtractOptions.
        output_mode: "full" (the whole photo) or "crop" (the paper's 512×512 square).
        max_size: Longest side of the result in pixels; 0 for no limit.
        audio: "driver", "none" or the path of an audio file.
        compare: Whether the result shows source, driver and result side by side.
        pose_from: Track or video that provides the head motion of a speech driver, or None.
        trim: Span of the driver to use, and of a source video.
        matte: Path of the soft alpha matte of the rendered region, or None.
        encode: How the result is encoded.
        diffusion: Options of the diffusion engine.
        provenance: Options of the provenance marks; records do not list them.
    """

    engine: str = option(
        AUTO,
        metavar="ENGINE",
        help="auto, mesh (embedded, runs on any CPU) or diffusion; the result names the engine that ran.",
    )
    retarget: RetargetOptions = field(default_factory=RetargetOptions)
    face: str = option(
        "largest", metavar="FACE", help="Face to animate: largest, left, right or a number from 1 (left to right)."
    )
    driver_face: str = option("largest", metavar="FACE", help="Face of the driver to follow, as for `face`.")
    smooth: float = option(1.0, minimum=0, maximum=3, expert=True, help=option_info(ExtractOptions, "smooth").help)
    follow_skin: bool = option(True, expert=True, help=option_info(ExtractOptions, "skin").help)
    output_mode: str = option(
        "full",
        choices=OUTPUT_MODES,
        metavar="MODE",
        help="full: the whole photo. crop: the paper's 512x512 square.",
    )
    max_size: int = option(
        LONGEST_SIDE,
        minimum=64,
        special=0,
        unit="pixels",
        metavar="PIXELS",
        help="Longest side, pixels; 0 for no limit.",
    )
    audio: str = option("driver", metavar="AUDIO", help="driver, none or an audio file.")
    compare: bool = option(False, help="Show source, driver and result side by side.")
    pose_from: Path | None = option(None, metavar="PATH", help="Track or video for the head motion of a speech driver.")
    trim: Trim = field(default_factory=Trim)
    matte: Path | None = option(
        None,
        metavar="PATH",
        help="Write an alpha matte: a video, or matte/%05d.png.",
    )
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    diffusion: DiffusionOptions = field(default_factory=DiffusionOptions)
    provenance: ProvenanceOptions = field(default_factory=ProvenanceOptions, metadata={"recorded": False})

    def __post_init__(self) -> None:
        if self.engine not in (names := (AUTO, *engine_names())):
            raise unknown_engine_error(self.engine, names)
        check_options(self)
        check_face_selector(self.face)
        check_face_selector(self.driver_face, "driver_face")
        if self.matte is not None and self.compare:
            raise InputError("cannot be combined with `compare`. Give one of them.", field="matte")
        if not self.audio:
            raise InputError("is empty. Give driver, none or the path of an audio file.", field="audio")
