"""How fast and how lean `evaluate` is, against bare decoding and face tracking in the same run.

    python -m tests.benchmarks.evaluate RESULT SOURCE DRIVER

Prints frames a second of decoding + FaceTracker over the result, of measuring it (the driver's track kept, as after a
first run), both by the clock and by processor time (which a busy machine does not blur), their ratios, and the peak
memory of both, each in a process of its own.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

from mimaface_cli.cache import Cache
from mimaface_cli.evaluation.measure import measure
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.evaluation.video_pair import PairContext, load_driver_track
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.media.reader import read_frames


def track(result: Path, pair: Pair, folder: str, out) -> None:
    began, busy = time.perf_counter(), time.process_time()
    follower, count = FaceTracker(), 0
    for frame in read_frames(result):
        follower(frame.image, frame.pts)
        count += 1
    out.put((count / (time.perf_counter() - began), count / (time.process_time() - busy), _peak()))


def judge(result: Path, pair: Pair, folder: str, out) -> None:
    context = PairContext(pair, cache=Cache(folder))
    load_driver_track(context)
    began, busy = time.perf_counter(), time.process_time()
    figures, _ = measure(result, context)
    out.put((figures.frames / (time.perf_counter() - began), figures.frames / (time.process_time() - busy), _peak()))


def _peak() -> float:
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("driver", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    pair = Pair(given.source, given.driver, same=given.source == given.driver)
    context, best = multiprocessing.get_context("spawn"), {}
    with tempfile.TemporaryDirectory() as folder:
        for work in (track, judge) * given.rounds:
            out = context.Queue()
            process = context.Process(target=work, args=(given.result, pair, folder, out))
            process.start()
            measured = out.get()
            process.join()
            best[work.__name__] = tuple(map(max, best.get(work.__name__, measured), measured))
    for name, (rate, busy, peak) in best.items():
        print(f"{name:6} {rate:6.1f} frames a second, {busy:6.1f} a second of processor time, peak {peak:.0f} MB")
    rate, busy, _ = (judged / tracked for judged, tracked in zip(best["judge"], best["track"], strict=True))
    print(f"ratio {rate:.2f}, of processor time {busy:.2f}")


if __name__ == "__main__":
    main()
