"""Recipes of lists: how a published protocol chooses its pairs. The data is in `list_recipes.json`."""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True)
class ListRecipe:
    """How the list of a protocol is made.

    Attributes:
        name: Name of the recipe, as in the column `recipe` of lists.
        title: One line that describes it.
        protocol: "same" or "cross", see `EvaluateOptions`.
        frames: Driver frames of a pair; 0 for all.
        stride: Distance between driver frames.
        pairs: Largest number of pairs; 0 for one for each video.
        seed: Random seed of the choice.
        dataset: Name of the dataset.
        download: What to download, and from where.
        layout: How the files must be arranged.
        identity: Regular expression for paths with the person as its first group, or None for the default.
        ids_from: Where the ids of the test set come from.
        rule: How source and driver are chosen.
        source: Where the recipe comes from.
        min_turn: Smallest turn of the head in degrees from frame 0; 0 for any.
    """

    name: str
    title: str
    protocol: str
    frames: int
    stride: int
    pairs: int
    seed: int
    dataset: str
    download: str
    layout: str
    identity: str | None
    ids_from: str
    rule: str
    source: str
    min_turn: float = 0.0


@lru_cache(maxsize=1)
def load_recipes() -> dict[str, ListRecipe]:
    """Return all recipes by name."""
    text = files(__package__).joinpath("list_recipes.json").read_text("utf-8")
    return {name: ListRecipe(name, **values) for name, values in json.loads(text).items()}


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes."""
    return tuple(load_recipes())
