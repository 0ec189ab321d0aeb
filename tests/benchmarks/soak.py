"""A night of bad luck: many jobs under kills, a full disk, a broken or read-only cache, wrong clocks, changing inputs.

    python -m tests.benchmarks.soak [--jobs 100] [--seed 0] [--folder DIR]

Every job is made once in peace; then all of them again under faults, in rounds that are started anew until nothing is
left to do. At the end every result must have the very bytes of the quiet one, every failure on the way must have been one
line, and no half file may lie about. Prints a line a fault; exit code 1 if anything is lost or wrong. The full disk and
the read-only cache need root on Linux (a tmpfs is mounted); without, they are left out and said so.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
TEMPLATES = ("nod", "shake", "smile", "look_around", "talk")
PYTHON = [sys.executable, "-m", "mimaface_cli"]


class Soak:
    """Where it happens and what was found."""

    def __init__(self, folder: Path, jobs: int, seed: int):
        self.folder, self.rng, self.wrong = folder, random.Random(seed), []
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

    def run(self, *words: object, check: bool = True, **more) -> subprocess.CompletedProcess:
        command = [*PYTHON, *map(str, words)]
        ran = subprocess.run(command, **{"env": self.env, "capture_output": True, "encoding": "utf-8"} | more)
        if check and ran.returncode:
            self.wrong.append(f"{' '.join(map(str, words))[:200]}: exit code {ran.returncode}: {ran.stderr[-400:]}")
        if "Traceback" in ran.stderr or "a fault of ours" in ran.stderr:
            self.wrong.append(f"a traceback: {ran.stderr[-600:]}")
        return ran

    def jobs_file(self, place: Path) -> Path:
        """The jobs as a CSV in a folder, their outputs beside it."""
        place.mkdir(parents=True, exist_ok=True)
        path = place / "jobs.csv"
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(self.rows[0]))
            table.writeheader()
            table.writerows(self.rows)
        return path

    def hashes(self, place: Path) -> dict[str, str]:
        """The bytes of each result that is there, and of its record: a result without one is not counted as right."""
        found = {}
        for row in self.rows:
            path = place / row["output"]
            if path.is_file():
                record = path.with_name(f"{path.name}.provenance.json")
                told = record.read_bytes() if record.is_file() else b"no record"
                found[row["output"]] = hashlib.sha256(path.read_bytes() + told).hexdigest()
        return found

    def judge(self, name: str, place: Path, wanted: dict[str, str], began: float) -> None:
        found = self.hashes(place)
        right = sum(found.get(output) == digest for output, digest in wanted.items())
        known = {row["output"] for row in self.rows} | {"jobs.csv", "jobs.csv.state"}
        records = {name + ".provenance.json" for name in known}
        odd = sorted(path.name for path in place.iterdir() if path.name not in known | records)
        lasting = [path for path in odd if not path.endswith(".lock")]
        print(
            f"{name}: {right} of {len(wanted)} right, {len(lasting)} files left behind, {time.time() - began:.0f} s",
            flush=True,
        )
        if right != len(wanted) or lasting:
            lost = [output for output, digest in wanted.items() if found.get(output) != digest]
            self.wrong.append(f"{name}: wrong or lost {lost[:8]}, left behind {lasting[:8]}")

    def report_lines(self, ran: subprocess.CompletedProcess) -> list[str]:
        """The reasons of failed jobs, each of which must be one line."""
        try:
            jobs = json.loads(ran.stdout)["jobs"]
        except (ValueError, KeyError, TypeError):
            self.wrong.append(f"no report: {ran.stderr[-300:]}")
            return []
        reasons = [job.get("reason") or "" for job in jobs]
        self.wrong += [f"not one line: {reason!r}" for reason in reasons if "\n" in reason or len(reason) > 600]
        return [reason for reason in reasons if reason]


def kills(soak: Soak, jobs: Path) -> str:
    """Kill -9 for the runner or one of its workers, two runners at a time, until the jobs are done."""
    killed = 0
    for _ in range(10 * len(soak.rows)):
        runs = [
            subprocess.Popen(
                [*PYTHON, "batch", str(jobs), "--workers", "1", "--retry", "1000", "-q"],
                env=soak.env,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(2)
        ]
        end = time.monotonic() + soak.rng.uniform(4, 16)
        while time.monotonic() < end and any(run.poll() is None for run in runs):
            time.sleep(0.05)
        if all(run.poll() is not None for run in runs):
            break
        for run in runs:
            workers = [int(pid) for pid in _children(run.pid)]
            victim = soak.rng.choice([run.pid, *workers])
            try:
                os.kill(victim, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
        harm_cache(soak)
        for run in runs:
            if soak.rng.random() < 0.5:
                run.kill()
        for run in runs:
            run.wait()
    return f"{killed} kills"


def _children(pid: int) -> list[str]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return path.read_text().split() if path.exists() else []


def harm_cache(soak: Soak) -> int:
    """Flip bytes in some kept tracks, cut others, and set their times to another century."""
    files = [path for path in (soak.folder / "cache").rglob("*") if path.is_file()]
    for path in soak.rng.sample(files, min(len(files), 3)):
        try:
            content = bytearray(path.read_bytes())
            how = soak.rng.random()
            if how < 0.4 and content:
                content[soak.rng.randrange(len(content))] ^= 0xFF
                path.write_bytes(content)
            elif how < 0.7:
                path.write_bytes(content[: len(content) // 2])
            else:
                moment = soak.rng.choice((0, 2**31, 4e9))
                os.utime(path, (moment, moment))
        except OSError:
            continue
    return len(files)


@contextmanager
def small_disk(place: Path, options: str) -> Iterator[bool]:
    """A tmpfs at a folder; whether it could be mounted."""
    place.mkdir(parents=True, exist_ok=True)
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True
    ).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", place], check=True)


def full_disk(soak: Soak, wanted: dict[str, str]) -> None:
    """The outputs' disk holds a third of them: those that fit are right, the others say one line, nothing half is left."""
    place, began = soak.folder / "full", time.time()
    size = sum((soak.folder / "quiet" / output).stat().st_size for output in wanted) // 3
    with small_disk(place, f"size={size}") as mounted:
        if not mounted:
            print("full disk: left out, no small disk could be mounted")
            return
        jobs, state = soak.jobs_file(place), soak.folder / "full.state"
        ran = soak.run("batch", jobs, "--state", state, "--workers", "2", "-q", "--json", check=False)
        reasons = soak.report_lines(ran)
        found = soak.hashes(place)
        bad = [output for output, digest in found.items() if digest != wanted[output]]
        odd = [
            p.name
            for p in place.iterdir()
            if p.name.removesuffix(".provenance.json") not in wanted and p.name != "jobs.csv"
        ]
        print(f"full disk: {len(found)} right, {len(reasons)} refused ({reasons[0] if reasons else ''}), "
              f"{time.time() - began:.0f} s", flush=True)  # fmt: skip
        if bad or odd or len(found) + len(reasons) != len(wanted) or ran.returncode != 6:
            soak.wrong.append(
                f"full disk: wrong {bad[:5]}, left {odd[:5]}, {len(found)} + {len(reasons)}, {ran.returncode}"
            )
    # With room again, the same state goes on where it stopped.
    jobs = soak.jobs_file(place)
    soak.run("batch", jobs, "--state", state, "--retry", "2", "--workers", "2", "-q")
    soak.judge("room again", place, wanted, began)


def read_only_cache(soak: Soak, wanted: dict[str, str]) -> None:
    """A cache that may be read and not written."""
    place, began = soak.folder / "readonly", time.time()
    with small_disk(soak.folder / "locked", "ro") as mounted:
        if not mounted:
            print("read-only cache: left out, no read-only disk could be mounted")
            return
        env = soak.env | {"MIMAFACE_CACHE_DIR": str(soak.folder / "locked")}
        soak.run("batch", soak.jobs_file(place), "--workers", "2", "-q", env=env)
    soak.judge("read-only cache", place, wanted, began)


def eight_at_once(soak: Soak, wanted: dict[str, str]) -> None:
    """Eight processes, one driver, one empty cache."""
    place, began = soak.folder / "eight", time.time()
    place.mkdir()
    env = soak.env | {"MIMAFACE_CACHE_DIR": str(soak.folder / "cache8")}
    same = [row for row in soak.rows if row["driver"] == soak.rows[0]["driver"]][:8]
    runs = [
        subprocess.Popen(
            [*PYTHON, "animate", row["source"], row["driver"], "-o", str(place / row["output"]), "--max-size",
             row["max-size"], "--duration", row["duration"], "--strength", row["strength"], "-q", "--json"],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        )
        for row in same
    ]  # fmt: skip
    said = [run.communicate() for run in runs]
    read = sum(not json.loads(out)["driver_cached"] for out, _ in said if out)
    soak.wrong += [f"eight at once: {err[-300:]}" for (_, err), run in zip(said, runs) if run.returncode]
    print(f"eight at once: the driver was read {read} time(s)")
    soak.judge("eight at once", place, {row["output"]: wanted[row["output"]] for row in same}, began)
    if read != 1:
        soak.wrong.append(f"eight at once: the driver was read {read} times")


def replaced_input(soak: Soak) -> None:
    """A driver is replaced while its job runs: the result is of the old one or of the new one, or the job says so."""
    place, began, outcomes = soak.folder / "replaced", time.time(), []
    for k in range(6):
        here = place / str(k)
        here.mkdir(parents=True)
        shutil.copy(soak.drivers[0], here / "d.mp4")
        (here / "jobs.csv").write_text(f"source,driver,output\n{EXAMPLES / 'portrait.jpg'},d.mp4,out.mp4\n")
        run = subprocess.Popen(
            [*PYTHON, "batch", str(here / "jobs.csv"), "-q", "--json"],
            env=soak.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip
        time.sleep(soak.rng.uniform(0.2, 5))
        shutil.copy(soak.drivers[1], here / "new.mp4")
        os.replace(here / "new.mp4", here / "d.mp4")
        out, err = run.communicate()
        if run.returncode == 6:
            reason = json.loads(out)["jobs"][0]["reason"]
            outcomes.append("told" if "was changed while" in reason else reason)
        else:
            outcomes.append("made")
            frames = json.loads(out)["jobs"][0]["result"]["frames"]
            if frames not in soak.frames:
                soak.wrong.append(f"replaced input: {frames} frames belong to neither driver")
    print(
        f"replaced inputs: {outcomes.count('told')} told, {outcomes.count('made')} before it, {time.time() - began:.0f} s"
    )
    soak.wrong += [f"replaced input: {outcome}" for outcome in outcomes if outcome not in ("told", "made")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work, new (default: a temporary folder)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(os.path.abspath(asked.folder or scratch))
        folder.mkdir(exist_ok=True)
        soak = Soak(folder, asked.jobs, asked.seed)
        soak.frames = set()
        for name, driver in zip(TEMPLATES, soak.drivers):
            made = soak.run(
                "animate", EXAMPLES / "portrait.jpg", EXAMPLES / f"{name}.npz", "-o", driver, "--max-size", "256",
                "--duration", "1" if name != "nod" else "0.8", "-q", "--json",
            )  # fmt: skip
            soak.frames.add(json.loads(made.stdout)["frames"])
        began = time.time()
        quiet = soak.jobs_file(folder / "quiet")
        soak.run("batch", quiet, "--workers", "2", "-q")
        wanted = soak.hashes(folder / "quiet")
        print(f"in peace: {len(wanted)} of {asked.jobs} made, {time.time() - began:.0f} s", flush=True)
        shutil.rmtree(folder / "cache")
        began = time.time()
        told = kills(soak, soak.jobs_file(folder / "kills"))
        soak.judge(f"{told}, a harmed cache, wrong clocks", folder / "kills", wanted, began)
        full_disk(soak, wanted)
        read_only_cache(soak, wanted)
        eight_at_once(soak, wanted)
        replaced_input(soak)
        for line in soak.wrong:
            print(f"WRONG: {line}")
        print(f"{len(soak.wrong)} things went wrong")
        return int(bool(soak.wrong) or len(wanted) != asked.jobs)


if __name__ == "__main__":
    sys.exit(main())
