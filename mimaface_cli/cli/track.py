"""`mimaface track`: show a track, export it to other tools and import from them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mimaface_cli.cli import console
from mimaface_cli.cli.command_types import Command, CommandGroup
from mimaface_cli.cli.options import PlainJson, TrackOutput, field_option, plain_option
from mimaface_cli.errors import OutputError
from mimaface_cli.files import check_output
from mimaface_cli.motion.format_options import Format, FormatOptions

if TYPE_CHECKING:
    from mimaface_cli.motion.summary import Curve
    from mimaface_cli.motion.track import MotionTrack

app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="Show a track's curves; exchange motion with other tools."
)
_Track = Annotated[Path, typer.Argument(metavar="TRACK", show_default=False, help="A track (.npz).")]
_Format = Annotated[Format | None, field_option(FormatOptions, "format")]
_Overwrite = Annotated[bool, plain_option("Replace the output if it exists.", "--overwrite")]
_Quiet = Annotated[bool, plain_option("Print errors only.", "-q", "--quiet")]


@app.command("show", cls=Command)
def show(
    track: _Track,
    png: Annotated[Path | None, plain_option("Also plot the curves: .png, .svg or .pdf.", metavar="FILE")] = None,
    everything: Annotated[bool, plain_option("Show all curves, including those without motion.", "--all")] = False,
    overwrite: _Overwrite = False,
    as_json: PlainJson = False,
) -> None:
    """Show the curves of a track as a table with sparklines.

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
    curves = list_curves(loaded, everything)
    if as_json:
        console.write_json(
            {
                "track": str(track),
                **_json_values(loaded),
                "png": None if png is None else str(png),
                "curves": [_json_curve(curve) for curve in curves],
            }
        )
        return
    meta = loaded.meta
    console.info(
        f"{track}: {console.count(len(loaded), 'frame')}, {loaded.duration:.2f} s at "
        f"{console.fraction(meta.frame_rate)} fps, {meta.space}, extractor: {meta.extractor}, "
        f"{len(_find_missing_frames(loaded))} without a face, {console.count(len(meta.cuts), 'cut')}"
    )
    console.table(
        ("curve", "lowest", "mean", "highest", "unit", "over time"),
        [_row(curve) for curve in curves],
        numbers=("lowest", "mean", "highest"),
    )


@app.command("export", cls=Command)
def export(
    track: _Track,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            show_default=False,
            show_envvar=False,
            help="File to write: .csv or .json.",
        ),
    ],
    format: _Format = None,
    overwrite: _Overwrite = False,
    quiet: _Quiet = False,
) -> None:
    """Export a track for a spreadsheet, a script or a rig in Unreal, Blender or Maya.

    Examples:
      mimaface track export talk.npz -o talk.csv
      mimaface track export talk.npz -o talk_livelink.csv --format livelink
    """
    from mimaface_cli.motion.formats import export_track
    from mimaface_cli.motion.track import MotionTrack

    loaded = MotionTrack.load(track)
    notes = export_track(loaded, output, format, overwrite, (track,))
    console.notes(notes, quiet)
    if not quiet:
        console.info(f"{output}: {console.count(len(loaded), 'frame')}")


@app.command("import", cls=Command)
def import_file(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="A CSV, JSON or Live Link Face CSV file.")
    ],
    output: TrackOutput,
    format: _Format = None,
    frame_rate: Annotated[
        str | None,
        plain_option(
            "Frame rate of the Live Link timecodes (30, 29.97, 60 ...), or of a CSV; by default taken from the file.",
            metavar="RATE",
        ),
    ] = None,
    overwrite: _Overwrite = False,
    quiet: _Quiet = False,
    as_json: PlainJson = False,
) -> None:
    """Import motion from another tool, such as an iPhone capture that is to drive a photo.

    Examples:
      mimaface track import MySlate_1_iPhone.csv -o take.npz
      mimaface animate photo.jpg take.npz --motion absolute -o out.mp4
    """
    from mimaface_cli.motion.formats import import_track

    rate = None if frame_rate is None else console.parse_frame_rate(frame_rate)
    if output.suffix.lower() != ".npz":
        raise OutputError(f"{output}: a track is a .npz file. Change the suffix.")
    check_output(output, overwrite, (source,))
    imported = import_track(source, format, rate)
    imported.track.save(output, overwrite)
    frames, seconds = len(imported.track), imported.track.duration
    shown_notes = console.notes(imported.notes, quiet)
    if not quiet:
        console.info(f"{output}: {console.count(frames, 'frame')}, {seconds:.2f} s, format {imported.format}")
    if as_json:
        console.write_json(
            {
                "output": str(output),
                "format": imported.format,
                "space": imported.track.meta.space,
                "frames": frames,
                "duration": seconds,
                "frame_rate": console.fraction(imported.track.frame_rate),
                "notes": shown_notes,
            }
        )


def _json_values(track: "MotionTrack") -> dict[str, Any]:
    """Return the part of the JSON object that describes a track without its curves."""
    meta = track.meta
    return {
        "space": meta.space,
        "extractor": meta.extractor,
        "extractor_version": meta.extractor_version,
        "frames": len(track),
        "duration": track.duration,
        "frame_rate": console.fraction(meta.frame_rate),
        "missing_frames": _find_missing_frames(track),
        "cuts": list(meta.cuts),
        "options": meta.options,
    }


def _json_curve(curve: "Curve") -> dict[str, Any]:
    return {
        "name": curve.name,
        "unit": curve.unit,
        "low": float(curve.values.min()),
        "mean": float(curve.values.mean()),
        "high": float(curve.values.max()),
    }


def _find_missing_frames(track: "MotionTrack") -> list[int]:
    """Return the indices of the frames without a face."""
    return [int(index) for index in (~track.valid).nonzero()[0]]


def _row(curve: "Curve") -> tuple[str, ...]:
    """Return the cells of a curve in the table."""
    values = curve.values
    statistics = (f"{value:.2f}" for value in (values.min(), values.mean(), values.max()))
    return (curve.name, *statistics, curve.unit, _sparkline(curve))


def _sparkline(curve: "Curve") -> str:
    """Return a sparkline: scores on a common scale of 0 to 1, other curves on their range."""
    from mimaface_cli.motion.summary import format_sparkline

    low, high = float(curve.values.min()), float(curve.values.max())
    if curve.unit == "score":
        return format_sparkline(curve.values, low=min(low, 0.0), high=max(high, 1.0))
    if curve.span < 1.0 and curve.unit == "degrees":  # noise, not motion
        return format_sparkline(curve.values, low=low - 2.0, high=high + 2.0)
    return format_sparkline(curve.values)
