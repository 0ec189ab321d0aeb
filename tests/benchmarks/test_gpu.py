"""The benchmark for a GPU: resumable, each measurement with its own limit, and complete at toy size on the CPU."""

import os
import subprocess
import sys
import time

import pytest
import torch

from tests.benchmarks import gpu
from tests.benchmarks.gpu_goldens import GOLDENS, measure_goldens
from tests.benchmarks.gpu_parts import CLIPS, Measurement, list_measurements
from tests.conftest import ROOT

CPU = torch.device("cpu")

# A worker without the imports of the real one: it takes the missing of three measurements.
WORKER = """
import json, os, sys, time
folder, kind = sys.argv[1:]
path = os.path.join(folder, "results.jsonl")
done = open(path).read() if os.path.exists(path) else ""
for name in ("a", "b", "c"):
    if f'"{name}"' in done:
        continue
    running = {"name": name, "limit": 1.5 if name == "b" else 60, "start": time.time()}
    open(os.path.join(folder, "running.json"), "w").write(json.dumps(running))
    if name == "b":
        time.sleep(60) if kind == "hangs" else os._exit(9)
    open(path, "a").write(json.dumps({"name": name, "figures": {}}) + "\\n")
"""


@pytest.mark.parametrize(
    ("kind", "error"), [("hangs", "took longer than 2 s"), ("crashes", "ended with exit code 9")], ids=str
)
def test_measurement_that_fails_does_not_stop_the_others(tmp_path, kind, error):
    gpu.supervise(tmp_path, [sys.executable, "-S", "-c", WORKER, str(tmp_path), kind], time.time() + 60)
    results = gpu.read_results(tmp_path)
    assert list(results) == ["a", "b", "c"] and results["b"]["error"] == error


def test_time_for_everything_ends_the_worker(tmp_path):
    start = time.time()
    gpu.supervise(tmp_path, [sys.executable, "-S", "-c", "import time; time.sleep(60)"], start + 0.3)
    assert time.time() - start < 30


@pytest.mark.skipif(os.name != "posix", reason="parents of POSIX systems")
def test_worker_ends_when_its_supervisor_is_killed(tmp_path):
    program = "import os, subprocess, sys\nsubprocess.run([sys.executable, '-c', sys.argv[1], str(os.getpid())])"
    worker = (
        "import pathlib, sys, time\nfrom tests.benchmarks.gpu import end_with_parent\n"
        "end_with_parent(int(sys.argv[1]))\n"
        f"begun = pathlib.Path({str(tmp_path)!r}) / 'begun'\nwhile True: begun.touch(); time.sleep(0.05)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", program, worker], cwd=ROOT)
    begun, end = tmp_path / "begun", time.time() + 60
    while not begun.exists():
        assert time.time() < end
        time.sleep(0.05)
    supervisor.kill()
    supervisor.wait()
    while time.time() - begun.stat().st_mtime < 2:
        assert time.time() < end, "the worker goes on"
        time.sleep(0.1)


def test_second_run_measures_only_what_is_missing(tmp_path):
    calls = []
    measurements = [Measurement(name, 9, lambda name=name: calls.append(name) or {"x": 1}) for name in ("a", "b")]
    (tmp_path / gpu.RESULTS).write_text('{"name": "a", "figures": {}}\n{"name": "b", "fig')
    gpu.work(tmp_path, measurements, CPU)
    assert calls == ["b"]


def test_error_of_a_measurement_is_a_result(tmp_path):
    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    gpu.work(tmp_path, [Measurement("a", 9, fail), Measurement("b", 9, dict)], CPU)
    results = gpu.read_results(tmp_path)
    assert results["a"]["error"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate" and "b" in results


def test_summary_compares_clips_with_the_release_and_the_aims():
    rows = {gpu.REFERENCE: 2.0, "clip balanced bf16 high 512": 0.25, "clip fast bf16 high 512": 0.1, gpu.LOW: 1.0}
    results = {
        name: {"figures": {"clip_seconds": 9.0, "frame_seconds": value, "frames_per_second": 1 / value, "peak_gb": 5.5}}
        for name, value in rows.items()
    }
    text = "\n".join(gpu.summarize(results | {"mini": {"error": "lost"}}))
    assert "balanced against release in fp32: 8.0 × (aim 6 ×)" in text
    assert "fast against release in fp32: 20.0 × (aim 15 ×)" in text
    assert "low memory mode: 5.5 GB (aim 6 GB)" in text and "mini: lost" in text


def test_limits_leave_time_for_the_most_valuable_measurements():
    """All of them may not fit in the worst case, but the aims of the issue must."""
    measurements = list_measurements(CPU, False)
    names = [measurement.name for measurement in measurements]
    assert len(set(names)) == len(names) >= len(CLIPS) + 8
    needed = {gpu.REFERENCE, gpu.LOW, *(name for _, name, _ in gpu.AIMS)}
    last = max(names.index(name) for name in needed)
    assert sum(measurement.limit for measurement in measurements[: last + 1]) <= 20 * 60


def test_goldens_pass_through_the_networks_of_a_device():
    golden = GOLDENS / "mim.json"
    exact, rounded = (measure_goldens(CPU, dtype, folder=golden)["mim"] for dtype in (torch.float32, torch.bfloat16))
    assert exact["passed"] and not rounded["passed"]
    assert exact["error"] < rounded["error"] < 1


@pytest.mark.slow
def test_toy_run_takes_every_measurement(tmp_path, capsys):
    assert gpu.main([str(tmp_path), "--toy"]) == 0, capsys.readouterr().out
    results = gpu.read_results(tmp_path)
    assert {"machine", "goldens fp32", "profile", "training image", "training video", "mini"} <= results.keys()
    assert all(row["passed"] for row in results["goldens fp32"]["figures"].values())
