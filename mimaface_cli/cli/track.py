"""`mimaface track`: looking at a track, and carrying it to other tools and back."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mimaface_cli.cli import console

app = typer.Typer(no_args_is_help=True, help="Show a track's curves; carry motion to and from other tools.")
_Format = Annotated[
    Literal["csv", "json", "livelink"] | None,
    typer.Option(
        "--format",
        metavar="NAME",
        show_default=False,
        help="csv (all curves), json (everything) or livelink (the CSV of Epic's Live Link Face: ARKit's 52 curves, "
        "head and eyes).",
    ),
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]


@app.command("show")
def show(
    track: Annotated[Path, typer.Argument(metavar="TRACK", show_default=False, help="A track (.npz).")],
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw the curves: .png, .svg or .pdf.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All curves, also those that rest.")] = False,
    overwrite: _Overwrite = False,
    as_json: _Json = False,
) -> None:
    """Show what moves: a table with a sparkline for each curve.

    Examples:
      mimaface track show talk.npz

      mimaface track show talk.npz --png curves.png
    """
    from mimaface_cli.motion.summary import list_curves
    from mimaface_cli.motion.track import MotionTrack

    loaded = MotionTrack.load(track)
    if png is not None:
        from mimaface_cli.apps.plot import plot_track

        plot_track(loaded, png, track.name, overwrite)
    found = list_curves(loaded, everything)
    meta = loaded.meta
    rate = f"{meta.frame_rate.numerator}/{meta.frame_rate.denominator}"
    unseen = int((~loaded.valid).sum())
    if as_json:
        rows = [
            {
                "name": curve.name,
                "unit": curve.unit,
                "low": float(curve.values.min()),
                "mean": float(curve.values.mean()),
                "high": float(curve.values.max()),
            }
            for curve in found
        ]
        console.write_json(
            {
                "track": str(track),
                "space": meta.space,
                "extractor": meta.extractor,
                "extractor_version": meta.extractor_version,
                "frames": len(loaded),
                "duration": loaded.duration,
                "frame_rate": rate,
                "unseen_frames": unseen,
                "cuts": list(meta.cuts),
                "options": meta.options,
                "png": None if png is None else str(png),
                "curves": rows,
            }
        )
        return
    console.say(
        f"{track}: {len(loaded)} frames, {loaded.duration:.2f} s at {rate}, {meta.space}, by {meta.extractor}, "
        f"{unseen} without the face, {len(meta.cuts)} cuts"
    )
    console.table(
        ("curve", "lowest", "mean", "highest", "unit", "over time"),
        [
            (curve.name, *(f"{v:.2f}" for v in (curve.values.min(), curve.values.mean(), curve.values.max())))
            + (curve.unit, _line(curve))
            for curve in found
        ],
    )


@app.command("export")
def export(
    track: Annotated[Path, typer.Argument(metavar="TRACK", show_default=False, help="A track (.npz).")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="PATH", show_default=False, help="Where to: .csv or .json.")
    ],
    format: _Format = None,
    overwrite: _Overwrite = False,
    quiet: _Quiet = False,
) -> None:
    """Write a track for a spreadsheet, a script or a rig in Unreal, Blender or Maya.

    Examples:
      mimaface track export talk.npz -o talk.csv

      mimaface track export talk.npz -o talk_livelink.csv --format livelink
    """
    from mimaface_cli.motion.formats import export_track
    from mimaface_cli.motion.track import MotionTrack

    loaded = MotionTrack.load(track)
    notes = export_track(loaded, output, format, overwrite, (track,))
    if not quiet:
        for note in notes:
            console.say(f"note: {note}")
        console.say(f"{output}: {len(loaded)} frames")


@app.command("import")
def import_file(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="A CSV, a JSON or a Live Link Face CSV.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="PATH", show_default=False, help="The track to write (.npz).")
    ],
    format: _Format = None,
    frame_rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            show_default=False,
            help="Frames a second that Live Link timecodes count (30, 29.97, 60 ...), or of a CSV; else told from the "
            "file.",
        ),
    ] = None,
    overwrite: _Overwrite = False,
    quiet: _Quiet = False,
    as_json: _Json = False,
) -> None:
    """Make a track of motion from elsewhere: a capture by an iPhone drives a photo.

    Examples:
      mimaface track import MySlate_1_iPhone.csv -o take.npz

      mimaface animate photo.jpg take.npz --motion absolute -o out.mp4
    """
    from mimaface_cli.errors import OutputError
    from mimaface_cli.files import check_output
    from mimaface_cli.motion.formats import import_track

    rate = None if frame_rate is None else console.rate(frame_rate)
    if output.suffix.lower() != ".npz":
        raise OutputError(f"{output}: a track is written as .npz; change the suffix")
    check_output(output, overwrite, (source,))
    read = import_track(source, format, rate)
    read.track.save(output, overwrite)
    frames, seconds = len(read.track), read.track.duration
    if not quiet:
        for note in read.notes:
            console.say(f"note: {note}")
        console.say(f"{output}: {frames} frames, {seconds:.2f} s, read as {read.format}")
    if as_json:
        rate = read.track.frame_rate
        console.write_json(
            {
                "output": str(output),
                "format": read.format,
                "space": read.track.meta.space,
                "frames": frames,
                "duration": seconds,
                "frame_rate": f"{rate.numerator}/{rate.denominator}",
                "notes": read.notes,
            }
        )


def _line(curve) -> str:
    """A sparkline between bounds that make curves of one kind comparable: scores fill 0..1, others their own range."""
    from mimaface_cli.motion.summary import format_sparkline

    low, high = float(curve.values.min()), float(curve.values.max())
    if curve.unit == "score":
        return format_sparkline(curve.values, low=min(low, 0.0), high=max(high, 1.0))
    if curve.span < 1.0 and curve.unit == "degrees":  # noise is not motion
        return format_sparkline(curve.values, low=low - 2.0, high=high + 2.0)
    return format_sparkline(curve.values)
