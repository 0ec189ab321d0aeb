"""Run many jobs under faults: killed processes, full disks, damaged or read-only caches, wrong clocks, changing inputs.

    python -m tests.benchmarks.soak [--jobs 100] [--seed 0] [--folder DIR]

All jobs run once without faults, as the reference. Then they run again under each fault, and restart until nothing is
left to do. At the end, every result must equal the reference byte for byte, every error must have been one line, and no
partial file may remain. The program prints a line for each fault; the exit code is 1 if a result is lost or wrong. The
full disk and the read-only cache need root on Linux to mount a tmpfs; otherwise the program skips them and reports it.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.benchmarks.soak_jobs import EXAMPLES, MIMAFACE, TEMPLATES, SoakRun


def run_under_kills(soak: SoakRun, jobs_file: Path) -> int:
    """Run two batches at a time and kill (-9) them or their workers until all jobs are done; return the kills."""
    kills = 0
    for _ in range(10 * len(soak.rows)):
        command = [*MIMAFACE, "batch", str(jobs_file), "--workers", "1", "--retry", "1000", "-q"]
        batches = [subprocess.Popen(command, env=soak.env, stderr=subprocess.DEVNULL) for _ in range(2)]
        end = time.monotonic() + soak.rng.uniform(4, 16)
        while time.monotonic() < end and any(batch.poll() is None for batch in batches):
            time.sleep(0.05)
        if all(batch.poll() is not None for batch in batches):
            break
        for batch in batches:
            victim = soak.rng.choice([batch.pid, *_list_children(batch.pid)])
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                kills += 1
        damage_cache(soak)
        for batch in batches:
            if soak.rng.random() < 0.5:
                batch.kill()
        for batch in batches:
            batch.wait()
    return kills


def _list_children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def damage_cache(soak: SoakRun) -> None:
    """Flip a byte of some cached files, truncate others, or set their times to 1970, 2038 or 2096."""
    files = [path for path in (soak.folder / "cache").rglob("*") if path.is_file()]
    for path in soak.rng.sample(files, min(len(files), 3)):
        with suppress(OSError):
            content = bytearray(path.read_bytes())
            kind = soak.rng.random()
            if kind < 0.4 and content:
                content[soak.rng.randrange(len(content))] ^= 0xFF
                path.write_bytes(content)
            elif kind < 0.7:
                path.write_bytes(content[: len(content) // 2])
            else:
                moment = soak.rng.choice((0, 2**31, 4e9))
                os.utime(path, (moment, moment))


@contextmanager
def mount_tmpfs(folder: Path, options: str) -> Iterator[bool]:
    """Mount a tmpfs at a folder; yield whether it could be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", folder], check=True)


def fill_disk(soak: SoakRun, reference: dict[str, str]) -> None:
    """Write to a disk that holds a third of the outputs, then resume with room.

    Outputs that fit must be right, the other jobs must fail with one line, and no partial file may remain.
    """
    folder, start = soak.folder / "full", time.time()
    size = sum((soak.folder / "reference" / output).stat().st_size for output in reference) // 3
    with mount_tmpfs(folder, f"size={size}") as is_mounted:
        if not is_mounted:
            print("full disk: skipped, no tmpfs could be mounted")
            return
        jobs_file, state = soak.write_jobs(folder), soak.folder / "full.state"
        batch = soak.run("batch", jobs_file, "--state", state, "--workers", "2", "-q", "--json", check=False)
        reasons = soak.read_failure_reasons(batch)
        digests = soak.hash_results(folder)
        wrong = [output for output, digest in digests.items() if digest != reference[output]]
        stray = [
            path.name
            for path in folder.iterdir()
            if path.name.removesuffix(".provenance.json") not in reference and path.name != "jobs.csv"
        ]
        first = reasons[0] if reasons else ""
        counts = f"{len(digests)} right, {len(reasons)} refused"
        print(f"full disk: {counts} ({first}), {time.time() - start:.0f} s", flush=True)
        if wrong or stray or len(digests) + len(reasons) != len(reference) or batch.returncode != 6:
            soak.problems.append(
                f"full disk: wrong {wrong[:5]}, stray {stray[:5]}, {counts}, exit code {batch.returncode}"
            )
    jobs_file = soak.write_jobs(folder)
    soak.run("batch", jobs_file, "--state", state, "--retry", "2", "--workers", "2", "-q")
    soak.check_results("room again", folder, reference, start)


def use_read_only_cache(soak: SoakRun, reference: dict[str, str]) -> None:
    """Run all jobs with a cache folder that cannot be written."""
    folder, start = soak.folder / "readonly", time.time()
    with mount_tmpfs(soak.folder / "locked", "ro") as is_mounted:
        if not is_mounted:
            print("read-only cache: skipped, no read-only tmpfs could be mounted")
            return
        env = soak.env | {"MIMAFACE_CACHE_DIR": str(soak.folder / "locked")}
        soak.run("batch", soak.write_jobs(folder), "--workers", "2", "-q", env=env)
    soak.check_results("read-only cache", folder, reference, start)


def run_eight_processes(soak: SoakRun, reference: dict[str, str]) -> None:
    """Run eight processes with one driver and one empty cache; only one may extract the driver's motion."""
    folder, start = soak.folder / "eight", time.time()
    folder.mkdir()
    env = soak.env | {"MIMAFACE_CACHE_DIR": str(soak.folder / "cache8")}
    rows = [row for row in soak.rows if row["driver"] == soak.rows[0]["driver"]][:8]
    processes = []
    for row in rows:
        command = [*MIMAFACE, "animate", row["source"], row["driver"], "-o", str(folder / row["output"])]
        command += ["--max-size", row["max-size"], "--duration", row["duration"], "--strength", row["strength"]]
        processes.append(soak.start([*command, "-q", "--json"], env))
    outputs = [process.communicate() for process in processes]
    extractions = sum(not json.loads(stdout)["driver_cached"] for stdout, _ in outputs if stdout)
    for process, (_, stderr) in zip(processes, outputs, strict=True):
        if process.returncode:
            soak.problems.append(f"eight processes: {stderr[-300:]}")
    print(f"eight processes: the driver's motion was extracted {extractions} time(s)")
    expected = {row["output"]: reference[row["output"]] for row in rows}
    soak.check_results("eight processes", folder, expected, start)
    if extractions != 1:
        soak.problems.append(f"eight processes: the driver's motion was extracted {extractions} times")


def replace_inputs(soak: SoakRun, driver_frames: set[int]) -> None:
    """Replace a driver while its job runs: the result uses one of the two, or the job reports the change.

    Args:
        soak: The run.
        driver_frames: Frame counts of the drivers.
    """
    start, outcomes = time.time(), []
    for k in range(6):
        folder = soak.folder / "replaced" / str(k)
        folder.mkdir(parents=True)
        shutil.copy(soak.drivers[0], folder / "d.mp4")
        jobs_file = folder / "jobs.csv"
        jobs_file.write_text(f"source,driver,output\n{EXAMPLES / 'portrait.jpg'},d.mp4,out.mp4\n")
        process = soak.start([*MIMAFACE, "batch", str(jobs_file), "-q", "--json"], soak.env)
        time.sleep(soak.rng.uniform(0.2, 5))
        shutil.copy(soak.drivers[1], folder / "new.mp4")
        os.replace(folder / "new.mp4", folder / "d.mp4")
        stdout, stderr = process.communicate()
        if not stdout:
            outcomes.append(f"no report: {stderr[-300:]}")
            continue
        job = json.loads(stdout)["jobs"][0]
        if process.returncode == 6:
            outcomes.append("reported" if "changed while" in job["reason"] else job["reason"])
        else:
            outcomes.append("rendered")
            frames = job["result"]["frames"]
            if frames not in driver_frames:
                soak.problems.append(f"replaced input: {frames} frames belong to neither driver")
    print(
        f"replaced inputs: {outcomes.count('reported')} reported, {outcomes.count('rendered')} rendered before it, "
        f"{time.time() - start:.0f} s"
    )
    soak.problems += [f"replaced input: {outcome}" for outcome in outcomes if outcome not in ("reported", "rendered")]


def render_drivers(soak: SoakRun) -> set[int]:
    """Render the drivers' videos; return their frame counts."""
    frames = set()
    for name, driver in zip(TEMPLATES, soak.drivers, strict=True):
        duration = "1" if name != "nod" else "0.8"
        sources = EXAMPLES / "portrait.jpg", EXAMPLES / f"{name}.npz"
        flags = "--max-size", "256", "--duration", duration, "-q", "--json"
        frames.add(json.loads(soak.run("animate", *sources, "-o", driver, *flags).stdout)["frames"])
    return frames


def main() -> int:
    """Run the reference and all faults; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100, help="number of jobs (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the faults (default: 0)")
    parser.add_argument("--folder", type=Path, help="new working folder (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(os.path.abspath(arguments.folder or scratch))
        folder.mkdir(exist_ok=True)
        soak = SoakRun(folder, arguments.jobs, arguments.seed)
        driver_frames = render_drivers(soak)
        start = time.time()
        soak.run("batch", soak.write_jobs(folder / "reference"), "--workers", "2", "-q")
        reference = soak.hash_results(folder / "reference")
        print(f"reference: {len(reference)} of {arguments.jobs} rendered, {time.time() - start:.0f} s", flush=True)
        shutil.rmtree(folder / "cache")
        start = time.time()
        kills = run_under_kills(soak, soak.write_jobs(folder / "kills"))
        title = f"{kills} kills, a damaged cache, wrong clocks"
        soak.check_results(title, folder / "kills", reference, start)
        fill_disk(soak, reference)
        use_read_only_cache(soak, reference)
        run_eight_processes(soak, reference)
        replace_inputs(soak, driver_frames)
    for problem in soak.problems:
        print(f"PROBLEM: {problem}")
    print(f"{len(soak.problems)} problems")
    return int(bool(soak.problems) or len(reference) != arguments.jobs)


if __name__ == "__main__":
    sys.exit(main())
