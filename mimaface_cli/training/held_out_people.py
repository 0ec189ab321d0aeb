"""Choice of the people that a run holds out of training, for validation."""

import json
from pathlib import Path

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path, output_error
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.training_data import TrainingData

PEOPLE = "validation.json"
"""File in a run's output that lists the people who are never trained on."""


def split_held_out(config: TrainingConfig, data: TrainingData) -> tuple[TrainingData, TrainingData]:
    """Split the data by people into training data and held-out data.

    The held-out people are those listed in the run's output. A new run chooses a random share by its seed.

    Args:
        config: The run's configuration.
        data: All data of the run.

    Returns:
        Training data and held-out data.

    Raises:
        InputError: The list in the output is damaged, or it leaves nobody to train on.
    """
    names = {number: clip.identity for clip, number in zip(data.clips, data.person.tolist(), strict=True)}
    held_out_names = _choose_held_out(config, sorted(names.values()))
    is_held_out = np.array([names[number] in held_out_names for number in data.person.tolist()])
    if is_held_out.all():
        raise InputError(
            f"{config.data}: all its people are held out for validation. Prepare more people, or lower "
            "validation.share."
        )
    return data.select(~is_held_out), data.select(is_held_out)


def _choose_held_out(config: TrainingConfig, names: list[str]) -> set[str]:
    """Return the people to hold out; `names` are all people of the data, sorted."""
    output = Path(config.output)
    path = output / PEOPLE
    if path.exists():
        return _read_people(path)
    if any(output.glob("*/step-*.pt")):  # The run began without validation and has trained on all people.
        return set()
    count = int(config.validation.share * len(names) + 1e-9) if config.validation.every else 0
    order = np.random.default_rng((config.seed, 2)).permutation(names)
    return set(order[:count].tolist())


def record_held_out(config: TrainingConfig, held_out: TrainingData) -> None:
    """List the held-out people in the run's output, unless it has a list.

    Raises:
        OutputError: The list cannot be written.
    """
    path = Path(config.output) / PEOPLE
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path.parent, error) from error
    people = sorted({clip.identity for clip in held_out.clips})
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"people": people}, indent=1), "utf-8")


def _read_people(path: Path) -> set[str]:
    try:
        people = json.loads(path.read_text("utf-8"))["people"]
        if not isinstance(people, list) or not all(isinstance(name, str) for name in people):
            raise ValueError("not a list of names")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: does not list the people that this run holds out ({error}). Choose another output."
        ) from error
    return set(people)
