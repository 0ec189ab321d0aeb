"""`mimaface evaluate` and `mimaface evaluate make-list`."""

import csv
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from mimaface_cli.cli import console

_MEASURE = "measure"


class _Group(TyperGroup):
    """`evaluate RESULT …` is `evaluate measure RESULT …`: the usual case needs no second word."""

    def parse_args(self, ctx, args):
        if not args or args[0] not in self.commands:
            args = [_MEASURE, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_Group, help="Measure results against the drivers and sources they were made from.")
_INPUT, _WHAT, _OUTPUT, _RUN = "What belongs together", "Measuring", "Output", "Running"


def _option(panel: str, help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


@app.command(_MEASURE, hidden=True)
def measure(
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULT",
            show_default=False,
            help="A result (video, picture or folder of pictures), or with --list the folder of results.",
        ),
    ],
    source: Annotated[Path | None, _option(_INPUT, "What it was made from: a photo or a video.")] = None,
    driver: Annotated[Path | None, _option(_INPUT, "What it should move like: video, photo, folder or track.")] = None,
    list_file: Annotated[
        Path | None,
        _option(_INPUT, "A CSV list of sources and drivers (see make-list), one result each.", "--list", metavar="CSV"),
    ] = None,
    protocol: Annotated[
        Literal["auto", "same", "cross"],
        _option(
            _INPUT,
            "same: the driver's frames are the truth, so PSNR, SSIM and LPIPS are measured. cross: another person. "
            "auto: same where source and driver are one file.",
            metavar="WHICH",
        ),
    ] = "auto",
    engine: Annotated[
        Literal["mesh", "diffusion"] | None,
        _option(
            _INPUT, "Make the results that are not in the folder yet with this engine; needs --list.", metavar="NAME"
        ),
    ] = None,
    motion: Annotated[
        Literal["absolute", "relative"],
        _option(_INPUT, "How --engine moves the source; absolute is what the paper does.", metavar="HOW"),
    ] = "absolute",
    size: Annotated[int, _option(_WHAT, "Longest side at which pictures are compared; 0 for their own.")] = 512,
    face: Annotated[
        str, _option(_WHAT, "Whom to look at: largest, left, right or a number.", metavar="WHO")
    ] = "largest",
    driver_face: Annotated[str, _option(_WHAT, "Whom in the driver, likewise.", metavar="WHO")] = "largest",
    clip_frames: Annotated[
        int | None, _option(_WHAT, "Frames between clip borders, where known; else they are looked for.")
    ] = None,
    network_step: Annotated[int, _option(_WHAT, "Networks look at every so many frames.")] = 1,
    csv_file: Annotated[
        Path | None, _option(_OUTPUT, "Write one line of figures for each result.", "--csv", metavar="PATH")
    ] = None,
    report_file: Annotated[
        Path | None,
        _option(
            _OUTPUT, "Write a page with plots and the worst frames; it needs no other file.", "--report", metavar="HTML"
        ),
    ] = None,
    as_json: Annotated[bool, _option(_OUTPUT, "Print one JSON object.", "--json")] = False,
    series: Annotated[bool, _option(_OUTPUT, "With --json: the curves over time as well.", "--series")] = False,
    overwrite: Annotated[bool, _option(_OUTPUT, "Replace outputs that exist.", "--overwrite")] = False,
    provenance: Annotated[
        bool,
        _option(
            _OUTPUT,
            "Mark what --engine makes as generated, as animate does. Off, figures are those of the bare pictures.",
            "--provenance/--no-provenance",
        ),
    ] = True,
    cache_dir: Annotated[
        Path | None, _option(_RUN, "Where tracks and figures are kept (default: the user cache or MIMAFACE_CACHE_DIR).")
    ] = None,
    no_cache: Annotated[bool, _option(_RUN, "Neither use nor keep tracks and figures.", "--no-cache")] = False,
    quiet: Annotated[bool, _option(_RUN, "Say nothing but errors.", "-q", "--quiet")] = False,
) -> None:
    """Measure RESULT: likeness, motion, identity, and what a viewer feels over time.

    Figures whose networks are not there are named with what they need; the others always run. A list is made by
    [bold]mimaface evaluate make-list FOLDER[/bold].

    Examples:
      mimaface evaluate out.mp4 --source photo.jpg --driver talk.mp4 --report out.html

      mimaface evaluate make-list voxceleb/ -o same.csv --protocol same --pairs 100

      mimaface evaluate results/ --list same.csv --engine mesh --csv figures.csv
    """
    if (list_file is None) == (source is None and driver is None):
        raise typer.BadParameter("give --source and --driver for one result, or --list for a folder of results")
    if list_file is None and (source is None or driver is None):
        raise typer.BadParameter("--source and --driver belong together: give both")
    if engine is not None and list_file is None:
        raise typer.BadParameter("--engine makes the results of a list: give --list (or use mimaface animate)")
    if series and not as_json:
        raise typer.BadParameter("--series needs --json")
    from mimaface_cli.cache import Cache
    from mimaface_cli.evaluation.evaluate import as_json as told
    from mimaface_cli.evaluation.evaluate import check_results, evaluate, maker, prepare_run
    from mimaface_cli.evaluation.measure_options import MeasureOptions
    from mimaface_cli.evaluation.pair_lists import Pair, is_same, read_list
    from mimaface_cli.files import check_output

    with console.options():
        options = MeasureOptions(size, face, driver_face, clip_frames, network_step)
    cache = None if no_cache else Cache(cache_dir)
    given = tuple(path for path in (results, source, driver, list_file) if path is not None)
    for path in (csv_file, report_file):
        if path is not None:
            check_output(path, overwrite, given)
    make = None
    if list_file is None:
        pairs, paths = [Pair(source, driver, same=is_same(source, driver, protocol))], [results]
    else:
        pairs = read_list(list_file, protocol)
        paths = [results / pair.result for pair in pairs]
        if engine is None:
            check_results(results, pairs)
        else:
            prepare_run(results, pairs, engine, motion, overwrite, provenance)
            make = maker(engine, motion, options, cache, provenance)
            if not provenance:
                console.notes(
                    ["provenance is off (--no-provenance): a comment alone says that results are generated"], quiet
                )
    with console.progress(quiet) as report:
        found = evaluate(paths, pairs, options, make=make, cache=cache, report=report)
        if report_file is not None:
            from mimaface_cli.evaluation.report import write_report

            write_report(report_file, found, overwrite, report)
    if csv_file is not None:
        _write_csv(csv_file, found, overwrite)
    if not quiet:
        _notes(found)
    if as_json:
        console.write_json(told(found, series))
    elif not quiet:
        console.write(_tables(found, listed=list_file is not None))
    if found.failed:
        console.fail(f"{len(found.failed)} of {len(found.rows)} results could not be measured")
        raise typer.Exit(3)


@app.command("make-list")
def make_list(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", show_default=False, help="Videos (and photos) to draw from.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="CSV", show_default=False, help="The list to write.")
    ],
    protocol: Annotated[
        Literal["same", "cross"],
        typer.Option(
            metavar="WHICH",
            help="same: a video's first frame is driven by the video itself. cross: a photo, or another person's first "
            "frame, is driven by it.",
        ),
    ] = "same",
    pairs: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the draw: the same files, options and seed give the same list.")] = 0,
    frames: Annotated[int, typer.Option(min=0, help="Driver frames of each pair, from its first on; 0 for all.")] = 0,
    stride: Annotated[int, typer.Option(min=1, help="Take every so many driver frames.")] = 1,
    identity: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            show_default=False,
            help="Who is who: matched against paths below FOLDER, its first group names the person. By default "
            "VoxCeleb's id12345, else the first folder, else the file.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the list if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw pairs of source and driver from FOLDER, as PIRenderer's evaluation does, into a CSV list for --list.

    Its columns are source, driver, source_frame, start, frames, stride, result; all but the first two may be left out
    in lists of your own. Paths count from the list's folder.
    """
    from mimaface_cli.evaluation import pair_lists as lists
    from mimaface_cli.files import check_output

    check_output(output, overwrite)
    rows = lists.make_list(folder, protocol, pairs, seed, frames=frames, stride=stride, identity=identity)
    lists.write_list(output, folder, rows, overwrite)
    fewer = f" (the folder holds no more than {len(rows)} videos)" if len(rows) < pairs else ""
    if as_json:
        console.write_json({"list": str(output), "pairs": len(rows), "protocol": protocol, "seed": seed})
    else:
        console.say(f"{output}: {len(rows)} pairs, {protocol} identity, seed {seed}{fewer}")


def _notes(found: Any) -> None:
    for row in found.rows:
        name = f"{row.result.name}: " if len(found.rows) > 1 else ""
        for note in [row.error] if row.error else row.measured.notes:
            console.say(f"note: {name}{note}")
    for note in found.notes:
        console.say(f"note: {note}")


def _write_csv(path: Path, found: Any, overwrite: bool) -> None:
    from mimaface_cli.evaluation.figures import FIGURES
    from mimaface_cli.files import atomic_path, check_output

    check_output(path, overwrite)
    names = [figure.name for figure in FIGURES if not figure.whole]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["result", "source", "driver", "protocol", "frames", "compared", "missing_faces", *names, "error"]
        )
        for row in found.rows:
            m = row.measured
            head = [row.result, row.pair.source, row.pair.driver, "same" if row.pair.same else "cross"]
            counts = ["", "", ""] if m is None else [m.frames, m.compared, m.missing]
            values = ["" if m is None else _plain(m.values.get(name)) for name in names]
            writer.writerow([*head, *counts, *values, row.error or ""])


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _tables(found: Any, listed: bool) -> str:
    """What a reader sees: figures, then the paper's own where a list was measured."""
    import shutil
    from io import StringIO

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from mimaface_cli.evaluation.figures import BY_NAME, FIGURES
    from mimaface_cli.evaluation.paper_tables import paper_rows

    text = StringIO()
    width = max(80, min(shutil.get_terminal_size((110, 24)).columns, 140))
    screen = Console(file=text, width=width, color_system=None, emoji=False, markup=False, highlight=False)
    many = len(found.rows) > 1
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("figure")
    table.add_column("better")
    table.add_column("mean" if many else "value", justify="right")
    if many:
        table.add_column("± s.e.", justify="right")
        table.add_column("of", justify="right")
    table.add_column("what it is, or why it is not there", ratio=1)
    group = ""
    for figure in FIGURES:
        mean = found.means.get(figure.name)
        if mean is None and figure.name not in found.reasons:
            continue
        if figure.group != group:
            group = figure.group
            table.add_section()
        error = "" if mean is None or mean.error is None else f"{mean.error:.{figure.decimals}f}"
        cells = [figure.label, figure.arrow, "–" if mean is None else figure.text(mean.value)]
        if many:
            cells += [error, "" if mean is None else str(mean.count)]
        table.add_row(*cells, figure.about if mean is not None else found.reasons[figure.name])
    screen.print(table)
    if listed:
        for title, columns, rows in paper_rows(found):
            screen.print()
            screen.print(title)
            beside = Table(box=box.SIMPLE_HEAD, show_edge=False)
            beside.add_column("method")
            for column, name in columns:
                beside.add_column(f"{column} {BY_NAME[name].arrow}", justify="right")
            for method, values in rows:
                beside.add_row(method, *values)
            screen.print(beside)
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())
