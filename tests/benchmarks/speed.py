"""How fast and how large: ratios against floors measured in the same run.

    python -m tests.benchmarks.speed [PORTRAIT] [CLIP] [--long-minutes N]

extract against bare decode + FaceLandmarker on the same clip; animate from a kept track at 512² and with paste-back
into 1920×1080, against drawing nothing (encoding the photo over and over); peak memory of a 10-second and a long
driver; start of the command line.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
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


def rate(work, count: int) -> float:
    """Items a second of a callable that handles `count` of them."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def extraction(clip: Path) -> None:
    info = probe(clip)
    count = sum(1 for _ in read_frames(clip))

    def decode() -> None:
        for _ in read_frames(clip):
            pass

    def floor() -> None:
        follower = FaceTracker()
        for frame in read_frames(clip):
            follower(frame.image, frame.pts)
        follower.close()

    def whole(skin: bool = True) -> None:
        extract_video(read_frames(clip), info.frame_rate, face478.load(), ExtractOptions(skin=skin))

    floor()
    whole()  # warm
    for _ in range(3):
        base, ours, flat = rate(floor, count), rate(whole, count), rate(lambda: whole(False), count)
        print(
            f"extract {ours:.1f}/s, by landmarks alone {flat:.1f}/s, decode + FaceLandmarker {base:.1f}/s, decode "
            f"{rate(decode, count):.1f}/s: ratio {ours / base:.2f}, {flat / base:.2f}"
        )


def swaying(seconds: float) -> MotionTrack:
    """A made-up driver: a head that sways and talks."""
    track = MotionTrack.neutral(round(25 * seconds), "face478", Fraction(25))
    expression, pose = np.array(track.expression), np.array(track.pose)
    expression[:, blendshape_index("jawOpen")] = 0.25 + 0.25 * np.sin(9 * track.pts)
    expression[:, blendshape_index("eyeBlinkLeft")] = expression[:, blendshape_index("eyeBlinkRight")] = (
        track.pts % 3 < 0.12
    )
    pose[:, 1] = 0.25 * np.sin(1.3 * track.pts)
    return replace(track, expression=expression, pose=pose)


def animation(portrait: Path, folder: Path) -> None:
    picture = read_image(portrait).rgb
    side = min(picture.shape[:2])
    square = cv2.resize(picture[:side, :side], (512, 512), interpolation=cv2.INTER_AREA)
    wide = np.full((1080, 1920, 3), 90, np.uint8)
    wide[:, 420:1500] = cv2.resize(picture[:side, :side], (1080, 1080), interpolation=cv2.INTER_CUBIC)
    track = folder / "track.npz"
    swaying(6).save(track)
    for name, image in (("512x512", square), ("1920x1080", wide)):
        photo, out = folder / f"{name}.png", folder / f"{name}.mp4"
        write_image(photo, image)
        for _ in range(3):
            result = animate(photo, track, out, AnimateOptions(), overwrite=True)
            ours = result.frames / result.seconds
            floor = rate(lambda: encode_only(image, out, result.frames), result.frames)
            print(f"animate {name}: {ours:.1f} frames/s all in; encoding alone {floor:.1f}/s: ratio {ours / floor:.2f}")


def encode_only(image: np.ndarray, out: Path, count: int) -> None:
    with open_writer(
        out, image.shape[1], image.shape[0], Fraction(25), options=EncodeOptions(), duration=count / 25
    ) as writer:
        for k in range(count):
            writer.write(image, k / 25)


def memory(portrait: Path, folder: Path, minutes: float) -> None:
    """Linux only: getrusage would count what this process held when it started the other."""
    peaks = []
    for seconds in (10.0, 60.0 * minutes):
        track = folder / f"{seconds:.0f}.npz"
        swaying(seconds).save(track)
        code = (
            "import re, sys; from pathlib import Path; from mimaface_cli.apps.animate import animate; "
            "from mimaface_cli.apps.animate_options import AnimateOptions; "
            "animate(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), AnimateOptions(max_size=256)); "
            "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
        )
        command = [sys.executable, "-c", code, str(portrait), str(track), str(folder / f"{seconds:.0f}.mp4")]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024)
        print(f"driver of {seconds:.0f} s: peak {peaks[-1]:.0f} MB", flush=True)
    print(f"difference {peaks[1] - peaks[0]:.0f} MB")


def start() -> None:
    command = [sys.executable, "-m", "mimaface_cli", "--help"]
    times = []
    for _ in range(7):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    print(f"--help: median {np.median(times):.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portrait", type=Path, nargs="?", default=EXAMPLES / "portrait.jpg")
    parser.add_argument("clip", type=Path, nargs="?", default=EXAMPLES / "driver.mp4")
    parser.add_argument("--long-minutes", type=float, default=10.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        start()
        extraction(given.clip)
        animation(given.portrait, Path(name))
        memory(given.portrait, Path(name), given.long_minutes)


if __name__ == "__main__":
    main()
