"""Jobs of the soak benchmark: running them, and checking their results and errors."""

import csv
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
TEMPLATES = ("nod", "shake", "smile", "look_around", "talk")
MIMAFACE = [sys.executable, "-m", "mimaface_cli"]
MAX_REASON = 600  # characters of an error line


class SoakRun:
    """A set of jobs, its working folder, and the problems so far.

    Args:
        folder: Working folder.
        jobs: Number of jobs.
        seed: Random seed of the faults.
    """

    def __init__(self, folder: Path, jobs: int, seed: int):
        self.folder = folder
        self.rng = random.Random(seed)
        self.problems: list[str] = []
        self.env = os.environ | {"MIMAFACE_CACHE_DIR": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        self.drivers = [folder / f"{name}.mp4" for name in TEMPLATES]
        self.rows = [
            {
                "source": str(EXAMPLES / "portrait.jpg"),
                "driver": str(self.drivers[k % len(self.drivers)]),
                "output": f"{k:03d}.{('mp4', 'mkv', 'mov')[k % 3]}",
                "max-size": str(128 + 16 * (k % 4)),
                "duration": "0.5",
                "strength": f"{0.5 + k / jobs:.3f}",
            }
            for k in range(jobs)
        ]

    def run(
        self, *words: object, check: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a mimaface command; note a traceback, and with `check` a failure, as a problem."""
        command = [*MIMAFACE, *map(str, words)]
        process = subprocess.run(command, env=env or self.env, capture_output=True, encoding="utf-8", check=False)
        if check and process.returncode:
            title = " ".join(map(str, words))[:200]
            self.problems.append(f"{title}: exit code {process.returncode}: {process.stderr[-400:]}")
        if "Traceback" in process.stderr or "internal error" in process.stderr:
            self.problems.append(f"a traceback: {process.stderr[-600:]}")
        return process

    def start(self, command: list[str], env: dict[str, str]) -> subprocess.Popen[str]:
        """Start a process with captured output."""
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")

    def write_jobs(self, folder: Path) -> Path:
        """Write jobs.csv into a folder, which also receives the outputs; return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "jobs.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        return path

    def hash_results(self, folder: Path) -> dict[str, str]:
        """Return a digest of each existing result with its provenance record; a missing record changes the digest."""
        digests = {}
        for row in self.rows:
            path = folder / row["output"]
            if path.is_file():
                record_path = path.with_name(f"{path.name}.provenance.json")
                record = record_path.read_bytes() if record_path.is_file() else b"no record"
                digests[row["output"]] = hashlib.sha256(path.read_bytes() + record).hexdigest()
        return digests

    def check_results(self, name: str, folder: Path, reference: dict[str, str], start: float) -> None:
        """Compare the results with the reference, and note wrong results and stray files as a problem.

        Args:
            name: Name of the fault.
            folder: Folder of the results.
            reference: Digest of each output.
            start: When the fault began, in seconds of `time.time`.
        """
        digests = self.hash_results(folder)
        lost = [output for output, digest in reference.items() if digests.get(output) != digest]
        outputs = {row["output"] for row in self.rows} | {"jobs.csv", "jobs.csv.state"}
        records = {output + ".provenance.json" for output in outputs}
        names = sorted(path.name for path in folder.iterdir())
        stray = [path for path in names if path not in outputs | records and not path.endswith(".lock")]
        print(
            f"{name}: {len(reference) - len(lost)} of {len(reference)} right, {len(stray)} stray files, "
            f"{time.time() - start:.0f} s",
            flush=True,
        )
        if lost or stray:
            self.problems.append(f"{name}: wrong or lost {lost[:8]}, stray {stray[:8]}")

    def read_failure_reasons(self, process: subprocess.CompletedProcess[str]) -> list[str]:
        """Return the reasons of failed jobs from a batch's report; each must be one line."""
        try:
            jobs = json.loads(process.stdout)["jobs"]
        except (ValueError, KeyError, TypeError):
            self.problems.append(f"no report: {process.stderr[-300:]}")
            return []
        reasons = [reason for job in jobs if (reason := job.get("reason"))]
        self.problems += [
            f"not one line: {reason!r}" for reason in reasons if "\n" in reason or len(reason) > MAX_REASON
        ]
        return reasons
