"""The tracks of earlier runs, kept on disk under the content of their input, so that a second run starts at once.

An entry is `<key>.npz`, a whole MotionTrack file, and `<key>.json`, a note for listings. Every file is written under a
temporary name and renamed, so runs side by side or killed midway leave whole entries or none. A cache never makes a
run fail: what cannot be read is a miss, what cannot be written is not kept.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock, Timeout

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import atomic_path, output_error
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import FORMAT_VERSION

_KEY = re.compile(r"[0-9a-f]{64}")
_LEFTOVER = re.compile(r"\.[0-9a-f]{64}\..*\.part\.(npz|json)")  # the names that atomic_path gives
_LOCK_TICK = 0.3  # seconds
_LEFTOVER_AGE = timedelta(days=1)  # no run writes one entry for longer


@dataclass(frozen=True)
class CacheEntry:
    """One kept track, or the kept clips of an unfinished video (path is then a folder). size: bytes on disk. created:
    in UTC. source: the input's name, space: its track's, or "".
    """

    key: str
    path: Path
    size: int
    created: datetime
    source: str
    space: str


def cache_folder(given: Path | str | None = None) -> Path:
    """The folder given, else MIMAFACE_CACHE_DIR, else the user's cache folder; it need not exist yet."""
    chosen = given or os.environ.get("MIMAFACE_CACHE_DIR")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("mimaface", appauthor=False)


_SETTLED = 1_000_000_000  # nanoseconds
_MOST_HASHES = 256
_hashes: dict[tuple[str, Any], str] = {}  # of inputs that were read whole by this process


def content_hash(path: Path | str) -> str:
    """SHA-256 in hex of a file's bytes, or of the names and bytes of the files directly in a folder of images.

    Hidden files of a folder (.DS_Store and the like) do not count. Raises InputError, also where the input is being
    written to meanwhile.
    """
    path = Path(path)
    try:
        before = source_stamp(path)
        known = os.path.abspath(path), before
        if known in _hashes:
            return _hashes[known]
        if path.is_dir():
            digest = hashlib.sha256(b"folder")
            for member in _members(path):
                # A hash is of fixed length and a name holds no zero byte: no two folders give the same stream.
                digest.update(os.fsencode(member.name) + b"\0" + _file_hash(member))
            content = digest.hexdigest()
        else:
            content = _file_hash(path).hex()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
    if source_stamp(path) != before:
        raise InputError(f"{path}: changes while it is being read; wait until it is written whole")
    # Time stamps are coarse: a file that was just written may change once more and keep its stamp.
    if time.time_ns() - max(changed for *_, changed in before) > _SETTLED:
        if len(_hashes) >= _MOST_HASHES:
            _hashes.clear()
        _hashes[known] = content
    return content


def source_stamp(path: Path | str) -> tuple[tuple[Any, ...], ...]:
    """What tells, without reading the input again, that it was changed or replaced: compare two of them for equality.

    Take one before `content_hash` and one after the extraction, and keep the track only if they are equal: else it was
    made from other content than its key says. Raises InputError where the input is missing or is no file or folder.
    """
    path = Path(path)
    try:
        found = [(member.name, member.stat()) for member in _members(path)]
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
    if not found:
        raise InputError(f"{path}: holds no files; name a file, or a folder of images")
    if not all(stat.S_ISREG(info.st_mode) for _, info in found):
        raise InputError(f"{path}: is neither a file nor a folder; name one of these")
    return tuple(
        (name, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns) for name, info in found
    )


def cache_key(content: str, space: str, extractor: str, options: Mapping[str, Any]) -> str:
    """The key (64 hex digits) of the track that `extractor` makes in `space` from that content with those options.

    extractor: its name and version, so that two extractors of one space never share an entry. options: JSON values,
    those that change the result and no others.
    """
    parts = {
        "content": content,
        "space": space,
        "extractor": extractor,
        "options": dict(options),
        "format": FORMAT_VERSION,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


class Cache:
    """The entries under one folder (see `cache_folder`): in its sub-folder `tracks` the tracks, in `clips` a folder for
    each video that is not finished, in `figures` those of measurements and the features behind them, in `locks` who makes a track just now.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = cache_folder(folder) / "tracks"
        self.clips = cache_folder(folder) / "clips"
        self.figures = cache_folder(folder) / "figures"
        self.locks = cache_folder(folder) / "locks"

    def path_for(self, key: str) -> Path:
        """Where the entry of a key lies or would lie."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a cache key: {key!r}")
        return self.folder / f"{key}.npz"

    def load_track(self, key: str) -> MotionTrack | None:
        """The kept track, or None. A damaged entry is removed."""
        path = self.path_for(key)
        try:
            return MotionTrack.load(path)
        except InputError as error:
            if isinstance(error.__cause__, ValueError):  # read, and found bad; the system's own refusals may pass
                with suppress(OSError):
                    path.unlink()
            return None

    def store_track(self, key: str, track: MotionTrack, source: str = "") -> bool:
        """Keep a track, in place of any older one; `source` is the input's name for listings. False if it cannot be."""
        path = self.path_for(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            track.save(path, overwrite=True)
        except (OutputError, OSError):
            return False
        with suppress(OutputError), atomic_path(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps({"source": source, "space": track.meta.space}), encoding="ascii")
        return True

    @contextmanager
    def making(self, key: str, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the right to make a key's track: who comes second waits until the first is done, or gone, and then finds
        it. wait: called now and then meanwhile. Where the folder cannot be written nobody waits.
        """
        path = self.locks / f"{self.path_for(key).stem}.lock"
        lock = FileLock(path)
        try:
            self._lock(lock, wait)
        except (OSError, NotImplementedError):
            yield
            return
        try:
            yield
        finally:
            lock.release()
            with suppress(OSError):  # who still waits for the old file makes the track once more, at worst
                path.unlink(missing_ok=True)
                self.locks.rmdir()  # these two where they are empty
                self.locks.parent.rmdir()

    def _lock(self, lock: FileLock, wait: Callable[[], None]) -> None:
        missed = 0  # another run may remove the empty folder between our making it and using it
        while True:
            try:
                self.locks.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=_LOCK_TICK)
                return
            except Timeout:
                wait()
            except FileNotFoundError:
                missed += 1
                if missed > 20:
                    raise

    def load_figures(self, key: str) -> dict[str, Any] | None:
        """The kept figures (a JSON object) of a measurement, or None."""
        try:
            values = json.loads(self._figures_path(key).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return values if isinstance(values, dict) else None

    def store_figures(self, key: str, values: Mapping[str, Any]) -> bool:
        """Keep the figures of a measurement (JSON values, all numbers finite). False if they cannot be kept."""
        path = self._figures_path(key)
        text = json.dumps(values, allow_nan=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="ascii")
        except (OutputError, OSError):
            return False
        return True

    def load_features(self, key: str) -> dict[str, np.ndarray] | None:
        """The kept network features of a measurement, finite arrays by name, or None."""
        try:
            with np.load(self._figures_path(key).with_suffix(".npz"), allow_pickle=False) as file:
                features = {name: file[name] for name in file.files}
                sound = all(np.isfinite(values).all() for values in features.values())
        except Exception:  # zipfile, zlib and numpy raise a dozen kinds on damaged bytes
            return None
        return features if sound else None

    def store_features(self, key: str, features: Mapping[str, np.ndarray]) -> bool:
        """Keep the network features of a measurement beside its figures. False if they cannot be kept."""
        path = self._figures_path(key).with_suffix(".npz")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                np.savez(temporary, **features)
        except (OutputError, OSError):
            return False
        return True

    def _figures_path(self, key: str) -> Path:
        return self.figures / f"{self.path_for(key).stem}.json"

    def entries(self) -> list[CacheEntry]:
        """All kept tracks, newest first. Raises OutputError where the folder cannot be read."""
        found = []
        for path in self._files():
            if path.suffix == ".npz" and _KEY.fullmatch(path.stem):
                with suppress(FileNotFoundError):  # another run cleared it just now
                    info = path.stat()
                    note = path.with_suffix(".json")
                    size = info.st_size + (note.stat().st_size if note.exists() else 0)
                    created = datetime.fromtimestamp(info.st_mtime, UTC)
                    found.append(CacheEntry(path.stem, path, size, created, **_read_note(note)))
        return sorted(found, key=lambda entry: (entry.created, entry.key), reverse=True)

    def unfinished(self) -> list[CacheEntry]:
        """The videos of which clips are kept, newest first. Raises OutputError where the folder cannot be read."""
        found = []
        try:
            for path in self.clips.iterdir() if self.clips.is_dir() else ():
                if _KEY.fullmatch(path.name) and path.is_dir():
                    infos = [member.stat() for member in path.iterdir()] or [path.stat()]
                    created = datetime.fromtimestamp(max(info.st_mtime for info in infos), UTC)
                    size = sum(info.st_size for info in infos)
                    found.append(CacheEntry(path.name, path, size, created, "unfinished video", "clips"))
        except FileNotFoundError:  # another run finished its video just now
            pass
        except OSError as error:
            raise output_error(self.clips, error) from error
        return sorted(found, key=lambda entry: (entry.created, entry.key), reverse=True)

    def size(self) -> int:
        """Bytes on disk, with whatever killed runs left."""
        total = sum(entry.size for entry in self.unfinished())
        for path in (*self._files(), *_files(self.figures)):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def clear(self, older_than: timedelta | None = None) -> list[CacheEntry]:
        """Remove the entries of that age and more (None: all), figures of that age, and what killed runs left; return
        the entries removed.

        Only files with the cache's own names are touched. Raises OutputError where one cannot be removed.
        """
        now = time.time()
        limit = now - (older_than.total_seconds() if older_than is not None else 0.0)
        kept = self.entries() + self.unfinished()
        entries = [entry for entry in kept if older_than is None or entry.created.timestamp() <= limit]
        try:
            for entry in entries:
                if entry.path.parent == self.clips:
                    shutil.rmtree(entry.path, ignore_errors=True)
                    continue
                entry.path.unlink(missing_ok=True)
                entry.path.with_suffix(".json").unlink(missing_ok=True)
            for path in _files(self.figures):
                if path.suffix in (".json", ".npz") and _KEY.fullmatch(path.stem):
                    with suppress(FileNotFoundError):
                        if older_than is None or path.stat().st_mtime <= limit:
                            path.unlink()
            for path in (*self._files(), *_files(self.figures)):
                orphan = path.suffix == ".json" and _KEY.fullmatch(path.stem) and not path.with_suffix(".npz").exists()
                orphan = orphan and path.parent == self.folder
                if orphan or _LEFTOVER.fullmatch(path.name):
                    with suppress(FileNotFoundError):
                        if now - path.stat().st_mtime > _LEFTOVER_AGE.total_seconds():
                            path.unlink()
        except OSError as error:
            raise OutputError(
                f"{self.folder}: cannot be cleared ({error.strerror or error}); check its permissions"
            ) from error
        return entries

    def _files(self) -> Iterator[Path]:
        return _files(self.folder)


def _files(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.iterdir() if path.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise output_error(folder, error) from error


def _members(path: Path) -> list[Path]:
    """The file itself, or the visible files directly in the folder, in an order that no locale changes."""
    if not path.is_dir():
        return [path]
    visible = (member for member in path.iterdir() if not member.name.startswith(".") and member.is_file())
    return sorted(visible, key=lambda member: os.fsencode(member.name))


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _read_note(path: Path) -> dict[str, str]:
    """The note's texts, each "" where the note is missing or not ours."""
    try:
        note = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        note = None
    values = note if isinstance(note, dict) else {}
    texts = {name: values.get(name) for name in ("source", "space")}
    return {name: text if isinstance(text, str) and text.isprintable() else "" for name, text in texts.items()}
