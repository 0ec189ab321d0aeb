"""`mimaface batch` as users run it: real processes, killed at the worst moments."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
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


def wait_for(found, seconds: float = 60):
    until = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)
    return value


def records(state: Path) -> list[dict]:
    found = []
    for path in state.glob("*.json"):
        try:
            found.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue
    return found


@pytest.fixture
def begin(environment, tmp_path):
    """Start the real command and go on; what is still there at the end is killed."""
    running = []

    def start(*words) -> subprocess.Popen:
        command = [sys.executable, "-m", "mimaface_cli", *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen(command, env=environment, cwd=tmp_path, **pipes))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_jobs_of_all_kinds(run_mimaface, sample, tmp_path):
    """What works, what fails and why, what depends on another, and the reports of it."""
    (tmp_path / "night").mkdir()
    rows = [
        {"source": sample.portrait, "driver": "first.mp4", "output": "chained.mp4", "max-size": "128"},
        {"source": sample.portrait, "driver": sample.driver, "output": "first.mp4", "region": "lips"},
        {"source": sample.portrait, "driver": sample.driver, "output": "frames/", "max-size": "128"},
        {"source": sample.portrait, "driver": "gone.mp4", "output": "never.mp4"},
        {"source": sample.portrait, "driver": "never.mp4", "output": "neither.mp4"},
    ]
    jobs = write_jobs(tmp_path / "night" / "jobs.csv", rows)
    done = run_mimaface("batch", jobs, "--json", "--progress", "json", "--workers", "2")
    assert done.returncode == 6, done.stderr
    told = json.loads(done.stdout)
    by_row = {job["row"]: job for job in told["jobs"]}
    assert [job["status"] for job in told["jobs"]] == ["done", "done", "done", "failed", "blocked"]
    assert (told["done"], told["failed"]) == (3, 2)
    assert by_row[5]["exit_code"] == 3 and "gone.mp4: no such file" in by_row[5]["reason"]
    assert by_row[2]["result"]["frames"] == 14 and "gone.mp4" in Path(by_row[5]["log"]).read_text()
    made_files = {path.name for path in (tmp_path / "night").iterdir()}
    results = {"first.mp4", "chained.mp4", "frames"}
    assert made_files == {"jobs.csv", "jobs.csv.state", *results, *(f"{name}.provenance.json" for name in results)}
    assert len(list((tmp_path / "night" / "frames").iterdir())) == 14

    events = [json.loads(line) for line in done.stderr.splitlines()]  # every line is one object
    assert {"progress", "job", "error"} == {event["event"] for event in events}
    assert {"row": 2, "status": "done"}.items() <= next(
        e for e in events if e["event"] == "job" and e["row"] == 2
    ).items()
    assert any(event.get("stage") == "animating" and event["row"] == 3 for event in events)
    assert events[-1] == {"event": "error", "code": 6, "text": events[-1]["text"]} and "row 5" in events[-1]["text"]

    again = run_mimaface("batch", jobs, "--halt-on-error")
    assert again.returncode == 6 and again.stderr.splitlines()[-1].startswith("mimaface: 2 of 5 jobs are not done")
    assert "done before" in again.stderr and "first.mp4" in again.stdout and "no such file" in again.stdout


def test_killed_worker_killed_run_and_two_runs_at_once(begin, run_mimaface, sample, tmp_path):
    """Kill -9 wherever it hurts: every job is done once more or not at all, and the bytes are those of a quiet run."""
    track = MotionTrack.load(sample.track)
    resample_track(track, [k / 30 for k in range(100)]).save(tmp_path / "long.npz")
    names = [f"{k}.mp4" for k in range(4)]
    rows = [
        {"source": sample.portrait, "driver": "long.npz", "output": name, "strength": 1 + k / 10, "crf": 30}
        for k, name in enumerate(names)
    ]
    jobs, state = write_jobs(tmp_path / "jobs.csv", rows), tmp_path / "jobs.csv.state"
    running = lambda: [record for record in records(state) if record["status"] == "running"]  # noqa: E731
    parts = lambda: list(tmp_path.glob(".*.part.mp4"))  # noqa: E731
    alone = begin("batch", jobs, "--workers", "1")
    wait_for(parts)
    first = running()[0]
    os.kill(int(first["worker"].split()[-1]), signal.SIGKILL)
    wait_for(lambda: [r for r in running() if r["output"] != first["output"]])
    wait_for(lambda: parts() and running())
    alone.kill()
    pid = int(running()[0]["worker"].split()[-1])
    wait_for(lambda: not alive(pid), 30)  # who lost his master ends, and cleans up
    alone.communicate()

    both = [begin("batch", jobs, "--workers", "1", "--json") for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    made_now = [job["output"] for out, _ in said for job in json.loads(out)["jobs"] if job["made_now"]]
    assert len(made_now) == len(set(made_now))  # nothing twice
    assert all(record["status"] == "done" for record in records(state)) and not parts()
    attempts = {record["output"]: record["attempts"] for record in records(state)}
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
    first = str(target).endswith("frames") and not os.path.exists("killed")
    if first:
        open("killed", "x").close()
    if not (first and os.environ["KILLED"] == "before"):
        replace(source, target)
    if first:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = killed
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_numbered_pictures_are_never_done_without_their_record(run_mimaface, environment, sample, tmp_path, when):
    """A worker is killed just before and just after its pictures get their name."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILLER)
    row = {"source": sample.portrait, "driver": sample.track, "output": "frames/%05d.png", "max-size": 200}
    jobs = write_jobs(tmp_path / "jobs.csv", [row])
    env = {"PYTHONPATH": f"{tmp_path / 'site'}:{environment['PYTHONPATH']}", "KILLED": when}
    done = run_mimaface("batch", jobs, "--json", env=env)
    assert (tmp_path / "killed").exists() and done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["jobs"][0]["attempts"] == 2
    seen = json.loads(run_mimaface("inspect", "frames", "--json").stdout)
    assert seen["record_matches_file"] and seen["agree"] and len(list((tmp_path / "frames").iterdir())) == 14
    assert not list(tmp_path.glob(".*"))


def test_provenance_is_a_column(run_mimaface, sample, tmp_path):
    rows = [
        {
            "source": sample.portrait,
            "driver": sample.track,
            "output": f"{said}.mp4",
            "max-size": 200,
            "provenance": said,
        }
        for said in ("true", "false")
    ]
    done = run_mimaface("batch", write_jobs(tmp_path / "jobs.csv", rows), "--json")
    assert done.returncode == 0, done.stderr
    on, off = (job["result"]["provenance"] for job in json.loads(done.stdout)["jobs"])
    assert on["on"] and off == {"on": False}
    assert {path.name for path in tmp_path.glob("*.provenance.json")} == {"true.mp4.provenance.json"}
    (tmp_path / "both.csv").write_text("source,driver,output,provenance,no-provenance\na.jpg,b.npz,o.mp4,yes,yes\n")
    done = run_mimaface("batch", "both.csv")
    assert done.returncode == 3 and "row 2: says both provenance and no-provenance" in done.stderr


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[:1]
    except OSError:
        return False


def test_a_signal_ends_workers_and_leaves_nothing_half(begin, sample, tmp_path):
    jobs = write_jobs(tmp_path / "jobs.csv", [{"source": sample.portrait, "driver": sample.track, "output": "o.mp4"}])
    process = begin("batch", jobs)
    wait_for(lambda: records(tmp_path / "jobs.csv.state"))
    pid = int(records(tmp_path / "jobs.csv.state")[0]["worker"].split()[-1])
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and err.splitlines()[-1].startswith("mimaface: asked to end")
    assert not alive(pid) and not list(tmp_path.glob(".*part*"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("batch", "gone.csv"), 3, "gone.csv: no such file"),
        (("batch", "bad.csv"), 3, "bad.csv, row 1: unknown column 'regoin'; did you mean region?"),
        (("batch", "worse.csv"), 3, "worse.csv, row 2: "),
        (("batch", "good.csv", "--workers", "0"), 2, "--workers 0"),
        (("batch", "good.csv", "--timeout", "0"), 2, "--timeout 0"),
        (("batch", "good.csv", "--state", "good.csv"), 4, "good.csv: cannot be written"),
    ],
)
def test_bad_words_get_one_line(run_command, tmp_path, words, code, said):
    (tmp_path / "bad.csv").write_text("source,driver,output,regoin\n")
    (tmp_path / "worse.csv").write_text("source,driver,output,crf\na,b,c,much\n")
    (tmp_path / "good.csv").write_text("source,driver,output\na,b,c\n")
    told = run_command(*words)
    assert told.code == code and said in told.err and len(told.err.splitlines()) == 1 and not told.out


def test_a_job_that_takes_too_long_is_ended(run_command, sample, tmp_path):
    jobs = write_jobs(tmp_path / "jobs.csv", [{"source": sample.portrait, "driver": sample.track, "output": "o.mp4"}])
    told = run_command("batch", jobs, "--timeout", "0.2", "--json")
    assert told.code == 6 and "took longer than 0.2 s" in json.loads(told.out)["jobs"][0]["reason"]


@pytest.fixture
def two_nodes(environment, monkeypatch):
    """A Ray cluster of two nodes on this machine."""
    pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
    from ray.cluster_utils import Cluster

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster, cluster.add_node(num_cpus=2)
    cluster.shutdown()


def test_a_ray_cluster_that_loses_a_node(begin, sample, tmp_path, two_nodes):
    cluster, second = two_nodes
    track = MotionTrack.load(sample.track)
    resample_track(track, [k / 30 for k in range(60)]).save(tmp_path / "long.npz")
    rows = [
        {"source": sample.portrait, "driver": "long.npz", "output": f"{k}.mp4", "max-size": "256"} for k in range(4)
    ]
    jobs, state = write_jobs(tmp_path / "jobs.csv", rows), tmp_path / "jobs.csv.state"
    process = begin("batch", jobs, "--ray", cluster.address, "--json")
    wait_for(lambda: len([record for record in records(state) if record["status"] == "running"]) == 2)
    cluster.remove_node(second, allow_graceful=False)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    told = json.loads(out)["jobs"]
    assert [job["status"] for job in told] == ["done"] * 4
    assert sum(record["attempts"] for record in records(state)) == 5  # the one that was lost, again
    assert {path.name for path in tmp_path.glob("*.mp4")} == {f"{k}.mp4" for k in range(4)}
    assert all(line.startswith(("row ", "jobs: ")) for line in err.splitlines()), err


def test_a_cluster_that_is_not_there_is_told_soon(run_command, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
    (tmp_path / "jobs.csv").write_text("source,driver,output\na,b,c.mp4\n")
    for address, said in (
        ("127.0.0.1:1", "nobody answers there"),
        ("nowhere", "give host:port"),
        ("a:b", "give host:port"),
    ):
        began = time.monotonic()
        told = run_command("batch", "jobs.csv", "--ray", address)
        assert told.code == 3 and said in told.err and len(told.err.splitlines()) == 1
        assert time.monotonic() - began < 20
