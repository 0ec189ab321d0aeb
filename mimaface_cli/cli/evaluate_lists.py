"""`mimaface evaluate make-list` and `mimaface evaluate protocols`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mimaface_cli.cli import console
from mimaface_cli.cli.options import (
    CacheDir,
    NoCache,
    PlainJson,
    field_option,
    open_cache,
    plain_option,
    with_choices,
)
from mimaface_cli.cli.progress_display import show_progress
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.evaluate_options import PairListOptions
from mimaface_cli.evaluation.list_recipes import load_recipes

_DEFAULT_PAIRS = 100


@with_choices
def make_list(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", show_default=False, help="Folder of videos (and photos).")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="CSV", show_default=False, show_envvar=False, help="List to write (.csv)."
        ),
    ],
    protocol: Annotated[str, field_option(PairListOptions, "protocol")] = PairListOptions.protocol,
    pairs: Annotated[int | None, field_option(PairListOptions, "pairs")] = PairListOptions.pairs,
    seed: Annotated[int, field_option(PairListOptions, "seed")] = PairListOptions.seed,
    frames: Annotated[int, field_option(PairListOptions, "frames")] = PairListOptions.frames,
    stride: Annotated[int, field_option(PairListOptions, "stride")] = PairListOptions.stride,
    identity: Annotated[str | None, field_option(PairListOptions, "identity")] = PairListOptions.identity,
    ids: Annotated[
        Path | None,
        plain_option("With a recipe, a text file with the ids of its test set, one per line.", "--ids", metavar="TXT"),
    ] = None,
    overwrite: Annotated[bool, plain_option("Replace the list if it exists.", "--overwrite")] = False,
    as_json: PlainJson = False,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
) -> None:
    """Choose pairs of source and driver from FOLDER for --list: at random, or by the recipe of a published protocol.

    The columns of the CSV are source, driver, source_frame, start, frames, stride, result, recipe; a list that you
    write needs only the first two. Paths are relative to the list's folder. For the recipes, run
    [bold]mimaface evaluate protocols[/bold].
    """
    with console.options():
        PairListOptions(protocol, pairs, seed, frames, stride, identity)
        recipe = load_recipes().get(protocol)
        if ids is not None and recipe is None:
            raise InputError("needs a recipe. Choose one as `protocol`.", field="ids")
    from mimaface_cli.evaluation import list_sampling
    from mimaface_cli.files import check_output

    check_output(output, overwrite)
    notes: list[str] = []
    if recipe is None:
        pair_count = _DEFAULT_PAIRS if pairs is None else pairs
        rows = list_sampling.make_list(
            folder, protocol, pair_count, seed, frames=frames, stride=stride, identity=identity
        )
    else:
        names = [] if ids is None else list_sampling.read_ids(ids)
        cache = open_cache(cache_dir, no_cache) if recipe.min_turn else None
        with show_progress(not recipe.min_turn) as progress:
            made = list_sampling.make_recipe_list(
                folder, recipe, pairs, seed, ids=names, cache=cache, progress=progress
            )
        rows, notes, pair_count = made.rows, made.notes, pairs or 0
    list_sampling.write_list(output, folder, rows, overwrite)
    console.notes(notes, as_json)
    shortage = f" (the folder has only {console.count(len(rows), 'video')})" if len(rows) < pair_count else ""
    if as_json:
        values = {"list": str(output), "pairs": len(rows), "protocol": protocol, "seed": seed, "notes": notes}
        console.write_json(values)
    else:
        console.info(f"{output}: {console.count(len(rows), 'pair')}, protocol {protocol}, seed {seed}{shortage}")


@with_choices
def protocols(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", show_default=False, help="Recipe to describe; all by default.")
    ] = None,
    as_json: PlainJson = False,
) -> None:
    """Describe the recipes of published protocols: what to download, which ids, and how the pairs are chosen."""
    recipes = load_recipes()
    if name is not None and name not in recipes:
        raise typer.BadParameter(f"NAME: unknown recipe {name[:40]!r}. Choose from {', '.join(recipes)}.")
    from dataclasses import asdict

    if as_json:
        selected: dict[str, Any] = {key: asdict(recipe) for key, recipe in recipes.items() if name in (None, key)}
        console.write_json({"recipes": selected})
    elif name is None:
        console.table(("recipe", "protocol"), [(key, recipe.title) for key, recipe in recipes.items()])
    else:
        recipe = recipes[name]
        lines = [
            f"{recipe.name}: {recipe.title}",
            f"download  {recipe.download}",
            f"layout    {recipe.layout}",
            f"ids       {recipe.ids_from}",
            f"rule      {recipe.rule}",
            f"source    {recipe.source}",
        ]
        console.write("\n".join(lines))
