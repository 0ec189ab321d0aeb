"""What a batch costs beyond its rendering: N jobs over one driver, against the sum of their rendering alone.

    python -m tests.benchmarks.batch [--jobs 20] [--size N]

Rendering alone: the library's animate in this process, warmed up, with the driver's track in the cache; the batch starts
with an empty cache, so that starting the worker and reading the driver once are in its time. One worker, same machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mimaface_cli.motion.cache import Cache
from mimaface_cli.reenact.animate import animate
from mimaface_cli.reenact.options import LONGEST_SIDE, AnimateOptions

EXAMPLES = Path(__file__).parents[2] / "examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--size", type=int, default=LONGEST_SIDE, help="longest side of the results (default: as animate has it)")
    asked = parser.parse_args()
    source, driver = EXAMPLES / "portrait.jpg", EXAMPLES / "driver.mp4"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [f"{source},{driver},{k}.mp4,{asked.size}" for k in range(asked.jobs)]
        (folder / "jobs.csv").write_text("source,driver,output,max-size\n" + "\n".join(rows) + "\n")
        command = [sys.executable, "-m", "mimaface_cli", "batch", str(folder / "jobs.csv"), "--workers", "1", "--quiet"]
        began = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | {"MIMAFACE_CACHE_DIR": str(folder / "cache")})
        batch = time.perf_counter() - began
        cache, options, alone = Cache(folder / "cache"), AnimateOptions(max_size=asked.size), 0.0
        for k in range(-1, asked.jobs):
            began = time.perf_counter()
            animate(source, driver, folder / f"alone{k}.mp4", options, cache=cache)
            alone += (time.perf_counter() - began) * (k >= 0)
        print(f"{asked.jobs} jobs: batch {batch:.1f} s, rendering alone {alone:.1f} s, {batch / alone:.2f} times")


if __name__ == "__main__":
    main()
