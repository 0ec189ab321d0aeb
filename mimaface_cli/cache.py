"""Content-addressed store on disk: results of long work, stored under a hash of their inputs.

Every file is written under a temporary name and renamed, so that concurrent or killed runs leave whole entries or none.
A cache never makes a run fail: an unreadable entry is a miss, and an entry that cannot be written is not stored.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

import platformdirs
from filelock import FileLock, Timeout

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import atomic_path, output_error
from mimaface_cli.fingerprint import content_hash, source_stamp

T = TypeVar("T")

TRACK_FOLDER, CLIP_FOLDER, FIGURE_FOLDER, LOCK_FOLDER = "tracks", "clips", "figures", "locks"
_KEY = re.compile(r"[0-9a-f]{64}")
_LEFTOVER = re.compile(r"\.[0-9a-f]{64}\..*\.part\.(npz|json)")  # names that atomic_path gives
_LOCK_POLL = 0.3  # seconds
_MAX_LOCK_MISSES = 20
_LEFTOVER_AGE = timedelta(days=1)  # no run writes one entry for longer


@dataclass(frozen=True)
class EntryKind(Generic[T]):
    """How values of one kind are stored.

    Args:
        folder: Sub-folder of the cache.
        suffix: Suffix of the file.
        load: Reads a file. An exception is a miss; InputError caused by ValueError marks a damaged file.
        save: Writes a value to a path; the caller makes the write atomic if `is_atomic` is False.
        describe: Texts about a value for listings ("space"), or None if no note is written beside the entry.
        is_atomic: Whether `save` replaces the file atomically itself.
    """

    folder: str
    suffix: str
    load: Callable[[Path], T]
    save: Callable[[T, Path], None]
    describe: Callable[[T], dict[str, str]] | None = None
    is_atomic: bool = False


@dataclass(frozen=True)
class Cached(Generic[T]):
    """A value from `get_or_create`.

    Args:
        value: The value.
        content: SHA-256 of the source's content, as hex digits.
        was_cached: Whether it was loaded from the cache.
        is_cached: Whether it is in the cache now.
    """

    value: T
    content: str
    was_cached: bool
    is_cached: bool


@dataclass(frozen=True)
class CacheEntry:
    """One cached track, or the cached clips of an unfinished video (`path` is then a folder).

    Args:
        key: 64 hex digits.
        path: File or folder.
        size: Bytes on disk.
        created: Time of the last write, UTC.
        source: Name of the input, or "".
        space: Coefficient space of the track, "clips" for an unfinished video, or "".
    """

    key: str
    path: Path
    size: int
    created: datetime
    source: str
    space: str


def cache_folder(path: Path | str | None = None) -> Path:
    """Return the cache folder: `path`, else MIMAFACE_CACHE_DIR, else the user's cache folder. It may not exist yet."""
    chosen = path or os.environ.get("MIMAFACE_CACHE_DIR")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("mimaface", appauthor=False)


def cache_key(parts: Mapping[str, Any]) -> str:
    """Hash everything that a value depends on.

    Args:
        parts: JSON values with finite numbers; only values that change the result.

    Returns:
        64 hex digits.
    """
    return hashlib.sha256(json.dumps(dict(parts), sort_keys=True, allow_nan=False).encode()).hexdigest()


def get_or_create(
    cache: "Cache | None",
    kind: EntryKind[T],
    source: Path,
    make_key: Callable[[str], str],
    create: Callable[[str], T],
    on_wait: Callable[[], None] = lambda: None,
) -> Cached[T]:
    """Return the value of a source from the cache, or create and store it.

    Two runs that need the same value do not both create it: the second waits for the first. A source that changes while
    its value is created is not stored under the key of its old content.

    Args:
        cache: None looks up and stores nothing.
        kind: How the value is stored.
        source: The input file or folder.
        make_key: Returns the key for the source's content hash.
        create: Creates the value; called with the content hash.
        on_wait: Called repeatedly while another run creates the value.

    Raises:
        InputError: The source cannot be read. Errors of `create` are passed on.
    """
    before = source_stamp(source)
    content = content_hash(source)
    if cache is None:
        return Cached(create(content), content, was_cached=False, is_cached=False)
    key = make_key(content)
    value = cache.load(kind, key)
    if value is not None:
        return Cached(value, content, was_cached=True, is_cached=True)
    with cache.lock(key, on_wait):
        value = cache.load(kind, key)  # another run may have created it meanwhile
        if value is not None:
            return Cached(value, content, was_cached=True, is_cached=True)
        value = create(content)
        is_unchanged = source_stamp(source) == before
        is_cached = is_unchanged and cache.store(kind, key, value, source.name)
    return Cached(value, content, was_cached=False, is_cached=is_cached)


class Cache:
    """The entries under one folder: `tracks`, `clips` (one folder for each unfinished video), `figures` and `locks`.

    Args:
        folder: See `cache_folder`.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.root = cache_folder(folder)
        self.folder = self.root / TRACK_FOLDER
        self.clips = self.root / CLIP_FOLDER
        self.figures = self.root / FIGURE_FOLDER
        self.locks = self.root / LOCK_FOLDER

    def path_for(self, kind: EntryKind[Any], key: str) -> Path:
        """Return the path of an entry, which may not exist. Raises ValueError for a malformed key."""
        return self.root / kind.folder / (_checked_key(key) + kind.suffix)

    def load(self, kind: EntryKind[T], key: str) -> T | None:
        """Return a stored value, or None. A damaged entry is removed."""
        path = self.path_for(kind, key)
        try:
            return kind.load(path)
        except InputError as error:
            if isinstance(error.__cause__, ValueError):  # damaged; an error of the operating system may be temporary
                with suppress(OSError):
                    path.unlink()
            return None

    def store(self, kind: EntryKind[T], key: str, value: T, source: str = "") -> bool:
        """Store a value in place of any older one.

        Args:
            kind: How the value is stored.
            key: 64 hex digits.
            value: The value.
            source: Name of the input, for listings.

        Returns:
            False if it cannot be stored.
        """
        path = self.path_for(kind, key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with nullcontext(path) if kind.is_atomic else atomic_path(path) as target:
                kind.save(value, target)
        except (OutputError, OSError):
            return False
        if kind.describe is not None:
            note = {"source": source, **kind.describe(value)}
            with suppress(OutputError), atomic_path(path.with_suffix(".json")) as temporary:
                temporary.write_text(json.dumps(note), encoding="ascii")
        return True

    @contextmanager
    def lock(self, key: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the exclusive right to create the value of a key.

        A second run waits until the first finishes or dies. Where the folder cannot be written, no run waits.
        """
        path = self.locks / f"{_checked_key(key)}.lock"
        lock = FileLock(path)
        try:
            self._acquire(lock, on_wait)
        except (OSError, NotImplementedError):
            yield
            return
        try:
            yield
        finally:
            lock.release()
            with suppress(OSError):  # at worst, a run that still waits for the old file creates the value again
                path.unlink(missing_ok=True)
                self.locks.rmdir()  # only empty folders are removed
                self.locks.parent.rmdir()

    def _acquire(self, lock: FileLock, on_wait: Callable[[], None]) -> None:
        misses = 0  # another run may remove the empty folder between its creation and its use
        while True:
            try:
                self.locks.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=_LOCK_POLL)
                return
            except Timeout:
                on_wait()
            except FileNotFoundError:
                misses += 1
                if misses > _MAX_LOCK_MISSES:
                    raise

    def entries(self) -> list[CacheEntry]:
        """Return all cached tracks, newest first. Raises OutputError if the folder cannot be read."""
        entries = []
        for path in _files(self.folder):
            if path.suffix == ".npz" and _KEY.fullmatch(path.stem):
                with suppress(FileNotFoundError):  # another run cleared it just now
                    info = path.stat()
                    note = path.with_suffix(".json")
                    size = info.st_size + (note.stat().st_size if note.exists() else 0)
                    created = datetime.fromtimestamp(info.st_mtime, UTC)
                    entries.append(CacheEntry(path.stem, path, size, created, **_read_note(note)))
        return _newest_first(entries)

    def unfinished(self) -> list[CacheEntry]:
        """Return the videos with cached clips, newest first. Raises OutputError if the folder cannot be read."""
        entries = []
        try:
            for path in self.clips.iterdir() if self.clips.is_dir() else ():
                if _KEY.fullmatch(path.name) and path.is_dir():
                    infos = [member.stat() for member in path.iterdir()] or [path.stat()]
                    created = datetime.fromtimestamp(max(info.st_mtime for info in infos), UTC)
                    size = sum(info.st_size for info in infos)
                    entries.append(CacheEntry(path.name, path, size, created, "unfinished video", CLIP_FOLDER))
        except FileNotFoundError:  # another run finished its video just now
            pass
        except OSError as error:
            raise output_error(self.clips, error) from error
        return _newest_first(entries)

    def size(self) -> int:
        """Return the bytes on disk, leftovers of killed runs included."""
        total = sum(entry.size for entry in self.unfinished())
        for path in (*_files(self.folder), *_files(self.figures)):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def clear(self, older_than: timedelta | None = None) -> list[CacheEntry]:
        """Remove entries, figures and leftovers of killed runs. Only files with names of the cache are removed.

        Args:
            older_than: Minimum age of the entries to remove, or None for all.

        Returns:
            The removed entries.

        Raises:
            OutputError: An entry cannot be removed.
        """
        now = time.time()
        limit = now if older_than is None else now - older_than.total_seconds()
        removed = [
            entry
            for entry in self.entries() + self.unfinished()
            if older_than is None or entry.created.timestamp() <= limit
        ]
        try:
            for entry in removed:
                self._remove(entry)
            for path in _files(self.figures):
                if path.suffix in (".json", ".npz") and _KEY.fullmatch(path.stem):
                    _remove_older(path, None if older_than is None else limit)
            for path in (*_files(self.folder), *_files(self.figures)):
                if self._is_orphaned_note(path) or _LEFTOVER.fullmatch(path.name):
                    _remove_older(path, now - _LEFTOVER_AGE.total_seconds())
        except OSError as error:
            raise OutputError(
                f"{self.folder}: cannot be cleared ({error.strerror or error}). Check its permissions."
            ) from error
        return removed

    def _remove(self, entry: CacheEntry) -> None:
        if entry.path.parent == self.clips:
            shutil.rmtree(entry.path, ignore_errors=True)
            return
        entry.path.unlink(missing_ok=True)
        entry.path.with_suffix(".json").unlink(missing_ok=True)

    def _is_orphaned_note(self, path: Path) -> bool:
        is_note = path.parent == self.folder and path.suffix == ".json" and _KEY.fullmatch(path.stem) is not None
        return is_note and not path.with_suffix(".npz").exists()


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a cache key: {key!r}")
    return key


def _newest_first(entries: list[CacheEntry]) -> list[CacheEntry]:
    return sorted(entries, key=lambda entry: (entry.created, entry.key), reverse=True)


def _remove_older(path: Path, limit: float | None) -> None:
    """Remove a file that was written at or before a time (seconds since the epoch), or at any time for None."""
    with suppress(FileNotFoundError):
        if limit is None or path.stat().st_mtime <= limit:
            path.unlink()


def _files(folder: Path) -> Generator[Path, None, None]:
    try:
        yield from sorted(path for path in folder.iterdir() if path.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise output_error(folder, error) from error


def _read_note(path: Path) -> dict[str, str]:
    """Read the texts of a note, each "" if the note is missing or malformed."""
    try:
        note = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        note = None
    values = note if isinstance(note, dict) else {}
    texts = {name: values.get(name) for name in ("source", "space")}
    return {name: text if isinstance(text, str) and text.isprintable() else "" for name, text in texts.items()}
