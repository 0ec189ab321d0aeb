"""Videos that a portrait speaks, judged by MediaPipe: lip gap against the clip's, closures, silence, lag."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mimaface_cli.apps.animate import render_frames
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.drivers.speech_driver import load_speech
from mimaface_cli.face.landmarks import FaceLandmarker, locate_landmark_model
from mimaface_cli.media.reader import read_frames
from mimaface_cli.speech.mouth_motion import lip_gap_gradient
from tests.benchmarks.dubbing import CLOSED, find_silence
from tests.benchmarks.speech import (
    INNER_LIPS,
    correlate,
    find_best_lag,
    find_bilabials,
    measure_contact,
    measure_loudness,
)

SIDE = 448  # pixels of the produced video


class VideoScores(NamedTuple):
    """Values of one clip and of the portrait that speaks its audio.

    Attributes:
        loudness: Correlation of the clip's lip gap with the loudness of its audio.
        gap: Correlation of the lip gaps of the clip and of the produced video, files as they are.
        lag: Best lag in milliseconds; positive if the produced video is late.
        lagged: Correlation at that lag.
        render_lag: Lag of the produced video behind the track, in milliseconds.
        contact: Share of p, b and m on which the lips of the produced video meet.
        clip_contact: The same for the clip.
        silent: Silent frames.
        closed: Share of the silent frames in which the lips of the produced video are closed.
    """

    loudness: float
    gap: float
    lag: float
    lagged: float
    render_lag: float
    contact: float
    clip_contact: float
    silent: int
    closed: float


def measure_gaps(frames: Iterable[np.ndarray]) -> np.ndarray:
    """Measure the inner-lip gap of each frame by itself, in distances of the eye corners; NaN without a face."""
    landmarker = FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=1)
    gaps = []
    try:
        for frame in frames:
            faces = landmarker(np.ascontiguousarray(frame[..., :3]))
            if not faces:
                gaps.append(np.nan)
                continue
            points = faces[0].points
            gap = np.mean([np.linalg.norm(points[a] - points[b]) for a, b in INNER_LIPS])
            gaps.append(float(gap / np.linalg.norm(points[33] - points[263])))
    finally:
        landmarker.close()
    return np.array(gaps)


def score_video(clip: Path, portrait: Path) -> VideoScores | None:
    """Let a portrait speak the audio of a clip, and compare both; None if the clip shows no mouth that moves."""
    times: list[float] = []

    def images() -> Iterable[np.ndarray]:
        for frame in read_frames(clip):
            times.append(float(frame.pts))
            yield frame.image

    visible = measure_gaps(images())
    is_visible = np.isfinite(visible)
    clip_times, visible = np.array(times)[is_visible], visible[is_visible]
    if len(visible) < 25 or visible.std() < 0.01:
        return None
    track = load_speech(clip).track
    stream = render_frames(portrait, track, AnimateOptions(max_size=SIDE))
    produced = measure_gaps(stream.frames)
    produced_times = np.asarray(stream.pts - stream.pts[0], np.float64)
    stream.close()
    is_face = np.isfinite(produced)
    produced, produced_times = produced[is_face], produced_times[is_face]
    is_covered = clip_times <= produced_times[-1]
    clip_times, visible = clip_times[is_covered], visible[is_covered]
    lag, lagged = find_best_lag(clip_times, visible, produced_times, produced)
    render_lag, _ = find_best_lag(produced_times, track.expression @ lip_gap_gradient(), produced_times, produced)
    phones = find_bilabials(clip)
    silent = find_silence(clip, produced_times, 1 / 25)
    return VideoScores(
        loudness=correlate(measure_loudness(clip, clip_times), visible),
        gap=correlate(np.interp(clip_times, produced_times, produced), visible),
        lag=1000 * lag,
        lagged=lagged,
        render_lag=1000 * render_lag,
        contact=measure_contact(produced_times, produced, phones),
        clip_contact=measure_contact(clip_times, visible, phones),
        silent=int(silent.sum()),
        closed=float(np.mean(produced[silent] < CLOSED)) if silent.any() else float("nan"),
    )


def measure_videos(clips: list[Path], portrait: Path) -> None:
    """Print a row for each clip, and the means."""
    print(
        f"{'portrait that speaks':36} {'loud':>6} {'gap':>6} {'lag ms':>7} {'at lag':>7} {'render':>7} {'p b m':>6} "
        f"{'clip':>6} {'silent':>7} {'closed':>7}"
    )
    rows = []
    for clip in clips:
        scores = score_video(clip, portrait)
        if scores is None:
            continue
        rows.append(scores)
        print(
            f"{clip.stem[-36:]:36} {scores.loudness:6.2f} {scores.gap:6.2f} {scores.lag:7.0f} {scores.lagged:7.2f} "
            f"{scores.render_lag:7.0f} {scores.contact:6.2f} {scores.clip_contact:6.2f} {scores.silent:7d} "
            f"{scores.closed:7.2f}",
            flush=True,
        )
    if rows:
        values = np.array(rows, np.float64)
        mean, lags = VideoScores(*np.nanmean(values, 0)), values[:, VideoScores._fields.index("lag")]
        silent = values[:, VideoScores._fields.index("silent")]
        closed = np.nansum(silent * np.nan_to_num(values[:, -1])) / max(silent.sum(), 1)
        print(
            f"mean of {len(rows)}: loudness {mean.loudness:.3f}, gap {mean.gap:.3f}, at best lag {mean.lagged:.3f}, "
            f"median lag {np.median(lags):.0f} ms, lips met on p/b/m {mean.contact:.2f} (in the clips "
            f"{mean.clip_contact:.2f}), closed in {100 * closed:.1f} % of {silent.sum():.0f} silent frames"
        )
