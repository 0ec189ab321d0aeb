"""A small model's card gets what `mimaface evaluate` measured of it and of the mesh engine, by which `auto` decides."""

import json
from dataclasses import replace
from pathlib import Path

from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.preference import JUDGED_BY, Verdict, judge
from mimaface_cli.weights.small_model import read_card, write_card


def score(folder: Path, mesh: Path, model: Path) -> Verdict:
    """Write the means of both files (`mimaface evaluate --json`, the same pairs) into the card of the model in `folder`.

    Raises InputError for files of another kind, WeightsError for a folder without a card, OutputError.
    """
    card, columns = read_card(folder), {}
    for name, path in (("mesh", mesh), ("diffusion", model)):
        try:
            means = json.loads(path.read_bytes())["means"]
            columns[name] = {
                key: means[key]["value"] for key in JUDGED_BY if means.get(key, {}).get("value") is not None
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: is not what mimaface evaluate --json writes ({error!r:.80})") from error
    try:
        write_card(folder, replace(card, scores=columns))
    except ValueError as error:  # means that are no numbers
        raise InputError(f"{mesh}, {model}: {error}") from error
    return judge(columns)
