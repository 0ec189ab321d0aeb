"""Cached figures: a result that was measured before is not read again."""

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mimaface_cli import __version__
from mimaface_cli.cache import FIGURE_FOLDER, Cache, Cached, EntryKind, get_or_create
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.figure_entries import load_features, load_figures, save_features, save_figures
from mimaface_cli.evaluation.measure import ResultFigures, SetFeatures
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.networks.face_embedding import missing_dlib
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.evaluation.performance import read_performance
from mimaface_cli.face import face478
from mimaface_cli.face.extract_face478 import extractor_version
from mimaface_cli.files import atomic_path
from mimaface_cli.fingerprint import content_hash
from mimaface_cli.motion.track_cache import track_key

REVISION = 4
"""Increase it when the definition of a figure changes, so that cached figures are measured again."""


Measurement = tuple[ResultFigures, SetFeatures]


def get_or_measure(
    cache: Cache | None, result: Path, pair: Pair, options: EvaluateOptions, measure: Callable[[], Measurement]
) -> Cached[Measurement]:
    """Return the figures and features of a result from the cache, or measure and store them.

    Args:
        cache: The cache; None disables caching.
        result: The result.
        pair: Source and driver of the result.
        options: Options of the evaluation.
        measure: Measures the result.

    Raises:
        InputError: A file cannot be read; and whatever `measure` raises.
    """

    def make_key(content: str) -> str:
        contents = [content, content_hash(pair.source), content_hash(pair.driver), repr(read_performance(result))]
        return _figures_key(contents, pair, options)

    return get_or_create(cache, _MEASUREMENTS, result, make_key, lambda content: measure())


def _load_measurement(path: Path) -> Measurement:
    """Read the figures, and beside them the features. Raises InputError for damaged or incomplete entries."""
    try:
        figures = ResultFigures(**load_figures(path))
        _check_figures(figures)
        return figures, _load_set_features(path.with_suffix(".npz"))
    except (TypeError, ValueError, AttributeError) as error:  # an entry of another shape or with damaged values
        raise InputError(f"{path}: {error}.") from error


def _save_measurement(measurement: Measurement, path: Path) -> None:
    """Write the features first: figures without the features that belong to them would be a miss."""
    figures, features = measurement
    if features:
        with atomic_path(path.with_suffix(".npz")) as temporary:
            save_features({name: np.array(rows) for name, rows in features.items()}, temporary)
    with atomic_path(path) as temporary:
        save_figures(asdict(figures), temporary)


_MEASUREMENTS: EntryKind[Measurement] = EntryKind(
    FIGURE_FOLDER, ".json", _load_measurement, _save_measurement, is_atomic=True
)


def _load_set_features(path: Path) -> SetFeatures:
    """Read the features that the available metrics of the whole set need. Raises InputError or ValueError."""
    names = [metric.feature_names for metric in CATALOG.set_metrics if metric.find_problem() is None]
    if not names:
        return {}
    arrays = load_features(path)
    features: SetFeatures = {}
    for result_name, driver_name in names:
        if result_name not in arrays or driver_name not in arrays:
            raise ValueError("the cached features lack those of a metric")
        result_rows, driver_rows = list(arrays[result_name]), list(arrays[driver_name])
        if not _is_paired(result_rows, driver_rows):
            raise ValueError("the cached features are damaged")
        features |= {result_name: result_rows, driver_name: driver_rows}
    return features


def _figures_key(contents: list[str], pair: Pair, options: EvaluateOptions) -> str:
    """Return the cache key from everything that changes the figures."""
    available = [name for name in pretrained.NETWORK_FILES if pretrained.missing_weights(name) is None]
    stamps = [path.stat().st_mtime_ns for name in available for path in pretrained.weight_files(name)]
    settings = {
        "size": options.size,
        "face": options.face,
        "driver_face": options.driver_face,
        "clip_frames": options.clip_frames,
        "step": options.network_step,
        "same": pair.same,
        "span": [pair.source_frame, pair.start, pair.frames, pair.stride],
        "networks": [*available, *stamps, *([] if missing_dlib() else ["dlib"])],
    }
    version = f"figures {REVISION} {__version__} {extractor_version(face478.load())}"
    return track_key(" ".join(contents), "face478", version, settings)


def _check_figures(figures: ResultFigures) -> None:
    """Raise ValueError unless all values are finite and every metric has a value or a reason."""
    curve_values = [value for curve in figures.series.values() for value in curve if value is not None]
    values = [*figures.values.values(), *curve_values]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise ValueError("the cached figures are damaged")
    # A metric that was registered after the entry was written is measured now.
    if any(info.name not in figures.values and info.name not in figures.reasons for info in CATALOG.result_infos):
        raise ValueError("the cached figures lack a metric")


def _is_paired(result_rows: list[np.ndarray], driver_rows: list[np.ndarray]) -> bool:
    """Return whether both have the same number of vectors, all of one size."""
    if len(result_rows) != len(driver_rows):
        return False
    return all(row.ndim == 1 and row.shape == result_rows[0].shape for row in result_rows + driver_rows)
