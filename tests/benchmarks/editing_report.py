"""Tables of the editing benchmark: edits, leakage and round trips."""

from collections import defaultdict
from typing import Any

import numpy as np

# Groups of scores in the leakage matrix, by prefixes of blendshape names.
GROUPS = {
    "jaw": ("jaw", "mouthClose"),
    "smile": ("mouthSmile", "mouthDimple"),
    "pucker": ("mouthPucker", "mouthFunnel"),
    "lips": ("mouthLower", "mouthUpper", "mouthRoll", "mouthShrug", "mouthPress"),
    "mouth": ("mouthFrown", "mouthStretch", "mouthLeft", "mouthRight"),
    "brow up": ("browInnerUp", "browOuterUp"),
    "brow down": ("browDown",),
    "blink": ("eyeBlink",),
    "squint": ("eyeSquint", "eyeWide"),
    "look": ("eyeLook",),
}
FAR_MOTION = 0.05  # standard deviation from which a name counts in "far"
TARGET = 0.85  # correlation to reach
TOLERANCES = {"gazeYaw": 4.0, "gazePitch": 4.0}  # degrees
TURN_TOLERANCE, SCORE_TOLERANCE = 3.0, 0.2  # degrees; of a score


def print_edits(rows: list[dict[str, Any]]) -> None:
    """Print what each edit measures, and the share of portraits on which it is within its tolerance."""
    print(f"\n{'edit':22} {'request':>7} {'matrix':>16} {'extraction':>16} {'score':>14} {'before':>7} {'within':>7}")
    for (name, requested), edit_rows in _group_by_edit(rows).items():
        cells = []
        for key, width in (("matrix", 16), ("fit", 16), ("score", 14)):
            values = np.array([row[key] for row in edit_rows if key in row])
            cells.append(f"{values.mean():.2f} ±{values.std():.2f}".rjust(width) if len(values) else " " * width)
        before = np.mean([row["before"] for row in edit_rows]) if "before" in edit_rows[0] else np.nan
        keys = [key for key in ("matrix", "fit", "score") if key in edit_rows[0]]
        limit = SCORE_TOLERANCE if "score" in keys else TOLERANCES.get(name, TURN_TOLERANCE)
        within = np.mean([all(abs(row[key] - requested) <= limit for key in keys) for row in edit_rows])
        print(f"{name:22} {requested:7g} {cells[0]} {cells[1]} {cells[2]} {before:7.2f} {within:7.0%}")


def print_leakage(rows: list[dict[str, Any]]) -> None:
    """Print the mean largest change in each group of scores that was not edited."""
    print("\nleakage: largest change of a score in each group that was not edited, mean over the portraits")
    print(f"{'edit':22} {'request':>7} " + " ".join(f"{group:>9}" for group in GROUPS))
    for (name, requested), edit_rows in _group_by_edit(rows).items():
        leaks = [np.mean([row["leak " + group] for row in edit_rows]) for group in GROUPS]
        print(f"{name:22} {requested:7g} " + " ".join(f"{leak:9.2f}" for leak in leaks))


def print_round_trip(title: str, trips: list[dict[str, Any]]) -> None:
    """Print the errors of one track's round trips, a row for each moving name, and their summary."""
    print(f"\nround trip, {title}: mean over the portraits")
    for key in ("pose", "pose since frame 0", "gaze"):
        print(f"{key:22} {np.mean([trip[key] for trip in trips]):.2f}")
    by_name: dict[str, list[dict[str, float]]] = defaultdict(list)
    for trip in trips:
        for name, value in trip["by name"].items():
            by_name[name].append(value)
    columns = ("correlation", "minimum", "gain", "scores", "in image", "in landmarks")
    print(f"{'name':22}" + "".join(f"{column:>13}" for column in columns))
    for name, values in by_name.items():
        correlations = [value["correlation"] for value in values]
        cells = [np.mean(correlations), np.min(correlations)]
        for key in columns[2:]:
            cells.append(np.mean([value[key] for value in values if key in value] or [np.nan]))
        print(f"{name:22}" + "".join(" " * 13 if np.isnan(cell) else f"{cell:13.2f}" for cell in cells))
    all_values = [value for values in by_name.values() for value in values]
    far = [value["correlation"] for value in all_values if value["moves"] >= FAR_MOTION]
    print(f"together {np.mean([trip['together'] for trip in trips]):.2f}, far {np.mean(far):.2f}")
    for key in ("correlation", "scores"):
        series = np.array([value[key] for value in all_values])
        print(
            f"{key:22} mean {series.mean():.2f}, median {np.median(series):.2f}, "
            f"{TARGET} or more: {(series >= TARGET).mean():.0%}"
        )


def _group_by_edit(rows: list[dict[str, Any]]) -> dict[tuple[str, float], list[dict[str, Any]]]:
    """Group the rows with a detected face by edit and requested value."""
    by_edit: dict[tuple[str, float], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["detected"]:
            by_edit[row["name"], row["requested"]].append(row)
    return by_edit
