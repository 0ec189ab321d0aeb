"""Tables of an evaluation, as text."""

import shutil
from collections.abc import Container
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from mimaface_cli.evaluation.evaluation_result import Evaluation
    from mimaface_cli.evaluation.published_tables import ComparisonTable


def format_tables(evaluation: "Evaluation", has_list: bool) -> str:
    """Return the table of metrics, how they are measured and, for a list, the published tables of its protocol."""
    from mimaface_cli.evaluation.published_tables import compare_with_published

    methods = number_methods(evaluation, evaluation.means)
    blocks: list[RenderableType] = [_metrics_table(evaluation, methods), describe_methods(evaluation, methods)]
    if has_list:
        comparisons = compare_with_published(evaluation)
        for comparison in comparisons:
            blocks += ["", comparison.title, _published_table(comparison), comparison.note]
        if not comparisons:
            blocks += ["", "No published table has this protocol; for lists that have one, see mimaface evaluate "
                       "protocols."]  # fmt: skip
    return render_text(blocks)


def render_text(blocks: "list[RenderableType]") -> str:
    """Return rich blocks as plain text, as wide as the terminal but at least 80 columns."""
    from rich.console import Console

    text = StringIO()
    width = max(80, min(shutil.get_terminal_size((110, 24)).columns, 140))
    screen = Console(file=text, width=width, color_system=None, emoji=False, markup=False, highlight=False)
    for block in blocks:
        screen.print(block)
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())


def number_methods(evaluation: "Evaluation", measured: Container[str]) -> dict[str, int]:
    """Return the number of each method of the measured metrics, in the order of the table."""
    from mimaface_cli.evaluation.catalog import CATALOG

    methods = (str(evaluation.method(info)) for info in CATALOG.infos if info.name in measured)
    return {method: number for number, method in enumerate(dict.fromkeys(methods), 1)}


def describe_methods(evaluation: "Evaluation", methods: dict[str, int]) -> str:
    """Return the protocol and a line for each method."""
    lines = [f"[{number}] {method}" for method, number in methods.items()]
    return "\n".join([f"protocol: {evaluation.protocol}", "by (extractor; crop; resolution):", *lines])


def _metrics_table(evaluation: "Evaluation", methods: dict[str, int]) -> "Table":
    """Return the table of metrics, with the reason if a metric is missing."""
    from rich import box
    from rich.table import Table

    from mimaface_cli.evaluation.catalog import CATALOG

    is_list = len(evaluation.rows) > 1
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("metric")
    table.add_column("better")
    table.add_column("mean" if is_list else "value", justify="right")
    if is_list:
        table.add_column("± s.e.", justify="right")
        table.add_column("of", justify="right")
    table.add_column("by", justify="right")
    table.add_column("description, or why it is missing", ratio=1)
    group = ""
    for info in CATALOG.infos:
        mean = evaluation.means.get(info.name)
        if mean is None and info.name not in evaluation.reasons:
            continue
        if info.group != group:
            group = info.group
            table.add_section()
        cells = [info.label, info.arrow, "–" if mean is None else info.format(mean.value)]
        if is_list:
            error = "" if mean is None or mean.standard_error is None else f"{mean.standard_error:.{info.decimals}f}"
            cells += [error, "" if mean is None else str(mean.count)]
        number = "" if mean is None else f"[{methods[str(evaluation.method(info))]}]"
        table.add_row(*cells, number, info.description if mean is not None else evaluation.reasons[info.name])
    return table


def _published_table(comparison: "ComparisonTable") -> "Table":
    from rich import box
    from rich.table import Table

    from mimaface_cli.evaluation.catalog import CATALOG

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("method")
    for column, name in comparison.columns:
        table.add_column(f"{column} {CATALOG.info(name).arrow}", justify="right")
    for method, values in comparison.rows:
        table.add_row(method, *values)
    return table
