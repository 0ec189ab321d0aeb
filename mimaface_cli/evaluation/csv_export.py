"""CSV form of an evaluation: one row per result, with the method of every figure in the column `methods`."""

import csv
from collections.abc import Mapping
from pathlib import Path

from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.evaluation_result import Evaluation, ResultRow
from mimaface_cli.files import atomic_path, check_output

_COLUMNS = ("result", "source", "driver", "protocol", "recipe", "size", "frames", "compared", "missing_faces")


def write_csv(path: Path, evaluation: Evaluation, overwrite: bool = False) -> None:
    """Write the figures of every result; the last columns are their methods and the error.

    Args:
        path: The CSV file.
        evaluation: The evaluation.
        overwrite: Whether an existing file is replaced.

    Raises:
        OutputError: The file exists or cannot be written.
    """
    _write(path, {"": evaluation}, (), overwrite)


def write_systems_csv(path: Path, evaluations: Mapping[str, Evaluation], overwrite: bool = False) -> None:
    """Write the figures of several systems; the first column is the name of the system. See `write_csv`."""
    _write(path, evaluations, ("system",), overwrite)


def _write(path: Path, evaluations: Mapping[str, Evaluation], first: tuple[str, ...], overwrite: bool) -> None:
    check_output(path, overwrite)
    names = [info.name for info in CATALOG.result_infos]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*first, *_COLUMNS, *names, "methods", "error"])
        for system, evaluation in evaluations.items():
            for row in evaluation.rows:
                writer.writerow([*([system] if first else []), *_cells(row, names, evaluation)])


def _cells(row: ResultRow, names: list[str], evaluation: Evaluation) -> list[object]:
    pair = row.pair
    protocol = "same" if pair.same else "cross"
    cells: list[object] = [row.result, pair.source, pair.driver, protocol, pair.recipe, evaluation.options.size]
    figures = row.figures
    if figures is None:
        return [*cells, "", "", "", *[""] * len(names), "", row.error or ""]
    values = ["" if name not in figures.values else f"{figures.values[name]:.6g}" for name in names]
    counts = figures.frames, figures.compared_frames, figures.faceless_frames
    return [*cells, *counts, *values, _describe_methods(evaluation, names, figures.values), row.error or ""]


def _describe_methods(evaluation: Evaluation, names: list[str], values: Mapping[str, float]) -> str:
    """Return `metric=extractor; crop; resolution` for every figure of a row, separated by " | "."""
    infos = (CATALOG.info(name) for name in names if name in values)
    return " | ".join(f"{info.name}={evaluation.method(info)}" for info in infos)
