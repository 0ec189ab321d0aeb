"""Published tables, with rows for an evaluation where protocol and extractors agree."""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.evaluation_result import Evaluation

THIS_RUN = "this run"
_MISSING = "–"


@dataclass(frozen=True)
class PublishedColumn:
    """Column of a published table.

    Attributes:
        metric: Name of the metric in the catalog, or None if this tool does not measure it.
        extractor: Extractor as in `Method`, or None if the source does not state it.
    """

    metric: str | None
    extractor: str | None

    @property
    def is_comparable(self) -> bool:
        """Whether this tool measures the column with the same extractor."""
        if self.metric is None or self.extractor is None:
            return False
        names = {info.name for info in CATALOG.infos}
        return self.metric in names and CATALOG.method(self.metric).extractor == self.extractor


@dataclass(frozen=True)
class PublishedTable:
    """A table as it was published.

    Attributes:
        title: Title of the table.
        source: Publication and number of the table.
        recipe: Name of the list recipe with the same protocol, or None if the source does not state the protocol.
        protocol: The protocol in words.
        columns: Columns by heading.
        rows: Figures by heading, by method.
    """

    title: str
    source: str
    recipe: str | None
    protocol: str
    columns: dict[str, PublishedColumn]
    rows: dict[str, dict[str, float]]


@dataclass(frozen=True)
class ComparisonTable:
    """A published table with a row for an evaluation.

    Attributes:
        title: Title of the table.
        columns: Heading and metric name of each column.
        rows: Method and cells of each row; the row of the evaluation is THIS_RUN.
        note: Source, protocol, and the columns that are left out.
    """

    title: str
    columns: list[tuple[str, str]]
    rows: list[tuple[str, list[str]]]
    note: str


@lru_cache(maxsize=1)
def load_published_tables() -> list[PublishedTable]:
    """Return all published tables."""
    text = files(__package__).joinpath("published_tables.json").read_text("utf-8")
    tables = []
    for values in json.loads(text)["tables"]:
        columns = {heading: PublishedColumn(**column) for heading, column in values.pop("columns").items()}
        tables.append(PublishedTable(columns=columns, **values))
    return tables


def compare_with_published(evaluation: Evaluation) -> list[ComparisonTable]:
    """Return the published tables of the evaluation's protocol, with its means as last row.

    Only columns of the same extractor are used. There is no table for lists without a recipe or of several protocols,
    because their figures must not be put beside each other.
    """
    recipes = {row.pair.recipe for row in evaluation.measured_rows}
    if len(recipes) != 1 or "" in recipes:
        return []
    tables = [table for table in load_published_tables() if table.recipe in recipes]
    return [comparison for table in tables if (comparison := _compare(table, evaluation)) is not None]


def _compare(table: PublishedTable, evaluation: Evaluation) -> ComparisonTable | None:
    columns = [
        (heading, column.metric)
        for heading, column in table.columns.items()
        if column.is_comparable and column.metric is not None
    ]
    if not any(metric in evaluation.means for _, metric in columns):
        return None
    rows = [
        (method, [f"{values[heading]:g}" if heading in values else _MISSING for heading, _ in columns])
        for method, values in table.rows.items()
    ]
    rows.append((THIS_RUN, [_format_mean(evaluation, metric) for _, metric in columns]))
    note = f"{table.source}. {table.protocol}."
    left_out = [heading for heading, column in table.columns.items() if not column.is_comparable]
    if left_out:
        note += f" Left out, because the extractor is not stated or differs: {', '.join(left_out)}."
    return ComparisonTable(table.title, columns, rows, note)


def _format_mean(evaluation: Evaluation, metric: str) -> str:
    mean = evaluation.means.get(metric)
    return _MISSING if mean is None else f"{mean.value:.{CATALOG.info(metric).decimals}f}"
