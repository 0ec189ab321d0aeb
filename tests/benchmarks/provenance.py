"""What the mark in the frames is worth and what it costs.

    python -m tests.benchmarks.provenance [FOLDER] [--clips 20] [--seconds 3] [--unmarked 500]

Clips (of a folder, or made: noise, gradients and moving shapes) are marked with random identifiers, written as the project
writes them, then written again at H.264 crf 28, scaled to half and back, cropped by 5 %, and so on, and read back. False
marks are counted on the same clips unmarked, on their single frames and on noise. Cost is measured beside the drawing of
the mesh engine.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import open_writer
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.provenance.inspect import VOTING_FRAMES
from mimaface_cli.provenance.mark_detection import Mark, MarkDetector
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.provenance.watermark import Marker, can_mark

RATE = Fraction(25)


def scaled(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    shrinking = width < frame.shape[1]
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)


def halved(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    return scaled(scaled(frame, width // 2, height // 2), width, height)


def cropped(frame: np.ndarray, share: float = 0.05, left: float = 0.7, top: float = 0.3) -> np.ndarray:
    """Without `share` of each side's length, unevenly on both ends."""
    height, width = frame.shape[:2]
    x, y = int(width * share * left), int(height * share * top)
    return np.ascontiguousarray(frame[y : y + int(height * (1 - share)), x : x + int(width * (1 - share))])


def cropped_back(frame: np.ndarray) -> np.ndarray:
    return scaled(cropped(frame), frame.shape[1], frame.shape[0])


ATTACKS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "as written (crf 17)": (lambda frame: frame, 17),
    "H.264 crf 28": (lambda frame: frame, 28),
    "half and back, crf 17": (halved, 17),
    "half and back, crf 28": (halved, 28),
    "cropped by 5 %, crf 17": (cropped, 17),
    "cropped by 5 %, crf 28": (cropped, 28),
    "cropped by 5 %, stretched back": (cropped_back, 17),
    "cropped by 12 %, crf 23": (lambda frame: cropped(frame, 0.12), 23),
    "H.264 crf 35": (lambda frame: frame, 35),
}


def made_clip(seed: int, count: int, width: int = 480, height: int = 360) -> Iterator[np.ndarray]:
    """A picture with texture, slopes and flat parts, over which an ellipse and the camera move."""
    rng = np.random.default_rng(seed)
    steps = [cv2.resize(rng.normal(0, 1, (n, n, 3)), (width + 64, height + 64)) * 30 / n**0.3 for n in (4, 16, 64, 200)]
    picture = np.clip(sum(steps[: 1 + seed % 4]) + rng.uniform(30, 220, 3), 0, 255)
    for k in range(count):
        x, y = (int(16 + 14 * np.sin(k / 9 + seed + turn)) for turn in (0, 1.5))
        frame = picture[y : y + height, x : x + width].astype(np.uint8)
        center = int(width * (0.5 + 0.2 * np.sin(k / 12))), height // 2
        cv2.ellipse(frame, center, (width // 8, height // 4), 10 * np.sin(k / 7), 0, 360, (205, 160, 140), -1)
        yield np.clip(frame + rng.normal(0, 1.5, frame.shape), 0, 255).astype(np.uint8)


def detect_mark(frames: Iterable[np.ndarray]) -> Mark | None:
    """Return the watermark of frames (H×W×3 uint8 RGB) of one size, or None."""
    detector = MarkDetector()
    for frame in frames:
        detector.add(frame)
    return detector.detect()


def clips(folder: Path | None, most: int, count: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    if folder is None:
        for seed in range(most):
            yield f"made {seed}", list(made_clip(seed, count))
        return
    for path in islice(sorted(p for p in folder.rglob("*") if p.suffix in (".mp4", ".mov", ".mpg")), most):
        frames = [frame.image for frame in read_frames(path, max_frames=count)]
        if len(frames) == count and can_mark(frames[0].shape[1], frames[0].shape[0]):
            yield path.name[:40], frames


def through(frames: list[np.ndarray], crf: int, folder: Path) -> list[np.ndarray]:
    path = folder / "clip.mp4"
    path.unlink(missing_ok=True)
    with open_writer(path, frames[0].shape[1], frames[0].shape[0], RATE, options=EncodeOptions(crf=crf)) as writer:
        for k, frame in enumerate(frames):
            writer.write(frame, k / 25)
    return [frame.image for frame in read_frames(path)]


def voting(frames: list[np.ndarray]) -> list[np.ndarray]:
    return frames[:: max(1, len(frames) // VOTING_FRAMES)]


def psnr(frames: list[np.ndarray], marked: list[np.ndarray]) -> float:
    """The lowest of all frames."""
    errors = [np.mean((a.astype(np.float32) - b) ** 2) for a, b in zip(frames, marked)]
    return float(10 * np.log10(255**2 / max(errors)))


def robustness(folder: Path | None, most: int, count: int) -> None:
    rng = np.random.default_rng(0)
    hits = dict.fromkeys(ATTACKS, 0)
    single, false, tried, seen = 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as place:
        for name, frames in clips(folder, most, count):
            seen += 1
            height, width = frames[0].shape[:2]
            identifier = int(rng.integers(1 << 48))
            marker = Marker(width, height, identifier)
            marked = list(marker.mark_frames(frame for frame in frames))
            row = []
            written = through(marked, 17, Path(place))
            for attack, (change, crf) in ATTACKS.items():
                changed = written if attack == next(iter(ATTACKS)) else [change(frame) for frame in written]
                read = changed if changed is written else through(changed, crf, Path(place))
                mark = detect_mark(voting(read))
                right = mark is not None and mark.identifier == identifier
                false += mark is not None and not right
                hits[attack] += right
                row.append("x" if right else "." if mark is None else "WRONG")
            alone = detect_mark(marked[len(marked) // 2 :][:1])
            single += alone is not None and alone.identifier == identifier
            plain = through(frames, 17, Path(place))
            for some in (voting(plain), [cropped(frame) for frame in voting(plain)]):
                tried += 1
                false += detect_mark(some) is not None
            print(f"{name:42} {width}x{height} PSNR {psnr(frames, marked):.1f} dB  {' '.join(row)}", flush=True)
    for attack, hit in hits.items():
        print(f"{attack:32} {hit:4} of {seen} ({100 * hit / seen:.1f} %)")
    print(f"{'one frame alone, not compressed':32} {single:4} of {seen} ({100 * single / seen:.1f} %)")
    print(f"wrong or false: {false} of {seen * len(ATTACKS)} marked and {tried} unmarked")


def false_marks(folder: Path | None, most: int) -> None:
    """Single unmarked pictures (of a folder, else of made clips) and noise, whole and cropped."""
    rng = np.random.default_rng(1)

    def pictures() -> Iterator[np.ndarray]:
        for k in range(most):
            noise = rng.normal(rng.uniform(20, 230), rng.uniform(1, 60), (200 + k % 150, 260, 3))
            yield np.clip(noise if k % 2 else cv2.GaussianBlur(noise, (0, 0), 1 + k % 5), 0, 255).astype(np.uint8)
        if folder is None:
            for seed in range(most):
                yield next(made_clip(seed, 1))
        else:
            for path in islice(sorted(p for p in folder.rglob("*") if p.suffix in (".jpg", ".png")), most):
                yield read_image(path).rgb

    tried = found = 0
    for picture in pictures():
        tried += 1
        found += detect_mark([picture]) is not None
    print(f"marks found in {tried} unmarked pictures and noise: {found}", flush=True)


def cost(sizes: tuple[tuple[int, int], ...] = ((256, 256), (512, 512), (1920, 1080), (3840, 2160))) -> None:
    """Milliseconds that marking takes for a frame: the least and the median of several rounds, and the processor's own."""
    for width, height in sizes:
        frame = next(made_clip(3, 1, width, height))
        marker, times, worked = Marker(width, height, 1), [], []
        for _ in range(12):
            began, busy = time.perf_counter(), time.process_time()
            marker.mark_frame(frame)
            times.append(time.perf_counter() - began)
            worked.append(time.process_time() - busy)
        least, median, own = (1000 * value for value in (min(times), np.median(times), min(worked)))
        print(f"marking {width}x{height}: {least:.2f} ms a frame, median {median:.2f}, processor {own:.2f}", flush=True)


def mesh_cost(rounds: int = 5) -> None:
    """`animate` with the mesh engine on the example, with provenance and without, in both orders: frames a second from the
    first frame to the written record, and the processor's time for a frame, which others on the machine do not change.
    """
    taken: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    examples = Path(__file__).parents[2] / "examples"
    frames = len(MotionTrack.load(examples / "talk.npz"))
    with tempfile.TemporaryDirectory() as place:
        for on in [True, False, False, True] * (rounds // 2 + 1):  # the first two warm up
            began: dict[str, tuple[float, float]] = {}

            def report(stage: str, done: int, total: int | None) -> None:
                began.setdefault(stage, (time.perf_counter(), time.process_time()))

            options = AnimateOptions(engine="mesh", provenance=ProvenanceOptions(on))
            out = Path(place) / "a.mp4"
            animate(examples / "portrait.jpg", examples / "talk.npz", out, options, overwrite=True, report=report)
            wall, cpu = began["animating"]
            taken[on].append((time.perf_counter() - wall, time.process_time() - cpu))
    for name, k in (("wall clock", 0), ("processor", 1)):
        marked, plain = (min(pair[k] for pair in taken[on][1:]) / frames for on in (True, False))
        print(
            f"mesh engine, 512x512, encoded, {name}: {1000 * plain:.2f} ms a frame without, {1000 * marked:.2f} with: "
            f"{100 * (1 - plain / marked):.1f} % of the frame rate"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--unmarked", type=int, default=500)
    parser.add_argument("--only", choices=("robustness", "false", "cost"))
    options = parser.parse_args()
    if options.only in (None, "cost"):
        cost()
        mesh_cost()
    if options.only in (None, "false"):
        false_marks(options.folder, options.unmarked)
    if options.only in ("cost", "false"):
        return
    robustness(options.folder, options.clips, round(options.seconds * 25))


if __name__ == "__main__":
    main()
