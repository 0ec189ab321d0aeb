"""`mimaface extract`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mimaface_cli.cli import console
from mimaface_cli.cli.options import (
    MOTION,
    OUTPUT,
    RUN,
    AsJson,
    CacheDir,
    Duration,
    NoCache,
    Overwrite,
    Quiet,
    Start,
    field_option,
    open_cache,
    plain_option,
    with_choices,
)
from mimaface_cli.cli.progress_display import show_progress
from mimaface_cli.errors import OutputError
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.files import check_folder, output_error
from mimaface_cli.media.trim import Trim

if TYPE_CHECKING:
    from mimaface_cli.cache import Cache
    from mimaface_cli.drivers.base import Driver


@with_choices
def command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            show_default=False,
            help="A photo, a video, a folder of frames, or a track (.npz) for --renders.",
        ),
    ],
    output: Annotated[
        Path | None,
        plain_option("Track to write (.npz). Without it, the track is only cached.", "-o", "--output", metavar="PATH"),
    ] = None,
    renders: Annotated[
        str | None,
        plain_option(
            "Also render the fitted face model (I_R): a video, or numbered images (renders/ or renders/%05d.png).",
            panel=OUTPUT,
            metavar="PATH",
        ),
    ] = None,
    space: Annotated[str | None, field_option(ExtractOptions, "space", panel=MOTION)] = ExtractOptions.space,
    face: Annotated[str, field_option(ExtractOptions, "face", panel=MOTION)] = ExtractOptions.face,
    start: Start = None,
    duration: Duration = None,
    smooth: Annotated[float, field_option(ExtractOptions, "smooth", panel=MOTION)] = ExtractOptions.smooth,
    follow_skin: Annotated[
        bool, field_option(ExtractOptions, "skin", "--follow-skin", panel=MOTION)
    ] = ExtractOptions.skin,
    strict: Annotated[bool, field_option(ExtractOptions, "strict", panel=RUN)] = ExtractOptions.strict,
    overwrite: Overwrite = False,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Extract the motion of INPUT: face model coefficients, head pose and gaze.

    Examples:
      mimaface extract talk.mp4 -o talk.npz
      mimaface extract talk.mp4 --renders talk_model.mp4
      for f in clips/*.mp4; do mimaface extract "$f"; done    (animate then starts at once)
    """
    is_cache_only = output is None and renders is None and not as_json
    if is_cache_only and no_cache:
        raise typer.BadParameter("--no-cache: leaves no result. Give -o, --renders or --json as well.")
    with console.options():
        options = ExtractOptions(face, smooth, follow_skin, space, strict)
        trim = Trim.parse(start, duration)
    from mimaface_cli.apps.extract import extract

    cache = open_cache(cache_dir, no_cache)
    if is_cache_only and cache is not None:
        _prepare_cache(cache)
    renders_path = None if renders is None else console.output_path(renders)
    with show_progress(quiet) as progress:
        result = extract(
            source,
            output,
            renders_path,
            options,
            trim=trim,
            overwrite=overwrite,
            cache=cache,
            progress=progress,
        )
    if cache is not None and not result.is_cached and result.kind != "track":
        problem = f"{cache.folder}: cannot be written, so the track is not cached. Choose another --cache-dir."
        if is_cache_only:
            raise OutputError(problem)
        console.info(f"note: {problem}")
    notes = console.notes([*result.notes], quiet)
    paths = [path for path in (output, renders_path) if path is not None]
    if not quiet:
        console.info(_summary(source, result, paths))
    if as_json:
        track = result.track
        console.write_json(
            {
                "input": str(source),
                "output": None if output is None else str(output),
                "renders": None if renders_path is None else str(renders_path),
                "space": track.meta.space,
                "frames": len(track),
                "duration": track.duration,
                "frame_rate": console.fraction(track.frame_rate),
                "missing_frames": result.missing_frames,
                "cuts": list(track.meta.cuts),
                "cached": result.was_cached,
                "truncated": result.is_truncated,
                "notes": notes,
            }
        )


def _prepare_cache(cache: "Cache") -> None:
    """Create the cache folder. Raises OutputError if it cannot be written, because the result goes nowhere else."""
    try:
        cache.folder.mkdir(parents=True, exist_ok=True)
        check_folder(cache.folder)
    except OSError as error:
        raise output_error(cache.folder, error) from error


def _summary(source: Path, result: "Driver", paths: list[Path]) -> str:
    """Return the line that describes an extracted track."""
    if result.was_cached:
        origin = "input is a track" if result.kind == "track" else "from the cache"
    else:
        origin = "cached" if result.is_cached else "not cached"
    track = result.track
    written = f", written: {', '.join(map(str, paths))}" if paths else ""
    return (
        f"{source}: {console.count(len(track), 'frame')}, {track.duration:.2f} s, "
        f"{len(result.missing_frames)} without a face, {console.count(len(track.meta.cuts), 'cut')}, {origin}{written}"
    )
