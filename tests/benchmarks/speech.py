"""Measure accuracy, speed and memory of speech-driven motion.

    python -m tests.benchmarks.speech MEDIA [--videos N] [--portraits PHOTO...] [--sheets FOLDER] [--long-minutes N]

For each clip under MEDIA with a visible speaker and audio, the program prints:

- the correlation over time between the track from the audio alone and MediaPipe's measurements of the mouth (jawOpen,
  distance of the inner lips), at the file's timing and at the best lag within ±240 ms;
- the same correlation for a jaw driven by loudness;
- how often the lips meet on p, b and m in the track and, as the upper bound, in the clip. The phones come from
  pocketsphinx's English phone grammar, if it is installed.

Then it lets the first portrait speak the audio of the first clips, and compares the produced videos with the clips (see
`speech_videos`), writes contact sheets of spoken sounds (see `speech_sheets`), and measures speed, and peak memory for
one minute and for long audio. An asterisk marks clips in the CSV of --known (column file): the shipped network has been
trained on them.
"""

import argparse
import csv
import re
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mimaface_cli.drivers.speech_driver import load_speech
from mimaface_cli.errors import InputError
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.media.audio import has_audio
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.waveform import SAMPLE_RATE, open_waveform
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.speech.mouth_motion import lip_gap_gradient

SUFFIXES = (".mp4", ".mov", ".mkv", ".mpg", ".webm")
LAGS = np.arange(-12, 13) * 0.02  # seconds
JAW = blendshape_index("jawOpen")
INNER_LIPS = ((13, 14), (82, 87), (312, 317))  # landmarks of the upper and the lower lip
CONTACT = 0.2  # share of the lip distance's range below which lips have met
PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.jpg"


class ClipScores(NamedTuple):
    """Values of one clip.

    Attributes:
        duration: Seconds.
        loudness: Mean correlation of a jaw driven by loudness with the jaw and the lips.
        jaw: Correlation of the track's jawOpen with MediaPipe's.
        lips: Correlation of the track's lip distance with the visible one.
        lag: Best lag in milliseconds; positive if the track is late.
        lagged: Correlation of the lip distances at that lag.
        contact: Share of p, b and m on which the track's lips meet.
        visible_contact: Share of p, b and m on which the clip's lips meet.
    """

    duration: float
    loudness: float
    jaw: float
    lips: float
    lag: float
    lagged: float
    contact: float
    visible_contact: float


def measure_mouth(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Measure the mouth in the frames of a video that show a face.

    Returns:
        Times (N,) in seconds, and (N, 2): jawOpen, and the inner-lip distance in units of the distance of the eyes.
    """
    tracker = FaceTracker()
    times, values = [], []
    try:
        for frame in read_frames(path):
            face = tracker(frame.image, frame.pts)
            if face is not None:
                eyes = np.linalg.norm(face.points[33] - face.points[263])
                gap = np.mean([np.linalg.norm(face.points[a] - face.points[b]) for a, b in INNER_LIPS])
                times.append(frame.pts)
                values.append((face.scores[JAW], gap / eyes))
    finally:
        tracker.close()
    return np.array(times), np.array(values).reshape(-1, 2)


def correlate(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation, or 0 where a series does not move."""
    return float(np.corrcoef(first, second)[0, 1]) if min(first.std(), second.std()) > 1e-6 else 0.0


def find_best_lag(
    times: np.ndarray, visible: np.ndarray, track_times: np.ndarray, values: np.ndarray
) -> tuple[float, float]:
    """Return the lag in seconds (positive if the track is late) with the highest correlation, and the correlation."""
    correlations = [correlate(np.interp(times + lag, track_times, values), visible) for lag in LAGS]
    best = int(np.argmax(correlations))
    return float(LAGS[best]), correlations[best]


def read_waveform(path: Path) -> np.ndarray:
    """Return all samples of a file's audio."""
    with open_waveform(path) as samples:
        return samples.read(0, len(samples))


def measure_loudness(path: Path, times: np.ndarray) -> np.ndarray:
    """Return a jaw driven by loudness alone: decibels of 80 ms around each time."""
    audio = read_waveform(path).astype(np.float64)
    power = np.convolve(audio**2, np.hanning(1280) / np.hanning(1280).sum(), "same")
    level = 10 * np.log10(power + 1e-7)
    return np.interp(times, np.arange(len(level)) / SAMPLE_RATE, level)


def find_bilabials(path: Path) -> list[tuple[float, float]]:
    """Return start and end (s) of each p, b and m; nothing without pocketsphinx."""
    try:
        from pocketsphinx import Decoder, get_model_path
    except ImportError:
        return []
    decoder = Decoder(
        hmm=get_model_path("en-us/en-us"), allphone=get_model_path("en-us/en-us-phone.lm.bin"), lm=None, dict=None,
        lw=0.8, beam=1e-20, pbeam=1e-20, dither=True, cmn="batch", loglevel="FATAL",
    )  # fmt: skip
    decoder.start_utt()
    decoder.process_raw((read_waveform(path) * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    segments = [segment for segment in decoder.seg() if segment.word in ("P", "B", "M")]
    return [(segment.start_frame / 100, segment.end_frame / 100) for segment in segments]


def measure_contact(times: np.ndarray, gap: np.ndarray, phones: list[tuple[float, float]]) -> float:
    """Return the share of the phones during which the lip distance becomes small; NaN without phones."""
    low, high = np.percentile(gap, [3, 95])
    limit = low + CONTACT * (high - low)
    parts = [gap[(times >= start - 0.08) & (times <= stop + 0.04)] for start, stop in phones]
    parts = [part for part in parts if len(part)]
    return float(np.mean([part.min() < limit for part in parts])) if parts else float("nan")


def score_clip(path: Path) -> ClipScores | None:
    """Compare the track of a clip's audio with the clip; None if it does not show a mouth that moves."""
    times, visible = measure_mouth(path)
    if len(times) < 25 or visible[:, 1].std() < 0.01:
        return None
    track = load_speech(path).track
    gap = track.expression @ lip_gap_gradient()
    is_covered = times <= track.pts[-1]
    times, visible = times[is_covered], visible[is_covered]
    jaw = np.interp(times, track.pts, track.expression[:, JAW])
    lips = np.interp(times, track.pts, gap)
    loudness = measure_loudness(path, times)
    lag, lagged = find_best_lag(times, visible[:, 1], track.pts, gap)
    phones = find_bilabials(path)
    return ClipScores(
        duration=times[-1],
        loudness=(correlate(loudness, visible[:, 0]) + correlate(loudness, visible[:, 1])) / 2,
        jaw=correlate(jaw, visible[:, 0]),
        lips=correlate(lips, visible[:, 1]),
        lag=1000 * lag,
        lagged=lagged,
        contact=measure_contact(track.pts, gap, phones),
        visible_contact=measure_contact(times, visible[:, 1], phones),
    )


def measure_clips(folder: Path, known: set[str]) -> None:
    """Print a row for each clip, and means of the clips in `known` (names without suffix) and of the others."""
    print(
        f"{'clip':44} {'s':>5} {'loud':>6} {'jaw':>6} {'lips':>6} {'lag ms':>7} {'at lag':>7} {'p b m':>6} {'video':>6}"
    )
    rows: dict[bool, list[ClipScores]] = {True: [], False: []}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            scores = score_clip(path) if has_audio(path) else None
        except InputError as error:
            print(f"{path.name[:44]:44} {error}")
            continue
        if scores is None:
            continue
        is_known = path.stem in known
        cells = (
            f"{scores.duration:5.1f} {scores.loudness:6.2f} {scores.jaw:6.2f} {scores.lips:6.2f} {scores.lag:7.0f} "
            f"{scores.lagged:7.2f} {scores.contact:6.2f} {scores.visible_contact:6.2f}"
        )
        print(f"{'*' if is_known else ' '}{path.stem[:43]:43} {cells}", flush=True)
        rows[is_known].append(scores)
    for title, is_known in (("training clips", True), ("other clips", False)):
        if rows[is_known]:
            mean = ClipScores(*np.nanmean(rows[is_known], axis=0))
            lag = np.median([scores.lag for scores in rows[is_known]])
            print(
                f"mean of {len(rows[is_known])} {title}: loudness {mean.loudness:.3f}, jaw {mean.jaw:.3f}, "
                f"lips {mean.lips:.3f}, lips at best lag {mean.lagged:.3f}, median lag {lag:.0f} ms, "
                f"lips met on p/b/m {mean.contact:.2f} (in the video {mean.visible_contact:.2f})"
            )


def write_synthetic_speech(path: Path, seconds: float) -> Path:
    """Write audio with syllables, in pieces of 10 seconds."""
    times = np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * times) / k for k in range(1, 20))
    voice = voice * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * times))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        for _ in range(int(seconds // 10)):
            file.writeframes((voice * 4000).astype("<i2").tobytes())
    return path


def measure_cost(minutes: float) -> None:
    """Print speed and peak memory for one minute of audio and for `minutes`, each in its own process."""
    with tempfile.TemporaryDirectory() as scratch:
        for length in (1.0, minutes):
            audio = write_synthetic_speech(Path(scratch) / "speech.wav", 60 * length)
            start = time.perf_counter()
            command = [sys.executable, "-m", "tests.benchmarks.speech", "--child", str(audio)]
            peak, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            total = time.perf_counter() - start
            print(
                f"{length:5.0f} min of audio: {60 * length / float(seconds):5.0f} x real time "
                f"({60 * length / total:.0f} x with start-up), peak memory {int(peak) / 1024:.0f} MiB"
            )


def measure_child(audio: Path) -> None:
    """Print this process's peak memory (KiB) and the seconds of one audio file. Linux only."""
    start = time.perf_counter()
    load_speech(audio)
    seconds = time.perf_counter() - start
    print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1], seconds)


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "media", type=Path, nargs="?", help="folder of clips with audio (default: only speed and memory)"
    )
    parser.add_argument("--known", type=Path, help="CSV with the column file: clips that the network was trained on")
    parser.add_argument("--videos", type=int, default=2, help="videos to render and measure (default: 2)")
    parser.add_argument("--portraits", type=Path, nargs="+", default=[PORTRAIT], help="photos that speak")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER", help="write contact sheets of spoken sounds")
    parser.add_argument("--audio", type=Path, help="speech for the contact sheets (default: that of the first clip)")
    parser.add_argument("--only-videos", action="store_true", help="leave out tracks, speed and memory")
    parser.add_argument("--long-minutes", type=float, default=60, help="duration of the long audio (default: 60)")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure_child(options.child)
        return
    if options.media:
        measure_media(options)
    if not options.only_videos:
        measure_cost(options.long_minutes)


def measure_media(options: argparse.Namespace) -> None:
    """Run the measurements of clips."""
    from tests.benchmarks.speech_sheets import save_sound_sheets
    from tests.benchmarks.speech_videos import measure_videos

    known = set()
    if options.known:
        with options.known.open(newline="", encoding="utf-8") as file:
            known = {Path(row["file"]).stem for row in csv.DictReader(file)}
    if not options.only_videos:
        measure_clips(options.media, known)
    clips = [p for p in sorted(options.media.rglob("*")) if p.suffix.lower() in SUFFIXES and has_audio(p)]
    measure_videos(clips[: options.videos], options.portraits[0])
    if options.sheets:
        save_sound_sheets(options.portraits, options.audio or clips[0], options.sheets)


if __name__ == "__main__":
    main()
