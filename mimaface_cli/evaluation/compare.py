"""`evaluate compare`: several systems judged on one list."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from mimaface_cli import __version__
from mimaface_cli.cache import Cache
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.evaluate import evaluate_pairs
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.evaluation_result import Evaluation
from mimaface_cli.evaluation.functional.bootstrap import PairedDifference, correct_holm, paired_bootstrap
from mimaface_cli.evaluation.generation import RUN_FILE
from mimaface_cli.evaluation.list_sampling import VIDEO_SUFFIXES
from mimaface_cli.evaluation.pair_lists import Pair, read_list
from mimaface_cli.evaluation.performance import PERFORMANCE_FILE
from mimaface_cli.media.image import IMAGE_SUFFIXES
from mimaface_cli.progress import ProgressCallback, ignore_progress

MAX_SYSTEMS = 8
_NAMED_FILES = 5  # files that a note names
_OTHER_SUFFIXES = frozenset((".webp", ".gif"))


@dataclass(frozen=True)
class MetricDifference:
    """Difference of two systems in one metric.

    Attributes:
        metric: Name of the metric.
        first: Name of a system.
        second: Name of the system that it is compared with.
        difference: Mean of first - second over the clips that both have.
        corrected_p: p-value after Holm's correction for the number of metrics, or None.
    """

    metric: str
    first: str
    second: str
    difference: PairedDifference
    corrected_p: float | None


@dataclass(frozen=True)
class SystemComparison:
    """Figures of several systems on the clips that all have.

    Attributes:
        evaluations: Figures by the name of the system; all have the same rows.
        differences: Paired differences of all systems and metrics.
        notes: Notes for the user, such as the names of skipped clips.
    """

    evaluations: dict[str, Evaluation]
    differences: list[MetricDifference]
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Names of the systems."""
        return list(self.evaluations)

    @property
    def first(self) -> Evaluation:
        """The evaluation of the first system."""
        return next(iter(self.evaluations.values()))

    @property
    def failed_count(self) -> int:
        """Number of results that could not be measured."""
        return sum(len(evaluation.failed_rows) for evaluation in self.evaluations.values())

    def difference(self, metric: str, first: str, second: str) -> MetricDifference | None:
        """Return the difference of two systems in a metric, or None if they have no clip in common."""
        key = (metric, first, second)
        return next((each for each in self.differences if (each.metric, each.first, each.second) == key), None)

    def to_json(self) -> dict[str, Any]:
        """Return all values as JSON types."""
        return {
            "version": __version__,
            "protocol": self.first.protocol,
            "systems": {name: evaluation.to_json() for name, evaluation in self.evaluations.items()},
            "differences": [
                {"metric": each.metric, "first": each.first, "second": each.second, "corrected_p": each.corrected_p}
                | asdict(each.difference)
                for each in self.differences
            ],
            "notes": self.notes,
            "failed": self.failed_count,
        }


def compare_systems(
    systems: Mapping[str, Path],
    pairs: Path | str | Sequence[Pair],
    options: EvaluateOptions = EvaluateOptions(),
    *,
    cache: Cache | None = None,
    progress: ProgressCallback = ignore_progress,
) -> SystemComparison:
    """Judge the outputs of several systems on one list.

    Results are paired by the file names of the list; a suffix may differ. Only clips that every system has are used.

    Args:
        systems: Folder of results by the name of the system, 2 to MAX_SYSTEMS.
        pairs: CSV list (see `read_list`), or its rows.
        options: Options of the evaluation.
        cache: Cache of tracks and figures, or None.
        progress: Called with the stage, the completed units and all units.

    Raises:
        InputError: The list or a folder cannot be read, the systems have no clip in common, or all clips of a system
            fail.
    """
    if not 2 <= len(systems) <= MAX_SYSTEMS:
        raise InputError(
            f"compares 2 to {MAX_SYSTEMS} systems, not {len(systems)}. Name that many folders.", field="systems"
        )
    rows = read_list(Path(pairs), options.protocol) if isinstance(pairs, Path | str) else list(pairs)
    common, results, notes = pair_results(systems, rows)
    evaluations = {}
    for number, name in enumerate(systems, 1):

        def report(stage: str, done: int, total: int | None, prefix: str = f"system {number}/{len(systems)} ") -> None:
            progress(prefix + stage, done, total)

        evaluations[name] = evaluate_pairs(results[name], common, options, cache=cache, progress=report)
    comparison = SystemComparison(evaluations, _find_differences(evaluations), notes)
    if len(common) < 6:
        comparison.notes.append(f"{len(common)} clips are too few for significance; use at least 6")
    return comparison


def pair_results(
    systems: Mapping[str, Path], rows: Sequence[Pair]
) -> tuple[list[Pair], dict[str, list[Path]], list[str]]:
    """Find the results of a list in the folders of several systems.

    Returns:
        The rows that all systems have, the results of each system in their order, and notes about the others.

    Raises:
        InputError: A folder does not exist, or no row is left.
    """
    found: dict[str, list[Path | None]] = {}
    notes: list[str] = []
    for name, folder in systems.items():
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder. Name the folder of the results of {name}.")
        files = sorted(path for path in folder.iterdir() if _may_be_result(path))
        found[name] = [_find_result(files, row.result) for row in rows]
        missing = [row.result for row, path in zip(rows, found[name], strict=True) if path is None]
        if missing:
            notes.append(f"{name}: {_list_names(missing)} of the list missing in {folder}; left out for all systems")
        extra = [path.name for path in files if path not in found[name]]
        if extra:
            notes.append(f"{name}: {_list_names(extra)} in {folder} not in the list; ignored")
    used = [index for index in range(len(rows)) if all(paths[index] is not None for paths in found.values())]
    if not used:
        raise InputError("The systems have no clip of the list in common. Name the results as in its column result.")
    results = {name: [path for index in used if (path := paths[index])] for name, paths in found.items()}
    return [rows[index] for index in used], results, notes


def _may_be_result(path: Path) -> bool:
    if path.name.startswith(".") or path.name in (RUN_FILE, PERFORMANCE_FILE):
        return False
    return path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES | frozenset(IMAGE_SUFFIXES) | _OTHER_SUFFIXES


def _find_result(files: Sequence[Path], name: str) -> Path | None:
    """Return the file of a name, else the only one with the same stem, else None."""
    exact = next((path for path in files if path.name == name), None)
    if exact is not None:
        return exact
    stem = Path(name).stem.casefold()
    same = [path for path in files if (path.name if path.is_dir() else path.stem).casefold() == stem]
    return same[0] if len(same) == 1 else None


def _list_names(names: Sequence[str]) -> str:
    """Return a count with the first names."""
    shown = ", ".join(names[:_NAMED_FILES]) + (", …" if len(names) > _NAMED_FILES else "")
    return f"{len(names)} {'file' if len(names) == 1 else 'files'} ({shown})"


def _find_differences(evaluations: Mapping[str, Evaluation]) -> list[MetricDifference]:
    """Return the differences of all pairs of systems, corrected for the number of metrics of each pair."""
    differences = []
    for first, second in combinations(evaluations, 2):
        found = []
        for info in CATALOG.result_infos:
            values = paired_values(evaluations[first], evaluations[second], info.name)
            if values:
                found.append((info.name, paired_bootstrap(*zip(*values, strict=True))))
        tested = [index for index, (_, result) in enumerate(found) if result.p is not None]
        corrected = dict(zip(tested, correct_holm([found[index][1].p or 0.0 for index in tested]), strict=True))
        for index, (metric, result) in enumerate(found):
            differences.append(MetricDifference(metric, first, second, result, corrected.get(index)))
    return differences


def paired_values(first: Evaluation, second: Evaluation, metric: str) -> list[tuple[float, float]]:
    """Return the values of a metric of the clips that two evaluations of the same rows have."""
    pairs = []
    for row, other in zip(first.rows, second.rows, strict=True):
        if row.figures is not None and other.figures is not None:
            value, other_value = row.figures.values.get(metric), other.figures.values.get(metric)
            if value is not None and other_value is not None:
                pairs.append((value, other_value))
    return pairs
