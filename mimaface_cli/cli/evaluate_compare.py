"""`mimaface evaluate compare` and `mimaface evaluate votes`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mimaface_cli.cli import console
from mimaface_cli.cli.options import (
    OUTPUT,
    RUN,
    AsJson,
    CacheDir,
    NoCache,
    Overwrite,
    PlainJson,
    Quiet,
    field_option,
    open_cache,
    plain_option,
    with_choices,
)
from mimaface_cli.cli.progress_display import show_progress
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mimaface_cli.evaluation.compare import SystemComparison

MEASUREMENT = "Measurement"


@with_choices
def compare(
    systems: Annotated[
        list[str],
        typer.Argument(metavar="NAME=DIR", show_default=False, help="Systems with their folders of results."),
    ],
    list_file: Annotated[
        Path, plain_option("CSV list of sources and drivers (see make-list).", "--list", metavar="CSV")
    ],
    protocol: Annotated[str, field_option(EvaluateOptions, "protocol", panel=MEASUREMENT)] = EvaluateOptions.protocol,
    size: Annotated[int, field_option(EvaluateOptions, "size", panel=MEASUREMENT)] = EvaluateOptions.size,
    network_step: Annotated[
        int, field_option(EvaluateOptions, "network_step", panel=MEASUREMENT)
    ] = EvaluateOptions.network_step,
    csv_file: Annotated[
        Path | None,
        plain_option("Write the metrics as CSV, a row per system and result.", "--csv", panel=OUTPUT, metavar="PATH"),
    ] = None,
    report_file: Annotated[
        Path | None,
        plain_option(
            "Write a self-contained HTML page with the table and a plot of the clips per metric.",
            "--report",
            panel=OUTPUT,
            metavar="HTML",
        ),
    ] = None,
    blind: Annotated[
        Path | None,
        plain_option(
            "Write a blind side-by-side test for voters into this new folder; its key is written beside it.",
            "--blind",
            panel=OUTPUT,
            metavar="FOLDER",
        ),
    ] = None,
    question: Annotated[
        str, plain_option("Question of the blind test.", "--question", panel=OUTPUT, metavar="TEXT")
    ] = "Which video is better?",
    seed: Annotated[int, plain_option("Random seed of the blind test's order.", "--seed", panel=OUTPUT)] = 0,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
    strict: Annotated[bool, field_option(EvaluateOptions, "strict", panel=RUN)] = EvaluateOptions.strict,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    quiet: Quiet = False,
) -> None:
    """Judge the outputs of several tools on one list.

    Results are paired by the file names of the list. Differences to the first system come with the 95 % interval and
    the p-value of a paired bootstrap over clips, corrected for the number of metrics.

    Examples:
      mimaface evaluate compare ours=results/ theirs=other/ --list same.csv --report compare.html
      mimaface evaluate compare ours=results/ theirs=other/ --list same.csv --blind test/
    """
    folders = _parse_systems(systems)
    with console.options():
        options = EvaluateOptions(size, network_step=network_step, protocol=protocol, strict=strict)
    from mimaface_cli.evaluation.compare import compare_systems
    from mimaface_cli.files import check_output

    for path in (csv_file, report_file):
        if path is not None:
            check_output(path, overwrite, (list_file,))
    cache = open_cache(cache_dir, no_cache)
    with show_progress(quiet) as progress:
        comparison = compare_systems(folders, list_file, options, cache=cache, progress=progress)
        _write_files(comparison, csv_file, report_file, overwrite)
        if blind is not None:
            from mimaface_cli.evaluation.blind_test import BlindOptions, write_blind_test

            results = {name: [row.result for row in each.rows] for name, each in comparison.evaluations.items()}
            pairs = [row.pair for row in comparison.first.rows]
            key = write_blind_test(blind, results, pairs, BlindOptions(question, seed), progress)
    if not quiet:
        _print_notes(comparison)
        if blind is not None:
            console.info(f"{blind / 'index.html'}: blind test; keep {key} from the voters")
    if as_json:
        console.write_json(comparison.to_json())
    elif not quiet:
        console.write(_table(comparison))
    if comparison.failed_count:
        console.fail(f"{comparison.failed_count} results could not be measured")
        raise typer.Exit(3)


@with_choices
def votes(
    key: Annotated[Path, typer.Argument(metavar="KEY", show_default=False, help="The key of a blind test (.json).")],
    files: Annotated[
        list[Path], typer.Argument(metavar="VOTES", show_default=False, help="Files that voters exported.")
    ],
    as_json: PlainJson = False,
) -> None:
    """Count the votes of a blind test, with the 95 % interval and the p-value of a sign test."""
    from mimaface_cli.evaluation.blind_test import count_votes, votes_to_json

    counts = count_votes(key, files)
    if as_json:
        console.write_json(votes_to_json(counts))
        return
    rows: list[tuple[str, ...]] = []
    for count in counts:
        share = interval = p = "–"
        if count.share is not None and count.low is not None and count.high is not None and count.p is not None:
            share, p = f"{100 * count.share:.0f} %", f"{count.p:.3g}"
            interval = f"{100 * count.low:.0f} to {100 * count.high:.0f} %"
        numbers = str(count.wins), str(count.losses), str(count.ties)
        rows.append((f"{count.first} / {count.second}", *numbers, share, interval, p))
    header = ("systems", "first", "second", "ties", "share", "95 % interval", "p")
    console.table(header, rows, ("first", "second", "ties", "share", "p"))


def _parse_systems(texts: list[str]) -> dict[str, Path]:
    """Return the folders by the names of the systems. Raises typer.BadParameter."""
    systems: dict[str, Path] = {}
    for text in texts:
        name, sign, folder = text.partition("=")
        if not (name.strip() and sign and folder):
            raise typer.BadParameter(f"NAME=DIR: {text[:60]!r} is not a name and a folder, such as ours=results/.")
        if name.strip() in systems:
            raise typer.BadParameter(f"NAME=DIR: {name.strip()} is given twice. Give every system its own name.")
        systems[name.strip()] = Path(folder)
    return systems


def _write_files(
    comparison: "SystemComparison", csv_file: Path | None, report_file: Path | None, overwrite: bool
) -> None:
    if report_file is not None:
        from mimaface_cli.evaluation.comparison_report import write_comparison

        write_comparison(report_file, comparison, overwrite)
    if csv_file is not None:
        from mimaface_cli.evaluation.csv_export import write_systems_csv

        write_systems_csv(csv_file, comparison.evaluations, overwrite)


def _print_notes(comparison: "SystemComparison") -> None:
    console.notes(comparison.notes)
    for name, evaluation in comparison.evaluations.items():
        for row in evaluation.rows:
            if row.error:
                console.info(f"note: {name}: {row.result.name}: {row.error}")
            elif row.figures is not None:
                console.notes([f"{name}: {row.result.name}: {note}" for note in row.figures.notes])


def _table(comparison: "SystemComparison") -> str:
    """Return the table of means and differences, with the methods."""
    from rich import box
    from rich.table import Table

    from mimaface_cli.cli.evaluation_tables import describe_methods, number_methods, render_text
    from mimaface_cli.evaluation.catalog import CATALOG
    from mimaface_cli.evaluation.comparison_report import best_systems, describe_difference

    names = comparison.names
    measured = {name for each in comparison.evaluations.values() for name in each.means}
    methods = number_methods(comparison.first, measured)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("metric")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("by", justify="right")
    for other in names[1:]:
        table.add_column(f"{names[0]} - {other}", justify="right")
    for info in CATALOG.infos:
        if info.name not in measured:
            continue
        best, cells = best_systems(comparison, info), [f"{info.label} {info.arrow}"]
        for name in names:
            mean = comparison.evaluations[name].means.get(info.name)
            cells.append("–" if mean is None else info.format(mean.value) + ("!" if name in best else ""))
        cells.append(f"[{methods[str(comparison.first.method(info))]}]")
        cells += [describe_difference(comparison, info.name, names[0], other) for other in names[1:]]
        table.add_row(*cells)
    blocks: list[RenderableType] = [
        table,
        "! best mean; difference [95 % interval] and p of a paired bootstrap, corrected for the number of metrics "
        "(* p < 0.05)",
        describe_methods(comparison.first, methods),
    ]
    return render_text(blocks)
