"""The plan of an animation, complete before the long work starts: inputs, engine, size and outputs."""

from dataclasses import dataclass, replace
from pathlib import Path

from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.backdrop import Backdrop, inspect_backdrop
from mimaface_cli.apps.background_option import KEEP, TRANSPARENT
from mimaface_cli.apps.depth_plan import EIGHT_BIT_PLAN, DepthPlan, plan_depth
from mimaface_cli.apps.output_checks import check_media_output
from mimaface_cli.apps.side_by_side import PanelLayout, plan_panels
from mimaface_cli.apps.source_loading import probe_source, result_size, size_limit
from mimaface_cli.apps.speakers import Turn, read_turns
from mimaface_cli.drivers.base import Driver, DriverInfo, DriverKind, DriverRequest
from mimaface_cli.drivers.registry import find_driver_kind
from mimaface_cli.engines.base import EngineQuery
from mimaface_cli.engines.selection import Selection, select_engine
from mimaface_cli.errors import InputError
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.media.audio import has_audio
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.reader import probe
from mimaface_cli.media.trim import Trim
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.speech.speech_options import SpeechOptions

MATTE_ENCODING = EncodeOptions()  # the default for the matte's suffix
DRIVER_AUDIO, SOURCE_AUDIO, NO_AUDIO = "driver", "source", "none"


@dataclass(frozen=True)
class SourceInput:
    """The source of a run.

    Attributes:
        path: The photo or video, or None for a portrait in memory.
        info: Its description, or None for a portrait in memory.
        portrait: A portrait in memory, or None.
    """

    path: Path | None
    info: MediaInfo | None
    portrait: Portrait | None = None

    @property
    def is_video(self) -> bool:
        """Whether the source is a video rather than a photo."""
        return self.info is not None and self.info.kind != "image"

    @property
    def has_audio(self) -> bool:
        """Whether the source is a video with audio."""
        return self.info is not None and self.info.has_audio

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if self.portrait is not None:
            height, width = self.portrait.image.shape[:2]
            return width, height
        if self.info is None:
            raise ValueError("a source has a description or a portrait")
        return self.info.width, self.info.height


@dataclass(frozen=True)
class DriverInput:
    """The driver of a run.

    Attributes:
        path: The file or folder, or None for a track in memory.
        info: Its description.
        kind: Driver kind that turns it into a track, or None for a track in memory.
        loaded: The motion, if the driver is a finished track.
    """

    path: Path | None
    info: DriverInfo
    kind: DriverKind | None
    loaded: Driver | None = None

    @property
    def is_speech(self) -> bool:
        """Whether the driver is audio and shows no face."""
        return not self.info.has_head_motion

    @property
    def media_path(self) -> Path | None:
        """The file, if it holds frames or audio rather than motion."""
        return self.path if self.info.media is not None or self.is_speech else None

    def load(self, request: DriverRequest) -> Driver:
        """Return the motion in the requested space; a finished track keeps its space."""
        if self.loaded is not None:
            return self.loaded
        if self.kind is None:
            raise ValueError("a track in memory is loaded already")
        return self.kind.load(request)


@dataclass(frozen=True)
class AnimationPlan:
    """A run before its long work.

    Attributes:
        source: The source.
        driver: The driver.
        audio: File with the result's audio if it is not the driver, or None.
        options: Options of the run; `max_size` is a number.
        query: Query that the engine was selected with.
        selection: The engine and why it runs.
        size: Width and height of the result in pixels.
        panels: Layout of the comparison, or None.
        backdrop: What replaces the background, or None if it stays or becomes transparent.
        turns: Who speaks when, if several faces of a video speak, else empty.
        depth: Bits per channel of the result.
    """

    source: SourceInput
    driver: DriverInput
    audio: Path | None
    options: AnimateOptions
    query: EngineQuery
    selection: Selection
    size: tuple[int, int]
    panels: PanelLayout | None
    backdrop: Backdrop | None = None
    turns: tuple[Turn, ...] = ()
    depth: DepthPlan = EIGHT_BIT_PLAN

    @property
    def is_cutout(self) -> bool:
        """Whether the person is rendered without the source's background."""
        return self.options.background != KEEP

    @property
    def trim(self) -> Trim:
        """Span of the driver; a photo that drives a video has no duration, so only the video is trimmed."""
        return Trim() if self.driver.info.kind == "image" and self.source.is_video else self.options.trim

    def driver_request(self, space: str) -> DriverRequest:
        """Return the request for the driver's motion in a space, without cache and progress."""
        options = self.options
        photo = self.source.path if not self.source.is_video else None
        return DriverRequest(
            path=self.driver.info.path,
            space=space,
            extract=ExtractOptions(options.driver_face, options.smooth, options.follow_skin),
            speech=SpeechOptions(
                seed=options.diffusion.settings.seed,
                pose_from=options.pose_from,
                style=options.style,
                audio_stream=options.audio_stream if options.audio == DRIVER_AUDIO else None,
            ),
            speaker=photo,
            trim=self.trim,
            info=self.driver.info,
            device=options.diffusion.device,
        )

    def media(self) -> list[MediaInfo]:
        """Return the descriptions of the source and the driver, if they have frames."""
        return [info for info in (self.source.info, self.driver.info.media) if info is not None]

    def input_notes(self) -> list[str]:
        """Return what was repaired in the source and the driver, and what the result lacks of the source."""
        notes = dict.fromkeys(note for info in self.media() for note in info.notes)
        return [*notes, *self.depth.notes]

    def check_inputs(self) -> None:
        """Raise InputError if an input is damaged and the options are strict."""
        for info in self.media():
            info.check_strict(self.options.strict)

    def inputs(self) -> dict[str, Path]:
        """Return the input files by their role, for the result's record."""
        parts = {
            "source": self.source.path,
            "driver": self.driver.path,
            "audio": None if self.options.audio == SOURCE_AUDIO else self.audio,
            "pose": self.options.pose_from,
            "speakers": self.options.speakers,
            "background": None if self.backdrop is None else self.backdrop.path,
        }
        return {part: path for part, path in parts.items() if path is not None}


def plan_animation(
    source: Path | str | Portrait, driver: Path | str | MotionTrack, options: AnimateOptions
) -> AnimationPlan:
    """Inspect the inputs and choose the engine.

    Args:
        source: A photo, a video, or a portrait in memory.
        driver: A file or folder of any driver kind, or a track in memory.
        options: Options of the run.

    Raises:
        InputError: An input cannot be used, or the options do not fit the inputs.
        WeightsError: The engine cannot run here.
    """
    source_input = _inspect_source(source, options)
    driver_input = _inspect_driver(driver, options)
    query = EngineQuery(
        source_is_video=source_input.is_video,
        driver_name=str(driver_input.info.path),
        driver_is_speech=driver_input.is_speech,
        track_space=driver_input.info.space,
        mouth=options.mouth,
        eyes=options.eyes,
        diffusion=options.diffusion,
    )
    selection = select_engine(options.engine, query)
    _check_speech_options(options, driver_input)
    if driver_input.loaded is not None:
        engine = selection.engine
        driver_input.loaded.track.require_space(engine.space, engine.name, query.driver_name)
    turns = _plan_turns(options, source_input, driver_input)
    if turns:
        options = replace(options, retarget=replace(options.retarget, region="lips"))
    options = replace(options, max_size=size_limit(options.max_size, is_video_of_photo=not source_input.is_video))
    size = result_size(*source_input.size, options)
    backdrop = inspect_backdrop(options.background)
    panels = _plan_comparison(source_input, driver_input, size) if options.compare else None
    audio = _find_audio(options.audio, source_input)
    size = panels.size if panels else size
    plan = AnimationPlan(source_input, driver_input, audio, options, query, selection, size, panels, backdrop, turns)
    plan.check_inputs()
    return plan


def _plan_turns(options: AnimateOptions, source: SourceInput, driver: DriverInput) -> tuple[Turn, ...]:
    """Return who speaks when, if several faces of a video speak."""
    if options.speakers is None:
        return ()
    if not source.is_video or source.info is None:
        raise InputError("needs a source video. Give a video, or leave it out.", field="speakers")
    if not driver.is_speech:
        raise InputError("needs an audio file as the driver. Give one, or leave it out.", field="speakers")
    return tuple(read_turns(options.speakers, source.info.frame_rate))


def plan_output(plan: AnimationPlan, output: Path) -> AnimationPlan:
    """Return a plan with the depth of the result in a file. Raises OutputError if the options do not fit the file."""
    options = plan.options
    changes = {
        "background": options.background != KEEP,
        "compare": options.compare,
        "output_mode": options.output_mode != "full",
    }
    obstacle = next((name for name, is_set in changes.items() if is_set), "")
    depth = plan_depth(plan.source.info, output, options.encode, plan.size, obstacle)
    return replace(plan, depth=depth, options=replace(options, encode=depth.encode))


def _check_speech_options(options: AnimateOptions, driver: DriverInput) -> None:
    """Raise InputError for options of a speech driver if the driver is not audio."""
    if driver.is_speech:
        return
    if options.pose_from is not None:
        raise InputError(
            f"{driver.info.path}: already contains head motion. Set `pose_from` only with an audio file as the driver."
        )
    if changed := options.style.changed_fields():
        raise InputError("is for speech. Use an audio file as the driver.", field=changed[0])


def _find_audio(audio: str, source: SourceInput) -> Path | None:
    """Return the file of the option `audio`, or None for the driver's audio and for none."""
    if audio in (DRIVER_AUDIO, NO_AUDIO):
        return None
    if audio != SOURCE_AUDIO:
        return Path(audio)
    if source.path is None or not source.has_audio:
        raise InputError("the source has no audio. Name driver, none or a file with audio.", field="audio")
    return source.path


def check_animation_outputs(plan: AnimationPlan, output: Path, overwrite: bool) -> None:
    """Check that the result and its matte can be written. Raises OutputError or InputError."""
    options, source_info = plan.options, plan.source.info
    inputs = tuple(plan.inputs().values())
    driver_frames = len(plan.driver.loaded.track) if plan.driver.loaded is not None else plan.driver.info.frame_count
    source_frames = None if source_info is None else source_info.frame_count
    check_media_output(
        output,
        plan.size,
        replace(options.encode, alpha=options.background == TRANSPARENT),
        frames=source_frames if plan.source.is_video else driver_frames,
        overwrite=overwrite,
        inputs=inputs,
        provenance=options.provenance,
    )
    if options.matte is not None:
        if options.matte.absolute() in (output.absolute(), output.absolute().parent):
            raise InputError(f"{options.matte} is the path of the result. Choose another path.", field="matte")
        inputs = tuple(path for path in inputs if path != plan.audio)
        check_media_output(
            options.matte, plan.size, MATTE_ENCODING, frames=driver_frames, overwrite=overwrite, inputs=inputs
        )
    if plan.audio is not None and not has_audio(plan.audio):
        raise InputError(f"{plan.audio} has no audio. Name a file with audio, driver, source or none.", field="audio")


def _inspect_source(source: Path | str | Portrait, options: AnimateOptions) -> SourceInput:
    if isinstance(source, Portrait):
        return SourceInput(None, None, source)
    path = Path(source)
    return SourceInput(path, probe_source(path, options.deinterlace))


def _inspect_driver(driver: Path | str | MotionTrack, options: AnimateOptions) -> DriverInput:
    if isinstance(driver, MotionTrack):
        loaded = Driver(driver, Path("track"), "track", was_cached=True).trimmed(options.trim)
        return DriverInput(None, DriverInfo(loaded.path, "track", driver.meta.space), None, loaded)
    path = Path(driver)
    kind = find_driver_kind(path)
    info = kind.inspect(path)
    if info.media is not None and info.media.scan != "progressive" and options.deinterlace != info.media.deinterlace:
        media = probe(path, deinterlace=options.deinterlace)
        info = replace(info, media=media, frame_count=media.frame_count)
    if info.space is None:
        return DriverInput(path, info, kind)
    return DriverInput(path, info, kind, kind.load(DriverRequest(path, trim=options.trim, info=info)))


def _plan_comparison(source: SourceInput, driver: DriverInput, size: tuple[int, int]) -> PanelLayout:
    if source.info is None:
        raise InputError("needs the source as a file. Give its path.", field="compare")
    return plan_panels(size, source.info, driver.info.media)
