"""`mimaface batch` with real processes, including processes that are killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.track import MotionTrack


def write_jobs(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, sorted({name for row in rows for name in row}))
        table.writeheader()
        table.writerows(rows)
    return path


def wait_for(get_value: Callable, seconds: float = 60):
    """Return the first true value of a function."""
    deadline = time.monotonic() + seconds
    while not (value := get_value()):
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.02)
    return value


def read_records(state: Path) -> list[dict]:
    records = []
    for path in state.glob("*.json"):
        try:
            records.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue
    return records


@pytest.fixture
def start(environment, tmp_path):
    """Start the real command; processes that still run at the end of the test are killed."""
    running = []

    def start_process(*words) -> subprocess.Popen:
        command = [sys.executable, "-m", "mimaface_cli", *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen(command, env=environment, cwd=tmp_path, **pipes))
        return running[-1]

    yield start_process
    for process in running:
        process.kill()
        process.communicate()


def test_batch_reports_done_failed_and_blocked_jobs(run_mimaface, sample, tmp_path):
    """Jobs that succeed, fail and depend on others, in the JSON, the events and the table."""
    (tmp_path / "jobs").mkdir()
    rows = [
        {"source": sample.portrait, "driver": "first.mp4", "output": "dependent.mp4", "max-size": "128"},
        {"source": sample.portrait, "driver": sample.driver, "output": "first.mp4", "region": "lips"},
        {"source": sample.portrait, "driver": sample.driver, "output": "frames/", "max-size": "128"},
        {"source": sample.portrait, "driver": "gone.mp4", "output": "never.mp4"},
        {"source": sample.portrait, "driver": "never.mp4", "output": "neither.mp4"},
    ]
    jobs = write_jobs(tmp_path / "jobs" / "jobs.csv", rows)
    result = run_mimaface("batch", jobs, "--json", "--progress", "json", "--workers", "2")
    assert result.returncode == 6, result.stderr
    values = json.loads(result.stdout)
    by_row = {job["row"]: job for job in values["jobs"]}
    assert [job["status"] for job in values["jobs"]] == ["done", "done", "done", "failed", "blocked"]
    assert (values["done"], values["failed"]) == (3, 2)
    assert by_row[5]["exit_code"] == 3 and "gone.mp4: no such file" in by_row[5]["reason"]
    assert by_row[2]["result"]["frames"] == 14 and "gone.mp4" in Path(by_row[5]["log"]).read_text()
    file_names = {path.name for path in (tmp_path / "jobs").iterdir()}
    results = {"first.mp4", "dependent.mp4", "frames"}
    assert file_names == {"jobs.csv", "jobs.csv.state", *results, *(f"{name}.provenance.json" for name in results)}
    assert len(list((tmp_path / "jobs" / "frames").iterdir())) == 14

    events = [json.loads(line) for line in result.stderr.splitlines()]  # every line is one JSON object
    assert {"progress", "job", "error"} == {event["event"] for event in events}
    assert {"row": 2, "status": "done"}.items() <= next(
        event for event in events if event["event"] == "job" and event["row"] == 2
    ).items()
    assert any(event.get("stage") == "animating" and event["row"] == 3 for event in events)
    assert events[-1] == {"event": "error", "code": 6, "text": events[-1]["text"]} and "row 5" in events[-1]["text"]
    assert "gone.mp4: no such file. Check the path. Logs are in" in events[-1]["text"]

    again = run_mimaface("batch", jobs, "--halt-on-error")
    assert again.returncode == 6 and again.stderr.splitlines()[-1].startswith("mimaface: 2 of 5 jobs are not done")
    assert "done in an earlier run" in again.stderr and "first.mp4" in again.stdout and "no such file" in again.stdout


@pytest.mark.slow
def test_killed_processes_and_parallel_runs_run_each_job_once(start, run_mimaface, sample, tmp_path):
    """After SIGKILL of a worker and of a run, every job is done once, with the bytes of an uninterrupted run."""
    track = MotionTrack.load(sample.track)
    resample_track(track, [k / 30 for k in range(100)]).save(tmp_path / "long.npz")
    names = [f"{k}.mp4" for k in range(4)]
    rows = [
        {"source": sample.portrait, "driver": "long.npz", "output": name, "strength": 1 + k / 10, "crf": 30}
        for k, name in enumerate(names)
    ]
    jobs, state = write_jobs(tmp_path / "jobs.csv", rows), tmp_path / "jobs.csv.state"

    def running():
        return [record for record in read_records(state) if record["status"] == "running"]

    def parts():
        return list(tmp_path.glob(".*.part.mp4"))

    alone = start("batch", jobs, "--workers", "1")
    wait_for(parts)
    first = running()[0]
    os.kill(int(first["worker"].split()[-1]), signal.SIGKILL)
    wait_for(lambda: [record for record in running() if record["output"] != first["output"]])
    wait_for(lambda: parts() and running())
    alone.kill()
    pid = int(running()[0]["worker"].split()[-1])
    wait_for(lambda: not is_alive(pid), 30)  # a worker without its parent cleans up and ends
    alone.communicate()

    both = [start("batch", jobs, "--workers", "1", "--json") for _ in range(2)]
    result = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], result
    run_outputs = [job["output"] for out, _ in result for job in json.loads(out)["jobs"] if job["ran_now"]]
    assert len(run_outputs) == len(set(run_outputs))  # no job ran twice
    assert all(record["status"] == "done" for record in read_records(state)) and not parts()
    attempts = {record["output"]: record["attempts"] for record in read_records(state)}
    assert attempts[first["output"]] == 2

    for row in rows:
        row["output"] = "quiet_" + row["output"]
    quiet = run_mimaface("batch", write_jobs(tmp_path / "quiet.csv", rows), "--quiet")
    assert quiet.returncode == 0 and not quiet.stdout and not quiet.stderr
    for name in names:
        assert (tmp_path / name).read_bytes() == (tmp_path / ("quiet_" + name)).read_bytes()


KILLER = """
import os, signal
replace = os.replace
def killed(source, target):
    is_first = str(target).endswith("frames") and not os.path.exists("killed")
    if is_first:
        open("killed", "x").close()
    if not (is_first and os.environ["KILLED"] == "before"):
        replace(source, target)
    if is_first:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = killed
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_image_sequence_keeps_its_record(run_mimaface, environment, sample, tmp_path, when):
    """A worker is killed just before and just after its images get their final name."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILLER)
    row = {"source": sample.portrait, "driver": sample.track, "output": "frames/%05d.png", "max-size": 200}
    jobs = write_jobs(tmp_path / "jobs.csv", [row])
    env = {"PYTHONPATH": f"{tmp_path / 'site'}:{environment['PYTHONPATH']}", "KILLED": when}
    result = run_mimaface("batch", jobs, "--json", env=env)
    assert (tmp_path / "killed").exists() and result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["jobs"][0]["attempts"] == 2
    inspected = json.loads(run_mimaface("inspect", "frames", "--json").stdout)
    assert inspected["record_matches_file"] and inspected["agree"] and len(list((tmp_path / "frames").iterdir())) == 14
    assert not list(tmp_path.glob(".*"))


def test_job_can_switch_off_provenance(run_mimaface, sample, tmp_path):
    rows = [
        {
            "source": sample.portrait,
            "driver": sample.track,
            "output": f"{result}.mp4",
            "max-size": 200,
            "provenance": result,
        }
        for result in ("true", "false")
    ]
    completed = run_mimaface("batch", write_jobs(tmp_path / "jobs.csv", rows), "--json")
    assert completed.returncode == 0, completed.stderr
    on, off = (job["result"]["provenance"] for job in json.loads(completed.stdout)["jobs"])
    assert on["on"] and off == {"on": False}
    assert {path.name for path in tmp_path.glob("*.provenance.json")} == {"true.mp4.provenance.json"}
    (tmp_path / "both.csv").write_text("source,driver,output,provenance,no-provenance\na.jpg,b.npz,o.mp4,yes,yes\n")
    completed = run_mimaface("batch", "both.csv")
    assert completed.returncode == 3 and "row 2: has both provenance and no-provenance" in completed.stderr


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[:1]
    except OSError:
        return False


def test_signal_ends_workers_without_partial_files(start, sample, tmp_path):
    jobs = write_jobs(tmp_path / "jobs.csv", [{"source": sample.portrait, "driver": sample.track, "output": "o.mp4"}])
    process = start("batch", jobs)
    wait_for(lambda: read_records(tmp_path / "jobs.csv.state"))
    pid = int(read_records(tmp_path / "jobs.csv.state")[0]["worker"].split()[-1])
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and err.splitlines()[-1].startswith("mimaface: terminated")
    assert not is_alive(pid) and not list(tmp_path.glob(".*part*"))


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("batch", "gone.csv"), 3, "gone.csv: no such file"),
        (("batch", "bad.csv"), 3, "bad.csv, row 1: unknown column 'regoin'. Did you mean region?"),
        (("batch", "worse.csv"), 3, "worse.csv, row 2: "),
        (("batch", "engine.csv"), 3, "engine.csv, row 2: Invalid value for '--engine': 'magic' is not one of"),
        (("batch", "good.csv", "--workers", "0"), 2, "--workers: 0 is out of range"),
        (("batch", "good.csv", "--timeout", "0"), 2, "--timeout: 0 is out of range"),
        (("batch", "good.csv", "--state", "good.csv"), 4, "good.csv: cannot be written"),
    ],
)
def test_bad_job_file_prints_one_error_line(run_command, tmp_path, words, code, text):
    (tmp_path / "bad.csv").write_text("source,driver,output,regoin\n")
    (tmp_path / "worse.csv").write_text("source,driver,output,crf\na,b,c,much\n")
    (tmp_path / "engine.csv").write_text("source,driver,output,engine\na,b,c,magic\n")
    (tmp_path / "good.csv").write_text("source,driver,output\na,b,c\n")
    result = run_command(*words)
    assert result.code == code and text in result.err and len(result.err.splitlines()) == 1 and not result.out


def test_timeout_stops_job(run_command, sample, tmp_path):
    jobs = write_jobs(tmp_path / "jobs.csv", [{"source": sample.portrait, "driver": sample.track, "output": "o.mp4"}])
    result = run_command("batch", jobs, "--timeout", "0.2", "--json")
    assert result.code == 6 and "took longer than 0.2 s" in json.loads(result.out)["jobs"][0]["reason"]


@pytest.fixture
def two_nodes(environment, monkeypatch):
    """Start a Ray cluster of two nodes on this machine."""
    pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
    from ray.cluster_utils import Cluster

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster, cluster.add_node(num_cpus=2)
    cluster.shutdown()


@pytest.mark.slow
def test_ray_cluster_reruns_job_of_lost_node(start, sample, tmp_path, two_nodes):
    cluster, second = two_nodes
    track = MotionTrack.load(sample.track)
    resample_track(track, [k / 30 for k in range(60)]).save(tmp_path / "long.npz")
    rows = [
        {"source": sample.portrait, "driver": "long.npz", "output": f"{k}.mp4", "max-size": "256"} for k in range(4)
    ]
    jobs, state = write_jobs(tmp_path / "jobs.csv", rows), tmp_path / "jobs.csv.state"
    process = start("batch", jobs, "--ray", cluster.address, "--json")
    wait_for(lambda: len([record for record in read_records(state) if record["status"] == "running"]) == 2)
    cluster.remove_node(second, allow_graceful=False)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    values = json.loads(out)["jobs"]
    assert [job["status"] for job in values] == ["done"] * 4
    assert sum(record["attempts"] for record in read_records(state)) == 5  # the lost job ran again
    assert {path.name for path in tmp_path.glob("*.mp4")} == {f"{k}.mp4" for k in range(4)}
    assert all(line.startswith(("row ", "jobs: ")) for line in err.splitlines()), err


def test_unreachable_cluster_prints_error_within_20_seconds(run_command, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
    (tmp_path / "jobs.csv").write_text("source,driver,output\na,b,c.mp4\n")
    for address, text in (
        ("127.0.0.1:1", "no answer from"),
        ("nowhere", "Give host:port"),
        ("a:b", "Give host:port"),
    ):
        start = time.monotonic()
        result = run_command("batch", "jobs.csv", "--ray", address)
        assert result.code == 3 and text in result.err and len(result.err.splitlines()) == 1
        assert time.monotonic() - start < 20
