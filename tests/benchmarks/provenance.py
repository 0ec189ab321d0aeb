"""Measure the robustness, the false detections and the cost of the watermark.

    python -m tests.benchmarks.provenance [FOLDER] [--clips 20] [--seconds 3] [--unmarked 500]

The program marks clips (from a folder, or synthetic: noise, gradients and moving shapes) with random identifiers,
encodes them as the project does, changes them (H.264 at crf 28, scaling to half and back, cropping by 5 %, and so on),
and detects the marks. It counts false detections on the same clips without marks, on single frames and on noise. It
compares the cost with the mesh engine's rendering.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.provenance.watermark import Marker, can_mark
from tests.benchmarks.marked_clips import crop_and_stretch, crop_frame, detect_mark, halve_and_restore, make_clip

RATE = Fraction(25)
EXAMPLES = Path(__file__).parents[2] / "examples"
SIZES = ((256, 256), (512, 512), (1920, 1080), (3840, 2160))
FIRST_ATTACK = "as encoded (crf 17)"
# Change of the encoded frames, and the crf of the second encoding.
ATTACKS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    FIRST_ATTACK: (lambda frame: frame, 17),
    "H.264 crf 28": (lambda frame: frame, 28),
    "half and back, crf 17": (halve_and_restore, 17),
    "half and back, crf 28": (halve_and_restore, 28),
    "cropped by 5 %, crf 17": (crop_frame, 17),
    "cropped by 5 %, crf 28": (crop_frame, 28),
    "cropped by 5 %, stretched back": (crop_and_stretch, 17),
    "cropped by 12 %, crf 23": (lambda frame: crop_frame(frame, 0.12), 23),
    "H.264 crf 35": (lambda frame: frame, 35),
}


def load_clips(folder: Path | None, limit: int, count: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield name and frames of up to `limit` clips of `count` frames, from a folder or synthetic."""
    if folder is None:
        for seed in range(limit):
            yield f"synthetic {seed}", list(make_clip(seed, count))
        return
    for path in islice(sorted(p for p in folder.rglob("*") if p.suffix in (".mp4", ".mov", ".mpg")), limit):
        frames = [frame.image for frame in read_frames(path, max_frames=count)]
        if len(frames) == count and can_mark(frames[0].shape[1], frames[0].shape[0]):
            yield path.name[:40], frames


def encode_and_decode(frames: list[np.ndarray], crf: int, folder: Path) -> list[np.ndarray]:
    """Encode frames as a video and return its decoded frames."""
    path = folder / "clip.mp4"
    path.unlink(missing_ok=True)
    with open_writer(path, frames[0].shape[1], frames[0].shape[0], RATE, options=EncodeOptions(crf=crf)) as writer:
        for k, frame in enumerate(frames):
            writer.write(frame, k / 25)
    return [frame.image for frame in read_frames(path)]


def select_voting_frames(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Return the frames that `mimaface inspect` looks at."""
    return frames[:: max(1, len(frames) // VOTING_FRAMES)]


def compute_lowest_psnr(frames: list[np.ndarray], marked: list[np.ndarray]) -> float:
    """Return the lowest PSNR (dB) of all frames."""
    errors = [np.mean((a.astype(np.float32) - b) ** 2) for a, b in zip(frames, marked, strict=True)]
    return float(10 * np.log10(255**2 / max(errors)))


@dataclass
class RobustnessCounts:
    """Counts over all clips.

    Attributes:
        clips: Clips.
        hits: Clips with the right identifier, by attack.
        single_frames: Clips whose mark one uncompressed frame shows.
        errors: Wrong identifiers, and marks detected in unmarked clips.
        unmarked: Unmarked clips.
    """

    clips: int = 0
    hits: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ATTACKS, 0))
    single_frames: int = 0
    errors: int = 0
    unmarked: int = 0


def attack_clip(frames: list[np.ndarray], identifier: int, counts: RobustnessCounts, folder: Path) -> str:
    """Mark a clip, apply all attacks, add to the counts; return PSNR and a symbol for each attack."""
    height, width = frames[0].shape[:2]
    marked = list(Marker(width, height, identifier).mark_frames(frame for frame in frames))
    symbols = []
    encoded = encode_and_decode(marked, 17, folder)
    for attack, (change, crf) in ATTACKS.items():
        if attack == FIRST_ATTACK:
            decoded = encoded
        else:
            decoded = encode_and_decode([change(frame) for frame in encoded], crf, folder)
        mark = detect_mark(select_voting_frames(decoded))
        is_right = mark is not None and mark.identifier == identifier
        counts.errors += mark is not None and not is_right
        counts.hits[attack] += is_right
        symbols.append("x" if is_right else "." if mark is None else "WRONG")
    mark = detect_mark(marked[len(marked) // 2 :][:1])
    counts.single_frames += mark is not None and mark.identifier == identifier
    unmarked = select_voting_frames(encode_and_decode(frames, 17, folder))
    for clip in (unmarked, [crop_frame(frame) for frame in unmarked]):
        counts.unmarked += 1
        counts.errors += detect_mark(clip) is not None
    return f"{width}x{height} PSNR {compute_lowest_psnr(frames, marked):.1f} dB  {' '.join(symbols)}"


def measure_robustness(folder: Path | None, limit: int, count: int) -> None:
    """Print the share of clips of `count` frames whose mark survives each attack, and the false detections."""
    rng = np.random.default_rng(0)
    counts = RobustnessCounts()
    with tempfile.TemporaryDirectory() as scratch:
        for name, frames in load_clips(folder, limit, count):
            counts.clips += 1
            line = attack_clip(frames, int(rng.integers(1 << 48)), counts, Path(scratch))
            print(f"{name:42} {line}", flush=True)
    clips = counts.clips
    for title, hits in {**counts.hits, "one frame alone, not compressed": counts.single_frames}.items():
        print(f"{title:32} {hits:4} of {clips} ({100 * hits / clips:.1f} %)")
    print(f"wrong or false: {counts.errors} of {clips * len(ATTACKS)} marked and {counts.unmarked} unmarked")


def generate_unmarked_images(folder: Path | None, count: int) -> Iterator[np.ndarray]:
    """Yield `count` images of noise, then up to `count` images of a folder or frames of synthetic clips."""
    rng = np.random.default_rng(1)
    for k in range(count):
        noise = rng.normal(rng.uniform(20, 230), rng.uniform(1, 60), (200 + k % 150, 260, 3))
        yield np.clip(noise if k % 2 else cv2.GaussianBlur(noise, (0, 0), 1 + k % 5), 0, 255).astype(np.uint8)
    if folder is None:
        for seed in range(count):
            yield next(make_clip(seed, 1))
    else:
        for path in islice(sorted(p for p in folder.rglob("*") if p.suffix in (".jpg", ".png")), count):
            yield read_image(path).rgb


def measure_false_detections(folder: Path | None, count: int) -> None:
    """Print how many marks are detected in unmarked images and noise."""
    images = detections = 0
    for image in generate_unmarked_images(folder, count):
        images += 1
        detections += detect_mark([image]) is not None
    print(f"marks detected in {images} unmarked images and noise: {detections}", flush=True)


def measure_marking_cost() -> None:
    """Print the milliseconds that marking a frame takes: wall time and processor time over several rounds."""
    for width, height in SIZES:
        frame = next(make_clip(3, 1, width, height))
        marker, wall_times, cpu_times = Marker(width, height, 1), [], []
        for _ in range(12):
            start, cpu_start = time.perf_counter(), time.process_time()
            marker.mark_frame(frame)
            wall_times.append(time.perf_counter() - start)
            cpu_times.append(time.process_time() - cpu_start)
        lowest, median, cpu = (1000 * value for value in (min(wall_times), np.median(wall_times), min(cpu_times)))
        print(
            f"marking {width}x{height}: minimum {lowest:.2f} ms per frame, median {median:.2f}, processor {cpu:.2f}",
            flush=True,
        )


def time_animation(output: Path, provenance: bool) -> tuple[float, float]:
    """Return wall and processor seconds of `animate` from the first frame to the written record."""
    starts: dict[str, tuple[float, float]] = {}

    def record_start(stage: str, done: int, total: int | None) -> None:
        starts.setdefault(stage, (time.perf_counter(), time.process_time()))

    options = AnimateOptions(engine="mesh", provenance=ProvenanceOptions(provenance))
    source, driver = EXAMPLES / "portrait.jpg", EXAMPLES / "talk.npz"
    animate(source, driver, output, options, overwrite=True, progress=record_start)
    start, cpu_start = starts["animating"]
    return time.perf_counter() - start, time.process_time() - cpu_start


def measure_animation_cost(rounds: int = 5) -> None:
    """Print the milliseconds per frame of `animate` with the mesh engine, with and without provenance.

    Both run in both orders. Processor time does not change with other load on the machine.
    """
    times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    frames = len(MotionTrack.load(EXAMPLES / "talk.npz"))
    with tempfile.TemporaryDirectory() as scratch:
        for provenance in [True, False, False, True] * (rounds // 2 + 1):
            times[provenance].append(time_animation(Path(scratch) / "a.mp4", provenance))
    for name, k in (("wall time", 0), ("processor time", 1)):
        # The first run of each warms up.
        marked, unmarked = (min(pair[k] for pair in times[provenance][1:]) / frames for provenance in (True, False))
        print(
            f"mesh engine, 512x512, encoded, {name}: {1000 * unmarked:.2f} ms per frame without provenance, "
            f"{1000 * marked:.2f} with: {100 * (1 - unmarked / marked):.1f} % of the frame rate"
        )


def main() -> None:
    """Run the requested measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="folder of clips and images (default: synthetic)")
    parser.add_argument("--clips", type=int, default=20, help="maximum number of clips (default: 20)")
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each clip (default: 3)")
    parser.add_argument("--unmarked", type=int, default=500, help="unmarked images of each kind (default: 500)")
    parser.add_argument("--only", choices=("robustness", "false", "cost"), help="only one of the measurements")
    options = parser.parse_args()
    if options.only in (None, "cost"):
        measure_marking_cost()
        measure_animation_cost()
    if options.only in (None, "false"):
        measure_false_detections(options.folder, options.unmarked)
    if options.only in (None, "robustness"):
        measure_robustness(options.folder, options.clips, round(options.seconds * 25))


if __name__ == "__main__":
    main()
