"""Options of animate."""

from dataclasses import dataclass, field
from pathlib import Path

from mimaface_cli.apps.background_option import BACKGROUND_HELP, KEEP, TRANSPARENT, check_background
from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
from mimaface_cli.engines.mesh.part_option import LEARNED, PART_HELP, check_part_option
from mimaface_cli.engines.registry import AUTO, engine_names, unknown_engine_error
from mimaface_cli.errors import InputError
from mimaface_cli.face.extract_options import ExtractOptions, check_face_selector
from mimaface_cli.media.deinterlace_option import DEINTERLACE_MODES, FRAME
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.strict_option import STRICT_HELP
from mimaface_cli.media.trim import Trim
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.options import check_options, option, option_info
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.speech.style_options import SpeechStyle

OUTPUT_MODES = ("full", "crop")
CHANGED, PERSON = "changed", "person"
MATTE_KINDS = (CHANGED, PERSON)
NONE, DRIVER = "none", "driver"
LOOPS = (NONE, DRIVER)
AUTO_FIT, SHORTER, VIDEO, AUDIO, LOOP = "auto", "shorter", "video", "audio", "loop"
FITS = (AUTO_FIT, SHORTER, VIDEO, AUDIO, LOOP)
PHOTO_SIDE = 1920  # pixels; default longest side of a result whose source is a photo


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
        max_size: Longest side of the result in pixels; 0 for no limit; None for 1920 if the source is a photo, and no
            limit if it is a video.
        audio: "driver", "source" (that of a source video), "none" or the path of an audio file.
        audio_stream: Number of the audio stream to use, from 1, or None for the main one.
        compare: Whether the result shows source, driver and result side by side.
        pose_from: Track or video that provides the head motion of a speech driver, or None.
        style: Emotion, head motion, blinks and idle motion of a speech driver.
        trim: Span of the driver to use, and of a source video.
        loop: Whether a driver that is shorter than a source video is repeated: "none" or "driver".
        speakers: CSV file with the columns start, end and face that says which face of a video speaks when, or None.
        fit: What decides the duration if source video and driver differ: "video", "audio" (the driver; a shorter video
            holds its last frame), "loop" (the driver; a shorter video is repeated), "shorter", or "auto": "video" for
            an audio file, else "shorter".
        matte: Path of a soft alpha matte, or None.
        matte_kind: What the matte shows: "changed" (the pixels that differ from the source) or "person".
        background: Background of the result: "keep" (the source's background), "transparent", a color, or the
            path of an image or a video.
        mouth: How the mesh engine renders the inside of mouths: "learned", "painted" or the path of a model file.
        strict: Whether a damaged input is an error: one that was cut short, or whose clock jumps.
        deinterlace: How an interlaced source or driver is read: at "frame" or "field" rate, or "off".
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
    max_size: int | None = option(
        None,
        minimum=64,
        special=0,
        unit="pixels",
        metavar="PIXELS",
        help="Longest side (photos: 1920); 0 for no limit.",
    )
    audio: str = option("driver", metavar="AUDIO", may_be_path=True, help="driver, source, none or a file.")
    audio_stream: int | None = option(
        None, minimum=1, metavar="N", expert=True, help="Audio stream to use, counted from 1 (default: the main one)."
    )
    compare: bool = option(False, help="Show source, driver and result side by side.")
    pose_from: Path | None = option(None, metavar="PATH", help="Track or video for the head motion of a speech driver.")
    style: SpeechStyle = field(default_factory=SpeechStyle)
    trim: Trim = field(default_factory=Trim)
    strict: bool = option(False, expert=True, help=STRICT_HELP)
    loop: str = option(
        NONE,
        choices=LOOPS,
        metavar="MODE",
        expert=True,
        help="driver: repeat a driver that is shorter than the source video.",
    )
    speakers: Path | None = option(
        None,
        metavar="CSV",
        expert=True,
        help="Who speaks when in a dubbed video: a CSV file with the columns start, end and face.",
    )
    fit: str = option(
        AUTO_FIT,
        choices=FITS,
        metavar="MODE",
        expert=True,
        help="Duration of a dubbed video: video, audio (hold its last frame), loop (repeat it), shorter or auto.",
    )
    matte: Path | None = option(
        None,
        metavar="PATH",
        help="Write an alpha matte: a video, or matte/%05d.png.",
    )
    matte_kind: str = option(
        CHANGED,
        choices=MATTE_KINDS,
        metavar="KIND",
        expert=True,
        help="What the matte shows: changed pixels, or the person.",
    )
    background: str = option(KEEP, metavar="VALUE", may_be_path=True, help=BACKGROUND_HELP)
    mouth: str = option(LEARNED, metavar="MOUTH", may_be_path=True, help=PART_HELP)
    eyes: str = option(LEARNED, metavar="EYES", may_be_path=True, expert=True, help=f"Closing eyelids: {PART_HELP}")
    deinterlace: str = option(
        FRAME,
        choices=DEINTERLACE_MODES,
        metavar="MODE",
        expert=True,
        help="Deinterlace inputs to their frame or field rate, or off.",
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
        check_background(self.background)
        check_part_option(self.mouth, "mouth")
        check_part_option(self.eyes, "eyes")
        self._check_layers()
        if self.loop == DRIVER and self.fit not in (AUTO_FIT, VIDEO):
            raise InputError("cannot be combined with `loop`. Give one of them.", field="fit")
        if not self.audio:
            raise InputError("is empty. Give driver, source, none or the path of an audio file.", field="audio")

    def _check_layers(self) -> None:
        """Raise InputError if matte, background and comparison do not fit together."""
        if self.matte is None:
            if self.matte_kind != CHANGED:
                raise InputError("needs the path of the matte. Give `matte` as well.", field="matte_kind")
        elif self.compare:
            raise InputError("cannot be combined with `compare`. Give one of them.", field="matte")
        elif str(self.matte) in MATTE_KINDS:
            raise InputError(
                f"{self.matte} is a kind, not a path. Give the path of the matte, and `matte_kind={self.matte}`.",
                field="matte",
            )
        elif self.background != KEEP and self.matte_kind == CHANGED:
            raise InputError(
                f"{self.background} replaces every pixel behind the person, so a matte of changed pixels says nothing. "
                "Set `matte_kind=person`.",
                field="background",
            )
        if self.background == TRANSPARENT and self.compare:
            raise InputError(
                "transparent cannot be combined with `compare`. Give a color, or leave one out.", field="background"
            )
