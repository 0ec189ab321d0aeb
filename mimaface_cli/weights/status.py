"""What is installed of each model, and whether it is whole."""

from dataclasses import dataclass
from pathlib import Path

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.locate import find_installed_problem, locate_files, weights_folder
from mimaface_cli.weights.registry import Asset

INSTALLED, MISSING, DAMAGED = "installed", "missing", "damaged"


@dataclass(frozen=True)
class FileState:
    """One file: its path in the registry, where it lies (None: nowhere), its size in bytes there, and what is wrong."""

    path: str
    state: str
    where: Path | None
    size: int
    problem: str | None = None


def inspect_files(asset: Asset, thorough: bool = False) -> list[FileState]:
    """How every file of an asset is. thorough: read it all and compare hashes; else size and time of change tell."""
    if not asset.needed_for:  # small: always read
        return _small(asset)
    states = []
    for file in asset.files:
        where = weights_folder() / file.path
        if not where.exists():
            states.append(FileState(file.path, MISSING, None, 0))
            continue
        fault = find_installed_problem(file, thorough)
        states.append(FileState(file.path, DAMAGED if fault else INSTALLED, where, where.stat().st_size, fault))
    return states


def overall_state(states: list[FileState]) -> str:
    """One word for the whole asset: the worst of its files'."""
    found = {state.state for state in states}
    return next(state for state in (DAMAGED, MISSING, INSTALLED) if state in found)


def _small(asset: Asset) -> list[FileState]:
    try:
        found = locate_files(asset.name, download=False)
    except WeightsError as error:
        states = []
        for file in asset.files:
            where = weights_folder() / file.path
            there = where.is_file()
            state = DAMAGED if there else MISSING
            states.append(
                FileState(file.path, state, where if there else None, where.stat().st_size if there else 0, str(error))
            )
        return states
    return [FileState(path, INSTALLED, where, where.stat().st_size) for path, where in found.items()]
