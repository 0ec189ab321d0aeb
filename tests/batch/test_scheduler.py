"""The scheduler and the job records with fake workers, which reach states that real workers are too slow for."""

import threading
import time
from dataclasses import replace

import pytest

from mimaface_cli.batch.batch_options import BatchOptions
from mimaface_cli.batch.job_file import read_jobs
from mimaface_cli.batch.job_run import CommandOutcome, JobReply, run_job
from mimaface_cli.batch.job_state import DONE, FAILED, RUNNING, JobRecord, StateFolder, file_stamp
from mimaface_cli.batch.scheduler import NoCapacityError, run_batch
from mimaface_cli.batch.worker import WorkerDiedError


class SilentObserver:
    def on_outcome(self, outcome): ...

    def on_tick(self, done, total, stages): ...


class FakeWorker:
    """Runs a function of the test in place of animate, with the real records and locks."""

    def __init__(self, state, jobs, run):
        self.state, self.jobs, self.run = state, {job.id: job for job in jobs}, run

    def run_task(self, task, progress, timeout=None):
        progress("animating", 1, 1)
        return run_job(self.state, self.jobs[task["job"]["id"]], task["budget"], task["skip_existing"], self.run)

    def stop(self): ...


@pytest.fixture
def batch(tmp_path):
    """Run the jobs of a CSV text with a function in place of animate."""

    def run_jobs(text, run, state=None, **options):
        path = tmp_path / f"jobs-{threading.get_ident()}.csv"
        path.write_text("source,driver,output\n" + text)
        jobs = read_jobs(path, {"overwrite": True}, lambda words: None)
        state = state or StateFolder(tmp_path / "state")

        def write(words, log):
            code = run(words)
            if code == 0:
                (tmp_path / words[0].removeprefix("--output=")).write_text("rendered")
            return CommandOutcome(code, f"code {code}" if code else "", {"frames": 1})

        outcomes = run_batch(
            jobs, state, lambda number: FakeWorker(state, jobs, write), BatchOptions(**options), SilentObserver()
        )
        return {outcome.job.output: outcome for outcome in outcomes}

    return run_jobs


def test_many_workers_run_each_job_once(batch):
    commands, lock = [], threading.Lock()

    def run(words):
        with lock:
            commands.append(words[0])
        time.sleep(0.01)
        return 0

    text = "".join(f"s.jpg,d{k % 3}.mp4,o{k}.mp4\n" for k in range(30))
    outcomes = batch(text, run, workers=6)
    assert sorted(commands) == sorted(f"--output=o{k}.mp4" for k in range(30))
    assert all(outcome.status == DONE and outcome.reply.is_new for outcome in outcomes.values())
    again = batch(text, run, workers=6)
    assert len(commands) == 30 and not any(outcome.reply.is_new for outcome in again.values())


def test_two_runs_of_a_batch_run_each_job_once(batch, tmp_path):
    commands, lock, results = [], threading.Lock(), []

    def run(words):
        with lock:
            commands.append(words[0])
        time.sleep(0.05)
        return 0

    text = "".join(f"s.jpg,d.mp4,o{k}.mp4\n" for k in range(12))
    runs = [threading.Thread(target=lambda: results.append(batch(text, run, workers=2))) for _ in range(2)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join(30)
    assert len(commands) == len(set(commands)) == 12
    assert all(outcome.status == DONE for result in results for outcome in result.values()) and len(results) == 2


def test_failed_jobs_are_retried_and_block_dependents(batch):
    attempts = {}

    def run(words):
        attempts[words[0]] = attempts.get(words[0], 0) + 1
        return 0 if words[0] == "--output=b.mp4" and attempts[words[0]] == 3 else 3

    text = "s.jpg,d.mp4,a.mp4\ns.jpg,d.mp4,b.mp4\ns.jpg,a.mp4,c.mp4\n"
    outcomes = batch(text, run, retry=2)
    assert attempts == {"--output=a.mp4": 3, "--output=b.mp4": 3}
    assert (outcomes["a.mp4"].status, outcomes["b.mp4"].status, outcomes["c.mp4"].status) == (FAILED, DONE, "blocked")
    assert outcomes["a.mp4"].reply.reason == "code 3" and "row 2, which failed" in outcomes["c.mp4"].reply.reason
    batch(text, run)
    assert attempts == {"--output=a.mp4": 4, "--output=b.mp4": 3}  # a later run retries the failed job only


def test_halt_on_error_starts_no_further_job(batch):
    outcomes = batch("".join(f"s.jpg,d.mp4,o{k}.mp4\n" for k in range(5)), lambda words: 4, halt_on_error=True)
    assert [outcome.status for outcome in outcomes.values()] == [FAILED] + 4 * ["not started"]


def test_skip_existing_keeps_file(batch, tmp_path):
    (tmp_path / "o.mp4").write_text("existing")
    assert batch("s.jpg,d.mp4,o.mp4\n", lambda words: 0, skip_existing=True)["o.mp4"].status == "skipped"
    assert (tmp_path / "o.mp4").read_text() == "existing"


@pytest.mark.parametrize(("deaths", "retry", "status"), [(1, 0, DONE), (2, 0, FAILED), (2, 1, DONE)])
def test_first_worker_death_costs_no_attempt(tmp_path, deaths, retry, status):
    (tmp_path / "jobs.csv").write_text("source,driver,output\ns,d,o.mp4\n")
    jobs = read_jobs(tmp_path / "jobs.csv", {}, lambda words: None)
    state = StateFolder(tmp_path / "state")
    remaining_deaths = [deaths]

    class DyingWorker(FakeWorker):
        def run_task(self, task, progress, timeout=None):
            if remaining_deaths[0]:
                remaining_deaths[0] -= 1
                record = self.state.load_record(jobs[0].id)
                self.state.save_record(
                    jobs[0].id, JobRecord(RUNNING, (record.attempts if record else 0) + 1, wrote_output=True)
                )
                raise WorkerDiedError("its worker was ended by SIGKILL")
            return super().run_task(task, progress, timeout)

    def write(words, log):
        (tmp_path / "o.mp4").write_text("rendered")
        return CommandOutcome(0, "", {})

    options = BatchOptions(retry=retry)
    outcome = run_batch(jobs, state, lambda number: DyingWorker(state, jobs, write), options, SilentObserver())[0]
    assert outcome.status == status
    if status == FAILED:
        assert "SIGKILL" in outcome.reply.reason and state.load_record(jobs[0].id).status == FAILED


def test_batch_finishes_when_cluster_is_full(batch, tmp_path):
    (tmp_path / "jobs.csv").write_text("source,driver,output\ns,d,a.mp4\ns,d,b.mp4\n")
    jobs = read_jobs(tmp_path / "jobs.csv", {}, lambda words: None)
    state, refused = StateFolder(tmp_path / "state"), []

    def start(number):
        if len(refused) < 3:
            refused.append(number)
            raise NoCapacityError
        return FakeWorker(state, jobs, lambda words, log: CommandOutcome(4, "no", None))

    assert [outcome.status for outcome in run_batch(jobs, state, start, BatchOptions(3), SilentObserver())] == [
        FAILED,
        FAILED,
    ]


def test_changed_input_fails_job(batch, tmp_path):
    (tmp_path / "s.jpg").write_text("one")
    assert batch("s.jpg,d.mp4,o.mp4\n", lambda words: 0)["o.mp4"].status == DONE
    (tmp_path / "s.jpg").write_text("another")
    outcome = batch("s.jpg,d.mp4,o.mp4\n", lambda words: 0)["o.mp4"]
    assert outcome.status == FAILED and "has changed since" in outcome.reply.reason
    (tmp_path / "s.jpg").unlink()
    assert batch("s.jpg,d.mp4,o.mp4\n", lambda words: 0)["o.mp4"].status == DONE  # a missing input counts as unchanged

    def change_input(words):
        (tmp_path / "s.jpg").write_text("while it ran")
        return 0

    (tmp_path / "s.jpg").write_text("before")
    outcome = batch("s.jpg,d.mp4,p.mp4\n", change_input)["p.mp4"]
    assert outcome.status == FAILED and "changed while the job ran" in outcome.reply.reason
    assert (
        batch("s.jpg,d.mp4,p.mp4\n", lambda words: 0)["p.mp4"].status == DONE
    )  # rendered again, over the first result


def test_interrupted_job_replaces_only_an_output_that_it_wrote(batch, tmp_path):
    overwrites = []

    def run(words):
        return overwrites.append("--overwrite" in words) or 0

    (tmp_path / "jobs.csv").write_text("source,driver,output\ns,d,o.mp4\n")
    job = read_jobs(tmp_path / "jobs.csv", {}, lambda words: None)[0]
    state = StateFolder(tmp_path / "state")
    state.prepare()
    leftover = tmp_path / ".o.0123abcd.part.mp4"
    for wrote_output in (True, False):
        (tmp_path / "o.mp4").write_text("existing")
        leftover.write_text("half")
        state.save_record(job.id, JobRecord(RUNNING, 1, wrote_output=wrote_output))
        reply = run_job(state, job, 9, False, lambda words, log: CommandOutcome(run(words), "", None))
        assert reply.status == DONE and not leftover.exists()
    assert overwrites == [True, False]


def test_damaged_records_are_ignored(tmp_path):
    state = StateFolder(tmp_path / "state")
    state.prepare()
    state.save_record("a", JobRecord(DONE, 1, start_time=1.5))
    assert state.load_record("a") == JobRecord(DONE, 1, start_time=1.5)
    for content in (b"", b"{", b"[]", b'{"status": "done"}', b'{"status": 3, "attempts": "x"}', b"\xff\xfe"):
        (state.folder / "a.json").write_bytes(content)
        assert state.load_record("a") is None
    with state.lock("a") as is_locked:
        assert is_locked
        replies = []
        other = threading.Thread(target=lambda: replies.append(run_job(state, make_job("a"), 1, False, None)))
        other.start()
        other.join(10)
        assert replies == [JobReply("busy")]


def make_job(key):
    from mimaface_cli.batch.jobs import Job

    return Job(key, 1, "s", "d", "o", {}, (), ())


def test_file_stamp_differs_between_versions(tmp_path):
    (tmp_path / "a").write_text("x")
    first = file_stamp(tmp_path / "a")
    assert first == file_stamp(tmp_path / "a") and file_stamp(tmp_path / "b") is None and file_stamp(tmp_path)[0] == 1
    (tmp_path / "a").write_text("xy")
    assert file_stamp(tmp_path / "a") != first
    assert replace(JobRecord(DONE, 1), stamps={"a": first}).stamps["a"] == first
