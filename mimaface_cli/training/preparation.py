"""A folder of face videos to shards, many at once: each video becomes a part, parts are joined to shards, and an index
tells which videos lie in which. Killed at any moment, the next run goes on: a part and a shard are whole or not there.
"""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mimaface_cli.errors import InputError, MimafaceError, OutputError
from mimaface_cli.files import atomic_path, output_error, remove_partial_files
from mimaface_cli.training.footage import CONDITIONS, SPACES, SUFFIXES, Cutting, Space, read_clips
from mimaface_cli.training.shards import join_shards, shard_name, write_shard

INDEX, PARTS = "index.json", "parts"
PER_SHARD = 64  # clips that a shard has at least, but for the last
Report = Callable[[str, int, int | None], None]


@dataclass
class Index:
    """What a folder of shards holds. made: how its clips were cut; videos: path in the footage's folder to how many clips
    it gave; bad: to why it gave none; shards: how many there are.
    """

    made: dict[str, Any]
    videos: dict[str, int] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    shards: int = 0

    def save(self, folder: Path) -> None:
        with atomic_path(folder / INDEX) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


@dataclass(frozen=True)
class _Job:
    """One video and the part it becomes."""

    video: Path
    name: str  # its path in the footage's folder
    identity: str
    key: str
    part: Path


def find_videos(folder: Path) -> list[Path]:
    """All videos below a folder, in order. Raises InputError where there is none."""
    found = folder.rglob("*") if folder.is_dir() else ()
    videos = sorted(path for path in found if path.suffix.lower() in SUFFIXES and path.is_file())
    if not videos:
        raise InputError(f"{folder}: holds no video ({', '.join(SUFFIXES)}); name a folder of face videos")
    return videos


def read_identities(path: Path) -> dict[str, str]:
    """A table with the columns file (name, or path in the footage's folder) and identity. Raises InputError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = {name.strip(): identity.strip() for name, identity in _rows(csv.DictReader(file))}
    except (OSError, ValueError, KeyError, AttributeError, csv.Error) as error:
        raise InputError(f"{path}: must be a CSV table with the columns file and identity ({error!r:.80})") from error
    if not table or not all(table.values()):
        raise InputError(f"{path}: must name a file and an identity in each row")
    return table


def _rows(table: csv.DictReader) -> Iterator[tuple[str, str]]:
    if not {"file", "identity"} <= set(table.fieldnames or ()):
        raise ValueError(f"has {', '.join(table.fieldnames or ['none'])}")
    return ((row["file"], row["identity"]) for row in table)


def identity_of(name: Path, table: dict[str, str]) -> str | None:
    """Whose video it is: by the table where there is one (None: not in it), else the sub-folder; of a flat folder each
    video is somebody else's.
    """
    if table:
        return table.get(name.as_posix()) or table.get(name.name)
    return name.parts[0] if len(name.parts) > 1 else name.stem


def prepare(
    folder: Path,
    output: Path,
    space: str = "face478",
    cutting: Cutting = Cutting(),
    identities: dict[str, str] | None = None,
    jobs: int = 1,
    report: Report = lambda stage, done, total: None,
) -> Index:
    """Cut a folder's videos into shards in `output`; those that are in its index stay as they are, bad ones included.

    Raises InputError (no videos, or `output` was prepared otherwise) and OutputError (cannot be written, or another run
    is at work there).
    """
    if space not in SPACES:
        raise InputError(f"--space {space}: choose {' or '.join(SPACES)}")
    if not (16 <= cutting.size <= 512 and cutting.size % 8 == 0 and cutting.frames >= 1 and cutting.per_video >= 1):
        raise InputError("--size must be a multiple of 8 from 16 to 512, --frames and --per-video 1 or more")
    cutting = replace(cutting, condition=cutting.condition or CONDITIONS[space][0])
    if cutting.condition not in CONDITIONS[space]:
        raise InputError(
            f"--condition {cutting.condition}: in the {space} space choose {' or '.join(CONDITIONS[space])}"
        )
    videos = find_videos(folder)
    try:
        (output / PARTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(output, error) from error
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(output / ".prepare.lock", timeout=0))
        except Timeout as error:
            raise OutputError(f"{output}: another mimaface train prepare is at work there; wait for it") from error
        index = read_index(output, {"space": space, **asdict(cutting)})
        index.save(output)  # before the first shard: shards without an index are somebody else's
        _clear(output, index)
        todo = list(_todo(videos, folder, output, identities or {}, index))
        done = len(videos) - len(todo)
        report("preparing", done, len(videos))
        waiting: list[tuple[_Job, int]] = []
        for number, (job, count, bad) in enumerate(_worked(todo, space, cutting, jobs), done + 1):
            if bad:
                index.bad[job.name] = bad
                index.save(output)
            else:
                waiting.append((job, count))
            if sum(count for _, count in waiting) >= PER_SHARD:
                _join(waiting, output, index)
            report("preparing", number, len(videos))
        if waiting:
            _join(waiting, output, index)
    return index


def read_index(folder: Path, made: dict[str, Any] | None = None) -> Index:
    """A folder's index; with `made`, of a folder that is to be filled so. Raises InputError."""
    path = folder / INDEX
    try:
        index = Index(**json.loads(path.read_bytes()))
        if type(index.shards) is not int or not all(isinstance(v, dict) for v in (index.made, index.videos, index.bad)):
            raise ValueError("fields of other kinds")
    except FileNotFoundError:
        if made is None:
            raise InputError(f"{folder}: holds no prepared data; make them with mimaface train prepare") from None
        if any(folder.glob("shard-*.tar")):
            raise InputError(f"{folder}: holds shards without an {INDEX}; choose an empty folder") from None
        return Index(made)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: is damaged ({error!r:.80}); prepare into another folder") from error
    if made is not None and index.made != made:
        other = next(key for key in {**made, **index.made} if made.get(key) != index.made.get(key))
        raise InputError(f"{folder}: was prepared with {other} {index.made.get(other)}; choose that, or another folder")
    return index


def _clear(output: Path, index: Index) -> None:
    """Remove what a killed run left half: temporary files, and a shard that the index does not know yet."""
    remove_partial_files(output / INDEX)
    for path in output.glob("shard-*.tar"):
        number = re.fullmatch(r"shard-(\d{5,9})\.tar", path.name)
        if number and int(number[1]) >= index.shards:
            path.unlink()
    for folder in (output, output / PARTS):
        for path in folder.glob(".*.part.tar"):
            path.unlink()


def _todo(videos: list[Path], folder: Path, output: Path, table: dict[str, str], index: Index) -> Iterator[_Job]:
    for video in videos:
        name = video.relative_to(folder)
        known = name.as_posix()
        if known in index.videos or known in index.bad:
            continue
        # The name for people, its hash so that two never meet.
        digest = hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()[:10]
        key = re.sub(r"[^A-Za-z0-9_-]+", "_", "-".join(name.with_suffix("").parts))[:60] + "-" + digest
        identity = identity_of(name, table)
        yield _Job(video, known, identity or "", key, output / PARTS / f"{key}.tar")


def _worked(todo: list[_Job], space: str, cutting: Cutting, jobs: int) -> Iterator[tuple[_Job, int, str]]:
    """Each job with how many clips its part has, or why it has none; in order of completion."""
    work = partial(_work, space=space, cutting=cutting)
    if jobs <= 1:
        for job in todo:
            yield job, *work(job)
        return
    queue, running = iter(todo), dict[Future, _Job]()
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        try:
            while True:
                while len(running) < 2 * jobs and (job := next(queue, None)) is not None:
                    running[pool.submit(work, job)] = job
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running[future], *future.result()
                    del running[future]
        except (BrokenProcessPool, BrokenPipeError) as error:  # the second: killed before it was told what to do
            for other in active_children():  # or the end of the process would wait for one that was never told to end
                other.kill()
            names = ", ".join(job.name for job in running.values()) or "the first videos"
            raise InputError(
                f"a worker was killed (out of memory?) at one of {names:.300}; the same command goes on where this one "
                "stopped; where it happens again take that video out, or use fewer --jobs"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _work(job: _Job, space: str, cutting: Cutting) -> tuple[int, str]:
    if not job.identity:
        return 0, "is not in the table of identities"
    if job.part.exists():  # whole, from a run that was killed before it was joined
        return _count(job.part), ""
    try:
        count = write_shard(
            job.part, read_clips(job.video, _space(space, cutting.condition), job.key, job.identity, cutting)
        )
    except OutputError:
        raise
    except MimafaceError as error:
        return 0, str(error)
    if not count:
        job.part.unlink(missing_ok=True)
        return 0, f"{job.video}: has no {cutting.frames} frames in a row of one shot that show one face"
    return count, ""


@cache
def _space(name: str, condition: str) -> Space:
    return SPACES[name](condition)


def _count(part: Path) -> int:
    import tarfile

    with tarfile.open(part, "r:") as file:
        return sum(name.endswith(".json") for name in file.getnames())


def _join(waiting: list[tuple[_Job, int]], output: Path, index: Index) -> None:
    """Parts to the next shard, then the index, then the parts go: at no moment is a clip in neither or in two."""
    join_shards((job.part for job, _ in waiting), output / shard_name(index.shards))
    index.shards += 1
    index.videos |= {job.name: count for job, count in waiting}
    index.save(output)
    for job, _ in waiting:
        job.part.unlink(missing_ok=True)
    waiting.clear()
