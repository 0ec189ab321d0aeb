"""Content hashes and change stamps of input files."""

import os
import time
from pathlib import Path

import pytest

from mimaface_cli import fingerprint
from mimaface_cli.errors import InputError
from mimaface_cli.fingerprint import content_hash, source_stamp


def test_content_hash_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert content_hash(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_content_hash_of_a_folder_covers_names_and_bytes(tmp_path):
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


def test_missing_empty_and_special_inputs_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    faults = {"absent": "no such file", "empty": "contains no files", "pipe": "is neither a file nor a folder"}
    for name, text in faults.items():
        for function in (content_hash, source_stamp):
            with pytest.raises(InputError, match=f"{name}: {text}"):
                function(tmp_path / name)


def test_input_that_changes_while_hashed_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "growing"
    path.write_bytes(b"beginning")
    digest = fingerprint.hashlib.file_digest

    def grows(file, name):
        found = digest(file, name)
        path.write_bytes(b"beginning and end")
        return found

    monkeypatch.setattr(fingerprint.hashlib, "file_digest", grows)
    with pytest.raises(InputError, match="growing: changed while it was read"):
        content_hash(path)


def test_input_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    path, reads = tmp_path / "input", []
    digest = fingerprint.hashlib.file_digest
    monkeypatch.setattr(fingerprint.hashlib, "file_digest", lambda *given: reads.append(given) or digest(*given))
    monkeypatch.setattr(fingerprint, "_SETTLED", -1)  # as if it had been written long ago
    path.write_bytes(b"one")
    first = content_hash(path)
    assert content_hash(path) == first and len(reads) == 1
    path.write_bytes(b"another")
    assert content_hash(path) != first and len(reads) == 2
    monkeypatch.setattr(fingerprint, "_SETTLED", 10**12)  # just written: its stamp may not tell the next change
    path.write_bytes(b"once more")
    content_hash(path)
    content_hash(path)
    assert len(reads) == 4


def test_source_stamp_changes_when_the_input_is_replaced(tmp_path):
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
