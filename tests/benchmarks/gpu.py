"""Measure everything that needs a GPU, in at most 20 minutes: goldens, clips, a profile, training, the small model.

    python -m tests.benchmarks.gpu OUT [--minutes 20] [--only TEXT] [--toy]

OUT/results.jsonl gets one line for each measurement, the most valuable first. Every measurement has its own time limit,
and runs in a process of its own from the one before if that one crashed or took too long. A second run with the same
OUT measures what is missing. Without a GPU, and with --toy, all sizes are those of a toy: the program then only shows
that it works.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import diffusers
import torch

from mimaface_cli.engines.diffusion.device import find_accelerator, release_memory
from tests.benchmarks.gpu_parts import Measurement, list_measurements

RESULTS, RUNNING = "results.jsonl", "running.json"
START_LIMIT = 120.0  # seconds until a process has begun its first measurement
POLL = 0.2  # seconds between looks at the process
AIMS = (
    ("balanced against release in fp32", "clip balanced bf16 high 512", 6.0),
    ("fast against release in fp32", "clip fast bf16 high 512", 15.0),
    ("fast compiled against release in fp32", "clip fast bf16 high compiled 512", 15.0),
)
REFERENCE, LOW = "clip release fp32 high 512", "clip release bf16 low 512"


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the finished measurements by name; a line that was cut off is left out."""
    results = {}
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / RESULTS).read_text().splitlines():
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                results[row["name"]] = row
    return results


def write_result(folder: Path, row: dict[str, Any]) -> None:
    """Append a line to the results, and show it."""
    with (folder / RESULTS).open("a") as file:
        file.write(json.dumps(row) + "\n")
    shown = row.get("error") or json.dumps(row.get("figures"))
    print(f"{row['name']}: {shown[:300]}", flush=True)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return card, versions and date."""
    card = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    return {
        "device": card.name if card else str(device),
        "memory_gb": round(card.total_memory / 1e9, 1) if card else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def work(folder: Path, measurements: list[Measurement], device: torch.device) -> None:
    """Take the missing measurements, one after the other."""
    finished = read_results(folder)
    for measurement in measurements:
        if measurement.name in finished:
            continue
        running = {"name": measurement.name, "limit": measurement.limit, "start": time.time()}
        (folder / RUNNING).write_text(json.dumps(running))
        start = time.perf_counter()
        try:
            row: dict[str, Any] = {"figures": measurement.run()}
        except Exception as error:  # the others must still run
            row = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        write_result(folder, {"name": measurement.name, **row, "seconds": round(time.perf_counter() - start, 1)})
        torch.compiler.reset()
        release_memory(device)


def end_with_parent(parent: int) -> None:
    """End this process soon after its supervisor was killed: two workers on one card would measure each other."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def supervise(folder: Path, command: list[str], end: float) -> None:
    """Run the worker again and again until it has finished or the time is over; end what takes too long.

    Args:
        folder: Folder of the results.
        command: Command line of the worker.
        end: Time at which everything ends, in seconds since the epoch.
    """
    while time.time() < end:
        (folder / RUNNING).unlink(missing_ok=True)
        started = time.time()
        process = subprocess.Popen(command)
        problem = None
        try:
            while process.poll() is None and problem is None:
                time.sleep(POLL)
                running = read_running(folder) or {"name": "start", "limit": START_LIMIT, "start": started}
                if time.time() > end:
                    return
                if time.time() - running["start"] > running["limit"]:
                    problem = f"took longer than {running['limit']:.0f} s"
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        if process.returncode == 0:
            return
        running = read_running(folder)
        if running is None:
            raise SystemExit(f"the measurements did not start (exit code {process.returncode})")
        if running["name"] not in read_results(folder):
            reason = problem or f"ended with exit code {process.returncode}"
            write_result(folder, {"name": running["name"], "error": reason})


def read_running(folder: Path) -> dict[str, Any] | None:
    """Return the measurement in progress, or None."""
    try:
        return json.loads((folder / RUNNING).read_text())
    except (OSError, ValueError):
        return None


def summarize(results: dict[str, dict[str, Any]]) -> list[str]:
    """Return a table of the clips, and how the aims were met."""
    clips = {name: row["figures"] for name, row in results.items() if name.startswith("clip ") and "figures" in row}
    reference = clips.get(REFERENCE, {}).get("frame_seconds")
    lines = [f"{'clip':46} s/clip  s/frame  frames/s  peak GB  speedup"]
    for name, row in clips.items():
        speedup = f"{reference / row['frame_seconds']:7.2f}" if reference else "      -"
        peak = "      -" if row["peak_gb"] is None else f"{row['peak_gb']:7.2f}"
        lines.append(
            f"{name.removeprefix('clip '):46} {row['clip_seconds']:6.2f} {row['frame_seconds']:8.3f} "
            f"{row['frames_per_second']:9.2f}  {peak}  {speedup}"
        )
    for text, name, aim in AIMS:
        if reference and name in clips:
            speedup = reference / clips[name]["frame_seconds"]
            lines.append(f"{text}: {speedup:.1f} × (aim {aim:g} ×)")
    if clips.get(LOW, {}).get("peak_gb"):
        lines.append(f"low memory mode: {clips[LOW]['peak_gb']} GB (aim 6 GB)")
    lines += [f"{name}: {row['error']}" for name, row in results.items() if "error" in row]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Take the measurements that are missing in a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=20, help="time for everything (default: 20)")
    parser.add_argument("--only", default="", help="measurements whose name contains this text")
    parser.add_argument("--toy", action="store_true", help="toy sizes, as without a GPU")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    end = time.time() + 60 * options.minutes
    options.folder.mkdir(parents=True, exist_ok=True)
    accelerator = find_accelerator()
    device = accelerator if accelerator is not None and accelerator.type == "cuda" else torch.device("cpu")
    measurements = list_measurements(device, options.toy or device.type == "cpu")
    measurements = [measurement for measurement in measurements if options.only in measurement.name]
    if options.worker:
        end_with_parent(os.getppid())
        work(options.folder, measurements, device)
        return 0
    if "machine" not in read_results(options.folder):
        write_result(options.folder, {"name": "machine", "figures": describe_machine(device)})
    command = [sys.executable, "-m", "tests.benchmarks.gpu", str(options.folder), "--only", options.only, "--worker"]
    supervise(options.folder, command + ["--toy"] * options.toy, end)
    results = read_results(options.folder)
    print("\n".join(summarize(results)))
    missing = [measurement.name for measurement in measurements if measurement.name not in results]
    if missing:
        print(f"{len(missing)} measurements are missing, the next is {missing[0]!r}: run the command again")
    return 1 if missing or any("error" in row for row in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
