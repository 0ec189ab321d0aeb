"""Harmed files for every reader of ours: no traceback, no crash, no hang, nothing written elsewhere, no network.

    python -m tests.benchmarks.fuzz [--cases 10000] [--seed 1000] [--only NAME] [--folder MEDIA] [--jobs 2] [--keep DIR]

Each case is a whole file harmed by its seed (tests/hostile) and read to its end in a worker process that may be lost.
--folder adds real pictures, sounds and videos (their first two megabytes) to those that the script makes itself.
Prints a line a reader; exit code 1 if any case went wrong. --keep saves what went wrong.
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
from pathlib import Path

from mimaface_cli.errors import MimafaceError
from tests.hostile.damage import damage_bytes
from tests.hostile.media_readers import read_audio_file, read_image_file, read_video_file
from tests.hostile.reader import Reader, try_to_read
from tests.hostile.readers import MAX_SECONDS, READERS

MOST_MEMORY = 6 << 30  # of a worker
_FIRST_BYTES = 2_000_000
_SUFFIXES = {
    ".png": read_image_file,
    ".jpg": read_image_file,
    ".webp": read_image_file,
    ".wav": read_audio_file,
    ".mp3": read_audio_file,
    ".m4a": read_audio_file,
    ".flac": read_audio_file,
}
_SUFFIXES |= dict.fromkeys((".mp4", ".mov", ".avi", ".mpg", ".mkv", ".webm"), read_video_file)


def real(folder: Path, most: int = 40) -> list[Reader]:
    """Readers that start from real media: of each suffix a few."""
    by_suffix = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _SUFFIXES and path.is_file():
            by_suffix[path.suffix.lower()].append(path)
    readers = []
    for suffix, paths in by_suffix.items():
        for path in paths[:: max(len(paths) * len(by_suffix) // most, 1)]:
            content = path.read_bytes()[:_FIRST_BYTES]
            readers.append(Reader(f"real {suffix[1:]}", suffix, lambda content=content: content, _SUFFIXES[suffix]))
    return readers


def work(readers: list[Reader], cases: list[tuple[int, int]], answers, folder: str) -> None:
    """Read the cases (reader, seed) one by one and answer how each went."""
    home = Path(folder) / "home"
    home.mkdir(exist_ok=True)
    os.chdir(home)
    os.environ |= {"HOME": str(home), "MIMAFACE_CACHE_DIR": str(home / "cache"), "XDG_CACHE_HOME": str(home / "cache")}
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders write there past Python
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    signal.signal(signal.SIGALRM, _too_long)
    socket.socket.connect = _no_network
    whole: dict[int, bytes] = {}
    for number, seed in cases:
        reader = readers[number]
        if number not in whole:
            whole[number] = reader.make()
            with tempfile.TemporaryDirectory(dir=folder) as place, suppress(MimafaceError):
                path = Path(place) / reader.file_name
                path.write_bytes(whole[number])
                reader.read(path)  # what is imported for it takes time that is not the case's
        with tempfile.TemporaryDirectory(dir=folder) as place:
            path = Path(place) / reader.file_name
            path.write_bytes(damage_bytes(whole[number], seed))
            began = time.monotonic()
            signal.alarm(int(MAX_SECONDS))
            try:
                said, detail = try_to_read(reader, path), ""
            except TimeoutError:
                said, detail = "hang", ""
            except BaseException:
                said, detail = "fault", traceback.format_exc(limit=-4)[-1500:]
            signal.alarm(0)
            if list(home.iterdir()):
                said, detail = "fault", f"wrote {[str(p) for p in home.rglob('*')]}"
        answers.put((number, seed, said, detail, time.monotonic() - began))
    answers.put(None)


def _too_long(*_) -> None:
    raise TimeoutError


def _no_network(*_) -> None:
    raise AssertionError("a connection was tried")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--only", default="", help="readers whose name holds one of these (NAME,NAME)")
    parser.add_argument("--folder", type=Path, help="real media to harm too")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=Path, help="what went wrong is kept in this folder")
    given = parser.parse_args()
    readers = [*READERS, *(real(given.folder) if given.folder else ())]
    chosen = [k for k, reader in enumerate(readers) if any(part in reader.name for part in given.only.split(","))]
    cases = [(chosen[k % len(chosen)], given.seed + k // len(chosen)) for k in range(given.cases)]
    counts, slowest = defaultdict(Counter), defaultdict(float)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        runs = [Run(readers, cases[k :: given.jobs], f"{folder}/{k}") for k in range(given.jobs)]
        while runs:
            runs = [run for run in runs if run.alive()]
            time.sleep(0.05)
            for run in runs:
                for number, seed, said, detail, seconds in run.answers_now():
                    name = readers[number].name
                    counts[name][said] += 1
                    slowest[name] = max(slowest[name], seconds)
                    if said not in ("read", "refused"):
                        print(f"{name}, seed {seed}: {said}\n{detail}", flush=True)
                        if given.keep:
                            given.keep.mkdir(parents=True, exist_ok=True)
                            harmed = damage_bytes(readers[number].make(), seed)
                            (given.keep / f"{name} {seed}{readers[number].suffix}").write_bytes(harmed)
    print(
        f"{'reader':18} {'cases':>6} {'read':>6} {'refused':>8} {'fault':>6} {'crash':>6} {'hang':>5} {'slowest, s':>11}"
    )
    for name, count in counts.items():
        cells = [sum(count.values()), *(count[kind] for kind in ("read", "refused", "fault", "crash", "hang"))]
        print("{:18} {:6} {:6} {:8} {:6} {:6} {:5} {:11.2f}".format(name, *cells, slowest[name]))
    wrong = sum(count[kind] for count in counts.values() for kind in ("fault", "crash", "hang"))
    done = sum(sum(count.values()) for count in counts.values())
    print(f"{done} cases in {time.monotonic() - began:.0f} s, {wrong} went wrong")
    return int(wrong > 0 or done != len(cases))


class Run:
    """Cases in a worker process, and in another when that one is lost."""

    def __init__(self, readers: list[Reader], cases: list[tuple[int, int]], folder: str):
        Path(folder).mkdir()
        self._readers, self._cases, self._folder, self._done, self._ended = readers, cases, folder, 0, False
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self._answers = context.SimpleQueue()
        rest = self._cases[self._done :]
        self._process = context.Process(
            target=work, args=(self._readers, rest, self._answers, self._folder), daemon=True
        )
        self._process.start()
        self._last = time.monotonic()

    def alive(self) -> bool:
        return not self._ended

    def answers_now(self) -> list[tuple]:
        found = []
        while not self._answers.empty():
            answer = self._answers.get()
            self._last = time.monotonic()
            if answer is None:
                self._ended = True
            else:
                self._done += 1
                found.append(answer)
        stuck = time.monotonic() - self._last > 3 * MAX_SECONDS  # in native code, where no alarm is heard
        if not self._ended and not found and (stuck or not self._process.is_alive()) and self._answers.empty():
            self._process.kill()
            self._process.join()
            number, seed = self._cases[self._done]
            said = "hang" if stuck else "crash"
            found.append((number, seed, said, f"exit code {self._process.exitcode}", time.monotonic() - self._last))
            self._done += 1
            if self._done < len(self._cases):
                self._start()
            else:
                self._ended = True
        return found


if __name__ == "__main__":
    sys.exit(main())
