"""`evaluate`: measure results against the drivers and sources they were rendered from."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mimaface_cli.cache import Cache
from mimaface_cli.errors import InputError, MimafaceError, OutputError
from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.evaluation_result import Evaluation, MeanFigure, ResultRow
from mimaface_cli.evaluation.figure_cache import get_or_measure
from mimaface_cli.evaluation.generation import check_results, prepare_folder, render_result
from mimaface_cli.evaluation.measure import SetFeatures, measure
from mimaface_cli.evaluation.metric import MetricInfo, SetMetric
from mimaface_cli.evaluation.pair_lists import Pair, is_same, read_list
from mimaface_cli.evaluation.video_pair import PairContext
from mimaface_cli.progress import ProgressCallback, ignore_progress


def evaluate(
    result: Path | str,
    source: Path | str,
    driver: Path | str,
    options: EvaluateOptions = EvaluateOptions(),
    *,
    cache: Cache | None = None,
    progress: ProgressCallback = ignore_progress,
) -> Evaluation:
    """Measure one result.

    Args:
        result: Video, image or folder of images.
        source: The photo or video that the result was rendered from.
        driver: Video, photo, folder of images or track that drove it.
        options: Options of the evaluation.
        cache: Cache of tracks and figures, or None. Unchanged files are not read again.
        progress: Called with the stage, the completed units and all units.

    Returns:
        The figures: `evaluate(...).means["expression"].value`.

    Raises:
        InputError: A file cannot be read, or source or driver show no face.
    """
    if options.engine is not None:
        raise InputError("works only with a list. Use `evaluate_list`, or `animate` first.", field="engine")
    source, driver = Path(source), Path(driver)
    pair = Pair(source, driver, same=is_same(source, driver, options.protocol))
    return evaluate_pairs([Path(result)], [pair], options, cache=cache, progress=progress)


def evaluate_list(
    folder: Path | str,
    pairs: Path | str | Sequence[Pair],
    options: EvaluateOptions = EvaluateOptions(),
    *,
    overwrite: bool = False,
    cache: Cache | None = None,
    progress: ProgressCallback = ignore_progress,
) -> Evaluation:
    """Measure the results of a list.

    With `options.engine`, results that do not exist yet are rendered first.

    Args:
        folder: Folder of the results.
        pairs: CSV list (see `read_list`), or its rows.
        options: Options of the evaluation.
        overwrite: Whether an engine may replace the results of another run in the folder.
        cache: Cache of tracks and figures, or None.
        progress: Called with the stage, the completed units and all units.

    Returns:
        The figures of every result and their means. A row that fails has an `error`; the others are measured.

    Raises:
        InputError: The list or a file in it cannot be read, a result is missing, or all rows fail.
        OutputError: The folder contains another run or cannot be written.
    """
    folder = Path(folder)
    rows = read_list(Path(pairs), options.protocol) if isinstance(pairs, Path | str) else list(pairs)
    if options.engine is None:
        check_results(folder, rows)
    else:
        prepare_folder(folder, rows, options, overwrite)
    return evaluate_pairs([folder / pair.result for pair in rows], rows, options, cache=cache, progress=progress)


def evaluate_pairs(
    results: Sequence[Path],
    pairs: Sequence[Pair],
    options: EvaluateOptions = EvaluateOptions(),
    *,
    cache: Cache | None = None,
    progress: ProgressCallback = ignore_progress,
) -> Evaluation:
    """Measure each result against its pair; see `evaluate_list`.

    With a single result, its error is raised.
    """
    start = time.monotonic()
    set_metrics = [metric() for metric in CATALOG.set_metrics if metric.find_problem() is None]
    rows = []
    for index, (result, pair) in enumerate(zip(results, pairs, strict=True)):
        prefix = f"{index + 1}/{len(pairs)} " if len(pairs) > 1 else ""
        context = PairContext(pair, options, cache, _prefix_stages(progress, prefix))
        try:
            row, features = _evaluate_row(result, context)
        except MimafaceError as error:
            if len(pairs) == 1 or isinstance(error, OutputError):
                raise
            rows.append(ResultRow(pair, result, None, error=str(error)))
            continue
        rows.append(row)
        for metric in set_metrics:
            metric.update(features)
    if all(row.figures is None for row in rows):
        raise InputError(f"None of the {len(rows)} results could be measured. The first error is: {rows[0].error}")
    means, reasons, notes = _summarize(rows, set_metrics)
    return Evaluation(rows, means, reasons, notes, time.monotonic() - start, options)


def _prefix_stages(progress: ProgressCallback, prefix: str) -> ProgressCallback:
    """Return a progress callback whose stages start with the number of the result."""
    return lambda stage, done, total: progress(prefix + stage, done, total)


def _evaluate_row(result: Path, context: PairContext) -> tuple[ResultRow, SetFeatures]:
    """Render a result if needed, then look up its figures or measure them."""
    pair, options, cache = context.pair, context.options, context.cache
    if options.engine is not None and not result.exists():
        render_result(result, pair, options, cache=cache, progress=context.progress)
    measurement = get_or_measure(cache, result, pair, options, lambda: measure(result, context))
    figures, features = measurement.value
    if options.strict and figures.repairs:  # figures from the cache may be of a run that was not strict
        raise InputError(f"{result}: {figures.repairs[0]}. Get the complete file, or leave out `strict`.")
    return ResultRow(pair, result, figures, is_cached=measurement.was_cached), features


def _summarize(
    rows: list[ResultRow], set_metrics: list[SetMetric]
) -> tuple[dict[str, MeanFigure], dict[str, str], list[str]]:
    """Return the means, the reasons for missing ones, and notes."""
    means: dict[str, MeanFigure] = {}
    reasons: dict[str, str] = {}
    notes: list[str] = []
    for info in CATALOG.result_infos:
        mean = _mean(rows, info)
        if mean is None:
            reasons[info.name] = _first_reason(rows, info)
        else:
            means[info.name] = mean
    for metric_class in CATALOG.set_metrics:
        if problem := metric_class.find_problem():
            reasons[metric_class.info.name] = problem
    for metric in set_metrics:
        value = metric.result()
        if value is None:
            reasons[metric.info.name] = metric.reason
        else:
            means[metric.info.name] = MeanFigure(value, metric.count, None)
        notes += metric.notes
    return means, reasons, notes


def _mean(rows: list[ResultRow], info: MetricInfo) -> MeanFigure | None:
    """Return the mean of a figure with its standard error, or None if no result has the figure."""
    measured = [row.figures.values for row in rows if row.figures is not None]
    values = np.array([figures[info.name] for figures in measured if info.name in figures])
    if not len(values):
        return None
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return MeanFigure(float(values.mean()), len(values), error)


def _first_reason(rows: list[ResultRow], info: MetricInfo) -> str:
    """Return why the first measured result lacks a figure."""
    return next(row.figures.reasons[info.name] for row in rows if row.figures is not None)
