"""Decide from the scores on a small model's card whether it renders better than the mesh engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

JUDGED_METRICS: Mapping[str, Literal["higher", "lower"]] = {
    "psnr": "higher",
    "ssim": "higher",
    "expression": "lower",
    "pose": "lower",
    "gaze": "lower",
    "identity_dlib": "lower",
    "jitter": "lower",
}
"""Metrics that both engines must have, on the same pairs of held-out people, and which direction is better."""
MARGIN = 0.02  # relative difference up to which a metric is a tie


@dataclass(frozen=True)
class Verdict:
    """Result of a comparison.

    Attributes:
        is_better: Whether the model is preferred.
        reason: Why, in a few words.
        rows: Metric, mesh score, model score and winner ("mesh", "diffusion" or "" for a tie).
    """

    is_better: bool
    reason: str
    rows: tuple[tuple[str, float, float, str], ...] = ()


def judge_scores(scores: Mapping[str, Mapping[str, float]]) -> Verdict:
    """Compare the scores of the mesh engine and the model.

    Args:
        scores: Mean of each metric, by engine name ("mesh", "diffusion").

    Returns:
        A verdict for the model if it wins more metrics than it loses, and against it if a metric is missing.
    """
    mesh, model = scores.get("mesh", {}), scores.get("diffusion", {})
    missing = [name for name in JUDGED_METRICS if name not in mesh or name not in model]
    if missing:
        is_unmeasured = not mesh or not model
        return Verdict(False, "has no scores against mesh" if is_unmeasured else f"has no score for {missing[0]}")
    rows = tuple((name, mesh[name], model[name], _winner(name, mesh[name], model[name])) for name in JUDGED_METRICS)
    won, lost = (sum(row[3] == name for row in rows) for name in ("diffusion", "mesh"))
    return Verdict(won > lost, f"wins {won} and loses {lost} of {len(rows)} metrics against mesh", rows)


def _winner(metric: str, mesh: float, model: float) -> str:
    gain = mesh - model if JUDGED_METRICS[metric] == "lower" else model - mesh
    if abs(gain) <= MARGIN * max(abs(mesh), abs(model)):
        return ""
    return "diffusion" if gain > 0 else "mesh"
