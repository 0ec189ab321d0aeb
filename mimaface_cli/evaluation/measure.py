"""Measurement of one result: it is read once, and every metric gets its frames."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.metric import FeatureCollector, Metric, Series
from mimaface_cli.evaluation.metrics.clip_borders import clip_borders
from mimaface_cli.evaluation.metrics.steadiness import RATE_TOLERANCE
from mimaface_cli.evaluation.pair_frames import read_source_face
from mimaface_cli.evaluation.video_pair import PairContext, VideoPair, load_driver_track
from mimaface_cli.face import face478
from mimaface_cli.face.extract_face478 import extract_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.landmarks import Face
from mimaface_cli.media.reader import Frame, probe, read_frames

SetFeatures = dict[str, list[np.ndarray]]
"""Network features of one result for the metrics of the whole set: vectors (D) by name."""


@dataclass
class ResultFigures:
    """The figures of one result.

    Attributes:
        values: Finite figures by metric name.
        reasons: Why a figure is missing, by metric name.
        series: Curves by name, one value per frame, None if there is no value. `time` is in seconds.
        notes: Sentences for the user.
        repairs: Those of the notes that are about a damaged file or clock of the result, its source or its driver.
        truncated: Whether one of them was cut short.
        frames: Frames of the result.
        compared_frames: Frames that lie within the driver's duration.
        faceless_frames: Frames without a detected face.
        first_border: Frame of the first visible clip border, or None.
    """

    values: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    series: dict[str, list[float | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    truncated: bool = False
    frames: int = 0
    compared_frames: int = 0
    faceless_frames: int = 0
    first_border: int | None = None

    def add(self, name: str, value: float | None, reason: str) -> None:
        """Store a figure, or why it is missing. Raises ValueError for NaN and Inf."""
        if value is None:
            self.reasons[name] = reason
        elif math.isfinite(value):
            self.values[name] = float(value)
        else:
            raise ValueError(f"{name} is {value}")


def measure(result: Path, context: PairContext) -> tuple[ResultFigures, SetFeatures]:
    """Measure one result by all metrics of the catalog.

    Frames of result and driver correspond by time, counted from the first frame of each.

    Args:
        result: Video, image or folder of images.
        context: Pair, options, cache and progress callback.

    Returns:
        The figures, and the features for the metrics of the whole set.

    Raises:
        InputError: A file cannot be read, or source or driver show no face.
    """
    video = _open_video_pair(result, context)
    try:
        figures = _describe_damage(video)
        metrics = _make_metrics(video, figures)
        collectors = [metric.collector(video) for metric in CATALOG.set_metrics if metric.find_problem() is None]
        _read_result(video, [*metrics, *collectors])
        _finish(video, metrics, figures)
    finally:
        video.driver_frames.close()
    features: SetFeatures = {}
    for collector in collectors:
        collector.finish()
        features |= collector.features
    return figures, features


def _open_video_pair(result: Path, context: PairContext) -> VideoPair:
    if is_track(result):
        raise InputError(f"{result}: is a motion track. Name the video or the images that were rendered from it.")
    info = probe(result).check_strict(context.options.strict)
    driver_track = load_driver_track(context)
    return VideoPair(result, info, context, driver_track, read_source_face(context.pair, "largest"))


def _describe_damage(video: VideoPair) -> ResultFigures:
    """Return figures that have only notes: what was repaired in the result, its source and its driver."""
    figures = ResultFigures()
    inputs = {"result": video.info} | {
        role: probe(path).check_strict(video.options.strict)
        for role, path in (("source", video.pair.source), ("driver", video.pair.driver))
        if not is_track(path)
    }
    for role, info in inputs.items():
        figures.repairs += [f"{role}: {repair.removeprefix(f'{info.path.name}: ')}" for repair in info.repairs]
        figures.truncated |= info.is_truncated
    figures.notes += figures.repairs
    return figures


def _make_metrics(video: VideoPair, figures: ResultFigures) -> list[Metric]:
    """Return the metrics that can run; store the reasons why the others cannot."""
    metrics = []
    for metric_class in CATALOG.result_metrics:
        problem = metric_class.find_problem(video)
        if problem is None:
            metrics.append(metric_class(video))
        else:
            figures.add(metric_class.info.name, None, problem)
    return metrics


def _read_result(video: VideoPair, consumers: list[Metric | FeatureCollector]) -> None:
    """Pass every frame to the consumers and extract the result's track; without any face there is no track."""
    progress = video.context.progress

    def observe(frame: Frame, face: Face | None, is_cut: bool) -> None:
        pair = video.add_frame(frame.image, frame.pts, face, is_cut)
        for consumer in consumers:
            consumer.update(pair)
        progress("measuring", video.frame_count, video.info.frame_count)

    options = ExtractOptions(video.options.face, 0.0, skin=False)
    frames, tracker = read_frames(video.result), FaceTracker(video.options.face)
    try:
        video.track = extract_video(
            frames, video.info.frame_rate, face478.load(), options, str(video.result), observe=observe, tracker=tracker
        )
    except InputError:
        has_only_faceless_frames = video.frame_count and not video.face_count and video.is_complete
        if not has_only_faceless_frames:
            raise
    finally:
        frames.close()
        video.visible_faces = tracker.max_face_count


def _finish(video: VideoPair, metrics: list[Metric], figures: ResultFigures) -> None:
    """Store the results of all metrics, their curves and their notes."""
    figures.frames = video.frame_count
    figures.faceless_frames = video.frame_count - video.face_count
    figures.compared_frames = int(video.compared_frames.sum())
    figures.notes += _describe_faceless_frames(video) + _describe_alignment(video)
    figures.series["time"] = _round(video.times)
    for metric in metrics:
        figures.add(metric.info.name, metric.result(), metric.reason)
        figures.series |= _round_series(metric.series())
        figures.notes += metric.notes
    borders = video.feature(clip_borders)
    figures.first_border = None if borders is None else borders.first


def _describe_faceless_frames(video: VideoPair) -> list[str]:
    notes = []
    selector, faceless = video.options.face, video.frame_count - video.face_count
    if video.visible_faces and not video.face_count:
        notes.append(f"the result shows no face number {selector} from the left; no motion is measured")
        faceless = 0
    elif video.visible_faces > 1:
        notes.append(
            f"up to {video.visible_faces} faces are visible in the result at once; one is measured ({selector})"
        )
    if faceless:
        notes.append(
            f"{faceless} of {video.frame_count} frames of the result show no face; no motion is measured there"
        )
    faceless = int((~video.driver_track.valid).sum())
    if faceless:
        count = len(video.driver_track)
        notes.append(f"{faceless} of {count} frames of the driver show no face; no motion is measured there")
    return notes


def _describe_alignment(video: VideoPair) -> list[str]:
    """Return notes about different frame rates or durations of result and driver."""
    times, driver_track = video.times, video.driver_track
    if len(driver_track) == 1 or len(times) == 1:
        return []
    notes = []
    rate = (len(times) - 1) / max(times[-1] - times[0], 1e-9)
    driver_rate = (len(driver_track) - 1) / max(float(driver_track.pts[-1] - driver_track.pts[0]), 1e-9)
    if abs(rate / driver_rate - 1) > RATE_TOLERANCE:
        notes.append(
            f"the result has {rate:.5g} frames per second, the driver {driver_rate:.5g}: compared by time, each frame "
            "of the result with the driver's motion at that time and the driver's nearest frame"
        )
    duration, driver_duration = times[-1] - times[0] + 1 / rate, driver_track.duration
    if abs(duration - driver_duration) > 1.5 / min(rate, driver_rate):
        notes.append(
            f"the result lasts {duration:.2f} s, the driver {driver_duration:.2f} s: the first "
            f"{min(duration, driver_duration):.2f} s are compared"
        )
    return notes


def _round_series(series: Mapping[str, Series]) -> dict[str, list[float | None]]:
    """Return the curves that have a value, rounded for storage."""
    return {name: _round(values) for name, values in series.items() if any(value is not None for value in values)}


def _round(values: Series) -> list[float | None]:
    """Return values with five significant digits, None for NaN."""
    return [float(f"{value:.5g}") if value is not None and math.isfinite(value) else None for value in values]
