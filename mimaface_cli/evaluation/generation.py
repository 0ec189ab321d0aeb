"""Results that an engine renders for a list of pairs before they are measured."""

import hashlib
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from mimaface_cli import __version__
from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.cache import Cache
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.engines.base import EngineQuery
from mimaface_cli.engines.registry import AUTO
from mimaface_cli.engines.selection import select_engine
from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.pair_frames import read_source_image
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.evaluation.performance import PERFORMANCE_FILE, record_performance
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.files import atomic_path, check_folder, output_error
from mimaface_cli.media.audio import has_audio
from mimaface_cli.media.image import write_image
from mimaface_cli.media.reader import probe
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.provenance.provenance_options import ProvenanceOptions

RUN_FILE = "run.json"


def check_results(folder: Path, pairs: list[Pair]) -> None:
    """Raise InputError, naming the row, unless every result of a list exists."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Name the folder of results, or set `engine=mesh`.")
    missing = [pair for pair in pairs if not (folder / pair.result).exists()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputError(
            f"{missing[0].where}: {folder / missing[0].result}: no such result{more}. Render it, or remove the row "
            "from the list."
        )


def prepare_folder(folder: Path, pairs: list[Pair], options: EvaluateOptions, overwrite: bool = False) -> None:
    """Create the folder of a run, or resume the same run.

    Args:
        folder: Folder of the results.
        pairs: The list.
        options: `engine`, `motion` and `provenance` identify the run, together with the list.
        overwrite: Whether results of another run are removed.

    Raises:
        OutputError: The folder contains another run or other files and `overwrite` is not set, or cannot be
            written.
    """
    run = _describe_run(pairs, options)
    run_file = folder / RUN_FILE
    try:
        if folder.exists():
            check_folder(folder)
            existing_run = json.loads(run_file.read_text("utf-8")) if run_file.is_file() else None
            if existing_run == run:
                return
            if any(folder.iterdir()) and not overwrite:
                content = "another run" if existing_run else "other files"
                raise OutputError(
                    f"{folder}: contains {content}. Choose a new folder, or set `overwrite` to replace its results."
                )
            for name in (PERFORMANCE_FILE, *(pair.result for pair in pairs)):
                (folder / name).unlink(missing_ok=True)
        else:
            check_folder(folder.parent)
            folder.mkdir()
        with atomic_path(run_file) as temporary:
            temporary.write_text(json.dumps(run, indent=1), encoding="utf-8")
    except OSError as error:
        raise output_error(folder, error) from error
    except ValueError as error:
        raise OutputError(f"{run_file}: is damaged. Choose a new folder.") from error


def _describe_run(pairs: list[Pair], options: EvaluateOptions) -> dict[str, object]:
    """Return the values that identify a run: version, engine, options and list."""
    rows = [[str(value) for value in asdict(replace(pair, where="")).values()] for pair in pairs]
    return {
        "mimaface": __version__,
        "engine": select_engine(options.engine or AUTO, EngineQuery()).engine.name,
        "motion": options.motion,
        "provenance": options.provenance,
        "pairs": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
    }


def render_result(
    result: Path,
    pair: Pair,
    options: EvaluateOptions,
    *,
    cache: Cache | None = None,
    progress: ProgressCallback = ignore_progress,
) -> None:
    """Animate a pair's source with the span of its driver and the engine of the options.

    Args:
        result: Path of the result.
        pair: Source and span of the driver.
        options: `engine`, `motion`, `driver_face`, `provenance` and `strict` are used.
        cache: Cache of the driver's track, or None.
        progress: Called with the stage, the completed units and all units.

    Raises:
        InputError: Source or driver cannot be read.
        OutputError: The result cannot be written.
        WeightsError: The engine's weights are missing.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = pair.source
        if probe(source).kind != "image":
            source = Path(scratch, "source.png")
            write_image(source, read_source_image(pair))
        driver, audio = pair.driver, "driver"
        if not pair.is_whole:
            driver, audio = Path(scratch, "driver.npz"), _audio_of_span(pair)
            _write_driver_span(driver, pair, options, cache, progress)
        animate_options = AnimateOptions(
            options.engine or AUTO,
            RetargetOptions(options.motion),
            driver_face=options.driver_face,
            audio=audio,
            provenance=ProvenanceOptions(options.provenance),
            strict=options.strict,
        )
        with record_performance(result, progress) as watched:
            animate(source, driver, result, animate_options, cache=cache, progress=watched)


def _write_driver_span(
    path: Path, pair: Pair, options: EvaluateOptions, cache: Cache | None, progress: ProgressCallback
) -> None:
    """Write the motion of the pair's span as a track file."""
    extract_options = ExtractOptions(options.driver_face)
    space = select_engine(options.engine or AUTO, EngineQuery()).engine.space

    def report(done: int, total: int | None) -> None:
        progress("extracting motion", done, total)

    track = load_driver(pair.driver, extract_options, cache, report, space=space).track
    track.select_frames(pair.span()).save(path)


def _audio_of_span(pair: Pair) -> str:
    """Return the `audio` option for a span of the driver.

    A span with a later start is rendered without audio. The measurement reads the audio from the driver.
    """
    is_audible = pair.start == 0 and not is_track(pair.driver) and not pair.driver.is_dir() and has_audio(pair.driver)
    return str(pair.driver) if is_audible else "none"
