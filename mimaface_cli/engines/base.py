"""The interface of engines: the protocol that the mesh and diffusion engines implement."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mimaface_cli.cache import Cache
from mimaface_cli.engines.diffusion.diffusion_options import DiffusionOptions
from mimaface_cli.engines.mesh.part_option import LEARNED
from mimaface_cli.engines.sources import PhotoSource, VideoSource
from mimaface_cli.errors import MimafaceError, WeightsError
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback, ignore_progress


@dataclass(frozen=True)
class EngineQuery:
    """Description of a run before its engine is selected.

    Attributes:
        source_is_video: Whether the source is a video rather than a photo.
        driver_name: Name of the driver, for error messages.
        driver_is_speech: Whether the driver is an audio file.
        track_space: Coefficient space of a driver that is a finished track, else None.
        mouth: How the mesh engine renders the inside of mouths, as in RenderRequest.
        eyes: How it renders closing eyelids, as in RenderRequest.
        diffusion: Options of the diffusion engine.
        is_automatic: Whether the engine is selected automatically.
    """

    source_is_video: bool = False
    driver_name: str = "the driver"
    driver_is_speech: bool = False
    track_space: str | None = None
    mouth: str = LEARNED
    eyes: str = LEARNED
    diffusion: DiffusionOptions = field(default_factory=DiffusionOptions)
    is_automatic: bool = False


@dataclass(frozen=True)
class Readiness:
    """An engine's answer to a query.

    Attributes:
        engine: The engine as it would run, or None if it cannot run.
        summary: Why automatic selection selects or skips the engine: a clause such as "no GPU".
        replacement: Clause that names what the engine uses instead of its usual weights, or "".
        problem: What is wrong and how to fix it, if the engine cannot run.
        is_recommended: Whether automatic selection may select the engine.
        error: Type of the error if the engine was requested by name and cannot run.
    """

    engine: "Engine | None"
    summary: str = ""
    replacement: str = ""
    problem: str = ""
    is_recommended: bool = True
    error: type[MimafaceError] = WeightsError


@dataclass(frozen=True)
class RenderRequest:
    """Request to render a source under a track.

    Attributes:
        source: The photo or video to animate.
        motion: The driver's motion in the engine's space, or a function that returns it. An engine can prepare the
            source before it reads `track`, which waits until the motion is extracted.
        retarget: How the motion is transferred.
        output_mode: "full" or "crop".
        needs_originals: Whether the stream must also provide the source's original frames.
        cutout: Whether the frames show the person alone, with straight alpha. An engine that has no layers may ignore
            it: `engines/person_layer.py` then segments its frames.
        needs_person_alpha: Whether the stream must also provide the person's alpha; engines may ignore it likewise.
        mouth: How the mesh engine renders the inside of mouths: "learned", "painted" or the path of a model file.
        eyes: How it renders closing eyelids, in the same way.
        diffusion: Options of the diffusion engine.
        load_track: Returns the driver's motion in another space.
        cache: Where unfinished work is stored, or None.
        progress: Called with the stage and the frames that are done.
    """

    source: PhotoSource | VideoSource
    motion: MotionTrack | Callable[[], MotionTrack]
    retarget: RetargetOptions = field(default_factory=RetargetOptions)
    output_mode: str = "full"
    needs_originals: bool = False
    cutout: bool = False
    needs_person_alpha: bool = False
    mouth: str = LEARNED
    eyes: str = LEARNED
    diffusion: DiffusionOptions = field(default_factory=DiffusionOptions)
    load_track: Callable[[str], MotionTrack] | None = None
    cache: Cache | None = None
    progress: ProgressCallback = ignore_progress

    @property
    def track(self) -> MotionTrack:
        """The driver's motion in the engine's space."""
        return self.motion if isinstance(self.motion, MotionTrack) else self.motion()


@dataclass
class FrameStream:
    """Frames that are rendered as they are read. Close it, or read it to its end.

    Attributes:
        frames: (H, W, 3) uint8 RGB, or (H, W, 4) with alpha; one for each time in `pts`.
        pts: (N,) seconds.
        frame_rate: Frames per second.
        originals: The source's original frame for each rendered frame, to be read after it; None if not requested.
        notes: Notes for the user; rendering appends to them.
        on_finish: Called by `finish`.
        describe: Returns the settings that the engine ran with, as JSON values.
        is_cutout: Whether the frames show the person alone: (H, W, 4) with the person's foreground colors, not
            multiplied by alpha, and the person's alpha.
        person_alphas: The person's alpha (H, W) uint8 in each rendered frame, to be read after it; None if the engine
            does not provide it.
        last_duration: Seconds for which the last frame is shown, or None for one nominal frame.
        source_frames_without_face: Indices of the frames of a source video that stay as they are.
    """

    frames: Generator[np.ndarray, None, None]
    pts: np.ndarray
    frame_rate: Fraction
    originals: Iterator[np.ndarray] | None = None
    notes: list[str] = field(default_factory=list)
    on_finish: Callable[[], None] = lambda: None
    describe: Callable[[], dict[str, Any]] = dict
    is_cutout: bool = False
    person_alphas: Iterator[np.ndarray] | None = None
    last_duration: float | None = None
    source_frames_without_face: list[int] = field(default_factory=list)

    @property
    def duration(self) -> float:
        """Seconds from the start of the first frame to the end of the last."""
        last = float(1 / self.frame_rate) if self.last_duration is None else self.last_duration
        return float(self.pts[-1] - self.pts[0]) + last

    def turn_back(self, turns: int) -> None:
        """Turn the frames, originals and alphas clockwise.

        Args:
            turns: Quarter turns counterclockwise that the source was turned by.
        """
        if turns % 4:
            self.frames = _turn_frames(self.frames, -turns)
            self.originals = None if self.originals is None else _turn_images(self.originals, -turns)
            self.person_alphas = None if self.person_alphas is None else _turn_images(self.person_alphas, -turns)

    def close(self) -> None:
        """Stop rendering."""
        self.frames.close()

    def finish(self) -> None:
        """Delete the data that was stored for resuming; call it when the result is complete on disk."""
        self.on_finish()


def _turn_images(images: Iterator[np.ndarray], turns: int) -> Iterator[np.ndarray]:
    """Return images, each turned counterclockwise."""
    return (np.ascontiguousarray(np.rot90(image, turns)) for image in images)


def _turn_frames(frames: Generator[np.ndarray, None, None], turns: int) -> Generator[np.ndarray, None, None]:
    """Yield frames, each turned counterclockwise."""
    with closing(frames):
        yield from _turn_images(frames, turns)


class Engine(Protocol):
    """Renders a source under a motion track. No engine sees the driver's pixels.

    Attributes:
        name: Name in options and reports.
        options_field: Field of AnimateOptions with the options of this engine alone, or None.
    """

    name: str
    options_field: str | None

    @property
    def space(self) -> str:
        """Coefficient space of the tracks that the engine consumes."""
        ...

    def readiness(self, query: EngineQuery) -> Readiness:
        """Return whether the engine can run here, and if not, why and how to fix it."""
        ...

    def assets(self, query: EngineQuery) -> list[str | Path]:
        """Return the models that a result depends on, for its provenance: names of registered weights, or files."""
        ...

    def problems(self) -> list[str]:
        """Return what is missing to run here, for `mimaface doctor`; nothing is downloaded."""
        ...

    def uses_gpu(self) -> bool:
        """Return whether the engine would run on a GPU here."""
        ...

    def is_generative(self) -> bool:
        """Return whether a trained network renders every pixel of the face, for provenance."""
        ...

    def prepare(self, request: RenderRequest) -> FrameStream:
        """Start rendering. Raises InputError or WeightsError."""
        ...
