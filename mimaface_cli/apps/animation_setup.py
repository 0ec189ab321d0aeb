"""Loading of source and driver, and the start of their rendering."""

from dataclasses import dataclass, replace
from functools import partial

from mimaface_cli.apps.animate_options import CHANGED, PERSON
from mimaface_cli.apps.animation_plan import AnimationPlan
from mimaface_cli.apps.backdrop import replace_background
from mimaface_cli.apps.background_option import KEEP
from mimaface_cli.apps.driver_task import DriverTask
from mimaface_cli.apps.duration_fit import choose_fit, fit_driver, fit_notes, fit_source
from mimaface_cli.apps.source_loading import (
    fit_portrait,
    keeps_video_alpha,
    load_deep_photo,
    load_portrait,
    load_video_source,
)
from mimaface_cli.apps.speakers import list_faces, merge_streams, select_turns
from mimaface_cli.cache import Cache
from mimaface_cli.drivers.base import Driver
from mimaface_cli.engines.base import FrameStream, RenderRequest
from mimaface_cli.engines.person_layer import ensure_person_layer
from mimaface_cli.engines.sources import PhotoSource, VideoSource
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback


@dataclass
class Animation:
    """A run with its driver loaded and its frames ready to be rendered."""

    plan: AnimationPlan
    driver: Driver
    stream: FrameStream
    source: PhotoSource | VideoSource
    has_alpha: bool
    notes: list[str]

    @property
    def start(self) -> float:
        """Time of the result's first frame in the input that sets the frame times, in seconds."""
        return float(self.stream.pts[0]) if self.plan.source.is_video else self.driver.start


def prepare_animation(
    plan: AnimationPlan, keeps_transparency: bool, cache: Cache | None, progress: ProgressCallback
) -> Animation:
    """Load source and driver, and let the engine prepare its frames.

    A photo is prepared while the driver's motion is extracted.

    Args:
        plan: The run.
        keeps_transparency: Whether the output stores transparency.
        cache: Where tracks and unfinished work are looked up and stored, or None.
        progress: Called with the stage, the units done and the total.
    """
    notes = plan.input_notes()
    engine, options = plan.selection.engine, plan.options
    with DriverTask(partial(_load_driver, plan, engine.space, cache), progress) as driver_task:
        # Over a backdrop, a transparent photo needs no flattening.
        photo = None if plan.source.is_video else _load_photo(plan, keeps_transparency or plan.is_cutout, notes)
        if photo is None or engine.uses_gpu():
            driver_task.result()  # two extractions at once, or extraction beside large networks, take too much memory
        faces = list_faces(plan.turns) or [options.face]
        streams: list[FrameStream] = []
        for face in faces:
            source = original = photo or _load_video(plan, face, keeps_transparency, cache, progress, notes)
            if photo is None:
                driver = driver_task.result()
                source = fit_source(original, driver, choose_fit(options, driver.track.meta.audio_hash is not None))
            request = RenderRequest(
                source=source,
                motion=partial(_motion_of, plan, driver_task, source, face),
                retarget=options.retarget,
                output_mode=options.output_mode,
                needs_originals=bool(streams) or (options.matte is not None and options.matte_kind == CHANGED),
                cutout=plan.is_cutout,
                needs_person_alpha=options.matte is not None and options.matte_kind == PERSON,
                mouth=options.mouth,
                eyes=options.eyes,
                diffusion=options.diffusion,
                load_track=lambda space: _load_driver(plan, space, cache, progress).track,
                cache=cache,
                progress=progress,
            )
            streams.append(engine.prepare(request))
            if len(faces) > 1:  # each face may have its own turn
                streams[-1].turn_back(source.turns)
        driver = driver_task.result()
    stream = streams[0] if len(streams) == 1 else merge_streams(streams)
    notes += [note for note in driver.notes if note not in notes]
    notes += fit_notes(driver, original, options)
    points = None if photo is None else photo.portrait.points
    needs_cutout, needs_alpha = request.cutout, request.needs_person_alpha
    ensure_person_layer(stream, cutout=needs_cutout, needs_alpha=needs_alpha, face=options.face, points=points)
    stream.turn_back(source.turns if len(faces) == 1 else 0)
    if plan.is_cutout:
        replace_background(stream, plan.backdrop)
    is_transparent = source.keeps_alpha if isinstance(source, VideoSource) else source.portrait.alpha is not None
    has_alpha = is_transparent if options.background == KEEP else plan.backdrop is None
    return Animation(plan, driver, stream, source, has_alpha, notes)


def _load_photo(plan: AnimationPlan, keeps_transparency: bool, notes: list[str]) -> PhotoSource:
    portrait, deep = plan.source.portrait, None
    if portrait is None:
        if plan.source.path is None:
            raise ValueError("a source has a path or a portrait")
        deep = load_deep_photo(plan.source.path) if plan.depth.is_deep else None
        portrait = load_portrait(plan.source.path, plan.options.face, deep)
    return PhotoSource(fit_portrait(portrait, plan.options, keeps_transparency, notes), deep)


def _load_video(
    plan: AnimationPlan,
    face: str,
    keeps_transparency: bool,
    cache: Cache | None,
    progress: ProgressCallback,
    notes: list[str],
) -> VideoSource:
    if plan.source.info is None:
        raise ValueError("a source video has a description")
    new_notes: list[str] = []
    keeps_alpha = keeps_video_alpha(plan.source.info, plan.options.background, keeps_transparency, new_notes)
    notes += [note for note in new_notes if note not in notes]
    options = replace(plan.options, face=face)
    return load_video_source(plan.source.info, options, cache, progress, notes, keeps_alpha, is_deep=plan.depth.is_deep)


def _motion_of(
    plan: AnimationPlan, driver_task: DriverTask, source: PhotoSource | VideoSource, face: str
) -> MotionTrack:
    """Return the driver's motion for a face of the source, waiting until it is extracted."""
    track = driver_task.result().track
    if plan.turns:
        track = select_turns(track, plan.turns, face)
    return fit_driver(track, source, plan.options)


def _load_driver(plan: AnimationPlan, space: str, cache: Cache | None, progress: ProgressCallback) -> Driver:
    request = replace(plan.driver_request(space), cache=cache, progress=progress)
    return plan.driver.load(request)
