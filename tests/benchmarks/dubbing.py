"""Measure dubbed videos: what changes, whether the mouth closes in silence, its timing, and the speed of rendering.

    python -m tests.benchmarks.dubbing VIDEO... --audio SPEECH [--rounds N]

For each video, the program prints:

- the share of frames in which a pixel differs from the source above the lower face;
- the share of the silent frames in which the lips are closed (MediaPipe's inner-lip gap below 0.03 distances of the eye
  corners), in the source and in the dubbed video; frames within 0.2 s of sound do not count;
- how far eyes, brows and nose of the dubbed video move against the source's, as MediaPipe measures them;
- the lag of the visible lip gap behind that of the track, and their correlation at that lag;
- CPU time of rendering a frame, by warping the lower face and by rendering each frame as a photo, in turn; and the time
  of the whole command.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from mimaface_cli.apps.animate import animate, render_frames
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.cache import Cache
from mimaface_cli.drivers.speech_driver import load_speech
from mimaface_cli.engines.base import FrameStream
from mimaface_cli.engines.mesh import engine
from mimaface_cli.engines.mesh.video_rendering import render_video_motion
from mimaface_cli.face.landmarks import FaceLandmarker, locate_landmark_model
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.waveform import SAMPLE_RATE, open_waveform
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.speech.mouth_motion import lip_gap_gradient

CLOSED = 0.03  # distances of the eye corners
SILENCE = 0.004  # root mean square of a silent frame's samples
MARGIN = 0.2  # seconds around sound that do not count as silence
LAGS = np.arange(-0.2, 0.2001, 0.01)  # seconds
UPPER = np.array(
    [33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 105, 334, 66, 296, 159, 145, 386, 374]
)  # eyes, brows, nose
OPTIONS = AnimateOptions(retarget=RetargetOptions(region="lips"))


class Visible(NamedTuple):
    """What MediaPipe sees: landmarks (N, 478, 2), NaN without a face, and lip gaps (N,)."""

    points: np.ndarray
    gaps: np.ndarray


def measure_faces(frames: list[np.ndarray]) -> Visible:
    """Measure each frame for itself."""
    landmarker = FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=1)
    faces = [landmarker(frame) for frame in frames]
    landmarker.close()
    points = np.stack([face[0].points if face else np.full((478, 2), np.nan) for face in faces])
    gaps = np.linalg.norm(points[:, 13] - points[:, 14], axis=1)
    return Visible(points, gaps / np.linalg.norm(points[:, 33] - points[:, 263], axis=1))


def find_silence(audio: Path, times: np.ndarray, interval: float) -> np.ndarray:
    """Return for each frame (N,) whether the audio is silent in it and around it."""
    with open_waveform(audio) as waveform:
        samples = waveform.read(0, len(waveform)).astype(np.float64)
    samples = samples / max(float(np.abs(samples).max()), 1e-9)
    silent = []
    for start in times:
        first, last = (start - MARGIN) * SAMPLE_RATE, (start + interval + MARGIN) * SAMPLE_RATE
        part = samples[max(0, round(first)) : max(0, round(last))]
        blocks = part[: len(part) // 160 * 160].reshape(-1, 160)
        silent.append(not len(blocks) or float(np.sqrt((blocks**2).mean(1)).max()) < SILENCE)
    return np.array(silent)


def find_lag(visible: np.ndarray, times: np.ndarray, planned: np.ndarray, planned_times: np.ndarray) -> tuple:
    """Return the lag (s) of visible gaps behind planned ones, and the correlation at that lag."""
    scores = []
    for lag in LAGS:
        expected = np.interp(times - lag, planned_times, planned)
        valid = np.isfinite(visible)
        scores.append(np.corrcoef(visible[valid], expected[valid])[0, 1])
    best = int(np.argmax(scores))
    return LAGS[best], scores[best]


def touches_upper_face(original: np.ndarray, frame: np.ndarray, points: np.ndarray) -> bool:
    """Return whether a pixel above the line of the outer corners of the eyes differs; points: (478, 2) landmarks."""
    rows, columns = np.nonzero((original != frame).any(2))
    right, left = points[33], points[263]
    slope = (left[1] - right[1]) / (left[0] - right[0])
    return bool((rows < right[1] + slope * (columns - right[0])).any())


def time_rendering(render: Callable[[], FrameStream], count: int) -> float:
    """Return the CPU time of a frame in milliseconds."""
    start = time.process_time()
    for _ in render().frames:
        pass
    return 1000 * (time.process_time() - start) / count


def measure_video(video: Path, audio: Path, rounds: int, cache: Cache) -> None:
    """Print the figures of one video."""
    captured: list[tuple[Any, ...]] = []
    dub = engine.render_dubbed_video

    def capture(*arguments: Any) -> FrameStream:
        captured.append(arguments)
        return dub(*arguments)

    with patch.object(engine, "render_dubbed_video", capture):
        stream = render_frames(video, audio, OPTIONS, cache=cache)
    frames = list(stream.frames)
    originals = [frame.image for frame in read_frames(video, max_frames=len(frames))]
    times = stream.pts - stream.pts[0]
    before, after = measure_faces(originals), measure_faces(frames)
    pairs = zip(originals, frames, before.points, strict=True)
    touched = [touches_upper_face(one, other, points) for one, other, points in pairs]
    silent = find_silence(audio, times, float(1 / stream.frame_rate))
    closed = [float(np.mean(part.gaps[silent] < CLOSED)) if silent.any() else np.nan for part in (before, after)]
    scale = np.linalg.norm(before.points[:, 33] - before.points[:, 263], axis=1)
    moved = np.linalg.norm(after.points[:, UPPER] - before.points[:, UPPER], axis=2).mean(1) / scale
    track = load_speech(audio, cache=cache).track
    lag, correlation = find_lag(after.gaps, times, track.expression @ lip_gap_gradient(), track.pts)
    print(
        f"{video.name}: {len(frames)} frames; changed above the lower face {np.mean(touched):.3f}; closed in "
        f"{silent.sum()} silent frames {closed[1]:.2f} (source {closed[0]:.2f}); upper face moves by "
        f"{100 * np.nanmean(moved):.2f} % of the eye distance; lag {1000 * lag:+.0f} ms, correlation {correlation:.2f}"
    )
    source, source_track, model, motion, neutral, network, _ = captured[0]
    for _ in range(rounds):
        new = time_rendering(lambda: dub(source, source_track, model, motion, neutral, network), len(frames))
        old = time_rendering(lambda: render_video_motion(source, source_track, model, motion, network), len(frames))
        start, cpu = time.perf_counter(), time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            animate(video, audio, Path(folder) / "out.mp4", OPTIONS, cache=cache)
        total = 1000 * (time.process_time() - cpu) / len(frames)
        rate = len(frames) / (time.perf_counter() - start)
        print(
            f"  rendering {new:.1f} ms of CPU time a frame (as photos: {old:.1f}); whole command {total:.1f} ms, "
            f"{rate:.1f} frames/s here, {2000 / total:.0f} on two idle cores at best"
        )


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--audio", type=Path, required=True, help="speech that all videos are dubbed with")
    parser.add_argument("--rounds", type=int, default=2, help="measurements of the speed (default: 2)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for video in arguments.videos:
            measure_video(video, arguments.audio, arguments.rounds, Cache(Path(folder)))


if __name__ == "__main__":
    main()
