"""The table of the quality benchmark: a line for each pair, and statistics over the pairs."""

import json
from pathlib import Path

import numpy as np

PAIR_COLUMNS = (
    "detected",
    "identity",
    "gap",
    "gap gain",
    "lid",
    "lid gain",
    "iris",
    "iris gain",
    "rotation",
    "settled",
    "driver turn",
    "all",
    "sharpness",
    "jitter",
    "background",
    "fps",
)
SAME_COLUMNS = tuple(
    f"{kind}{area} {figure}"
    for area in ("whole", "face", "mouth")
    for figure in ("PSNR", "SSIM")
    for kind in ("", "still ")
)
LARGE_TURN = 30.0  # degrees; drivers that turn further are summarized separately
STATISTICS = {"mean": np.mean, "median": np.median, "min": np.min, "max": np.max}


class Table:
    """Rows of figures, printed as they are added.

    Args:
        columns: Names of the printed figures; a row may have more.
        path: JSON file that is rewritten with every row, or None.
    """

    def __init__(self, columns: tuple[str, ...], path: Path | None = None) -> None:
        self.rows: list[dict] = []
        self._columns = columns
        self._path = path
        self._has_header = False

    def add(self, names: dict[str, str], figures: dict[str, float]) -> None:
        """Print a row, and store it.

        Args:
            names: What the row is about.
            figures: Values by name; NaN and absent ones are not printed.
        """
        if not self._has_header:
            self._print_row("", {column: column for column in self._columns})
            self._has_header = True
        self.rows.append({**names, **figures})
        self._print_row(" ".join(f"{name[-24:]:24}" for name in names.values()), figures)
        if self._path is not None:
            self._path.write_text(json.dumps(self.rows, indent=1))

    def values(self, column: str, rows: list[dict] | None = None) -> np.ndarray:
        """Return the finite values of a column."""
        values = np.array([row.get(column, np.nan) for row in (self.rows if rows is None else rows)], float)
        return values[np.isfinite(values)]

    def print_summary(self) -> None:
        """Print statistics of each column over the rows, and of the rotation error by the driver's turn."""
        print()
        for name, function in STATISTICS.items():
            columns = [column for column in self._columns if len(self.values(column))]
            figures = {column: float(function(self.values(column))) for column in columns}
            self._print_row(f"{name} of {len(self.rows)}", figures)
        for label, is_large in (("below", False), ("from", True)):
            turned = [row for row in self.rows if "driver turn" in row]
            rows = [row for row in turned if (row["driver turn"] >= LARGE_TURN) == is_large]
            if rows:
                errors = self.values("rotation", rows)
                text = f"mean {errors.mean():.2f}, median {np.median(errors):.2f}, max {errors.max():.2f}"
                print(f"rotation error of {len(rows)} pairs whose driver turns {label} {LARGE_TURN:g} degrees: {text}")

    def _print_row(self, label: str, figures: dict) -> None:
        cells = []
        for column in self._columns:
            value = figures.get(column, np.nan)
            if isinstance(value, str):
                cells.append(f"{value[-10:]:>10}")
            else:
                cells.append(f"{value:10.3f}" if np.isfinite(value) else f"{'-':>10}")
        print(f"{label:49} " + " ".join(cells), flush=True)
