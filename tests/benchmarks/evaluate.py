"""Compare the speed and memory of `evaluate` with decoding and face tracking alone.

    python -m tests.benchmarks.evaluate RESULT SOURCE DRIVER

The program measures two tasks over the result video, each in its own process: decoding with FaceTracker, and all
metrics of `evaluate` (with the driver's track cached, as after a first run). It prints frames per second of wall time
and of processor time (which other load on the machine does not change), peak memory, and the ratios.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.queues import Queue
from pathlib import Path

from mimaface_cli.cache import Cache
from mimaface_cli.evaluation.measure import measure
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.evaluation.video_pair import PairContext, load_driver_track
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.media.reader import read_frames


def track_faces(result: Path, pair: Pair, folder: str, results: Queue) -> None:
    """Decode a video and track its face; put frames per second, per processor second, and peak memory in MB."""
    start, cpu_start = time.perf_counter(), time.process_time()
    tracker, count = FaceTracker(), 0
    for frame in read_frames(result):
        tracker(frame.image, frame.pts)
        count += 1
    results.put((count / (time.perf_counter() - start), count / (time.process_time() - cpu_start), get_peak_memory()))
    tracker.close()


def evaluate_pair(result: Path, pair: Pair, folder: str, results: Queue) -> None:
    """Compute all metrics of a video; put frames per second, per processor second, and peak memory in MB."""
    context = PairContext(pair, cache=Cache(folder))
    load_driver_track(context)
    start, cpu_start = time.perf_counter(), time.process_time()
    count = measure(result, context)[0].frames
    results.put((count / (time.perf_counter() - start), count / (time.process_time() - cpu_start), get_peak_memory()))


def get_peak_memory() -> float:
    """Return this process's peak memory in MB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Measure both tasks alternately and print the best round of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path, help="video to evaluate")
    parser.add_argument("source", type=Path, help="source of the result")
    parser.add_argument("driver", type=Path, help="driver of the result")
    parser.add_argument("--rounds", type=int, default=2, help="measurements of each task (default: 2)")
    arguments = parser.parse_args()
    pair = Pair(arguments.source, arguments.driver, same=arguments.source == arguments.driver)
    context = multiprocessing.get_context("spawn")
    best: dict[str, tuple[float, ...]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for task in (track_faces, evaluate_pair) * arguments.rounds:
            results = context.Queue()
            process = context.Process(target=task, args=(arguments.result, pair, folder, results))
            process.start()
            measured = results.get()
            process.join()
            best[task.__name__] = tuple(map(max, best.get(task.__name__, measured), measured))
    for name, (rate, cpu_rate, peak) in best.items():
        print(f"{name:13} {rate:6.1f} frames/s, {cpu_rate:6.1f} frames per processor second, peak {peak:.0f} MB")
    rate, cpu_rate, _ = (
        evaluated / tracked for evaluated, tracked in zip(best["evaluate_pair"], best["track_faces"], strict=True)
    )
    print(f"ratio: wall time {rate:.2f}, processor time {cpu_rate:.2f}")


if __name__ == "__main__":
    main()
