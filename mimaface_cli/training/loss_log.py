"""The CSV file of a stage's losses."""

import csv
from collections.abc import Sequence
from pathlib import Path

from mimaface_cli.files import atomic_path, remove_partial_files

LOSSES = "losses.csv"


class LossLog:
    """A stage's losses, one row per step.

    Args:
        folder: The stage's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOSSES

    def append(self, names: Sequence[str], rows: Sequence[tuple[int, Sequence[float]]]) -> None:
        """Add steps with their losses.

        Args:
            names: Names of the losses.
            rows: Steps and their losses in the order of the names.
        """
        lines: list[tuple] = [(step, *(f"{value:.7g}" for value in values)) for step, values in rows]
        if not self.path.exists():
            lines.insert(0, ("step", *names))
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)

    def clear(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    def discard_after(self, step: int) -> None:
        """Remove the rows after a step, and a last row that a killed run wrote incompletely."""
        remove_partial_files(self.path)
        if not self.path.exists():
            return
        header, *rows = self.path.read_text("utf-8").splitlines(keepends=True) or [""]
        valid = [row for row in rows if row.endswith("\n") and int(row.partition(",")[0]) <= step]
        with atomic_path(self.path) as temporary:
            temporary.write_text("".join([header, *valid]), encoding="utf-8")
