"""Comparison of the model with the mesh engine on held-out people, and the decision whether it ships."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from mimaface_cli.builders.mini.mini_options import MiniOptions
from mimaface_cli.builders.mini.mini_people import PeopleSplit
from mimaface_cli.cache import Cache
from mimaface_cli.engines.diffusion.card_verdict import Verdict
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.evaluate import evaluate_list
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.files import atomic_path
from mimaface_cli.training.card_scores import write_card_scores
from mimaface_cli.weights.manifest import sha256_of
from mimaface_cli.weights.small_model import SMALL_MODEL_FILES, SMALL_MODEL_FOLDER

MAX_MODEL_BYTES = 40_000_000
"""Largest model that ships."""


def compare_with_mesh(options: MiniOptions, split: PeopleSplit, trained: Path, log: Callable[[str], None]) -> Verdict:
    """Compare both engines on one video of each held-out person, and write the figures into the model's card.

    Args:
        options: Options of the build.
        split: The people.
        trained: Folder of the trained model.
        log: Receives messages.

    Returns:
        Which engine is better.

    Raises:
        InputError: There is no trained model.
    """
    work = options.work.absolute()
    model = work / "weights" / SMALL_MODEL_FOLDER
    size = write_half_model(trained, model)
    pairs = [
        Pair(
            options.folder / name,
            options.folder / name,
            frames=options.compared_frames,
            result=f"{number:03d}.mp4",
            same=True,
        )
        for number, name in enumerate(_choose_videos(split))
    ]
    version = sha256_of(model / "unet.safetensors")[:8]
    reports = []
    with _weights_at(model.parent):
        for engine, folder in (("mesh", "by_mesh"), ("diffusion", f"by_mini-{version}")):
            log(f"evaluating {engine} on {len(pairs)} held-out people")
            result = evaluate_list(
                work / folder, pairs, EvaluateOptions(engine=engine), overwrite=True, cache=Cache(work / "cache")
            )
            reports.append(work / f"{engine}.json")
            with atomic_path(reports[-1]) as temporary:
                temporary.write_text(json.dumps(result.to_json()), "utf-8")
    verdict = write_card_scores(model, *reports)
    for name, mesh_value, model_value, winner in verdict.rows:
        log(f"{name:16} mesh {mesh_value:9.4f}  model {model_value:9.4f}  {winner or 'tie'}")
    log(f"{model}: {size / 1e6:.1f} MB, {verdict.reason}: {_describe_decision(verdict, size)}")
    return verdict


def _describe_decision(verdict: Verdict, size: int) -> str:
    if not verdict.is_better:
        return "do not ship it"
    return "ship it" if size <= MAX_MODEL_BYTES else f"too large to ship ({MAX_MODEL_BYTES / 1e6:.0f} MB at most)"


def _choose_videos(split: PeopleSplit) -> list[str]:
    """Return the first video of each held-out person."""
    by_person: dict[str, str] = {}
    for name, person in sorted(split.identities.items()):
        if person in split.held_out:
            by_person.setdefault(person, name)
    return sorted(by_person.values())


def write_half_model(trained: Path, target: Path) -> int:
    """Copy a small model in half precision, and return its size in bytes.

    Args:
        trained: Folder of the trained model.
        target: Folder of the copy.

    Raises:
        InputError: There is no trained model.
    """
    missing = [name for name in SMALL_MODEL_FILES if not (trained / name).is_file()]
    if missing:
        raise InputError(f"{trained}: lacks {missing[0]}. Finish the training first.")
    target.mkdir(parents=True, exist_ok=True)
    for name in SMALL_MODEL_FILES:  # the card comes last: a folder without one is no model
        with atomic_path(target / name) as temporary:
            if name.endswith(".safetensors"):
                _write_half(trained / name, temporary)
            else:
                temporary.write_bytes((trained / name).read_bytes())
    return sum((target / name).stat().st_size for name in SMALL_MODEL_FILES)


def _write_half(source: Path, target: Path) -> None:
    """Copy a file of tensors in half precision; a tensor beyond its range stays as it is."""
    tensors = {}
    with safe_open(source, "pt") as file:
        for key in file.keys():  # noqa: SIM118 - not a mapping
            value = file.get_tensor(key)
            half = value.half() if value.is_floating_point() else value
            tensors[key] = half if half.isfinite().all() else value
        metadata = file.metadata()
    save_file(tensors, target, metadata)


@contextmanager
def _weights_at(folder: Path) -> Iterator[None]:
    """Use a folder of weights in which the model alone is installed, so that the diffusion engine runs it."""
    before = os.environ.get("MIMAFACE_WEIGHTS_DIR")
    os.environ["MIMAFACE_WEIGHTS_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MIMAFACE_WEIGHTS_DIR"]
        else:
            os.environ["MIMAFACE_WEIGHTS_DIR"] = before
