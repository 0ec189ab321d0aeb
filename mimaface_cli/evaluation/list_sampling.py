"""Lists of pairs that are sampled from a folder, reproducibly."""

import csv
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimaface_cli.cache import Cache
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.functional.motion_distance import rotation_angles
from mimaface_cli.evaluation.list_recipes import ListRecipe
from mimaface_cli.evaluation.pair_lists import COLUMNS, default_result
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.files import atomic_path, check_input_file, check_output
from mimaface_cli.media.image import IMAGE_SUFFIXES
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.progress import ProgressCallback, ignore_progress

VIDEO_SUFFIXES = frozenset((".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts"))
_VOXCELEB_IDENTITY = re.compile(r"id\d{5}")
_NAMED_IDS = 5  # missing ids that a note names

Selector = Callable[[str], bool]
"""Returns whether a file, by its path below the folder, is used."""


@dataclass(frozen=True)
class RecipeList:
    """A list that was made by a recipe.

    Attributes:
        rows: Rows with the columns COLUMNS.
        notes: Sentences for the user, such as missing ids.
    """

    rows: list[dict[str, str]]
    notes: list[str]


def make_list(
    folder: Path,
    protocol: str,
    pairs: int,
    seed: int,
    *,
    frames: int = 0,
    stride: int = 1,
    identity: str | None = None,
    is_used: Selector | None = None,
) -> list[dict[str, str]]:
    """Sample pairs from the videos and photos of a folder, as PIRenderer's evaluation does.

    Every driver is used once before one is used again. The same folder, options and seed give the same rows.

    Args:
        folder: Folder that is searched, with its subfolders.
        protocol: "same": a video drives its own first frame. "cross": the source is a photo, or the first frame of a
            video, of another person than the driver.
        pairs: Number of rows, 0 for one row for each video; with "same", at most the number of videos.
        seed: Random seed.
        frames: Driver frames of each pair from the first one on; 0 for all.
        stride: Every stride-th driver frame is used.
        identity: Regular expression over the path below the folder, whose first group (or whole match) is the person.
            By default VoxCeleb's idNNNNN if the path has one, else the first folder, else the file name.
        is_used: Selects files of the folder, or None for all.

    Returns:
        Rows with the columns COLUMNS; paths are relative to the folder.

    Raises:
        InputError: The folder has no videos, or one person only for "cross", or `identity` is invalid.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Name a folder that contains videos.")
    videos, photos = _find_media(folder)
    if is_used is not None:
        videos, photos = list(filter(is_used, videos)), list(filter(is_used, photos))
    if not videos:
        which = "contains no videos" if is_used is None else "contains no video that the list may use"
        raise InputError(f"{folder}: {which} ({', '.join(sorted(VIDEO_SUFFIXES))}). Name another folder.")
    person, rng = _person_function(identity), random.Random(seed)
    pairs = pairs or len(videos)
    if protocol == "same":
        samples = _sample_same(videos, pairs, rng)
    else:
        samples = _sample_cross(folder, videos, photos, pairs, rng, person)
    span = {"source_frame": "0", "start": "0", "frames": str(frames), "stride": str(stride), "recipe": ""}
    return [
        {"source": source, "driver": driver, **span, "result": default_result(index, Path(source), Path(driver))}
        for index, (source, driver) in enumerate(samples)
    ]


def _sample_same(videos: list[str], pairs: int, rng: random.Random) -> list[tuple[str, str]]:
    """Return each video at most once, because repeating a pair would add no information."""
    pool = sorted(videos)
    rng.shuffle(pool)
    return [(driver, driver) for driver in reversed(pool)][:pairs]


def _sample_cross(
    folder: Path,
    videos: list[str],
    photos: list[str],
    pairs: int,
    rng: random.Random,
    person: Callable[[str], str],
) -> list[tuple[str, str]]:
    samples: list[tuple[str, str]] = []
    pool: list[str] = []
    while len(samples) < pairs:
        if not pool:
            pool = sorted(videos)
            rng.shuffle(pool)
        driver = pool.pop()
        others = [name for name in (*photos, *videos) if person(name) != person(driver)]
        if not others:
            raise InputError(
                f"{folder}: shows one person only ({person(driver)}). Pairs of different people need at least two."
            )
        source_person = rng.choice(sorted({person(name) for name in others}))
        samples.append((rng.choice([name for name in others if person(name) == source_person]), driver))
    return samples


def make_recipe_list(
    folder: Path,
    recipe: ListRecipe,
    pairs: int | None,
    seed: int,
    *,
    ids: Sequence[str] = (),
    cache: Cache | None = None,
    progress: ProgressCallback = ignore_progress,
) -> RecipeList:
    """Make the list of a published protocol from a folder of its dataset.

    Args:
        folder: Folder of the dataset, with its subfolders.
        recipe: The recipe.
        pairs: Number of rows, or None for all that the recipe has.
        seed: Random seed; the recipe's own seed is 0.
        ids: Ids of the test set: people, or names of files or folders without suffix. Without ids, all files are used.
        cache: Cache of tracks, for recipes that select by the turn of the head.
        progress: Called with the stage, the completed units and all units.

    Returns:
        The rows, and notes about ids that the folder does not contain.

    Raises:
        InputError: As `make_list`; also if none of the ids is in the folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Name a folder that contains videos.")
    notes: list[str] = []
    names = [name for group in _find_media(folder) for name in group]
    if ids:
        names = _select_ids(folder, names, ids, recipe, notes)
    if recipe.min_turn:
        names = _select_turned(folder, names, recipe.min_turn, notes, cache, progress)
    rows = make_list(
        folder,
        recipe.protocol,
        pairs or recipe.pairs,
        recipe.seed + seed,
        frames=recipe.frames,
        stride=recipe.stride,
        identity=recipe.identity,
        is_used=frozenset(names).__contains__,
    )
    return RecipeList([row | {"recipe": recipe.name} for row in rows], notes)


def read_ids(path: Path) -> list[str]:
    """Read ids, one per line; empty lines and those that start with # are skipped. Raises InputError."""
    check_input_file(path)
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not a text file. Write one id per line.") from error
    ids = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not ids:
        raise InputError(f"{path}: contains no ids. Write one id per line.")
    return ids


def _select_ids(folder: Path, names: list[str], ids: Sequence[str], recipe: ListRecipe, notes: list[str]) -> list[str]:
    """Return the files of the ids, and note the ids without a file."""
    pattern = re.compile(recipe.identity) if recipe.identity else None
    wanted, found, selected = frozenset(ids), set[str](), []
    for name in names:
        path = Path(name)
        keys = {path.stem, path.name, path.with_suffix("").as_posix(), *path.parts}
        match = pattern.search(name) if pattern else None
        if match:
            keys.add(match[1] if pattern and pattern.groups else match[0])
        if keys & wanted:
            found |= keys & wanted
            selected.append(name)
    missing = [each for each in ids if each not in found]
    if not selected:
        raise InputError(f"{folder}: contains none of the {len(ids)} ids. {recipe.layout}", field="ids")
    if missing:
        named = ", ".join(missing[:_NAMED_IDS]) + (", …" if len(missing) > _NAMED_IDS else "")
        notes.append(f"{len(missing)} of {len(ids)} ids have no file in {folder}: {named}")
    return selected


def _select_turned(
    folder: Path,
    names: list[str],
    min_turn: float,
    notes: list[str],
    cache: Cache | None,
    progress: ProgressCallback,
) -> list[str]:
    """Return the videos in which the head turns far enough away from frame 0."""
    videos = [name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES]
    selected, failed = [], []
    for index, name in enumerate(videos):
        progress("measuring turns", index, len(videos))
        try:
            track = load_driver(folder / name, ExtractOptions(smooth=0.0, skin=False), cache, space="face478").track
        except InputError as error:
            failed.append(f"{name}: {error}")
            continue
        rotations = rotation_matrix(track.pose[track.valid, :3])
        if rotation_angles(rotations, rotations[:1]).max() >= min_turn:
            selected.append(name)
    notes.append(f"{len(selected)} of {len(videos)} videos turn the head by {min_turn:g} degrees or more")
    if failed:
        notes.append(f"{len(failed)} videos could not be measured; the first: {failed[0]}")
    return selected


def write_list(path: Path, folder: Path, rows: list[dict[str, str]], overwrite: bool = False) -> None:
    """Write rows as a CSV list.

    Args:
        path: The list.
        folder: Folder to which the rows' paths are relative; in the list they are relative to the list's folder.
        rows: Rows of `make_list`.
        overwrite: Whether an existing list is replaced.

    Raises:
        OutputError: The list exists or cannot be written.
    """
    check_output(path, overwrite)
    base = path.parent.resolve()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            paths = {name: _relative_path(folder.resolve() / row[name], base) for name in ("source", "driver")}
            writer.writerow(row | paths)


def _relative_path(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()


def _find_media(folder: Path) -> tuple[list[str], list[str]]:
    """Return the relative paths of videos and photos below a folder, sorted."""
    names = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            names.append(relative.as_posix())
    names.sort()
    videos = [name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES]
    photos = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    return videos, photos


def _person_function(pattern: str | None) -> Callable[[str], str]:
    """Return the function that maps a relative path to the person."""
    if pattern is None:
        return _default_person
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"{pattern} is not a regular expression ({error}). Fix the expression.", field="identity"
        ) from error

    def person(name: str) -> str:
        match = compiled.search(name)
        if not match:
            raise InputError(f"{pattern} does not match {name}. Choose one that matches every file.", field="identity")
        # If the group did not participate in the match, use the whole match.
        return (match[1] if compiled.groups else None) or match[0]

    return person


def _default_person(name: str) -> str:
    match = _VOXCELEB_IDENTITY.search(name)
    if match:
        return match[0]
    return name.split("/", maxsplit=1)[0] if "/" in name else Path(name).stem
