"""Installation state of the registered models."""

from dataclasses import dataclass
from pathlib import Path

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.locate import find_installed_problem, locate_files, weights_folder
from mimaface_cli.weights.registry import Asset

INSTALLED, MISSING, DAMAGED = "installed", "missing", "damaged"


@dataclass(frozen=True)
class FileState:
    """State of one file.

    Attributes:
        path: Path in the registry.
        state: INSTALLED, MISSING or DAMAGED.
        where: Path of the file, or None if it is missing.
        size: Size on disk in bytes.
        problem: What is wrong with the file, or None.
    """

    path: str
    state: str
    where: Path | None
    size: int
    problem: str | None = None


def inspect_files(asset: Asset, thorough: bool = False) -> list[FileState]:
    """Check every file of an asset.

    Args:
        asset: The asset.
        thorough: Whether to compute the hash of every file. Otherwise a file with an unchanged size and modification
            time counts as intact. Small files are always read.

    Returns:
        The state of each file, in the registry's order.
    """
    if not asset.needed_for:
        return _inspect_small_files(asset)
    states = []
    for file in asset.files:
        where = weights_folder() / file.path
        if not where.exists():
            states.append(FileState(file.path, MISSING, None, 0))
            continue
        problem = find_installed_problem(file, thorough)
        state = DAMAGED if problem else INSTALLED
        states.append(FileState(file.path, state, where, where.stat().st_size, problem))
    return states


def overall_state(states: list[FileState]) -> str:
    """Return the state of an asset: the worst state of its files."""
    present = {state.state for state in states}
    return next(state for state in (DAMAGED, MISSING, INSTALLED) if state in present)


def _inspect_small_files(asset: Asset) -> list[FileState]:
    try:
        paths = locate_files(asset.name, download=False)
    except WeightsError as error:
        states = []
        for file in asset.files:
            where = weights_folder() / file.path
            if where.is_file():
                states.append(FileState(file.path, DAMAGED, where, where.stat().st_size, str(error)))
            else:
                states.append(FileState(file.path, MISSING, None, 0, str(error)))
        return states
    return [FileState(path, INSTALLED, where, where.stat().st_size) for path, where in paths.items()]
