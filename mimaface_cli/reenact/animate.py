"""`animate` from end to end: source and driver in, a finished file out."""

import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.face.extract import ExtractOptions
from mimaface_cli.files import check_output
from mimaface_cli.media.audio import AudioTrack, has_audio
from mimaface_cli.media.reader import probe
from mimaface_cli.media.writer import open_writer
from mimaface_cli.mesh import engine as mesh
from mimaface_cli.motion.cache import Cache
from mimaface_cli.reenact.compare import side_by_side
from mimaface_cli.reenact.options import AnimateOptions, Report
from mimaface_cli.reenact.source import from_photo, from_video
from mimaface_cli.reenact.tracks import Driver, load_driver


@dataclass(frozen=True)
class AnimateResult:
    """What was made and how: engine and why it was taken, frames, size, seconds of video and of work, sound, notes."""

    output: Path
    engine: str
    engine_reason: str
    frames: int
    width: int
    height: int
    frame_rate: Fraction
    duration: float
    audio: str
    driver_cached: bool
    missing_frames: list[int]
    notes: list[str]
    seconds: float


def choose_engine(wanted: str) -> tuple[str, str]:
    """The engine that runs and why. Raises WeightsError for one that cannot."""
    if wanted == "diffusion":
        raise WeightsError(
            "--engine diffusion: its weights are not installed and this version cannot fetch them; use --engine mesh"
        )
    if wanted == "mesh":
        return mesh.NAME, "asked for"
    return mesh.NAME, "embedded default: no diffusion weights are installed"


def animate(
    source: Path,
    driver: Path,
    output: Path,
    options: AnimateOptions = AnimateOptions(),
    *,
    overwrite: bool = False,
    cache: Cache | None = None,
    report: Report | None = None,
) -> AnimateResult:
    """Make the face of `source` (photo or video) move like `driver` (video, photo, folder, .npz) and write `output`.

    cache: where the driver's track is looked up and kept, None for nowhere. report: called with a stage's name, what
    is done and how much there is. Raises InputError, OutputError or WeightsError, leaving nothing behind.
    """
    began = time.monotonic()
    engine, reason = choose_engine(options.engine)
    given_sound = Path(options.audio) if options.audio not in ("driver", "none") else None
    check_output(output, overwrite, tuple(p for p in (source, driver, given_sound) if p is not None))
    if given_sound is not None and not has_audio(given_sound):
        raise InputError(f"{given_sound}: holds no sound; name a file with sound, or --audio driver or none")
    source_kind = probe(source).kind
    if source_kind == "folder":
        raise InputError(f"{source}: is a folder; the source is one photo or one video")

    tell = report or (lambda stage, done, total: None)
    extract = ExtractOptions(options.driver_face, options.smooth)
    driven = load_driver(driver, extract, cache, lambda done, total: tell("reading the driver", done, total))
    driven.track.require_space("face478", engine, str(driver))
    notes = [] if driven.track.valid.all() else [f"{len(driven.missing)} driver frames show no face and were filled in"]

    if source_kind == "image":
        moving = from_photo(source, driven.track, options, notes)
    else:
        moving = from_video(source, driven.track, options, cache, tell)
    frames, pts, rate, size = moving.frames, moving.pts, moving.frame_rate, moving.size
    if options.compare:
        frames, size = side_by_side(frames, size, source, driven, pts)

    sound, said = _sound(driven, given_sound, options.audio, notes)
    seconds = float(pts[-1] - pts[0]) + float(1 / rate)
    writer = open_writer(
        output, *size, rate, options=options.encode, audio=sound, duration=seconds, metadata=describe(engine)
    )
    try:
        with writer:
            for k, frame in enumerate(frames):
                writer.write(frame, float(pts[k] - pts[0]))
                tell("animating", k + 1, len(pts))
    finally:
        frames.close()
    return AnimateResult(
        output, engine, reason, len(pts), *size, rate, seconds, said, driven.cached, driven.missing, notes,
        time.monotonic() - began,
    )  # fmt: skip


def describe(engine: str) -> dict[str, str]:
    """What the file says about itself: that it is generated, and by what."""
    from mimaface_cli import __version__

    return {"comment": f"Generated face animation (AI): mimaface {__version__}, engine {engine}"}


def _sound(driven: Driver, given: Path | None, wanted: str, notes: list[str]) -> tuple[AudioTrack | None, str]:
    if given is not None:
        return AudioTrack(given), str(given)
    if wanted == "driver" and driven.has_audio:
        return AudioTrack(driven.path), "driver"
    if wanted == "driver" and driven.kind == "track":
        notes.append("a track carries no sound; add --audio FILE for it")
    return None, "none"
