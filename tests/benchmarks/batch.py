"""What a batch costs beyond its rendering: N jobs over one driver, against the sum of their rendering alone.

    python -m tests.benchmarks.batch [--jobs 20] [--workers N] [--size N]

Rendering alone: the library's animate in this process, warmed up, one after the other, with the driver's track in the
cache; the batch starts with an empty cache, so that starting its workers and reading the driver once are in its time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import LONGEST_SIDE, AnimateOptions
from mimaface_cli.cache import Cache

EXAMPLES = Path(__file__).parents[2] / "examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--workers", type=int, help="default: as many as batch takes by itself")
    parser.add_argument(
        "--size", type=int, default=LONGEST_SIDE, help="longest side of the results (default: as animate has it)"
    )
    asked = parser.parse_args()
    source, driver = EXAMPLES / "portrait.jpg", EXAMPLES / "driver.mp4"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [f"{source},{driver},{k}.mp4,{asked.size}" for k in range(asked.jobs)]
        (folder / "jobs.csv").write_text("source,driver,output,max-size\n" + "\n".join(rows) + "\n")
        workers = ["--workers", str(asked.workers)] if asked.workers else []
        command = [sys.executable, "-m", "mimaface_cli", "batch", str(folder / "jobs.csv"), *workers, "--quiet"]
        cache, options = Cache(folder / "own"), AnimateOptions(max_size=asked.size)

        def render(numbers: range) -> float:
            began = time.perf_counter()
            for k in numbers:
                animate(source, driver, folder / f"alone{k}.mp4", options, cache=cache)
            return time.perf_counter() - began

        render(range(-1, 0))  # warm up; reads the driver
        # One half before the batch and one after: a machine whose speed drifts is no advantage to either.
        alone = render(range(0, asked.jobs // 2))
        began = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | {"MIMAFACE_CACHE_DIR": str(folder / "cache")})
        batch = time.perf_counter() - began
        alone += render(range(asked.jobs // 2, asked.jobs))
        print(f"{asked.jobs} jobs: batch {batch:.1f} s, rendering alone {alone:.1f} s, {batch / alone:.2f} times")


if __name__ == "__main__":
    main()
