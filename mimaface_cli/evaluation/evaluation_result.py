"""The result of an evaluation: a row per result, the means, and their JSON form."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mimaface_cli import __version__
from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.measure import ResultFigures
from mimaface_cli.evaluation.metric import Method, MetricInfo
from mimaface_cli.evaluation.pair_lists import Pair


@dataclass(frozen=True)
class ResultRow:
    """One result of an evaluation.

    Attributes:
        pair: Source and driver of the result.
        result: Path of the result.
        figures: Its figures, or None if it could not be rendered or measured.
        is_cached: Whether the figures come from the cache.
        error: Why there are no figures, or None.
    """

    pair: Pair
    result: Path
    figures: ResultFigures | None
    is_cached: bool = False
    error: str | None = None


@dataclass(frozen=True)
class MeanFigure:
    """Mean of a figure over results.

    Attributes:
        value: The mean; every result counts once.
        count: Results that have the figure; for a metric of the whole set, its samples.
        standard_error: Standard error of the mean, None with one result and for a metric of the whole set.
    """

    value: float
    count: int
    standard_error: float | None


@dataclass(frozen=True)
class Evaluation:
    """Figures of one or more results.

    Attributes:
        rows: All results.
        means: Means by metric name.
        reasons: Why there is no mean, by metric name.
        notes: Sentences for the user about the means.
        seconds: Duration of the work.
        options: Options of the evaluation.
    """

    rows: list[ResultRow]
    means: dict[str, MeanFigure]
    reasons: dict[str, str]
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    options: EvaluateOptions = EvaluateOptions()

    @property
    def protocol(self) -> str:
        """The protocol of all results, or every protocol of a mixed list."""
        return "; ".join(sorted({row.pair.protocol for row in self.rows}))

    def method(self, info: MetricInfo) -> Method:
        """Return how a figure was measured in this evaluation."""
        return CATALOG.method(info.name).at_size(self.options.size)

    @property
    def measured_rows(self) -> list[ResultRow]:
        """The results that have figures."""
        return [row for row in self.rows if row.figures is not None]

    @property
    def failed_rows(self) -> list[ResultRow]:
        """The results that could not be rendered or measured."""
        return [row for row in self.rows if row.figures is None]

    def to_json(self, series: bool = False) -> dict[str, Any]:
        """Return all values as JSON types.

        Args:
            series: Whether to include the curves over time.

        Returns:
            Every figure is {"value": number} or {"value": null, "reason": text}; means add the number of results and
            the standard error, and how it was measured. `methods` has extractor, crop and resolution of the figures of
            single results.
        """
        means = _figures_to_json({name: mean.value for name, mean in self.means.items()}, self.reasons)
        for name, mean in self.means.items():
            means[name] |= {"results": mean.count, "standard_error": mean.standard_error}
        methods = {info.name: asdict(self.method(info)) for info in CATALOG.infos}
        for name, entry in means.items():
            entry.update(methods[name], protocol=self.protocol)
        return {
            "version": __version__,
            "protocol": self.protocol,
            "methods": methods,
            "results": [_row_to_json(row, series) for row in self.rows],
            "means": means,
            "notes": self.notes,
            "failed": len(self.failed_rows),
            "seconds": self.seconds,
        }


def _row_to_json(row: ResultRow, series: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "result": str(row.result),
        "source": str(row.pair.source),
        "driver": str(row.pair.driver),
        "protocol": "same" if row.pair.same else "cross",
        "recipe": row.pair.recipe or None,
        "cached": row.is_cached,
        "error": row.error,
    }
    figures = row.figures
    if figures is not None:
        entry |= {
            "frames": figures.frames,
            "compared": figures.compared_frames,
            "missing_faces": figures.faceless_frames,
            "truncated": figures.truncated,
            "notes": figures.notes,
            "figures": _figures_to_json(figures.values, figures.reasons),
        }
        if series:
            entry["series"] = figures.series
    return entry


def _figures_to_json(values: Mapping[str, float], reasons: Mapping[str, str]) -> dict[str, Any]:
    """Return the figures in the catalog's order; figures without value and reason are absent."""
    entries: dict[str, Any] = {}
    for info in CATALOG.infos:
        if info.name in values:
            entries[info.name] = {"value": values[info.name]}
        elif info.name in reasons:
            entries[info.name] = {"value": None, "reason": reasons[info.name]}
    return entries
