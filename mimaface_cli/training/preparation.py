"""Prepare a folder of face videos as training shards, with several worker processes.

Each video becomes a part, parts are joined to shards, and an index lists which videos are in the shards. Parts and
shards are written atomically, so that a preparation that was killed at any moment can resume.
"""

import csv
import hashlib
import re
import tarfile
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from multiprocessing import active_children, get_context
from pathlib import Path

from filelock import FileLock, Timeout

from mimaface_cli.errors import InputError, MimafaceError, OutputError, WeightsError
from mimaface_cli.files import output_error, remove_partial_files
from mimaface_cli.media.reader import probe
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.training.clip_extraction import extract_clips
from mimaface_cli.training.clip_options import ClipOptions
from mimaface_cli.training.footage_spaces import CONDITIONS, SPACES, FootageSpace
from mimaface_cli.training.shard_index import INDEX, ShardIndex, open_shard_index
from mimaface_cli.training.shards import join_shards, shard_name, write_shard

PARTS = "parts"
CLIPS_PER_SHARD = 64
"""Number of clips from which a shard is complete."""
MAX_SHARD_BYTES = 60_000_000
"""Largest size of a shard, unless a single video has more. Such pieces can be copied where large files cannot."""
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")


@dataclass(frozen=True)
class _VideoJob:
    """One video and the path of its part.

    Attributes:
        video: Path of the video.
        name: Its path relative to the folder of videos.
        identity: Name of the person; empty if the table has none.
        key: Prefix of its clips' keys.
        part: Path of the part.
    """

    video: Path
    name: str
    identity: str
    key: str
    part: Path


@dataclass(frozen=True)
class _VideoResult:
    """Number of clips in the part of a video and a note if it was cut short, or the error that prevented it."""

    job: _VideoJob
    clips: int = 0
    error: str = ""
    truncation: str = ""


def prepare_shards(
    folder: Path,
    output: Path,
    space: str,
    options: ClipOptions,
    identities: dict[str, str] | None = None,
    jobs: int = 1,
    strict: bool = False,
    progress: ProgressCallback = ignore_progress,
) -> ShardIndex:
    """Cut the videos of a folder into training clips and write them as shards.

    Videos that are in the output's index already, including skipped ones, are not read again.

    Args:
        folder: Folder of videos. The first folder level names the person, unless `identities` does.
        output: Folder of the shards.
        space: Coefficient space, "face478" or "bfm09".
        options: Size, length and number of the clips.
        identities: Person of each video, by file name or path relative to `folder`.
        jobs: Number of worker processes.
        strict: Whether videos are skipped that were cut short or whose clock jumps.
        progress: Called with the stage "preparing", the prepared videos and all videos.

    Returns:
        The output's index.

    Raises:
        InputError: There are no videos, an option is out of range, or the output was prepared with other options.
        WeightsError: The space's weights are not installed.
        OutputError: The output cannot be written, or another preparation uses it.
    """
    options = _check_options(space, options)
    videos = _list_videos(folder)
    with _locked_output(output):
        index = open_shard_index(output, {"space": space, **asdict(options)})
        index.save(output)  # Before the first shard: shards without an index are those of another program.
        _remove_partial_files(output, index)
        _create_space.cache_clear()  # The installed weights may have changed since an earlier call.
        todo = list(_list_jobs(videos, folder, output, identities or {}, index))
        done = len(videos) - len(todo)
        progress("preparing", done, len(videos))
        unjoined: list[_VideoResult] = []
        for number, result in enumerate(_run_jobs(todo, space, options, jobs, strict), done + 1):
            if result.error:
                index.skipped[result.job.name] = result.error
                index.save(output)
            else:
                if _count_bytes([*unjoined, result]) > MAX_SHARD_BYTES:
                    _join_parts(unjoined, output, index)
                unjoined.append(result)
            if sum(part.clips for part in unjoined) >= CLIPS_PER_SHARD:
                _join_parts(unjoined, output, index)
            progress("preparing", number, len(videos))
        _join_parts(unjoined, output, index)
    return index


@contextmanager
def _locked_output(output: Path) -> Generator[None, None, None]:
    """Create the output's folders and lock them against other preparations."""
    lock = FileLock(output / ".prepare.lock", timeout=0)
    try:
        (output / PARTS).mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise OutputError(f"{output}: another mimaface train prepare writes there. Wait for it.") from error
    except OSError as error:
        raise output_error(output, error) from error
    try:
        yield
    finally:
        lock.release()


def _check_options(space: str, options: ClipOptions) -> ClipOptions:
    """Return the options with their condition filled in."""
    if space not in SPACES:
        raise InputError(f"is {space!r:.80}. Choose {' or '.join(SPACES)}.", field="space")
    if not 16 <= options.size <= 512 or options.size % 8:
        raise InputError(f"is {options.size}. Choose a multiple of 8 from 16 to 512.", field="size")
    for name in ("frames", "per_video"):
        if getattr(options, name) < 1:
            raise InputError(f"is {getattr(options, name)}. Choose 1 or more.", field=name)
    options = replace(options, condition=options.condition or CONDITIONS[space][0])
    if options.condition not in CONDITIONS[space]:
        raise InputError(
            f"is {options.condition}. In the {space} space choose {' or '.join(CONDITIONS[space])}.", field="condition"
        )
    return options


def _list_videos(folder: Path) -> list[Path]:
    paths = folder.rglob("*") if folder.is_dir() else ()
    videos = sorted(path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not videos:
        raise InputError(f"{folder}: has no video ({', '.join(VIDEO_SUFFIXES)}). Name a folder of face videos.")
    return videos


def read_identities(path: Path) -> dict[str, str]:
    """Read the person of each video from a CSV table.

    Args:
        path: Table with the columns file (name, or path relative to the folder of videos) and identity.

    Raises:
        InputError: It cannot be read, lacks a column, or has an empty cell.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = {name.strip(): identity.strip() for name, identity in _table_rows(csv.DictReader(file))}
    except (OSError, ValueError, KeyError, AttributeError, csv.Error) as error:
        raise InputError(
            f"{path}: cannot be read as a table ({error!r:.80}). Write a CSV table with the columns file and identity."
        ) from error
    if not table or not all(table.values()):
        raise InputError(f"{path}: lacks identities. Name a file and an identity in each row.")
    return table


def _table_rows(table: csv.DictReader) -> Iterator[tuple[str, str]]:
    if not {"file", "identity"} <= set(table.fieldnames or ()):
        raise ValueError(f"has {', '.join(table.fieldnames or ['none'])}")
    return ((row["file"], row["identity"]) for row in table)


def _video_identity(name: Path, table: dict[str, str]) -> str | None:
    """Return the person of a video: from the table if there is one, else from the subfolder or the file name.

    Args:
        name: Path of the video relative to the folder of videos.
        table: Person by file; empty for none.

    Returns:
        The person, or None if the table lacks the video.
    """
    if table:
        return table.get(name.as_posix()) or table.get(name.name)
    return name.parts[0] if len(name.parts) > 1 else name.stem


def _remove_partial_files(output: Path, index: ShardIndex) -> None:
    """Remove the leftovers of a killed run: temporary files, and a shard that is not in the index yet."""
    remove_partial_files(output / INDEX)
    for path in output.glob("shard-*.tar"):
        number = re.fullmatch(r"shard-(\d{5,9})\.tar", path.name)
        if number and int(number[1]) >= index.shards:
            path.unlink()
    for folder in (output, output / PARTS):
        for path in folder.glob(".*.part.tar"):
            path.unlink()


def _list_jobs(
    videos: list[Path], folder: Path, output: Path, table: dict[str, str], index: ShardIndex
) -> Iterator[_VideoJob]:
    """Yield a job for each video that is not in the index."""
    for video in videos:
        path = video.relative_to(folder)
        name = path.as_posix()
        if name in index.videos or name in index.skipped:
            continue
        # A readable name, and a hash that makes it unique.
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:10]
        key = re.sub(r"[^A-Za-z0-9_-]+", "_", "-".join(path.with_suffix("").parts))[:60] + "-" + digest
        yield _VideoJob(video, name, _video_identity(path, table) or "", key, output / PARTS / f"{key}.tar")


def _run_jobs(
    todo: list[_VideoJob], space: str, options: ClipOptions, jobs: int, strict: bool
) -> Generator[_VideoResult, None, None]:
    """Yield the result of each job, in order of completion."""
    run = partial(_run_job, space=space, options=options, strict=strict)
    if jobs <= 1:
        yield from map(run, todo)
        return
    queue, running = iter(todo), dict[Future[_VideoResult], _VideoJob]()
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        try:
            while True:
                while len(running) < 2 * jobs and (job := next(queue, None)) is not None:
                    running[pool.submit(run, job)] = job
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield future.result()
                    del running[future]
        except (BrokenProcessPool, BrokenPipeError) as error:  # BrokenPipeError: killed before its first job arrived.
            for (
                other
            ) in active_children():  # A worker without a job would never end, and this process would wait for it.
                other.kill()
            names = ", ".join(job.name for job in running.values()) or "the first videos"
            raise InputError(
                f"A worker process was killed (out of memory?) while preparing one of: {names:.300}. Run the same "
                "command to resume. If it happens again, remove that video or lower `jobs`."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _run_job(job: _VideoJob, space: str, options: ClipOptions, strict: bool) -> _VideoResult:
    if not job.identity:
        return _VideoResult(job, error="is not in the table of identities")
    try:
        info = probe(job.video).check_strict(strict)
        truncation = info.repairs[0] if info.is_truncated else ""
        if job.part.exists():  # Complete, from a run that was killed before it joined the part.
            return _VideoResult(job, _count_clips(job.part), truncation=truncation)
        clips = extract_clips(job.video, _create_space(space, options.condition), job.key, job.identity, options)
        count = write_shard(job.part, clips)
    except (OutputError, WeightsError):  # These affect all videos.
        raise
    except MimafaceError as error:
        return _VideoResult(job, error=str(error))
    if not count:
        job.part.unlink(missing_ok=True)
        return _VideoResult(
            job, error=f"{job.video}: has no {options.frames} consecutive frames of one shot that all show one face"
        )
    return _VideoResult(job, count, truncation=truncation)


@cache
def _create_space(name: str, condition: str) -> FootageSpace:
    """Return a space; each process loads it once."""
    return SPACES[name](condition)


def _count_clips(part: Path) -> int:
    with tarfile.open(part, "r:") as file:
        return sum(name.endswith(".json") for name in file.getnames())


def _count_bytes(results: list[_VideoResult]) -> int:
    return sum(result.job.part.stat().st_size for result in results)


def _join_parts(results: list[_VideoResult], output: Path, index: ShardIndex) -> None:
    """Join parts, if there are any, to the next shard and empty the list.

    The shard is written first, then the index, and the parts are removed last. So no clip is ever missing or in two
    shards.
    """
    if not results:
        return
    join_shards((result.job.part for result in results), output / shard_name(index.shards))
    index.shards += 1
    index.videos |= {result.job.name: result.clips for result in results}
    index.truncated |= {result.job.name: result.truncation for result in results if result.truncation}
    index.save(output)
    for result in results:
        result.job.part.unlink(missing_ok=True)
    results.clear()
