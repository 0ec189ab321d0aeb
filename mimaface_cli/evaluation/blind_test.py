"""Blind side-by-side tests: a page for voters, the key that names the systems, and the count of the votes."""

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.evaluation.blind_page import PAGE
from mimaface_cli.evaluation.functional.bootstrap import sign_test, wilson_interval
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.evaluation.preview import is_playable, write_preview
from mimaface_cli.files import atomic_path, check_folder, input_error, output_error
from mimaface_cli.progress import ProgressCallback, ignore_progress

CHOICES = ("left", "right", "tie")


@dataclass(frozen=True)
class BlindOptions:
    """Options of a blind test.

    Attributes:
        question: Question that voters answer.
        seed: Random seed of the order and of the sides.
        has_driver: Whether the driver is shown.
    """

    question: str = "Which video is better?"
    seed: int = 0
    has_driver: bool = True


@dataclass(frozen=True)
class VoteCount:
    """Votes about two systems.

    Attributes:
        first: Name of a system.
        second: Name of the other system.
        wins: Votes for the first.
        losses: Votes for the second.
        ties: Votes for neither.
        share: Share of the first among the votes for one of both, or None without any.
        low: Lower end of the 95 % interval of the share, or None.
        high: Upper end, or None.
        p: Probability of the votes if both are equally good (sign test), or None.
    """

    first: str
    second: str
    wins: int
    losses: int
    ties: int
    share: float | None
    low: float | None
    high: float | None
    p: float | None


def key_path(folder: Path) -> Path:
    """Return the path of the key that belongs to a folder of a blind test."""
    return folder.with_name(folder.name + "_key.json")


def write_blind_test(
    folder: Path,
    results: Mapping[str, Sequence[Path]],
    pairs: Sequence[Pair],
    options: BlindOptions = BlindOptions(),
    progress: ProgressCallback = ignore_progress,
) -> Path:
    """Write a page that shows two systems side by side in random order, without their names.

    The folder can be given to voters as it is. The key stays beside it and must not be given to them.

    Args:
        folder: New folder of the page.
        results: Results by the name of the system, in the order of the pairs.
        pairs: Rows of the list.
        options: Question, seed and whether the driver is shown.
        progress: Called with the stage, the completed units and all units.

    Returns:
        The path of the key.

    Raises:
        OutputError: The folder or the key exists, or cannot be written.
    """
    key_file = key_path(folder)
    if folder.exists() or key_file.exists():
        existing = folder if folder.exists() else key_file
        raise OutputError(f"{existing}: exists already. Choose another folder.")
    check_folder(folder.parent)
    rng = random.Random(options.seed)
    total = len(pairs) * (len(results) + options.has_driver)
    try:
        clips = folder / "clips"
        clips.mkdir(parents=True)
        names: dict[tuple[str, int], str] = {}
        for index, pair in enumerate(pairs):
            files = {name: paths[index] for name, paths in results.items()}
            if options.has_driver:
                files[""] = pair.driver
            for name, path in files.items():
                progress("copying clips", len(names), total)
                copied = _copy_clip(path, clips / f"{rng.getrandbits(64):016x}")
                if copied is not None:
                    names[name, index] = f"clips/{copied.name}"
        trials, key = _make_trials(list(results), pairs, names, rng)
        content = json.dumps({"question": options.question, "trials": trials}).replace("<", "\\u003c")
        page = PAGE.replace("@TITLE@", escape(options.question)).replace("@DATA@", content)
        (folder / "index.html").write_text(page, encoding="utf-8")
        with atomic_path(key_file) as temporary:
            text = json.dumps({"question": options.question, "systems": list(results), "trials": key}, indent=1)
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise output_error(folder, error) from error
    return key_file


def _copy_clip(source: Path, stem: Path) -> Path | None:
    """Copy a clip, or encode it if browsers cannot play it; a track has no clip."""
    if is_playable(source):
        return Path(shutil.copyfile(source, stem.with_suffix(source.suffix.lower())))
    target = stem.with_suffix(".mp4")
    return target if write_preview(target, source, height=720) else None


def _make_trials(
    systems: list[str], pairs: Sequence[Pair], names: Mapping[tuple[str, int], str], rng: random.Random
) -> tuple[list[dict[str, str]], dict[str, dict[str, str]]]:
    """Return the trials of the page in random order, and their key."""
    trials, key = [], {}
    for index, pair in enumerate(pairs):
        for two in combinations(systems, 2):
            left, right = rng.sample(two, 2)
            identifier = f"{rng.getrandbits(64):016x}"
            trial = {"id": identifier, "left": names[left, index], "right": names[right, index]}
            if ("", index) in names:
                trial["driver"] = names["", index]
            trials.append(trial)
            key[identifier] = {"left": left, "right": right, "clip": pair.result}
    rng.shuffle(trials)
    return trials, key


def count_votes(key_file: Path, vote_files: Sequence[Path]) -> list[VoteCount]:
    """Count the votes of one or more voters.

    Args:
        key_file: The key that `write_blind_test` wrote.
        vote_files: Files that the page exported.

    Returns:
        One entry for each pair of systems.

    Raises:
        InputError: A file cannot be read, or contains a trial that the key does not have.
    """
    key = _read_json(key_file, "key")
    counts: dict[tuple[str, str], list[int]] = {two: [0, 0, 0] for two in combinations(key["systems"], 2)}
    for path in vote_files:
        for vote in _read_json(path, "votes")["votes"]:
            trial = key["trials"].get(vote.get("id")) if isinstance(vote, dict) else None
            choice = vote.get("choice") if isinstance(vote, dict) else None
            if trial is None or choice not in CHOICES:
                raise InputError(f"{path}: contains a vote that does not belong to {key_file.name}. Use its own key.")
            two = next(two for two in counts if set(two) == {trial["left"], trial["right"]})
            counts[two][2 if choice == "tie" else two.index(trial[choice])] += 1
    return [_count(*two, *values) for two, values in counts.items()]


def _count(first: str, second: str, wins: int, losses: int, ties: int) -> VoteCount:
    decided = wins + losses
    if not decided:
        return VoteCount(first, second, wins, losses, ties, None, None, None, None)
    low, high = wilson_interval(wins, decided)
    return VoteCount(first, second, wins, losses, ties, wins / decided, low, high, sign_test(wins, losses))


def votes_to_json(counts: Sequence[VoteCount]) -> dict[str, Any]:
    """Return the counts as JSON types."""
    return {"pairs": [asdict(count) for count in counts]}


def _read_json(path: Path, kind: str) -> dict[str, Any]:
    fields = {"key": ("systems", "trials"), "votes": ("votes",)}[kind]
    try:
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise input_error(path, error) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not a JSON file. Name the {kind} of a blind test.") from error
    if not isinstance(values, dict) or any(name not in values for name in fields):
        raise InputError(f"{path}: is not the {kind} of a blind test. Name the right file.")
    return values
