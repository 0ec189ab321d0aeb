"""The cache: stable keys, entries that are complete or absent, and runs that never fail because of the cache."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from mimaface_cli.cache import Cache, Cached, cache_folder, get_or_create
from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.fingerprint import content_hash
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_cache import TRACKS, track_key

ROOT = Path(__file__).resolve().parents[1]
KEY = "0" * 63 + "a"
OTHER = "0" * 63 + "b"


def make_track(frames: int = 5, space: str = "face478") -> MotionTrack:
    return MotionTrack.neutral(frames, space)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def set_age(path: Path, **age) -> None:
    """Set the modification time of a file to a time span ago."""
    timestamp = time.time() - timedelta(**age).total_seconds()
    os.utime(path, (timestamp, timestamp))


def test_cache_folder_prefers_argument_then_environment_then_user_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MIMAFACE_CACHE_DIR", str(tmp_path / "environment"))
    assert cache_folder(tmp_path / "argument") == tmp_path / "argument"
    assert cache_folder() == tmp_path / "environment"
    monkeypatch.setenv("MIMAFACE_CACHE_DIR", "~/cache")
    assert cache_folder() == Path.home() / "cache"
    monkeypatch.setenv("MIMAFACE_CACHE_DIR", "")
    assert cache_folder() == platformdirs.user_cache_path("mimaface", appauthor=False)


def test_path_for_refuses_malformed_keys(cache):
    assert cache.path_for(TRACKS, KEY).parent == cache.folder and KEY in cache.path_for(TRACKS, KEY).name
    for wrong in ("", "../" + KEY, KEY + "\n", KEY.upper(), KEY[1:]):
        with pytest.raises(ValueError, match="not a cache key"):
            cache.path_for(TRACKS, wrong)


def test_key_depends_on_every_part_but_not_on_option_order():
    base = ("c" * 64, "face478", "landmarks 1", {"a": 1, "b": [1.5, "ü", None]})
    key = track_key(*base)
    assert len(key) == 64 and track_key(*base[:3], {"b": [1.5, "ü", None], "a": 1}) == key
    others = [
        ("d" * 64, *base[1:]),
        (base[0], "bfm09", *base[2:]),
        (*base[:2], "landmarks 2", base[3]),
        (*base[:3], {"a": 2, "b": [1.5, "ü", None]}),
        (*base[:3], {}),
    ]
    assert len({key, *(track_key(*other) for other in others)}) == 6


def test_key_is_stable_across_versions():
    """A change of the hashed text would invalidate every existing cache."""
    text = (
        '{"content": "c5", "extractor": "landmarks 1", "format": 1, '
        '"options": {"face": "\\u00fc", "smooth": 1.0}, "space": "face478"}'
    )
    key = track_key("c5", "face478", "landmarks 1", {"smooth": 1.0, "face": "ü"})
    assert key == hashlib.sha256(text.encode()).hexdigest()


def test_key_refuses_options_that_are_not_json():
    with pytest.raises(TypeError):
        track_key("c" * 64, "face478", "x", {"path": Path("a")})
    with pytest.raises(ValueError):
        track_key("c" * 64, "face478", "x", {"value": float("nan")})


def test_stored_track_is_loaded_again(cache):
    assert cache.load(TRACKS, KEY) is None
    assert cache.store(TRACKS, KEY, make_track(7), "drive.mp4")
    loaded = cache.load(TRACKS, KEY)
    assert len(loaded) == 7 and loaded.meta == make_track(7).meta
    assert cache.load(TRACKS, OTHER) is None
    assert cache.store(TRACKS, KEY, make_track(8))
    assert len(cache.load(TRACKS, KEY)) == 8


def test_damaged_entry_is_a_miss_and_is_removed(cache):
    cache.store(TRACKS, KEY, make_track())
    path = cache.path_for(TRACKS, KEY)
    path.write_bytes(path.read_bytes()[:-10])
    assert cache.load(TRACKS, KEY) is None and not path.exists()
    assert cache.store(TRACKS, KEY, make_track()) and cache.load(TRACKS, KEY) is not None


def test_unreadable_entry_is_a_miss_and_stays(cache, monkeypatch):
    cache.store(TRACKS, KEY, make_track())
    with monkeypatch.context() as patch:

        def refuse(*_args, **_kwargs):
            raise PermissionError(13, "Permission denied")

        patch.setattr(Path, "open", refuse)
        assert cache.load(TRACKS, KEY) is None
    assert cache.load(TRACKS, KEY) is not None


def test_folder_in_place_of_an_entry_is_a_miss(cache):
    cache.path_for(TRACKS, KEY).mkdir(parents=True)
    assert cache.load(TRACKS, KEY) is None
    assert not cache.store(TRACKS, KEY, make_track())


def test_unwritable_cache_stores_nothing_and_does_not_fail(tmp_path, cache, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    blocked = Cache(tmp_path / "file")
    assert blocked.store(TRACKS, KEY, make_track()) is False
    assert blocked.load(TRACKS, KEY) is None
    assert blocked.entries() == [] and blocked.size() == 0 and blocked.clear() == []
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_args: False)  # as for a read-only folder
        assert cache.store(TRACKS, KEY, make_track()) is False

    def fail_on_full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail_on_full_disk)
    assert cache.store(TRACKS, KEY, make_track()) is False
    assert list(cache.folder.iterdir()) == []


def test_unwritable_note_loses_only_the_source_name(cache, monkeypatch):
    def fail_on_full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail_on_full_disk)
    assert cache.store(TRACKS, KEY, make_track(), "drive.mp4") is True
    assert cache.load(TRACKS, KEY) is not None and [entry.source for entry in cache.entries()] == [""]
    assert len(list(cache.folder.iterdir())) == 1


def test_entries_list_name_space_size_and_time_newest_first(cache):
    cache.store(TRACKS, KEY, make_track(5), "première.mp4")
    cache.store(TRACKS, OTHER, make_track(9, "bfm09"), "second.mov")
    set_age(cache.path_for(TRACKS, KEY), hours=1)
    second, first = cache.entries()
    assert (first.key, first.source, first.space, first.path) == (
        KEY,
        "première.mp4",
        "face478",
        cache.path_for(TRACKS, KEY),
    )
    assert (second.key, second.source, second.space) == (OTHER, "second.mov", "bfm09")
    assert abs(datetime.now(UTC) - timedelta(hours=1) - first.created) < timedelta(seconds=30)
    assert first.size + second.size == cache.size() == sum(path.stat().st_size for path in cache.folder.iterdir())
    assert first.size > cache.path_for(TRACKS, KEY).stat().st_size


@pytest.mark.parametrize(
    "note", [b"", b"\xff", b"[]", b"[" * 9999, b'{"source": 5}', b'{"source": "\\u001b[2J", "space": "a\\nb"}']
)
def test_malformed_notes_are_ignored(cache, note):
    cache.store(TRACKS, KEY, make_track(), "drive.mp4")
    cache.path_for(TRACKS, KEY).with_suffix(".json").write_bytes(note)
    assert [(entry.source, entry.space) for entry in cache.entries()] == [("", "")]


def test_empty_cache_has_no_entries(cache):
    assert cache.entries() == [] and cache.size() == 0 and cache.clear() == [] and not cache.folder.exists()


def test_clear_removes_old_entries_and_never_foreign_files(cache):
    cache.store(TRACKS, KEY, make_track())
    cache.store(TRACKS, OTHER, make_track())
    set_age(cache.path_for(TRACKS, KEY), days=10)
    foreign_files = [cache.folder / "notes.json", cache.folder / "my.npz", cache.folder.parent / "thesis.txt"]
    for path in foreign_files:
        path.write_text("foreign")
        set_age(path, days=99)
    assert [entry.key for entry in cache.clear(timedelta(days=11))] == []
    assert [entry.key for entry in cache.clear(timedelta(days=9))] == [KEY]
    assert cache.load(TRACKS, KEY) is None and cache.load(TRACKS, OTHER) is not None
    assert not cache.path_for(TRACKS, KEY).with_suffix(".json").exists()
    assert [entry.key for entry in cache.clear()] == [OTHER]
    assert sorted(cache.folder.iterdir()) == sorted(foreign_files[:2]) and foreign_files[2].exists()


def test_clear_reports_what_it_cannot_remove(cache, monkeypatch):
    cache.store(TRACKS, KEY, make_track())

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OutputError, match=r"cannot be cleared \(Permission denied\)"):
        cache.clear()


def test_clear_removes_orphaned_notes(cache):
    cache.store(TRACKS, KEY, make_track())
    cache.path_for(TRACKS, KEY).unlink()
    note = cache.path_for(TRACKS, KEY).with_suffix(".json")
    assert cache.clear() == [] and note.exists()  # a run may be about to write the track
    set_age(note, days=2)
    assert cache.clear() == [] and not note.exists()


def python(script: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_killed_run_leaves_no_readable_half_entry(cache):
    script = """
import sys, time
import numpy as np
from mimaface_cli.cache import Cache
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_cache import TRACKS
whole = np.savez
def half(file, **arrays):
    whole(file, **arrays)
    file.truncate(file.tell() // 2)
    print("half", flush=True)
    time.sleep(60)
np.savez = half
Cache(sys.argv[1]).store(TRACKS, sys.argv[2], MotionTrack.neutral(100, "face478"))
"""
    run = python(script, cache.folder.parent, KEY)
    assert run.stdout.readline() == "half\n"
    run.kill()
    run.wait()
    (leftover,) = cache.folder.iterdir()
    assert cache.load(TRACKS, KEY) is None and cache.entries() == [] and cache.size() == leftover.stat().st_size > 0
    assert cache.store(TRACKS, KEY, make_track()) and len(cache.load(TRACKS, KEY)) == 5
    cache.clear()
    assert leftover.exists()  # too new: its run may still be active
    set_age(leftover, days=2)
    cache.clear()
    assert list(cache.folder.iterdir()) == []


def test_runs_killed_at_any_time_leave_whole_entries(cache):
    script = """
import sys
from mimaface_cli.cache import Cache
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_cache import TRACKS
cache, track = Cache(sys.argv[1]), MotionTrack.neutral(20_000, "face478")
print("ready", flush=True)
while True:
    cache.store(TRACKS, sys.argv[2], track, "drive.mp4")
"""
    generator = random.Random(3)
    for _ in range(5):
        run = python(script, cache.folder.parent, KEY)
        assert run.stdout.readline() == "ready\n"
        time.sleep(generator.uniform(0.0, 0.1))
        run.send_signal(signal.SIGKILL)
        run.wait()
        existed = cache.path_for(TRACKS, KEY).exists()
        track = cache.load(TRACKS, KEY)
        assert (track is not None) == existed and (track is None or len(track) == 20_000)
        for entry in cache.entries():
            assert entry.source in ("", "drive.mp4")


def test_two_runs_that_store_one_key_leave_a_whole_entry(cache):
    script = """
import sys
from mimaface_cli.cache import Cache
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_cache import TRACKS
cache, frames = Cache(sys.argv[1]), int(sys.argv[3])
track = MotionTrack.neutral(frames, "face478")
print("ready", flush=True)
stored = sum(cache.store(TRACKS, sys.argv[2], track, f"{frames}.mp4") for _ in range(60))
print(stored)
"""
    runs = [python(script, cache.folder.parent, KEY, frames) for frames in (3000, 4000)]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    lengths = set()
    while any(run.poll() is None for run in runs):
        existed = cache.path_for(TRACKS, KEY).exists()
        track = cache.load(TRACKS, KEY)
        assert track is not None or not existed
        lengths.add(track and len(track))
    assert [run.stdout.read() for run in runs] == ["60\n", "60\n"]
    assert len(cache.load(TRACKS, KEY)) in (3000, 4000) and lengths <= {None, 3000, 4000}
    assert len(list(cache.folder.iterdir())) == 2 and json.loads(
        cache.path_for(TRACKS, KEY).with_suffix(".json").read_text()
    )


def test_get_or_create_creates_once_and_loads_afterwards(cache, tmp_path):
    source = tmp_path / "input"
    source.write_bytes(b"content")
    created = []

    def create(content: str) -> MotionTrack:
        created.append(content)
        return make_track(6)

    def get() -> Cached[MotionTrack]:
        return get_or_create(cache, TRACKS, source, lambda content: content, create)

    first, second = get(), get()
    assert (first.was_cached, first.is_cached, len(first.value)) == (False, True, 6)
    assert (second.was_cached, second.is_cached, len(second.value)) == (True, True, 6)
    assert created == [content_hash(source)] == [first.content]


def test_get_or_create_without_a_cache_creates_every_time(tmp_path):
    source = tmp_path / "input"
    source.write_bytes(b"content")
    result = get_or_create(None, TRACKS, source, lambda content: content, lambda content: make_track())
    assert not result.was_cached and not result.is_cached


def test_get_or_create_does_not_store_under_the_hash_of_old_content(cache, tmp_path):
    source = tmp_path / "input"
    source.write_bytes(b"content")

    def create(content: str) -> MotionTrack:
        source.write_bytes(b"new content")
        return make_track()

    assert not get_or_create(cache, TRACKS, source, lambda content: content, create).is_cached
    assert cache.entries() == []


def test_get_or_create_waits_for_another_run_and_loads_its_value(cache, tmp_path):
    source = tmp_path / "input"
    source.write_bytes(b"content")
    started, release = threading.Event(), threading.Event()

    def slow(content: str) -> MotionTrack:
        started.set()
        assert release.wait(20)
        return make_track(9)

    def get(create, on_wait=lambda: None) -> Cached[MotionTrack]:
        return get_or_create(cache, TRACKS, source, lambda content: content, create, on_wait)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(get, slow)
        assert started.wait(20)
        second = get(lambda content: pytest.fail("created twice"), release.set)
        assert not first.result().was_cached
    assert second.was_cached and len(second.value) == 9


def test_get_or_create_passes_errors_on_and_stores_nothing(cache, tmp_path):
    source = tmp_path / "input"
    source.write_bytes(b"content")

    def fail(content: str) -> MotionTrack:
        raise InputError("no face")

    with pytest.raises(InputError, match="no face"):
        get_or_create(cache, TRACKS, source, lambda content: content, fail)
    assert cache.entries() == [] and not cache.locks.exists()
