"""The HTML page of a comparison of systems: table, significance, per-clip scatter."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from mimaface_cli import __version__
from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.compare import SystemComparison, paired_values
from mimaface_cli.evaluation.metric import MetricInfo
from mimaface_cli.evaluation.report_style import STYLE
from mimaface_cli.evaluation.svg_plots import scatter
from mimaface_cli.files import atomic_path, check_output

SIGNIFICANT = 0.05


def write_comparison(path: Path, comparison: SystemComparison, overwrite: bool = False) -> None:
    """Write a comparison as one HTML page that needs no other file and no network.

    Args:
        path: The page.
        comparison: The comparison.
        overwrite: Whether an existing page is replaced.

    Raises:
        OutputError: The page exists or cannot be written.
    """
    check_output(path, overwrite)
    names = comparison.names
    title = " / ".join(names)
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in comparison.notes)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        f"<p>{len(comparison.first.rows)} clips, protocol: {escape(comparison.first.protocol)}. Measured by mimaface "
        f"{__version__}.</p>{notes}",
        _render_table(comparison),
        *(_render_scatter(comparison, info) for info in CATALOG.result_infos),
        "</main></body></html>\n",
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(parts), encoding="utf-8")


def best_systems(comparison: SystemComparison, info: MetricInfo) -> set[str]:
    """Return the systems with the best mean of a metric; empty if no direction is better or one has no figure."""
    means = {name: each.means.get(info.name) for name, each in comparison.evaluations.items()}
    values = {name: mean.value for name, mean in means.items() if mean is not None}
    if info.better == "" or len(values) < 2:
        return set()
    sign = {"higher": -1.0, "lower": 1.0, "zero": 1.0}[info.better]
    scores = {name: sign * (abs(value) if info.better == "zero" else value) for name, value in values.items()}
    return {name for name, score in scores.items() if score == min(scores.values())}


def describe_difference(comparison: SystemComparison, metric: str, first: str, second: str) -> str:
    """Return a difference with interval and corrected p-value as text, or "" if there is none."""
    found = comparison.difference(metric, first, second)
    if found is None:
        return ""
    decimals, result = CATALOG.info(metric).decimals, found.difference
    text = f"{result.mean:+.{decimals}f}"
    if result.low is None or found.corrected_p is None:
        return text
    star = " *" if found.corrected_p < SIGNIFICANT else ""
    return f"{text} [{result.low:+.{decimals}f}, {result.high:+.{decimals}f}] p {found.corrected_p:.3g}{star}"


def _render_table(comparison: SystemComparison) -> str:
    names = comparison.names
    first = names[0]
    head = "".join(f'<th class="n">{escape(name)}</th>' for name in names)
    head += "".join(f'<th class="n">{escape(first)} − {escape(other)}</th>' for other in names[1:])
    rows = []
    for info in CATALOG.infos:
        means = [comparison.evaluations[name].means.get(info.name) for name in names]
        if all(mean is None for mean in means):
            continue
        best = best_systems(comparison, info)
        cells = ""
        for name, mean in zip(names, means, strict=True):
            style = "n best" if name in best else "n"
            cells += f'<td class="{style}">{"–" if mean is None else escape(info.format(mean.value))}</td>'
        for other in names[1:]:
            cells += f'<td class="n">{escape(describe_difference(comparison, info.name, first, other))}</td>'
        method = escape(str(comparison.first.method(info)))
        rows.append(f'<tr><td>{escape(info.label)} {info.arrow}<div class="by">{method}</div></td>{cells}</tr>')
    note = (
        "Differences are means over the clips that both systems have, with the 95 % interval of a paired bootstrap. "
        "p is corrected for the number of metrics (Holm); * marks p below 0.05. The best mean is bold."
    )
    table = f"<table><tr><th>Metric</th>{head}</tr>{''.join(rows)}</table>"
    return f'<h2>Figures</h2><div class="wide">{table}</div><p>{escape(note)}</p>'


def _render_scatter(comparison: SystemComparison, info: MetricInfo) -> str:
    """Return the per-clip plots of a metric, the first system against each other one."""
    names, plots = comparison.names, []
    for other in names[1:]:
        first, second = comparison.evaluations[names[0]], comparison.evaluations[other]
        points = paired_values(first, second, info.name)
        labels = [
            row.pair.result or row.result.name
            for row, mate in zip(first.rows, second.rows, strict=True)
            if row.figures is not None
            and mate.figures is not None
            and info.name in row.figures.values
            and info.name in mate.figures.values
        ]
        if len(points) > 1 and _varies(points):
            plots.append(scatter(f"{info.label} {info.arrow}", names[0], other, points, labels))
    return f'<div class="plots">{"".join(plots)}</div>' if plots else ""


def _varies(points: Sequence[tuple[float, float]]) -> bool:
    values = [value for point in points for value in point]
    return max(values) > min(values)
