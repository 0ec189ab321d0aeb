"""`mimaface evaluate`; its other commands are in `evaluate_lists` and `evaluate_compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mimaface_cli.cli import console, evaluate_compare, evaluate_lists, evaluation_tables
from mimaface_cli.cli.command_types import Command, DefaultCommandGroup
from mimaface_cli.cli.options import (
    OUTPUT,
    RUN,
    AsJson,
    CacheDir,
    NoCache,
    Overwrite,
    Quiet,
    engine_option,
    field_option,
    open_cache,
    plain_option,
    with_choices,
)
from mimaface_cli.cli.progress_display import show_progress
from mimaface_cli.engines.registry import engine_names
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.progress import ProgressCallback

if TYPE_CHECKING:
    from mimaface_cli.evaluation.evaluation_result import Evaluation

PAIRS, MEASUREMENT = "Pairs", "Measurement"

app = typer.Typer(cls=DefaultCommandGroup, help="Measure results against their drivers and sources.")


def _engine_names() -> list[str]:
    """Return the valid values of --engine."""
    return list(engine_names())


@app.command("measure", cls=Command, hidden=True)
@with_choices
def measure(
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULT",
            show_default=False,
            help="A result (video, image or folder of images), or with --list the folder of results.",
        ),
    ],
    source: Annotated[Path | None, plain_option("Source of the result: a photo or a video.", panel=PAIRS)] = None,
    driver: Annotated[
        Path | None, plain_option("Driver of the result: a video, photo, folder or track.", panel=PAIRS)
    ] = None,
    list_file: Annotated[
        Path | None,
        plain_option(
            "CSV list of sources and drivers (see make-list), one result each.", "--list", panel=PAIRS, metavar="CSV"
        ),
    ] = None,
    protocol: Annotated[str, field_option(EvaluateOptions, "protocol", panel=PAIRS)] = EvaluateOptions.protocol,
    engine: Annotated[str | None, engine_option(EvaluateOptions, _engine_names, PAIRS)] = EvaluateOptions.engine,
    motion: Annotated[str, field_option(EvaluateOptions, "motion", panel=PAIRS)] = EvaluateOptions.motion,
    size: Annotated[int, field_option(EvaluateOptions, "size", panel=MEASUREMENT)] = EvaluateOptions.size,
    face: Annotated[str, field_option(EvaluateOptions, "face", panel=MEASUREMENT)] = EvaluateOptions.face,
    driver_face: Annotated[
        str, field_option(EvaluateOptions, "driver_face", panel=MEASUREMENT)
    ] = EvaluateOptions.driver_face,
    clip_frames: Annotated[
        int | None, field_option(EvaluateOptions, "clip_frames", panel=MEASUREMENT)
    ] = EvaluateOptions.clip_frames,
    network_step: Annotated[
        int, field_option(EvaluateOptions, "network_step", panel=MEASUREMENT)
    ] = EvaluateOptions.network_step,
    csv_file: Annotated[
        Path | None, plain_option("Write the metrics as CSV, a row per result.", "--csv", panel=OUTPUT, metavar="PATH")
    ] = None,
    report_file: Annotated[
        Path | None,
        plain_option(
            "Write a self-contained HTML page with plots and the worst frames.",
            "--report",
            panel=OUTPUT,
            metavar="HTML",
        ),
    ] = None,
    as_json: AsJson = False,
    series: Annotated[
        bool, plain_option("With --json, include the values of each frame.", "--series", panel=OUTPUT)
    ] = False,
    overwrite: Overwrite = False,
    provenance: Annotated[bool, field_option(EvaluateOptions, "provenance", panel=RUN)] = EvaluateOptions.provenance,
    strict: Annotated[bool, field_option(EvaluateOptions, "strict", panel=RUN)] = EvaluateOptions.strict,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    quiet: Quiet = False,
) -> None:
    """Measure RESULT: image similarity, motion, identity and temporal stability.

    Metrics with missing networks are listed with the weights they need. To create a list of pairs, run
    [bold]mimaface evaluate make-list FOLDER[/bold].

    Examples:
      mimaface evaluate out.mp4 --source photo.jpg --driver talk.mp4 --report out.html
      mimaface evaluate make-list voxceleb/ -o same.csv --protocol same --pairs 100
      mimaface evaluate results/ --list same.csv --engine mesh --csv figures.csv
    """
    pair = _check_inputs(source, driver, list_file)
    if engine is not None and list_file is None:
        raise typer.BadParameter("--engine: renders the results of a list. Give --list, or use mimaface animate.")
    if series and not as_json:
        raise typer.BadParameter("--series: needs --json. Give both.")
    with console.options():
        options = EvaluateOptions(
            size, face, driver_face, clip_frames, network_step, protocol, engine, motion, provenance, strict
        )
    from mimaface_cli.evaluation.evaluate import evaluate, evaluate_list

    _check_outputs((csv_file, report_file), overwrite, (results, source, driver, list_file))
    if engine is not None and not provenance:
        console.notes(["--no-provenance: results are marked as generated by a comment only"], quiet)
    cache = open_cache(cache_dir, no_cache)
    with show_progress(quiet) as progress:
        if isinstance(pair, Path):
            evaluation = evaluate_list(results, pair, options, overwrite=overwrite, cache=cache, progress=progress)
        else:
            evaluation = evaluate(results, *pair, options, cache=cache, progress=progress)
        _write_files(evaluation, csv_file, report_file, overwrite, progress)
    if not quiet:
        _print_notes(evaluation)
    if as_json:
        console.write_json(evaluation.to_json(series))
    elif not quiet:
        console.write(evaluation_tables.format_tables(evaluation, list_file is not None))
    if evaluation.failed_rows:
        console.fail(f"{len(evaluation.failed_rows)} of {len(evaluation.rows)} results could not be measured")
        raise typer.Exit(3)


def _check_inputs(source: Path | None, driver: Path | None, list_file: Path | None) -> Path | tuple[Path, Path]:
    """Return the list, or source and driver. Raises typer.BadParameter for any other combination."""
    if list_file is not None and source is None and driver is None:
        return list_file
    if list_file is not None or (source is None and driver is None):
        raise typer.BadParameter("Give --source and --driver for one result, or --list for a folder of results.")
    if source is None or driver is None:
        raise typer.BadParameter("--source and --driver belong together. Give both.")
    return source, driver


def _check_outputs(outputs: tuple[Path | None, ...], overwrite: bool, inputs: tuple[Path | None, ...]) -> None:
    """Check that the outputs can be written. Raises OutputError."""
    from mimaface_cli.files import check_output

    for path in outputs:
        if path is not None:
            check_output(path, overwrite, tuple(file for file in inputs if file is not None))


def _write_files(
    evaluation: "Evaluation",
    csv_file: Path | None,
    report_file: Path | None,
    overwrite: bool,
    progress: ProgressCallback,
) -> None:
    """Write the HTML page and the CSV file, if they were requested."""
    if report_file is not None:
        from mimaface_cli.evaluation.report import write_report

        write_report(report_file, evaluation, overwrite, progress)
    if csv_file is not None:
        from mimaface_cli.evaluation.csv_export import write_csv

        write_csv(csv_file, evaluation, overwrite)


def _print_notes(evaluation: "Evaluation") -> None:
    """Print the notes and errors of the results, and of the evaluation."""
    for row in evaluation.rows:
        name = f"{row.result.name}: " if len(evaluation.rows) > 1 else ""
        if row.error:
            console.info(f"note: {name}{row.error}")
        elif row.figures is not None:
            console.notes([f"{name}{note}" for note in row.figures.notes])
    console.notes(evaluation.notes)


app.command("make-list", cls=Command)(evaluate_lists.make_list)
app.command("protocols", cls=Command)(evaluate_lists.protocols)
app.command("compare", cls=Command)(evaluate_compare.compare)
app.command("votes", cls=Command)(evaluate_compare.votes)
