"""`mimaface extract`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from mimaface_cli.cli import console


def command(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A photo, a video or a folder of frames.")],
    output: Annotated[Optional[Path], typer.Option("-o", "--output", help="Track to write (.npz). Without it the track is only kept in the cache.")] = None,
    renders: Annotated[Optional[Path], typer.Option(help="Also write the rendered face model I_R: a video, a picture, or a pattern like renders/%05d.png.")] = None,
    face: Annotated[str, typer.Option(help="Whom to follow: largest, left, right or a number from 1 (left to right).")] = "largest",
    smooth: Annotated[float, typer.Option(help="Smoothing over time, 0 (off) to 3.")] = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    cache_dir: Annotated[Optional[Path], typer.Option(help="Where tracks are kept (default: the user cache or MIMAFACE_CACHE_DIR).")] = None,
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
    from mimaface_cli.motion.cache import Cache
    from mimaface_cli.reenact.extract import extract

    cache = None if no_cache else Cache(cache_dir)
    with console.progress(quiet) as report:
        result = extract(source, output, renders, face, smooth, overwrite=overwrite, cache=cache, report=report)
    track = result.track
    missing = result.missing
    if not quiet:
        where = output or ("the cache" if cache is not None else "nowhere")
        console.say(
            f"{source}: {len(track)} frames, {track.duration:.2f} s, {len(missing)} without the face, "
            f"{len(track.meta.cuts)} cuts, {'from' if result.cached else 'kept in'} {where if not result.cached else 'the cache'}"
        )
    if as_json:
        console.write_json(
            {
                "input": str(source),
                "output": None if output is None else str(output),
                "renders": None if renders is None else str(renders),
                "space": track.meta.space,
                "frames": len(track),
                "duration": track.duration,
                "frame_rate": f"{track.frame_rate.numerator}/{track.frame_rate.denominator}",
                "missing_frames": missing,
                "cuts": list(track.meta.cuts),
                "cached": result.cached,
            }
        )
