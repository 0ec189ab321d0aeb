"""Validation results of a stage: a CSV of figures, and a contact sheet per step."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mimaface_cli.files import atomic_path, output_error, remove_partial_files

CURVE, SHEETS = "validation.csv", "validation"
COLUMNS = ("photo", "render", "truth", "result")
LARGEST_SIDE = 256
"""Largest side of an image on the contact sheet, in pixels."""
TITLE_HEIGHT = 16
"""Height of the contact sheet's title row, in pixels."""


@dataclass(frozen=True)
class ValidationResult:
    """Result of one validation.

    Attributes:
        step: Training step.
        figures: Figures by name, averaged over all frames.
        sheet: (H, W, 3) uint8 contact sheet with rows of photo, render, truth and result.
    """

    step: int
    figures: dict[str, float]
    sheet: np.ndarray


def render_sheet(rows: Sequence[tuple[np.ndarray, ...]]) -> np.ndarray:
    """Render a contact sheet (H, W, 3) uint8.

    Args:
        rows: Rows of square images (S, S, 3) uint8, in the order of COLUMNS, which are named above them.
    """
    side = min(LARGEST_SIDE, rows[0][0].shape[0])
    small = [[cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in row] for row in rows]
    title = np.full((TITLE_HEIGHT, side * len(COLUMNS), 3), 255, np.uint8)
    for k, name in enumerate(COLUMNS):
        cv2.putText(title, name, (k * side + 3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([title, *(np.hstack(row) for row in small)])


def write_validation(folder: Path, result: ValidationResult) -> None:
    """Add a validation to a stage's folder.

    It consists of a row of the CSV, and the contact sheet `step-<step>.png`.

    Raises:
        OutputError: They cannot be written.
    """
    sheet = folder / SHEETS / f"step-{result.step:08d}.png"
    try:
        sheet.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise output_error(sheet.parent, error) from error
    with atomic_path(sheet) as temporary:
        Image.fromarray(result.sheet).save(temporary)
    row = {"step": str(result.step), **{key: f"{value:.7g}" for key, value in result.figures.items()}}
    _write_rows(folder / CURVE, [*_read_rows(folder / CURVE), row])


def discard_validations_after(folder: Path, step: int) -> None:
    """Remove the validations after a step. A run that resumes there repeats them."""
    remove_partial_files(folder / CURVE)
    if (folder / CURVE).exists():
        _write_rows(folder / CURVE, [row for row in _read_rows(folder / CURVE) if int(row["step"]) <= step])
    for path in (folder / SHEETS).glob("*step-*.png"):
        number = re.fullmatch(r"step-(\d{8,})\.png", path.name)
        if number is None or int(number[1]) > step:
            path.unlink()


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Write the whole CSV atomically; a figure that a row lacks is an empty cell."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
