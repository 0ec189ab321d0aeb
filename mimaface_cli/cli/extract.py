"""`mimaface extract`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mimaface_cli.cli import console


def command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            show_default=False,
            help="A photo, a video, a folder of frames, or a track (.npz) to be drawn by --renders.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Track to write (.npz). Without it the track is only kept in the cache."),
    ] = None,
    renders: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Also draw the fitted face model I_R: a video, or numbered pictures as renders/ or renders/%05d.png.",
        ),
    ] = None,
    space: Annotated[
        Literal["face478", "bfm09"] | None,
        typer.Option(
            metavar="NAME",
            help="Which morphable model the coefficients belong to: face478 (embedded, the default) or bfm09 "
            "(what the released diffusion weights speak; its own weights are needed).",
        ),
    ] = None,
    face: Annotated[
        str,
        typer.Option(
            metavar="WHO",
            help="Whom to follow: largest, left, right or a number from 1 (left to right).",
        ),
    ] = "largest",
    start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Begin there: seconds, HH:MM:SS.mmm or a timecode HH:MM:SS:FF from the first frame."
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Take so much of it."),
    ] = None,
    smooth: Annotated[float, typer.Option(help="Smoothing over time, 0 (off) to 3.")] = 1.0,
    follow_skin: Annotated[
        bool,
        typer.Option(
            "--follow-skin/--no-follow-skin",
            help="Measure movement in the pictures too: brows, lips and jaw near their true height. Without, by landmarks "
            "alone: flatter, somewhat faster.",
        ),
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where tracks are kept (default: the user cache or MIMAFACE_CACHE_DIR).")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither use nor keep the track.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object about the track.")] = False,
) -> None:
    """Turn INPUT into 3DMM coefficients, gaze and, with --renders, pictures of the fitted face.

    Examples:
      mimaface extract talk.mp4 -o talk.npz

      mimaface extract talk.mp4 --renders talk_model.mp4

      for f in clips/*.mp4; do mimaface extract "$f"; done    (animate then starts at once)
    """
    only_cached = output is None and renders is None and not as_json
    if only_cached and no_cache:
        raise typer.BadParameter("--no-cache leaves nothing behind: give -o, --renders or --json as well")
    from mimaface_cli.apps.extract import extract
    from mimaface_cli.cache import Cache
    from mimaface_cli.errors import OutputError
    from mimaface_cli.face.extract_options import ExtractOptions
    from mimaface_cli.files import check_folder, output_error
    from mimaface_cli.media.trim import Trim

    with console.options():
        ExtractOptions(face, smooth)
        trim = Trim.parse(start, duration)
    cache = None if no_cache else Cache(cache_dir)
    drawn = None if renders is None else console.target(renders)
    if only_cached:
        try:  # the one place the result goes to
            cache.folder.mkdir(parents=True, exist_ok=True)
            check_folder(cache.folder)
        except OSError as error:
            raise output_error(cache.folder, error) from error
    with console.progress(quiet) as report:
        result = extract(
            source,
            output,
            drawn,
            face,
            smooth,
            space=space,
            skin=follow_skin,
            trim=trim,
            overwrite=overwrite,
            cache=cache,
            report=report,
        )
    if cache is not None and not result.kept and result.kind != "track":
        lost = f"{cache.folder}: cannot be written, so the track is not kept there; choose another --cache-dir"
        if only_cached:
            raise OutputError(lost)
        console.say(f"note: {lost}")
    track = result.track
    if not quiet:
        made = "kept in the cache" if result.kept else "not kept"
        if result.cached:
            made = "a track already" if result.kind == "track" else "from the cache"
        written = [str(path) for path in (output, drawn) if path is not None]
        console.say(
            f"{source}: {len(track)} frames, {track.duration:.2f} s, {len(result.missing)} without the face, "
            f"{len(track.meta.cuts)} cuts, {made}{'; written: ' if written else ''}{', '.join(written)}"
        )
    if as_json:
        console.write_json(
            {
                "input": str(source),
                "output": None if output is None else str(output),
                "renders": None if drawn is None else str(drawn),
                "space": track.meta.space,
                "frames": len(track),
                "duration": track.duration,
                "frame_rate": f"{track.frame_rate.numerator}/{track.frame_rate.denominator}",
                "missing_frames": result.missing,
                "cuts": list(track.meta.cuts),
                "cached": result.cached,
            }
        )
