"""Measure speed and memory of mimaface as ratios to lower bounds from the same run.

    python -m tests.benchmarks.speed [PORTRAIT] [CLIP] [--long-minutes N]

The measurements: `extract` against bare decoding and FaceLandmarker on the same clip; `animate` from a track, at
512×512 and with paste-back into 1920×1080, against encoding the photo repeatedly without rendering; peak memory for a
10-second and a long driver; start-up time of the command line.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.cache import Cache
from mimaface_cli.face import face478
from mimaface_cli.face.extract_face478 import extract_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.image import read_image, write_image
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.writer import open_writer
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.track import MotionTrack

EXAMPLES = Path(__file__).parents[2] / "examples"
ROUNDS = 3
# Animates argv[1] with argv[2] into argv[3] and prints the peak memory in KiB. The value comes from /proc because
# getrusage would include what the parent process held when it started this one.
MEMORY_PROGRAM = """
import re, sys
from pathlib import Path
from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.cache import Cache
animate(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), AnimateOptions(max_size=256))
print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])
"""


def measure_rate(call: Callable[[], object], count: int) -> float:
    """Return items per second of a call that processes `count` items."""
    start = time.perf_counter()
    call()
    return count / (time.perf_counter() - start)


def measure_extraction(clip: Path) -> None:
    """Print the frames per second of `extract`, of FaceLandmarker alone and of decoding alone."""
    info = probe(clip)
    count = sum(1 for _ in read_frames(clip))

    def decode() -> None:
        for _ in read_frames(clip):
            pass

    def track_faces() -> None:
        tracker = FaceTracker()
        for frame in read_frames(clip):
            tracker(frame.image, frame.pts)
        tracker.close()

    def extract(skin: bool = True) -> None:
        extract_video(read_frames(clip), info.frame_rate, face478.load(), ExtractOptions(skin=skin))

    track_faces()  # warm up
    extract()
    for _ in range(ROUNDS):
        tracking = measure_rate(track_faces, count)
        extraction = measure_rate(extract, count)
        landmarks_only = measure_rate(partial(extract, False), count)
        decoding = measure_rate(decode, count)
        print(
            f"extract {extraction:.1f}/s, without skin tracking {landmarks_only:.1f}/s, decode + FaceLandmarker "
            f"{tracking:.1f}/s, decode {decoding:.1f}/s: ratio {extraction / tracking:.2f}, "
            f"{landmarks_only / tracking:.2f}"
        )


def make_track(seconds: float) -> MotionTrack:
    """Make a synthetic driver: a head that sways, talks and blinks, at 25 fps."""
    track = MotionTrack.neutral(round(25 * seconds), "face478", Fraction(25))
    expression, pose = np.array(track.expression), np.array(track.pose)
    expression[:, blendshape_index("jawOpen")] = 0.25 + 0.25 * np.sin(9 * track.pts)
    blink = track.pts % 3 < 0.12
    expression[:, blendshape_index("eyeBlinkLeft")] = blink
    expression[:, blendshape_index("eyeBlinkRight")] = blink
    pose[:, 1] = 0.25 * np.sin(1.3 * track.pts)
    return replace(track, expression=expression, pose=pose)


class FrameClock:
    """A progress callback that measures the rate of the frames after the first one, without the preparation."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self.rate = 0.0

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Note the time of a frame."""
        if stage != "animating":
            return
        now = time.perf_counter()
        if self._first is None:
            self._first = done, now
        elif now > self._first[1]:
            self.rate = (done - self._first[0]) / (now - self._first[1])


def measure_animation(portrait: Path, folder: Path) -> None:
    """Print the frames per second of `animate` and of encoding alone, for a crop and for paste-back.

    The first round prepares the photo, the others take what is cached of it.
    """
    image = read_image(portrait).rgb
    side = min(image.shape[:2])
    square = cv2.resize(image[:side, :side], (512, 512), interpolation=cv2.INTER_AREA)
    full_hd = np.full((1080, 1920, 3), 90, np.uint8)
    full_hd[:, 420:1500] = cv2.resize(image[:side, :side], (1080, 1080), interpolation=cv2.INTER_CUBIC)
    track = folder / "track.npz"
    make_track(6).save(track)
    cache = Cache(folder / "cache")
    for name, source in (("512x512", square), ("1920x1080", full_hd)):
        photo, output = folder / f"{name}.png", folder / f"{name}.mp4"
        write_image(photo, source)
        for _ in range(ROUNDS):
            clock, used = FrameClock(), time.process_time()
            options = AnimateOptions()
            result = animate(photo, track, output, options, overwrite=True, cache=cache, progress=clock)
            used, rate = time.process_time() - used, result.frames / result.seconds
            encoding = measure_rate(partial(encode_repeatedly, source, output, result.frames), result.frames)
            print(
                f"animate {name}: {rate:.1f} frames/s in total, {clock.rate:.1f} after the first frame, "
                f"{1000 * used / result.frames:.1f} ms of processor time a frame; encoding alone {encoding:.1f}/s: "
                f"ratio {rate / encoding:.2f}"
            )


def encode_repeatedly(image: np.ndarray, output: Path, count: int) -> None:
    """Encode one image `count` times as a video of 25 fps."""
    height, width = image.shape[:2]
    with open_writer(output, width, height, Fraction(25), options=EncodeOptions(), duration=count / 25) as writer:
        for k in range(count):
            writer.write(image, k / 25)


def measure_memory(portrait: Path, folder: Path, minutes: float) -> None:
    """Print the peak memory for a 10-second driver and for one of `minutes`. Linux only."""
    peaks = []
    for seconds in (10.0, 60.0 * minutes):
        track, output = folder / f"{seconds:.0f}.npz", folder / f"{seconds:.0f}.mp4"
        make_track(seconds).save(track)
        command = [sys.executable, "-c", MEMORY_PROGRAM, str(portrait), str(track), str(output)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024)
        print(f"driver of {seconds:.0f} s: peak {peaks[-1]:.0f} MB", flush=True)
    print(f"difference {peaks[1] - peaks[0]:.0f} MB")


def measure_startup() -> None:
    """Print the median time of `mimaface --help`."""
    command = [sys.executable, "-m", "mimaface_cli", "--help"]
    times = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    print(f"--help: median {np.median(times):.3f} s")


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portrait", type=Path, nargs="?", default=EXAMPLES / "portrait.jpg")
    parser.add_argument("clip", type=Path, nargs="?", default=EXAMPLES / "driver.mp4", help="video to extract from")
    parser.add_argument(
        "--long-minutes", type=float, default=10.0, help="duration of the long driver in minutes (default: 10)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure_startup()
        measure_extraction(arguments.clip)
        measure_animation(arguments.portrait, Path(name))
        measure_memory(arguments.portrait, Path(name), arguments.long_minutes)


if __name__ == "__main__":
    main()
