"""Scores of a small model and of the mesh engine in the model's card."""

import json
from dataclasses import replace
from pathlib import Path

from mimaface_cli.engines.diffusion.card_verdict import JUDGED_METRICS, Verdict, judge_scores
from mimaface_cli.errors import InputError
from mimaface_cli.weights.small_model import read_card, write_card


def write_card_scores(folder: Path, mesh_report: Path, model_report: Path) -> Verdict:
    """Write the mean figures of both engines into a small model's card.

    `engine=auto` chooses the engine by these figures.

    Args:
        folder: The model's folder.
        mesh_report: Output of `mimaface evaluate --json` for the mesh engine.
        model_report: The same for the diffusion engine with this model, on the same pairs.

    Returns:
        Which engine is better by these figures.

    Raises:
        InputError: A file is not the JSON output of mimaface evaluate.
        WeightsError: The folder has no card.
        OutputError: The card cannot be written.
    """
    card = read_card(folder)
    scores = {"mesh": _read_means(mesh_report), "diffusion": _read_means(model_report)}
    try:
        write_card(folder, replace(card, scores=scores))
    except ValueError as error:  # A mean is not a finite number.
        raise InputError(f"{mesh_report}, {model_report}: {error}. Evaluate both engines again.") from error
    return judge_scores(scores)


def _read_means(path: Path) -> dict[str, float]:
    """Return the figures by which the engines are compared."""
    try:
        means = json.loads(path.read_bytes())["means"]
        return {key: means[key]["value"] for key in JUDGED_METRICS if means.get(key, {}).get("value") is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: is not the JSON output of mimaface evaluate ({error!r:.80}). Run mimaface evaluate --json again."
        ) from error
