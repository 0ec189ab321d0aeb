"""How well, how fast and in how much memory speech drives a face.

    python -m tests.benchmarks.speech MEDIA [--videos N] [--portrait PHOTO] [--long-minutes N]

For each clip under MEDIA in which a person is seen and heard: correlation over time of the track made from its sound
alone with what MediaPipe sees of its mouth (jawOpen, distance of the inner lips), at the file's own timing and at the
best lag within ±240 ms; the same for a jaw driven by loudness; how often the lips meet on p, b and m (phones by
pocketsphinx's English grammar of phones, where it is installed) in the track and, as what that can be at best, in the
clip. Then, measured on produced videos: MediaPipe's jawOpen against the track's. Then speed, and peak memory for a
minute and for a long sound. Clips of --known CSV (column file) are marked: the shipped network has learned from them.
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

import numpy as np

from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.drivers.speech_driver import load_speech
from mimaface_cli.errors import InputError
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.media.audio import has_audio
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.waveform import SAMPLE_RATE, open_waveform
from mimaface_cli.motion.coefficients import BLENDSHAPES, blendshape_index
from mimaface_cli.speech.mouth_motion import lip_gap_gradient

SUFFIXES = (".mp4", ".mov", ".mkv", ".mpg", ".webm")
LAGS = np.arange(-12, 13) * 0.02  # seconds
JAW = blendshape_index("jawOpen")
INNER_LIPS = ((13, 14), (82, 87), (312, 317))
MET = 0.2  # share of a speech's range of the gap below which lips have met
PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.jpg"


def observe(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (s) and jawOpen and inner-lip distance (of the distance of the eyes) of the frames that show a face."""
    follower = FaceTracker()
    times, seen = [], []
    try:
        for frame in read_frames(path):
            face = follower(frame.image, frame.pts)
            if face is not None:
                eyes = np.linalg.norm(face.points[33] - face.points[263])
                gap = np.mean([np.linalg.norm(face.points[a] - face.points[b]) for a, b in INNER_LIPS])
                times.append(frame.pts)
                seen.append((face.scores[BLENDSHAPES.index("jawOpen")], gap / eyes))
    finally:
        follower.close()
    return np.array(times), np.array(seen).reshape(-1, 2)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if min(one.std(), other.std()) > 1e-6 else 0.0


def at_best_lag(times, seen, track_times, values) -> tuple[float, float]:
    """The lag (s; positive: the track is late) and the correlation there."""
    found = [correlation(np.interp(times + lag, track_times, values), seen) for lag in LAGS]
    best = int(np.argmax(found))
    return float(LAGS[best]), found[best]


def loudness(path: Path, times: np.ndarray) -> np.ndarray:
    """A jaw driven by loudness alone: decibels of 80 ms around each time."""
    with open_waveform(path) as samples:
        sound = samples.read(0, len(samples)).astype(np.float64)
    power = np.convolve(sound**2, np.hanning(1280) / np.hanning(1280).sum(), "same")
    level = 10 * np.log10(power + 1e-7)
    return np.interp(times, np.arange(len(level)) / SAMPLE_RATE, level)


def lip_sounds(path: Path) -> list[tuple[float, float]]:
    """When p, b and m sound (s); empty without pocketsphinx."""
    try:
        from pocketsphinx import Decoder, get_model_path
    except ImportError:
        return []
    decoder = Decoder(
        hmm=get_model_path("en-us/en-us"), allphone=get_model_path("en-us/en-us-phone.lm.bin"), lm=None, dict=None,
        lw=0.8, beam=1e-20, pbeam=1e-20, dither=True, cmn="batch", loglevel="FATAL",
    )  # fmt: skip
    with open_waveform(path) as samples:
        sound = samples.read(0, len(samples))
    decoder.start_utt()
    decoder.process_raw((sound * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    return [(s.start_frame / 100, s.end_frame / 100) for s in decoder.seg() if s.word in ("P", "B", "M")]


def meets(times: np.ndarray, gap: np.ndarray, sounds: list[tuple[float, float]]) -> float:
    """Share of the sounds during which the gap becomes small."""
    low, high = np.percentile(gap, [3, 95])
    limit = low + MET * (high - low)
    inside = [gap[(times >= start - 0.08) & (times <= stop + 0.04)] for start, stop in sounds]
    inside = [part for part in inside if len(part)]
    return float(np.mean([part.min() < limit for part in inside])) if inside else float("nan")


def clips(folder: Path, known: set[str]) -> None:
    print(
        f"{'clip':44} {'s':>5} {'floor':>6} {'jaw':>6} {'lips':>6} {'lag ms':>7} {'at lag':>7} {'p b m':>6} {'seen':>6}"
    )
    rows, names = [], []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            if not has_audio(path):
                continue
            times, seen = observe(path)
            if len(times) < 25 or seen[:, 1].std() < 0.01:
                continue
            track = load_speech(path).track
        except InputError as error:
            print(f"{path.name[:44]:44} {error}")
            continue
        gap = track.expression @ lip_gap_gradient()
        within = times <= track.pts[-1]
        times, seen = times[within], seen[within]
        at = lambda values: np.interp(times, track.pts, values)  # noqa: E731, B023
        jaw, lips = correlation(at(track.expression[:, JAW]), seen[:, 0]), correlation(at(gap), seen[:, 1])
        floor = loudness(path, times)
        floor = (correlation(floor, seen[:, 0]) + correlation(floor, seen[:, 1])) / 2
        lag, lagged = at_best_lag(times, seen[:, 1], track.pts, gap)
        sounds = lip_sounds(path)
        row = (
            times[-1],
            floor,
            jaw,
            lips,
            1000 * lag,
            lagged,
            meets(track.pts, gap, sounds),
            meets(times, seen[:, 1], sounds),
        )
        mark = "*" if path.stem in known else " "
        print(
            f"{mark}{path.stem[:43]:43} {row[0]:5.1f} {row[1]:6.2f} {row[2]:6.2f} {row[3]:6.2f} {row[4]:7.0f} {row[5]:7.2f} {row[6]:6.2f} {row[7]:6.2f}",
            flush=True,
        )
        rows.append(row)
        names.append(path.stem)
    for title, wanted in (("learned from", True), ("never seen", False)):
        chosen = np.array([row for row, name in zip(rows, names) if (name in known) == wanted])
        if len(chosen):
            mean = np.nanmean(chosen, axis=0)
            print(
                f"mean of {len(chosen)} {title}: loudness {mean[1]:.3f}, jaw {mean[2]:.3f}, lips {mean[3]:.3f}, lips at best lag "
                f"{mean[5]:.3f}, median lag {np.median(chosen[:, 4]):.0f} ms, p/b/m met {mean[6]:.2f} (seen {mean[7]:.2f})"
            )


def produced(folder: Path, portrait: Path, count: int) -> None:
    """MediaPipe's view of videos made from the sound of the first clips against the tracks they were made from."""
    found = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in SUFFIXES and has_audio(p)][:count]
    with tempfile.TemporaryDirectory() as scratch:
        for path in found:
            track = load_speech(path).track
            track.save(Path(scratch) / "speech.npz", overwrite=True)
            video = Path(scratch) / "result.mp4"
            options = AnimateOptions(max_size=512, encode=EncodeOptions(crf=16))
            animate(portrait, Path(scratch) / "speech.npz", video, options, overwrite=True)
            times, seen = observe(video)
            jaw = np.interp(times, track.pts, track.expression[:, JAW])
            gap = np.interp(times, track.pts, track.expression @ lip_gap_gradient())
            print(
                f"result of {path.stem[:36]:36} jawOpen {correlation(jaw, seen[:, 0]):.3f}, inner lips {correlation(gap, seen[:, 1]):.3f}"
            )


def speech_like(path: Path, seconds: float) -> Path:
    """A sound with syllables, written in pieces."""
    piece = np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * piece) / k for k in range(1, 20)) * (
        0.5 + 0.5 * np.sin(2 * np.pi * 4 * piece)
    )
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        for _ in range(int(seconds // 10)):
            file.writeframes((voice * 4000).astype("<i2").tobytes())
    return path


def cost(minutes: float) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for length in (1.0, minutes):
            sound = speech_like(Path(scratch) / "speech.wav", 60 * length)
            began = time.perf_counter()
            command = [sys.executable, "-m", "tests.benchmarks.speech", "--child", str(sound)]
            peak, inner = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            spent = time.perf_counter() - began
            print(
                f"{length:5.0f} min of sound: {60 * length / float(inner):5.0f} x real time ({60 * length / spent:.0f} x with start), "
                f"peak memory {int(peak) / 1024:.0f} MiB"
            )


def child(sound: Path) -> None:
    began = time.perf_counter()
    load_speech(sound)
    spent = time.perf_counter() - began
    print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1], spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path, nargs="?", help="folder of clips with sound")
    parser.add_argument("--known", type=Path, help="CSV, column file: clips that the network has learned from")
    parser.add_argument("--videos", type=int, default=2, help="results to draw and look at again (default 2)")
    parser.add_argument("--portrait", type=Path, default=PORTRAIT)
    parser.add_argument("--long-minutes", type=float, default=60)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    if options.media:
        known = set()
        if options.known:
            with options.known.open(newline="", encoding="utf-8") as file:
                known = {Path(row["file"]).stem for row in csv.DictReader(file)}
        clips(options.media, known)
        produced(options.media, options.portrait, options.videos)
    cost(options.long_minutes)


if __name__ == "__main__":
    main()
