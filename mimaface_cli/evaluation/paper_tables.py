"""The paper's Tables 1 and 2, with rows for an evaluation."""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.evaluation_result import Evaluation

THIS_RUN = "this run"
_EMBEDDED_METRICS = {"expression_bfm09": "expression", "pose_bfm09": "pose", "gaze_bfm09": "gaze"}
_TITLES = {
    "same": "Paper, Table 1, same identity (VoxCeleb1)",
    "cross": "Paper, Table 1, cross identity (VoxCeleb1)",
    "temporal": "Paper, Table 2, temporal consistency",
}
_MISSING = "–"


@dataclass(frozen=True)
class ComparisonTable:
    """One of the paper's tables with rows for an evaluation.

    Attributes:
        title: Title of the table.
        columns: Heading and metric name of each column.
        rows: Method and cells of each row; rows of the evaluation start with THIS_RUN.
    """

    title: str
    columns: list[tuple[str, str]]
    rows: list[tuple[str, list[str]]]


@lru_cache(maxsize=1)
def load_paper_tables() -> dict[str, Any]:
    """Return the paper's tables.

    Returns:
        `same` and `cross` (Table 1) and `temporal` (Table 2) map method to column to value; `columns` maps columns to
        metric names; `source` and `data` are sentences.
    """
    return json.loads(files(__package__).joinpath("paper_tables.json").read_text("utf-8"))


def compare_with_paper(evaluation: Evaluation) -> list[ComparisonTable]:
    """Return the paper's tables with the evaluation's means as last rows.

    They are the tables of the evaluation's protocols, and Table 2.

    Means of the embedded estimator have a separate row, because their units differ.
    """
    is_same = {row.pair.same for row in evaluation.measured_rows}
    names = [name for name, value in (("same", True), ("cross", False)) if value in is_same]
    has_mixed_protocols = len(is_same) > 1
    return [
        _comparison_table(name, evaluation, has_mixed_protocols and name != "temporal") for name in (*names, "temporal")
    ]


def _comparison_table(name: str, evaluation: Evaluation, has_mixed_protocols: bool) -> ComparisonTable:
    tables = load_paper_tables()
    methods = tables[name]
    columns = [
        (column, metric)
        for column, metric in tables["columns"].items()
        if any(column in values for values in methods.values())
    ]
    rows = [
        (method, [f"{values[column]:g}" if column in values else _MISSING for column, _ in columns])
        for method, values in methods.items()
    ]
    title = _TITLES[name]
    if has_mixed_protocols:
        return ComparisonTable(f"{title} (this run mixes both protocols; evaluate them separately)", columns, rows)
    rows.append((THIS_RUN, [_format_mean(evaluation, metric) for _, metric in columns]))
    if any(metric in _EMBEDDED_METRICS for _, metric in columns):
        embedded = [_EMBEDDED_METRICS.get(metric) for _, metric in columns]
        cells = ["" if metric is None else _format_mean(evaluation, metric) for metric in embedded]
        rows.append((f"{THIS_RUN}, face478 (other units)", cells))
    return ComparisonTable(title, columns, rows)


def _format_mean(evaluation: Evaluation, metric: str) -> str:
    mean = evaluation.means.get(metric)
    return _MISSING if mean is None else f"{mean.value:.{CATALOG.info(metric).decimals}f}"
