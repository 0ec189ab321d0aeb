"""One result against its source and driver: read once from end to end, everything measured on the way."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mimaface_cli.apps.drivers import is_track, load_driver
from mimaface_cli.cache import Cache
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.frame_features import Features, Watcher, source_portrait
from mimaface_cli.evaluation.functional import audio_sync as sync
from mimaface_cli.evaluation.functional import motion_distance as motion
from mimaface_cli.evaluation.functional import temporal
from mimaface_cli.evaluation.functional.track_curves import mouth_opening, steadiness
from mimaface_cli.evaluation.measure_options import MeasureOptions
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.face import face478
from mimaface_cli.face.blendshape_scores import logits_to_scores, predict_logits
from mimaface_cli.face.extract_face478 import extract_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.media.audio import has_audio
from mimaface_cli.media.reader import Frame, probe, read_frames
from mimaface_cli.media.waveform import open_waveform
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback

_RATE_SLACK = 0.005
_OF_MOTION = ("expression", "pose", "gaze", "rotation", "correlation")


@dataclass
class Measured:
    """values: figures by name (see `mimaface_cli.evaluation.figures`), finite; reasons: why a figure is not there; series:
    over the result's frames, None where nothing was measured; notes: what the user should know; frames, compared: how
    many the result has, how many of them were compared with the driver's; missing: without a face; first_border: the
    frame at which the first of the regular jumps lies.
    """

    values: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    series: dict[str, list[float | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    frames: int = 0
    compared: int = 0
    missing: int = 0
    first_border: int | None = None

    def put(self, name: str, value: float | None, reason: str = "") -> None:
        """Keep a figure, or why there is none. Raises ValueError for a number that is not finite."""
        if value is None:
            self.reasons[name] = reason
        elif math.isfinite(value):
            self.values[name] = float(value)
        else:
            raise ValueError(f"{name} is {value}")


def measure(
    result: Path,
    pair: Pair,
    options: MeasureOptions = MeasureOptions(),
    *,
    cache: Cache | None = None,
    report: ProgressCallback | None = None,
) -> tuple[Measured, Features]:
    """All figures of one result, and the features that figures of the whole run are made of.

    result: video, picture or folder of pictures. Frames belong together by time from the first one on. cache: where the
    driver's track is kept. Raises InputError for what cannot be read, and where source or driver show no face.
    """
    tell = report or (lambda stage, done, total: None)
    if is_track(result):
        raise InputError(f"{result}: is a track; name the video or pictures made from it")
    info = probe(result)
    progress = lambda done, total: tell("reading the driver", done, total)  # noqa: E731
    segment = driver_segment(pair, options, cache, progress)
    out = Measured()
    portrait = source_portrait(pair, "largest")
    watcher = Watcher(pair, options.size, options.step, portrait, segment, info.duration, out.put)
    frames = read_frames(result)

    def observe(frame: Frame, face, cut: bool) -> None:
        watcher(frame, face, cut)
        tell("measuring", watcher.count, info.frame_count)

    track: MotionTrack | None = None
    try:
        extract = ExtractOptions(options.face, 0.0, skin=False)
        track = extract_video(frames, info.frame_rate, face478.load(), extract, str(result), observe=observe)
    except InputError:
        if not watcher.count or watcher.faces or not watcher.done(info):
            raise
    finally:
        frames.close()
        watcher.close()
    _finish(out, watcher, track, segment, result, pair, options)
    _paper_motion(out, result, pair, options, cache, tell)
    return out, watcher.features


def driver_segment(
    pair: Pair, options: MeasureOptions, cache: Cache | None, progress: Callable | None = None, space: str = "face478"
) -> MotionTrack:
    """The driver's unsmoothed track over the pair's span. Raises InputError, or WeightsError for a space whose networks
    are not there.
    """
    extract = ExtractOptions(options.driver_face, 0.0, skin=False)  # as the result is read
    track = load_driver(pair.driver, extract, cache, progress, space=space).track
    track.require_space(space, f"{space} estimator", str(pair.driver))
    try:
        return track.select_frames(pair.span())
    except InputError as error:
        where = f"{pair.where}: " if pair.where else ""
        raise InputError(f"{where}{pair.driver}: {error}") from error


def _finish(
    out: Measured,
    watcher: Watcher,
    track: MotionTrack | None,
    segment: MotionTrack,
    result: Path,
    pair: Pair,
    options: MeasureOptions,
) -> None:
    """The figures that need the whole result."""
    times = np.array(watcher.times)
    out.frames, out.missing = watcher.count, watcher.count - watcher.faces
    out.put("face_share", 100.0 * watcher.faces / watcher.count)
    if out.missing:
        out.notes.append(f"{out.missing} of {out.frames} frames of the result show no face; motion is not judged there")
    known = _compared(times, segment)
    out.compared = int(known.sum())
    _say_alignment(out, times, segment, track, result)
    missing = int((~segment.valid).sum())
    if missing:
        out.notes.append(f"{missing} of {len(segment)} driver frames show no face; motion is not judged there")
    watcher.finish(out)
    series = {"time": times} | watcher.series()
    if track is None:
        for name in (
            *_OF_MOTION,
            "jitter",
            "jitter_ratio",
            "mouth_lag",
            "sync_offset",
            "sync_speech",
            "sync_correlation",
        ):
            out.put(name, None, "no face in the result")
    else:
        series |= _motion(out, track, segment, known)
        opening = mouth_opening(track, face478.load())
        series["mouth"] = opening
        series["mouth_driver"] = _at(known, mouth_opening(resample_track(segment, times), face478.load()))
        _jitter(out, track, segment)
        _sync(out, track, segment, result, pair)
    _over_time(out, watcher, options)
    out.series = {name: _rounded(values) for name, values in series.items()}


def _compared(times: np.ndarray, segment: MotionTrack) -> np.ndarray:
    """Which frames of the result lie within the driver's time; all do where the driver is one picture."""
    if len(segment) == 1:
        return np.ones(len(times), bool)
    return times < segment.duration - 1e-6


def _say_alignment(
    out: Measured, times: np.ndarray, segment: MotionTrack, track: MotionTrack | None, result: Path
) -> None:
    if len(segment) == 1 or len(times) == 1:
        return
    rate = (len(times) - 1) / max(float(times[-1] - times[0]), 1e-9)
    driver_rate = (len(segment) - 1) / max(float(segment.pts[-1] - segment.pts[0]), 1e-9)
    if abs(rate / driver_rate - 1) > _RATE_SLACK:
        out.notes.append(
            f"the result has {rate:.5g} frames a second, the driver {driver_rate:.5g}: compared by time, each frame of "
            "the result with the driver's motion at its moment and the driver's nearest picture"
        )
    length, other = float(times[-1] - times[0]) + 1 / rate, segment.duration
    if abs(length - other) > 1.5 / min(rate, driver_rate):
        out.notes.append(
            f"the result lasts {length:.2f} s, the driver {other:.2f} s: the first {min(length, other):.2f} s count"
        )


def _motion(out: Measured, track: MotionTrack, segment: MotionTrack, known: np.ndarray) -> dict[str, np.ndarray]:
    found, both = _distances(track, segment, known)
    if not both.any():
        for name in _OF_MOTION:
            out.put(name, None, "no frame shows the face in result and driver")
        return {}
    driver = resample_track(segment, track.pts - track.pts[0])
    for name, values in found.items():
        out.put(name, values[both].mean())
    groups = motion.correlate(*(seen_scores(t, both) for t in (driver, track))) if both.sum() >= 5 else {}
    out.put("correlation", groups["all"][0] if "all" in groups else None, "the driver's expression does not move")
    return {name: _at(both, values) for name, values in found.items()}


def _distances(track: MotionTrack, segment: MotionTrack, known: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Distances to the driver at each frame of the result, and where they count: known, and both show the face."""
    driver = resample_track(segment, track.pts - track.pts[0])
    found = {
        "expression": motion.distances(track.expression, driver.expression),
        "pose": motion.pose_distances(track.pose, driver.pose),
        "gaze": motion.distances(track.gaze, driver.gaze),
        "rotation": motion.head_angles(track.pose, driver.pose),
    }
    return found, known & track.valid & driver.valid


def seen_scores(track: MotionTrack, frames: np.ndarray) -> np.ndarray:
    """The blendshape scores (N×52) that the chosen frames of a track show."""
    expression, identity = track.expression[frames].astype(np.float64), track.identity.astype(np.float64)
    return logits_to_scores(predict_logits(face478.load(), identity, expression))


def _paper_motion(
    out: Measured, result: Path, pair: Pair, options: MeasureOptions, cache: Cache | None, tell: ProgressCallback
) -> None:
    """Motion as the paper measures it, by D3DFR, where its weights are; result and driver are read once more for it."""
    names = [f"{name}_bfm09" for name in ("expression", "pose", "gaze")]
    problem = pretrained.missing_weights("bfm09")
    if problem is None and is_track(pair.driver):
        problem = "the driver is a track of another space"
    if problem is None and not out.values["face_share"]:
        problem = "no face in the result"
    if problem is None:
        progress = lambda done, total: tell("measuring in bfm09", done, total)  # noqa: E731
        segment = driver_segment(pair, options, cache, progress, "bfm09")
        track = load_driver(result, ExtractOptions(options.face, 0.0), cache, progress, space="bfm09").track
        found, both = _distances(track, segment, _compared(track.pts - track.pts[0], segment))
        if both.any():
            for name in names:
                out.put(name, found[name.removesuffix("_bfm09")][both].mean())
            return
        problem = "no frame shows the face in result and driver"
    for name in names:
        out.put(name, None, problem)


def _jitter(out: Measured, track: MotionTrack, segment: MotionTrack) -> None:
    model = face478.load()
    own, theirs = steadiness(track, model), steadiness(segment, model)
    out.put("jitter", None if own is None else 100 * own, "fewer than three frames with a face in a row")
    rates = [np.median(np.diff(t.pts)) if len(t) > 1 else math.nan for t in (track, segment)]
    reason = "fewer than three frames with a face in a row"
    ratio = None
    if own is not None and theirs is not None:
        if abs(rates[0] / rates[1] - 1) > _RATE_SLACK:
            reason = "result and driver have different frame rates"
        elif theirs > 0:
            ratio = own / theirs
        else:
            reason = "the driver does not move at all"
    out.put("jitter_ratio", ratio, reason)


def _sync(out: Measured, track: MotionTrack, segment: MotionTrack, result: Path, pair: Pair) -> None:
    """Mouth and sound against the driver's, and against each other."""
    model = face478.load()
    times, driver_times = track.pts - track.pts[0], segment.pts - segment.pts[0]
    too_little = f"less than {sync.LEAST_SECONDS:.1f} s together, or nothing moves"
    mouths = sync.curve_lag(mouth_opening(track, model), times, mouth_opening(segment, model), driver_times)
    unlike = "the mouths do not move alike" if mouths is not None else too_little
    sure = mouths is not None and mouths.sure
    out.put("mouth_lag", 1000 * mouths.offset if sure else None, unlike)
    heard = None if result.is_dir() else _envelope(result)
    spoken = None if is_track(pair.driver) or pair.driver.is_dir() else _envelope(pair.driver)
    if spoken is not None:
        spoken = spoken[round(float(segment.pts[0]) * sync.STEPS) :]
    if heard is None or spoken is None:
        out.put("sync_offset", None, f"the {'result' if heard is None else 'driver'} carries no sound")
    else:
        sounds = sync.lag(heard, spoken)
        apart = "their sounds are not alike" if sounds is not None else too_little
        known = sounds is not None and sounds.sure and sure
        out.put("sync_offset", 1000 * (sounds.offset - mouths.offset) if known else None, apart if sure else unlike)
    if heard is None and spoken is not None:
        out.notes.append("the result carries no sound; its mouth is judged by the driver's")
        heard = spoken
    jaw = track.expression[:, blendshape_index("jawOpen")].astype(np.float64)
    found = None if heard is None else sync.sync_offset(heard, jaw, times)
    if found is None:
        reason = "neither result nor driver carries sound" if heard is None else too_little
        out.put("sync_speech", None, reason)
        out.put("sync_correlation", None, reason)
        return
    out.put("sync_correlation", found.correlation)
    unsure = f"loudness and jaw do not go together (correlation {found.correlation:.2f})"
    out.put("sync_speech", 1000 * found.offset if found.sure else None, unsure)


def _envelope(path: Path) -> np.ndarray | None:
    """The loudness of a file's speech, None where it has no sound."""
    if not has_audio(path):
        return None
    with open_waveform(path) as samples:
        return sync.speech_envelope(samples.blocks())


def _over_time(out: Measured, watcher: Watcher, options: MeasureOptions) -> None:
    for name in ("flicker", "flicker_face"):
        values = np.array([value for value in getattr(watcher, name) if value is not None])
        out.put(name, float(values.mean()) if len(values) else None, "fewer than three frames in a row")
    if watcher.count < 16:
        out.put("border_jump", None, "fewer than 16 frames")
        out.put("border_period", None, "fewer than 16 frames")
        return
    found = temporal.clip_borders(np.array(watcher.changes, np.float64), options.clip_frames)
    out.put("border_jump", 0.0 if found is None else found.excess)
    out.put("border_period", None if found is None else float(found.period), "no regular jumps")
    if found is not None:
        out.first_border = found.first
        out.notes.append(f"jumps every {found.period} frames, the first at frame {found.first}: clip borders show")


def _at(where: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values with NaN where they do not count."""
    return np.where(where, values, np.nan)


def _rounded(values: np.ndarray | list) -> list[float | None]:
    return [float(f"{v:.5g}") if v is not None and math.isfinite(v) else None for v in values]


def pictures_at(path: Path, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Some frames of a video (indices in any order), in rising order."""
    if not wanted:
        return
    frames = read_frames(path, max_frames=max(wanted) + 1)
    try:
        for frame in frames:
            if frame.index in wanted:
                yield frame.index, frame.image
    finally:
        frames.close()
