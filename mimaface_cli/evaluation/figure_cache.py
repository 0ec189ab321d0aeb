"""Cached figures: a result that was measured before is not read again."""

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mimaface_cli import __version__
from mimaface_cli.cache import Cache
from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.figure_entries import FEATURES, FIGURES_ENTRY
from mimaface_cli.evaluation.measure import ResultFigures, SetFeatures
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.networks.face_embedding import missing_dlib
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.face import face478
from mimaface_cli.face.extract_face478 import extractor_version
from mimaface_cli.fingerprint import content_hash, source_stamp
from mimaface_cli.motion.track_cache import track_key

REVISION = 1
"""Increase it when the definition of a figure changes, so that cached figures are measured again."""


class CachedFigures:
    """The cache entry of one result. Create it before the result is read.

    Args:
        cache: The cache; None disables caching.
        result: The result.
        pair: Source and driver of the result.
        options: Options of the evaluation.
    """

    def __init__(self, cache: Cache | None, result: Path, pair: Pair, options: EvaluateOptions) -> None:
        self._cache = cache
        self._result = result
        self._stamp = source_stamp(result)
        contents = [content_hash(path) for path in (result, pair.source, pair.driver)]
        self._key = _figures_key(contents, pair, options)

    def load(self) -> tuple[ResultFigures, SetFeatures] | None:
        """Return the cached figures and features.

        None if they are missing, damaged or incomplete.
        """
        if self._cache is None:
            return None
        entry = self._cache.load(FIGURES_ENTRY, self._key)
        if entry is None:
            return None
        try:
            figures = ResultFigures(**entry)
            _check_figures(figures)
        except (TypeError, ValueError, AttributeError):  # an entry of another shape or with damaged values
            return None
        features = self._load_features()
        return None if features is None else (figures, features)

    def store(self, figures: ResultFigures, features: SetFeatures) -> None:
        """Store the figures, unless the result has changed since it was read."""
        if self._cache is None or source_stamp(self._result) != self._stamp:
            return
        if features:
            self._cache.store(FEATURES, self._key, {name: np.array(rows) for name, rows in features.items()})
        self._cache.store(FIGURES_ENTRY, self._key, asdict(figures))

    def _load_features(self) -> SetFeatures | None:
        """Return the features that the available metrics of the whole set need."""
        names = [metric.feature_names for metric in CATALOG.set_metrics if metric.find_problem() is None]
        if self._cache is None or not names:
            return {}
        arrays = self._cache.load(FEATURES, self._key)
        if arrays is None:
            return None
        features: SetFeatures = {}
        for result_name, driver_name in names:
            if result_name not in arrays or driver_name not in arrays:
                return None
            result_rows, driver_rows = list(arrays[result_name]), list(arrays[driver_name])
            if not _is_paired(result_rows, driver_rows):
                return None
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
