"""Decide from the scores on a small model's card whether it renders better than the mesh engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

JUDGED_FIGURES: Mapping[str, Literal["higher", "lower"]] = {
    "psnr": "higher",
    "ssim": "higher",
    "expression": "lower",
    "pose": "lower",
    "gaze": "lower",
    "identity_dlib": "lower",
    "jitter": "lower",
}
"""Figures that both engines must have, on the same pairs of held-out people, and which direction is better."""
MARGIN = 0.02  # relative difference up to which a figure is a draw


@dataclass(frozen=True)
class Verdict:
    """Result of a comparison.

    Attributes:
        is_better: Whether the model is preferred.
        reason: Why, in a few words.
        rows: Figure, mesh score, model score and winner ("mesh", "diffusion" or "" for a draw).
    """

    is_better: bool
    reason: str
    rows: tuple[tuple[str, float, float, str], ...] = ()


def judge_scores(scores: Mapping[str, Mapping[str, float]]) -> Verdict:
    """Compare the scores of the mesh engine and the model.

    Args:
        scores: Engine name ("mesh", "diffusion") to figure to mean.

    Returns:
        A verdict for the model where it wins more figures than it loses; against it where a figure is missing.
    """
    mesh, model = scores.get("mesh", {}), scores.get("diffusion", {})
    missing = [name for name in JUDGED_FIGURES if name not in mesh or name not in model]
    if missing:
        is_unmeasured = not mesh or not model
        return Verdict(False, "has no scores against mesh" if is_unmeasured else f"has no score for {missing[0]}")
    rows = tuple((name, mesh[name], model[name], _winner(name, mesh[name], model[name])) for name in JUDGED_FIGURES)
    won, lost = (sum(row[3] == name for row in rows) for name in ("diffusion", "mesh"))
    return Verdict(won > lost, f"wins {won} and loses {lost} of {len(rows)} figures against mesh", rows)


def _winner(figure: str, mesh: float, model: float) -> str:
    gain = mesh - model if JUDGED_FIGURES[figure] == "lower" else model - mesh
    if abs(gain) <= MARGIN * max(abs(mesh), abs(model)):
        return ""
    return "diffusion" if gain > 0 else "mesh"
