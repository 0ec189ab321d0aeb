"""Compare the time of N batch jobs over one driver with the time of rendering alone.

    python -m tests.benchmarks.batch [--jobs 20] [--workers N] [--size N]

Rendering alone calls the library's `animate` in this process, job by job, after a warm-up and with the driver's track
cached. The batch starts with an empty cache, so that its time includes starting the workers and extracting the
driver's motion once.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import PHOTO_SIDE, AnimateOptions
from mimaface_cli.cache import Cache

EXAMPLES = Path(__file__).parents[2] / "examples"
SOURCE, DRIVER = EXAMPLES / "portrait.jpg", EXAMPLES / "driver.mp4"


def run_batch(folder: Path, jobs: int, size: int, workers: int | None) -> float:
    """Return the seconds that `mimaface batch` takes for all jobs, with an empty cache."""
    rows = [f"{SOURCE},{DRIVER},{k}.mp4,{size}" for k in range(jobs)]
    (folder / "jobs.csv").write_text("source,driver,output,max-size\n" + "\n".join(rows) + "\n")
    worker_flags = ["--workers", str(workers)] if workers else []
    command = [sys.executable, "-m", "mimaface_cli", "batch", str(folder / "jobs.csv"), *worker_flags, "--quiet"]
    start = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | {"MIMAFACE_CACHE_DIR": str(folder / "cache")})
    return time.perf_counter() - start


def render_alone(folder: Path, numbers: Iterable[int], size: int) -> float:
    """Return the seconds of `animate` for some jobs in this process."""
    cache, options = Cache(folder / "alone_cache"), AnimateOptions(max_size=size)
    start = time.perf_counter()
    for k in numbers:
        animate(SOURCE, DRIVER, folder / f"alone{k}.mp4", options, cache=cache)
    return time.perf_counter() - start


def main() -> None:
    """Measure the batch between two halves of the rendering alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20, help="number of jobs (default: 20)")
    parser.add_argument("--workers", type=int, help="worker processes (default: as batch chooses)")
    parser.add_argument(
        "--size", type=int, default=PHOTO_SIDE, help="longest side of the results in pixels (default: as animate)"
    )
    arguments = parser.parse_args()
    jobs, size = arguments.jobs, arguments.size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        render_alone(folder, [-1], size)  # warm up; extract the driver's motion
        # One half before the batch and one after, so that a drift of the machine's speed favors neither.
        alone = render_alone(folder, range(jobs // 2), size)
        batch = run_batch(folder, jobs, size, arguments.workers)
        alone += render_alone(folder, range(jobs // 2, jobs), size)
    print(f"{jobs} jobs: batch {batch:.1f} s, rendering alone {alone:.1f} s, ratio {batch / alone:.2f}")


if __name__ == "__main__":
    main()
