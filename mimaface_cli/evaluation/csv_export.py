"""CSV form of an evaluation: one row per result."""

import csv
from pathlib import Path

from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.evaluation_result import Evaluation, ResultRow
from mimaface_cli.files import atomic_path, check_output

_COLUMNS = ("result", "source", "driver", "protocol", "frames", "compared", "missing_faces")


def write_csv(path: Path, evaluation: Evaluation, overwrite: bool = False) -> None:
    """Write the figures of every result; the last column is the error.

    Args:
        path: The CSV file.
        evaluation: The evaluation.
        overwrite: Whether an existing file is replaced.

    Raises:
        OutputError: The file exists or cannot be written.
    """
    check_output(path, overwrite)
    names = [info.name for info in CATALOG.result_infos]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*_COLUMNS, *names, "error"])
        for row in evaluation.rows:
            writer.writerow(_cells(row, names))


def _cells(row: ResultRow, names: list[str]) -> list[object]:
    cells: list[object] = [row.result, row.pair.source, row.pair.driver, "same" if row.pair.same else "cross"]
    figures = row.figures
    if figures is None:
        return [*cells, "", "", "", *[""] * len(names), row.error or ""]
    values = ["" if name not in figures.values else f"{figures.values[name]:.6g}" for name in names]
    return [*cells, figures.frames, figures.compared_frames, figures.faceless_frames, *values, row.error or ""]
