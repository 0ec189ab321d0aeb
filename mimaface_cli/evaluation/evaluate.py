"""`evaluate` from end to end: results measured one by one (or made first), kept, averaged, and what the whole set
says.
"""

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mimaface_cli import __version__
from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.drivers import is_track, load_driver
from mimaface_cli.cache import Cache, cache_key, content_hash, source_stamp
from mimaface_cli.engines.selection import choose_engine
from mimaface_cli.errors import InputError, MimafaceError, OutputError
from mimaface_cli.evaluation.figures import FIGURES, REVISION
from mimaface_cli.evaluation.frame_features import Features, source_picture
from mimaface_cli.evaluation.functional.distribution import Gaussian, frechet_distance
from mimaface_cli.evaluation.measure import Measured, measure
from mimaface_cli.evaluation.measure_options import MeasureOptions
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.networks.face_embedding import dlib_missing
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.face import face478
from mimaface_cli.face.extract_face478 import extractor_version
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.files import atomic_path, check_folder, output_error
from mimaface_cli.media.audio import has_audio
from mimaface_cli.media.image import write_image
from mimaface_cli.media.reader import probe
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.progress import ProgressCallback
from mimaface_cli.provenance.provenance_options import ProvenanceOptions

RUN_FILE = "run.json"
_FEW = 2048  # pictures below which FID is known to be too high


@dataclass(frozen=True)
class Row:
    """One result. error: why it could not be made or measured (measured is then None)."""

    pair: Pair
    result: Path
    measured: Measured | None
    cached: bool = False
    error: str | None = None


@dataclass(frozen=True)
class Mean:
    """Of a figure over `count` results, each counting once; error: its standard error, None with one result."""

    value: float
    count: int
    error: float | None


@dataclass(frozen=True)
class Evaluation:
    """rows: all results; means and reasons (why there is none) by figure; notes: about the whole; seconds of work."""

    rows: list[Row]
    means: dict[str, Mean]
    reasons: dict[str, str]
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if row.measured is None]


def check_results(folder: Path, pairs: list[Pair]) -> None:
    """Raise InputError, naming the row, unless every result of a list is there."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the folder of results, or make them with --engine mesh")
    gone = [pair for pair in pairs if not (folder / pair.result).exists()]
    if gone:
        more = f" (and {len(gone) - 1} more)" if len(gone) > 1 else ""
        raise InputError(
            f"{gone[0].where}: {folder / gone[0].result}: no such result{more}; make it, or take the row out of the "
            "list"
        )


def evaluate(
    results: list[Path],
    pairs: list[Pair],
    options: MeasureOptions = MeasureOptions(),
    *,
    make: Callable[[Path, Pair, ProgressCallback], None] | None = None,
    cache: Cache | None = None,
    report: ProgressCallback | None = None,
) -> Evaluation:
    """Measure results[k] against pairs[k]. make: called first for those that are not there yet (see `maker`).

    cache: where tracks and figures are kept; unchanged files are not read again. A row that fails is told in
    `Row.error` and the others go on; a single one raises what is wrong.
    """
    began = time.monotonic()
    tell = report or (lambda stage, done, total: None)
    hashes: dict[Path, str] = {}
    whole = [name for name in ("fid", "fvd") if pretrained.missing_weights(name) is None]
    rows, features = [], Features()
    for index, (result, pair) in enumerate(zip(results, pairs, strict=True)):
        prefix = f"{index + 1}/{len(pairs)} " if len(pairs) > 1 else ""
        staged = lambda stage, done, total, prefix=prefix: tell(prefix + stage, done, total)  # noqa: E731
        try:
            if make is not None and not result.exists():
                make(result, pair, staged)
            row, seen = _row(result, pair, options, cache, hashes, staged, whole)
        except MimafaceError as error:
            if len(pairs) == 1 or isinstance(error, OutputError):
                raise
            row, seen = Row(pair, result, None, error=str(error)), Features()
        rows.append(row)
        for name, values in vars(seen).items():
            getattr(features, name).extend(values)
    if all(row.measured is None for row in rows):
        raise InputError(f"none of the {len(rows)} results could be measured; the first: {rows[0].error}")
    means, reasons = _means(rows)
    notes: list[str] = []
    _whole_set(features, means, reasons, notes)
    return Evaluation(rows, means, reasons, notes, time.monotonic() - began)


def _row(
    result: Path,
    pair: Pair,
    options: MeasureOptions,
    cache: Cache | None,
    hashes: dict[Path, str],
    tell: ProgressCallback,
    whole: list[str],
) -> tuple[Row, Features]:
    """Measured now, or as it was kept. whole: the figures of the whole set, which need this row's features."""

    def known(path: Path) -> str:
        if path not in hashes:
            hashes[path] = content_hash(path)
        return hashes[path]

    before = source_stamp(result)
    contents = [content_hash(result), known(pair.source), known(pair.driver)]
    key = _key(contents, pair, options)
    kept = cache.load_figures(key) if cache is not None else None
    if kept is not None:
        with suppress(TypeError, ValueError, AttributeError):
            seen = _features(cache.load_features(key)) if whole else Features()
            return Row(pair, result, _checked(Measured(**kept)), cached=True), seen
    measured, features = measure(result, pair, options, cache=cache, report=tell)
    if cache is not None and source_stamp(result) == before:
        if whole:
            cache.store_features(key, {name: np.array(values) for name, values in vars(features).items()})
        cache.store_figures(key, asdict(measured))
    return Row(pair, result, measured), features


def _key(contents: list[str], pair: Pair, options: MeasureOptions) -> str:
    there = [name for name in pretrained.NETWORK_FILES if pretrained.missing_weights(name) is None]
    stamps = [path.stat().st_mtime_ns for name in there for path in pretrained.weight_files(name)]
    settings = asdict(options) | {
        "same": pair.same,
        "span": [pair.source_frame, pair.start, pair.frames, pair.stride],
        "networks": [*there, *stamps, *([] if dlib_missing() else ["dlib"])],
    }
    made_by = f"figures {REVISION} {__version__} {extractor_version(face478.load())}"
    return cache_key(" ".join(contents), "face478", made_by, settings)


def _checked(measured: Measured) -> Measured:
    """Raise ValueError unless kept figures are numbers."""
    numbers = [*measured.values.values(), *(v for row in measured.series.values() for v in row if v is not None)]
    if not all(isinstance(v, int | float) and math.isfinite(v) for v in numbers):
        raise ValueError("kept figures are damaged")
    return measured


def _features(kept: dict[str, np.ndarray] | None) -> Features:
    """Raise AttributeError, TypeError or ValueError unless these are features, as many real ones as own."""
    features = Features(**{name: list(values) for name, values in kept.items()})
    for own, real in ((features.pictures, features.real_pictures), (features.clips, features.real_clips)):
        if len(own) != len(real) or any(row.shape != own[0].shape or row.ndim != 1 for row in own + real):
            raise ValueError("kept features are damaged")
    return features


def _means(rows: list[Row]) -> tuple[dict[str, Mean], dict[str, str]]:
    means, reasons = {}, {}
    measured = [row.measured for row in rows if row.measured is not None]
    for figure in FIGURES:
        values = np.array([m.values[figure.name] for m in measured if figure.name in m.values])
        if len(values):
            error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
            means[figure.name] = Mean(float(values.mean()), len(values), error)
        elif not figure.whole:
            reasons[figure.name] = next(m.reasons[figure.name] for m in measured if figure.name in m.reasons)
    return means, reasons


def _whole_set(features: Features, means: dict[str, Mean], reasons: dict[str, str], notes: list[str]) -> None:
    """FID and FVD over all results."""
    for name, own, real in (
        ("fid", features.pictures, features.real_pictures),
        ("fvd", features.clips, features.real_clips),
    ):
        if problem := pretrained.missing_weights(name):
            reasons[name] = problem
        elif len(own) < 2:
            reasons[name] = "fewer than two pictures" if name == "fid" else "fewer than two clips of 16 frames"
        else:
            both = []
            for rows in (own, real):
                gaussian = Gaussian(len(rows[0]))
                for start in range(0, len(rows), 256):
                    gaussian.add(np.stack(rows[start : start + 256]))
                both.append(gaussian)
            means[name] = Mean(frechet_distance(*both), len(own), None)
            if name == "fid" and len(own) < _FEW:
                notes.append(f"FID is from {len(own)} pictures; below {_FEW} it comes out too high")
            if name == "fvd" and len(own) < 400:
                notes.append(f"FVD is from {len(own)} clips; below 400 it comes out too high")


def prepare_run(
    folder: Path, pairs: list[Pair], engine: str, motion: str, overwrite: bool = False, provenance: bool = True
) -> None:
    """Make the folder for a run of an engine, or take up the same run where it was left. Raises OutputError where the
    folder holds another run.
    """
    described = {
        "mimaface": __version__,
        "engine": choose_engine(engine).name,
        "motion": motion,
        "provenance": provenance,
        "pairs": hashlib.sha256(
            json.dumps([[str(v) for v in asdict(replace(pair, where="")).values()] for pair in pairs]).encode()
        ).hexdigest(),
    }
    note = folder / RUN_FILE
    try:
        if folder.exists():
            check_folder(folder)
            found = json.loads(note.read_text("utf-8")) if note.is_file() else None
            if found == described:
                return
            if any(folder.iterdir()) and not overwrite:
                what = "another run" if found else "other files"
                raise OutputError(
                    f"{folder}: holds {what}; choose a new folder, or add --overwrite to make its results anew"
                )
            for pair in pairs:
                (folder / pair.result).unlink(missing_ok=True)
        else:
            check_folder(folder.parent)
            folder.mkdir()
        with atomic_path(note) as temporary:
            temporary.write_text(json.dumps(described, indent=1), encoding="utf-8")
    except OSError as error:
        raise output_error(folder, error) from error
    except ValueError as error:
        raise OutputError(f"{note}: is damaged; choose a new folder") from error


def maker(
    engine: str, motion: str, options: MeasureOptions, cache: Cache | None, provenance: bool = True
) -> Callable[[Path, Pair, ProgressCallback], None]:
    """A function (result, pair, report) that animates a pair's source by its driver's span. provenance: whether results
    are marked as generated.
    """

    def make(result: Path, pair: Pair, tell: ProgressCallback) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            source = pair.source
            if probe(source).kind != "image":
                source = Path(scratch, "source.png")
                write_image(source, source_picture(pair))
            driver, sound = pair.driver, "driver"
            if not pair.whole:
                progress = lambda done, total: tell("reading the driver", done, total)  # noqa: E731
                extract, space = ExtractOptions(options.driver_face), choose_engine(engine).space
                track = load_driver(driver, extract, cache, progress, space=space).track
                driver = Path(scratch, "driver.npz")
                track.select_frames(pair.span()).save(driver)
                # The sound of a span that starts later cannot be cut out here; the measurement finds it by itself.
                heard = pair.start == 0 and not is_track(pair.driver) and not pair.driver.is_dir()
                sound = str(pair.driver) if heard and has_audio(pair.driver) else "none"
            retarget = RetargetOptions(motion)
            animated = AnimateOptions(
                engine,
                retarget,
                driver_face=options.driver_face,
                audio=sound,
                provenance=ProvenanceOptions(provenance),
            )
            animate(source, driver, result, animated, cache=cache, report=tell)

    return make


def as_json(evaluation: Evaluation, series: bool = False) -> dict[str, Any]:
    """JSON values: every figure as {value} or {value: null, reason}; series: the curves over time, too."""

    def figures(values: dict[str, float], reasons: dict[str, str]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for figure in FIGURES:
            if figure.name in values:
                out[figure.name] = {"value": values[figure.name]}
            elif figure.name in reasons:
                out[figure.name] = {"value": None, "reason": reasons[figure.name]}
        return out

    rows = []
    for row in evaluation.rows:
        entry: dict[str, Any] = {
            "result": str(row.result),
            "source": str(row.pair.source),
            "driver": str(row.pair.driver),
            "protocol": "same" if row.pair.same else "cross",
            "cached": row.cached,
            "error": row.error,
        }
        if (m := row.measured) is not None:
            entry |= {"frames": m.frames, "compared": m.compared, "missing_faces": m.missing, "notes": m.notes}
            entry["figures"] = figures(m.values, m.reasons)
            if series:
                entry["series"] = m.series
        rows.append(entry)
    means = figures({name: mean.value for name, mean in evaluation.means.items()}, evaluation.reasons)
    for name, mean in evaluation.means.items():
        means[name] |= {"results": mean.count, "standard_error": mean.error}
    return {
        "version": __version__,
        "results": rows,
        "means": means,
        "notes": evaluation.notes,
        "failed": len(evaluation.failed),
        "seconds": evaluation.seconds,
    }
