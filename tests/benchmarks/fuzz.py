"""Read damaged files with every reader: no traceback, crash, hang, stray file or network access.

    python -m tests.benchmarks.fuzz [--cases 10000] [--seed 1000] [--only NAME] [--folder MEDIA] [--jobs 2] [--keep DIR]

Each case damages a valid file by its seed (tests/hostile) and reads it to its end in a worker process, which is
replaced if it crashes. --folder adds real images, audio and videos (their first two megabytes) to the generated files.
The program prints a row for each reader; the exit code is 1 if a case failed. --keep saves the files of failed cases.
"""

import argparse
import multiprocessing
import os
import resource
import signal
import socket
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from contextlib import suppress
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import NamedTuple, NoReturn

from mimaface_cli.errors import MimafaceError
from tests.hostile.damage import damage_bytes
from tests.hostile.media_readers import read_audio_file, read_image_file, read_video_file
from tests.hostile.reader import Reader, try_to_read
from tests.hostile.readers import MAX_SECONDS, READERS

MAX_MEMORY = 6 << 30  # bytes of a worker
MAX_REAL_FILES = 40
FIRST_BYTES = 2_000_000
OUTCOMES = ("read", "refused", "error", "crash", "hang")
FAILURES = OUTCOMES[2:]
MEDIA_READERS = {
    **dict.fromkeys((".png", ".jpg", ".webp"), read_image_file),
    **dict.fromkeys((".wav", ".mp3", ".m4a", ".flac"), read_audio_file),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mpg", ".mkv", ".webm"), read_video_file),
}


class CaseResult(NamedTuple):
    """Result of one case.

    Attributes:
        reader: Number of the reader.
        seed: Seed of the damage.
        outcome: One of OUTCOMES.
        detail: Traceback or exit code of a failure.
        seconds: Time of reading.
    """

    reader: int
    seed: int
    outcome: str
    detail: str
    seconds: float


def list_real_readers(folder: Path) -> list[Reader]:
    """Return readers with a few real media files of each suffix."""
    by_suffix = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in MEDIA_READERS and path.is_file():
            by_suffix[path.suffix.lower()].append(path)
    readers = []
    for suffix, paths in by_suffix.items():
        for path in paths[:: max(len(paths) * len(by_suffix) // MAX_REAL_FILES, 1)]:
            content = path.read_bytes()[:FIRST_BYTES]
            readers.append(Reader(f"real {suffix[1:]}", suffix, lambda content=content: content, MEDIA_READERS[suffix]))
    return readers


def run_cases(readers: list[Reader], cases: list[tuple[int, int]], results: SimpleQueue, folder: str) -> None:
    """Read the cases (reader, seed) one by one; put a result for each, then None. Runs in a worker process."""
    home = Path(folder) / "home"
    home.mkdir(exist_ok=True)
    _restrict_process(home)
    valid_files: dict[int, bytes] = {}
    for number, seed in cases:
        reader = readers[number]
        if number not in valid_files:
            valid_files[number] = reader.make()
            # Imports happen during the first reading; they do not count for a case.
            with tempfile.TemporaryDirectory(dir=folder) as scratch, suppress(MimafaceError):
                path = Path(scratch) / reader.file_name
                path.write_bytes(valid_files[number])
                reader.read(path)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            path = Path(scratch) / reader.file_name
            path.write_bytes(damage_bytes(valid_files[number], seed))
            start = time.monotonic()
            outcome, detail = _read_with_time_limit(reader, path)
            if list(home.iterdir()):
                outcome, detail = "error", f"wrote {[str(p) for p in home.rglob('*')]}"
        results.put(CaseResult(number, seed, outcome, detail, time.monotonic() - start))
    results.put(None)


def _restrict_process(home: Path) -> None:
    """Limit memory, forbid the network, silence decoders, and redirect the home and cache folders."""
    os.chdir(home)
    os.environ |= {"HOME": str(home), "MIMAFACE_CACHE_DIR": str(home / "cache"), "XDG_CACHE_HOME": str(home / "cache")}
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders write to the file descriptor, not to sys.stderr
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    signal.signal(signal.SIGALRM, _raise_timeout)
    socket.socket.connect = _refuse_connection


def _read_with_time_limit(reader: Reader, path: Path) -> tuple[str, str]:
    """Return outcome and detail of reading a file."""
    signal.alarm(int(MAX_SECONDS))
    try:
        outcome, detail = try_to_read(reader, path), ""
    except TimeoutError:
        outcome, detail = "hang", ""
    except BaseException:
        outcome, detail = "error", traceback.format_exc(limit=-4)[-1500:]
    signal.alarm(0)
    return outcome, detail


def _raise_timeout(*_: object) -> NoReturn:
    raise TimeoutError


def _refuse_connection(*_: object) -> NoReturn:
    raise AssertionError("tried to open a connection")


class CaseRunner:
    """Runs cases in a worker process, and in a new one when that process crashes or hangs.

    Args:
        readers: All readers.
        cases: Reader number and seed of each case.
        folder: New folder for scratch files.
    """

    def __init__(self, readers: list[Reader], cases: list[tuple[int, int]], folder: str):
        Path(folder).mkdir()
        self._readers, self._cases, self._folder = readers, cases, folder
        self._done = 0
        self.is_finished = False
        self._start_worker()

    def _start_worker(self) -> None:
        context = multiprocessing.get_context("fork")
        self._results = context.SimpleQueue()
        rest = self._cases[self._done :]
        self._process = context.Process(
            target=run_cases, args=(self._readers, rest, self._results, self._folder), daemon=True
        )
        self._process.start()
        self._last_result = time.monotonic()

    def poll(self) -> list[CaseResult]:
        """Return the results since the last call; replace a worker that crashed or hangs."""
        results = []
        while not self._results.empty():
            result = self._results.get()
            self._last_result = time.monotonic()
            if result is None:
                self.is_finished = True
            else:
                self._done += 1
                results.append(result)
        silence = time.monotonic() - self._last_result
        is_stuck = silence > 3 * MAX_SECONDS  # in native code, which no alarm interrupts
        has_failed = (is_stuck or not self._process.is_alive()) and self._results.empty()
        if has_failed and not self.is_finished and not results:
            self._process.kill()
            self._process.join()
            detail = f"exit code {self._process.exitcode}"
            results.append(CaseResult(*self._cases[self._done], "hang" if is_stuck else "crash", detail, silence))
            self._done += 1
            if self._done < len(self._cases):
                self._start_worker()
            else:
                self.is_finished = True
        return results


def run_all(readers: list[Reader], cases: list[tuple[int, int]], jobs: int, keep: Path | None) -> list[CaseResult]:
    """Run all cases in `jobs` processes; print failures at once and keep their files."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        runners = [CaseRunner(readers, cases[k::jobs], f"{folder}/{k}") for k in range(jobs)]
        while runners:
            runners = [runner for runner in runners if not runner.is_finished]
            time.sleep(0.05)
            for result in (result for runner in runners for result in runner.poll()):
                results.append(result)
                if result.outcome in FAILURES:
                    reader = readers[result.reader]
                    print(f"{reader.name}, seed {result.seed}: {result.outcome}\n{result.detail}", flush=True)
                    if keep:
                        keep.mkdir(parents=True, exist_ok=True)
                        content = damage_bytes(reader.make(), result.seed)
                        (keep / f"{reader.name} {result.seed}{reader.suffix}").write_bytes(content)
    return results


def print_table(readers: list[Reader], results: list[CaseResult]) -> None:
    """Print the outcomes and the slowest case of each reader."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    slowest: dict[str, float] = defaultdict(float)
    for result in results:
        name = readers[result.reader].name
        counts[name][result.outcome] += 1
        slowest[name] = max(slowest[name], result.seconds)
    print(f"{'reader':18} {'cases':>6} " + " ".join(f"{outcome:>7}" for outcome in OUTCOMES) + f" {'slowest, s':>11}")
    for name, count in counts.items():
        cells = " ".join(f"{count[outcome]:7}" for outcome in OUTCOMES)
        print(f"{name:18} {sum(count.values()):6} {cells} {slowest[name]:11.2f}")


def main() -> int:
    """Run all cases; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000, help="number of cases (default: 10000)")
    parser.add_argument("--seed", type=int, default=1000, help="first seed (default: 1000)")
    parser.add_argument("--only", default="", help="only readers with one of these texts in their name (A,B)")
    parser.add_argument("--folder", type=Path, help="folder of real media to damage as well")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="worker processes (default: all cores)")
    parser.add_argument("--keep", type=Path, help="folder in which to keep the files of failed cases")
    arguments = parser.parse_args()
    readers = [*READERS, *(list_real_readers(arguments.folder) if arguments.folder else ())]
    parts = arguments.only.split(",")
    chosen = [k for k, reader in enumerate(readers) if any(part in reader.name for part in parts)]
    cases = [(chosen[k % len(chosen)], arguments.seed + k // len(chosen)) for k in range(arguments.cases)]
    start = time.monotonic()
    results = run_all(readers, cases, arguments.jobs, arguments.keep)
    print_table(readers, results)
    failures = sum(result.outcome in FAILURES for result in results)
    print(f"{len(results)} cases in {time.monotonic() - start:.0f} s, {failures} failed")
    return int(failures > 0 or len(results) != len(cases))


if __name__ == "__main__":
    sys.exit(main())
