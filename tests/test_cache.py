"""The cache: keys that mean the content, entries that are whole or absent, and runs that never fail because of it."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from mimaface_cli import cache as module
from mimaface_cli.cache import Cache, cache_folder, cache_key, content_hash, source_stamp
from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.motion.track import MotionTrack

ROOT = Path(__file__).resolve().parents[1]
KEY = "0" * 63 + "a"
OTHER = "0" * 63 + "b"


def make_track(frames: int = 5, space: str = "face478") -> MotionTrack:
    return MotionTrack.neutral(frames, space)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def age(path: Path, **ago) -> None:
    then = time.time() - timedelta(**ago).total_seconds()
    os.utime(path, (then, then))


# --- where it lies


def test_the_folder_is_the_argument_then_the_environment_then_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("MIMAFACE_CACHE_DIR", str(tmp_path / "environment"))
    assert cache_folder(tmp_path / "argument") == tmp_path / "argument"
    assert cache_folder() == tmp_path / "environment"
    monkeypatch.setenv("MIMAFACE_CACHE_DIR", "~/kept")
    assert cache_folder() == Path.home() / "kept"
    monkeypatch.setenv("MIMAFACE_CACHE_DIR", "")
    assert cache_folder() == platformdirs.user_cache_path("mimaface", appauthor=False)


def test_only_keys_become_paths(cache):
    assert cache.path_for(KEY).parent == cache.folder and KEY in cache.path_for(KEY).name
    for wrong in ("", "../" + KEY, KEY + "\n", KEY.upper(), KEY[1:]):
        with pytest.raises(ValueError, match="not a cache key"):
            cache.path_for(wrong)


# --- what a key means


def test_the_hash_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert content_hash(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_hash_of_a_folder_is_that_of_its_names_and_contents(tmp_path):
    def folder(name: str, **files: str) -> Path:
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
        return tmp_path / name

    first = content_hash(folder("first", a="1", b="2"))
    assert content_hash(folder("again", b="2", a="1")) == first
    others = [
        folder("content", a="1", b="3"),
        folder("swap", a="2", b="1"),
        folder("name", a="1", c="2"),
        folder("few", a="1"),
    ]
    assert len({first, *map(content_hash, others)}) == 5
    (tmp_path / "first" / ".DS_Store").write_text("hidden files and folders do not count")
    (tmp_path / "first" / "inner").mkdir()
    assert content_hash(tmp_path / "first") == first


def test_inputs_without_content(tmp_path):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    faults = {"absent": "no such file", "empty": "holds no files", "pipe": "is neither a file nor a folder"}
    for name, text in faults.items():
        for function in (content_hash, source_stamp):
            with pytest.raises(InputError, match=f"{name}: {text}"):
                function(tmp_path / name)


def test_an_input_that_grows_while_it_is_hashed_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "growing"
    path.write_bytes(b"beginning")
    digest = module.hashlib.file_digest

    def grows(file, name):
        found = digest(file, name)
        path.write_bytes(b"beginning and end")
        return found

    monkeypatch.setattr(module.hashlib, "file_digest", grows)
    with pytest.raises(InputError, match="growing: changes while it is being read"):
        content_hash(path)


def test_an_input_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    path, reads = tmp_path / "input", []
    digest = module.hashlib.file_digest
    monkeypatch.setattr(module.hashlib, "file_digest", lambda *given: reads.append(given) or digest(*given))
    monkeypatch.setattr(module, "_SETTLED", -1)  # as if it had been written long ago
    path.write_bytes(b"one")
    first = content_hash(path)
    assert content_hash(path) == first and len(reads) == 1
    path.write_bytes(b"another")
    assert content_hash(path) != first and len(reads) == 2
    monkeypatch.setattr(module, "_SETTLED", 10**12)  # just written: its stamp may not tell the next change
    path.write_bytes(b"once more")
    content_hash(path)
    content_hash(path)
    assert len(reads) == 4


def test_the_stamp_tells_a_replaced_input(tmp_path):
    path, other = tmp_path / "input", tmp_path / "other"
    path.write_bytes(b"one")
    before = source_stamp(path)
    assert source_stamp(path) == before
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    other.write_bytes(b"two")
    os.replace(other, path)
    os.utime(path, ns=times)  # same name, size and modification time
    assert source_stamp(path) != before
    before = source_stamp(path)
    time.sleep(0.05)  # more than the file system's clock needs to tick
    path.write_bytes(b"six")
    os.utime(path, ns=times)  # the same file, too
    assert source_stamp(path) != before
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").touch()
    before = source_stamp(tmp_path / "folder")
    (tmp_path / "folder" / "b").touch()
    assert source_stamp(tmp_path / "folder") != before


def test_the_key_depends_on_everything_and_not_on_the_order_of_options():
    base = ("c" * 64, "face478", "landmarks 1", {"a": 1, "b": [1.5, "ü", None]})
    key = cache_key(*base)
    assert len(key) == 64 and cache_key(*base[:3], {"b": [1.5, "ü", None], "a": 1}) == key
    others = [
        ("d" * 64, *base[1:]),
        (base[0], "bfm09", *base[2:]),
        (*base[:2], "landmarks 2", base[3]),
        (*base[:3], {"a": 2, "b": [1.5, "ü", None]}),
        (*base[:3], {}),
    ]
    assert len({key, *(cache_key(*other) for other in others)}) == 6


def test_the_key_is_the_hash_of_one_settled_text():
    """Another text would silently empty everybody's cache."""
    text = (
        '{"content": "c5", "extractor": "landmarks 1", "format": 1, '
        '"options": {"face": "\\u00fc", "smooth": 1.0}, "space": "face478"}'
    )
    key = cache_key("c5", "face478", "landmarks 1", {"smooth": 1.0, "face": "ü"})
    assert key == hashlib.sha256(text.encode()).hexdigest()


def test_options_without_a_text_of_their_own_are_refused():
    with pytest.raises(TypeError):
        cache_key("c" * 64, "face478", "x", {"path": Path("a")})
    with pytest.raises(ValueError):
        cache_key("c" * 64, "face478", "x", {"value": float("nan")})


# --- keeping and finding


def test_store_and_load(cache):
    assert cache.load_track(KEY) is None
    assert cache.store_track(KEY, make_track(7), "drive.mp4")
    found = cache.load_track(KEY)
    assert len(found) == 7 and found.meta == make_track(7).meta
    assert cache.load_track(OTHER) is None
    assert cache.store_track(KEY, make_track(8))
    assert len(cache.load_track(KEY)) == 8


def test_a_damaged_entry_is_a_miss_and_is_removed(cache):
    cache.store_track(KEY, make_track())
    path = cache.path_for(KEY)
    path.write_bytes(path.read_bytes()[:-10])
    assert cache.load_track(KEY) is None and not path.exists()
    assert cache.store_track(KEY, make_track()) and cache.load_track(KEY) is not None


def test_an_entry_that_cannot_be_read_is_a_miss_and_stays(cache, monkeypatch):
    cache.store_track(KEY, make_track())
    with monkeypatch.context() as patch:

        def refuses(*_args, **_kwargs):
            raise PermissionError(13, "Permission denied")

        patch.setattr(Path, "open", refuses)
        assert cache.load_track(KEY) is None
    assert cache.load_track(KEY) is not None


def test_a_folder_in_an_entrys_place_is_a_miss(cache):
    cache.path_for(KEY).mkdir(parents=True)
    assert cache.load_track(KEY) is None
    assert not cache.store_track(KEY, make_track())


def test_a_cache_that_cannot_be_written_keeps_nothing_and_does_not_fail(tmp_path, cache, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    blocked = Cache(tmp_path / "file")
    assert blocked.store_track(KEY, make_track()) is False
    assert blocked.load_track(KEY) is None
    assert blocked.entries() == [] and blocked.size() == 0 and blocked.clear() == []
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_args: False)  # what a read-only folder answers
        assert cache.store_track(KEY, make_track()) is False

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert cache.store_track(KEY, make_track()) is False
    assert list(cache.folder.iterdir()) == []


def test_a_note_that_cannot_be_written_costs_only_the_name(cache, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert cache.store_track(KEY, make_track(), "drive.mp4") is True
    assert cache.load_track(KEY) is not None and [entry.source for entry in cache.entries()] == [""]
    assert len(list(cache.folder.iterdir())) == 1


# --- listing and clearing


def test_entries_tell_name_space_size_and_time_newest_first(cache):
    cache.store_track(KEY, make_track(5), "première.mp4")
    cache.store_track(OTHER, make_track(9, "bfm09"), "second.mov")
    age(cache.path_for(KEY), hours=1)
    second, first = cache.entries()
    assert (first.key, first.source, first.space, first.path) == (KEY, "première.mp4", "face478", cache.path_for(KEY))
    assert (second.key, second.source, second.space) == (OTHER, "second.mov", "bfm09")
    assert abs(datetime.now(UTC) - timedelta(hours=1) - first.created) < timedelta(seconds=30)
    assert first.size + second.size == cache.size() == sum(path.stat().st_size for path in cache.folder.iterdir())
    assert first.size > cache.path_for(KEY).stat().st_size


@pytest.mark.parametrize(
    "note", [b"", b"\xff", b"[]", b"[" * 9999, b'{"source": 5}', b'{"source": "\\u001b[2J", "space": "a\\nb"}']
)
def test_notes_that_are_not_ours_are_left_aside(cache, note):
    cache.store_track(KEY, make_track(), "drive.mp4")
    cache.path_for(KEY).with_suffix(".json").write_bytes(note)
    assert [(entry.source, entry.space) for entry in cache.entries()] == [("", "")]


def test_an_empty_cache(cache):
    assert cache.entries() == [] and cache.size() == 0 and cache.clear() == [] and not cache.folder.exists()


def test_clear_removes_the_old_or_all_but_never_what_is_not_ours(cache):
    cache.store_track(KEY, make_track())
    cache.store_track(OTHER, make_track())
    age(cache.path_for(KEY), days=10)
    mine = [cache.folder / "notes.json", cache.folder / "my.npz", cache.folder.parent / "thesis.txt"]
    for path in mine:
        path.write_text("mine")
        age(path, days=99)
    assert [entry.key for entry in cache.clear(timedelta(days=11))] == []
    assert [entry.key for entry in cache.clear(timedelta(days=9))] == [KEY]
    assert cache.load_track(KEY) is None and cache.load_track(OTHER) is not None
    assert not cache.path_for(KEY).with_suffix(".json").exists()
    assert [entry.key for entry in cache.clear()] == [OTHER]
    assert sorted(cache.folder.iterdir()) == sorted(mine[:2]) and mine[2].exists()


def test_clear_says_what_it_may_not_remove(cache, monkeypatch):
    cache.store_track(KEY, make_track())

    def refuses(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuses)
    with pytest.raises(OutputError, match=r"cannot be cleared \(Permission denied\)"):
        cache.clear()


def test_clear_sweeps_notes_whose_track_is_gone(cache):
    cache.store_track(KEY, make_track())
    cache.path_for(KEY).unlink()
    note = cache.path_for(KEY).with_suffix(".json")
    assert cache.clear() == [] and note.exists()  # a run may be about to write the track
    age(note, days=2)
    assert cache.clear() == [] and not note.exists()


# --- other processes


def python(script: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_a_run_killed_midway_leaves_nothing_that_passes_for_an_entry(cache):
    script = """
import sys, time
import numpy as np
from mimaface_cli.cache import Cache
from mimaface_cli.motion.track import MotionTrack
whole = np.savez
def half(file, **arrays):
    whole(file, **arrays)
    file.truncate(file.tell() // 2)
    print("half", flush=True)
    time.sleep(60)
np.savez = half
Cache(sys.argv[1]).store_track(sys.argv[2], MotionTrack.neutral(100, "face478"))
"""
    run = python(script, cache.folder.parent, KEY)
    assert run.stdout.readline() == "half\n"
    run.kill()
    run.wait()
    (leftover,) = cache.folder.iterdir()
    assert cache.load_track(KEY) is None and cache.entries() == [] and cache.size() == leftover.stat().st_size > 0
    assert cache.store_track(KEY, make_track()) and len(cache.load_track(KEY)) == 5
    cache.clear()
    assert leftover.exists()  # young: its run may be alive
    age(leftover, days=2)
    cache.clear()
    assert list(cache.folder.iterdir()) == []


def test_runs_killed_at_any_moment_leave_whole_entries(cache):
    script = """
import sys
from mimaface_cli.cache import Cache
from mimaface_cli.motion.track import MotionTrack
cache, track = Cache(sys.argv[1]), MotionTrack.neutral(20_000, "face478")
print("ready", flush=True)
while True:
    cache.store_track(sys.argv[2], track, "drive.mp4")
"""
    moments = random.Random(3)
    for _ in range(5):
        run = python(script, cache.folder.parent, KEY)
        assert run.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.1))
        run.send_signal(signal.SIGKILL)
        run.wait()
        existed = cache.path_for(KEY).exists()
        track = cache.load_track(KEY)
        assert (track is not None) == existed and (track is None or len(track) == 20_000)
        for entry in cache.entries():
            assert entry.source in ("", "drive.mp4")


def test_two_runs_that_keep_the_same_key_leave_a_whole_entry(cache):
    script = """
import sys
from mimaface_cli.cache import Cache
from mimaface_cli.motion.track import MotionTrack
cache, frames = Cache(sys.argv[1]), int(sys.argv[3])
track = MotionTrack.neutral(frames, "face478")
print("ready", flush=True)
stored = sum(cache.store_track(sys.argv[2], track, f"{frames}.mp4") for _ in range(60))
print(stored)
"""
    runs = [python(script, cache.folder.parent, KEY, frames) for frames in (3000, 4000)]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    seen = set()
    while any(run.poll() is None for run in runs):
        existed = cache.path_for(KEY).exists()
        track = cache.load_track(KEY)
        assert track is not None or not existed
        seen.add(track and len(track))
    assert [run.stdout.read() for run in runs] == ["60\n", "60\n"]
    assert len(cache.load_track(KEY)) in (3000, 4000) and seen <= {None, 3000, 4000}
    assert len(list(cache.folder.iterdir())) == 2 and json.loads(cache.path_for(KEY).with_suffix(".json").read_text())
