"""Path checks and atomic writes: files appear complete or not at all, and nothing is overwritten by accident."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import (
    atomic_path,
    check_folder,
    check_input_file,
    check_output,
    output_error,
    remove_partial_files,
)
from tests.conftest import ROOT


def check_output_error(*arguments, **options) -> str:
    """Return the message of the OutputError that `check_output` raises."""
    with pytest.raises(OutputError) as caught:
        check_output(*arguments, **options)
    return str(caught.value)


def test_check_input_file_names_the_problem(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match="no such file"):
        check_input_file(tmp_path / "missing.mp4")
    with pytest.raises(InputError, match="not a regular file"):
        check_input_file(tmp_path)
    with pytest.raises(InputError, match="is empty"):
        check_input_file(tmp_path / "empty.mp4")
    with pytest.raises(InputError, match="cannot be read"):
        check_input_file(tmp_path / ("n" * 300))


def test_check_output_accepts_a_new_name_and_creates_nothing(tmp_path):
    check_output(tmp_path / "new.mp4", inputs=(tmp_path / "absent.mp4",))
    assert list(tmp_path.iterdir()) == []


def test_check_output_requires_overwrite_for_an_existing_file(tmp_path):
    path = tmp_path / "a.mp4"
    path.touch()
    assert "`overwrite`" in check_output_error(path)
    check_output(path, overwrite=True)


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_check_output_never_allows_overwriting_an_input(tmp_path, link):
    source, linked = tmp_path / "a.mp4", tmp_path / "b.mp4"
    source.touch()
    link(linked, source)
    for path in (source, linked, tmp_path / "." / "a.mp4"):
        message = check_output_error(path, overwrite=True, inputs=(tmp_path / "absent", source))
        assert "same file as an input" in message


def test_check_output_refuses_paths_that_cannot_hold_a_file(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "a.mp4").symlink_to(os.devnull)
    assert "is a folder" in check_output_error(tmp_path, overwrite=True)
    assert "no such folder" in check_output_error(tmp_path / "gone" / "a.mp4")
    assert "no such folder" in check_output_error(tmp_path / "file" / "a.mp4")
    assert "Use a shorter name" in check_output_error(tmp_path / ("n" * 300 + ".mp4"))
    assert "not a regular file" in check_output_error(tmp_path / "a.mp4", overwrite=True)


def test_check_folder_refuses_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # permissions do not apply to the superuser
    with pytest.raises(OutputError, match="cannot be written to"):
        check_folder(tmp_path)


def test_remove_partial_files_removes_those_of_one_name_only(tmp_path):
    partial_files = (".a.01234567.part.mp4", ".a.89abcdef.part.mp4.signed.mp4")
    other_files = (".b.01234567.part.mp4", ".a.01234567.part.mov", "a.mp4", ".a.nothexno.part.mp4")
    for name in (*partial_files, *other_files):
        (tmp_path / name).touch()
    remove_partial_files(tmp_path / "a.mp4")
    assert {path.name for path in tmp_path.iterdir()} == set(other_files)


def test_atomic_path_replaces_the_file_at_the_end(tmp_path):
    path = tmp_path / "a.tar.npz"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".npz" and temporary.name.startswith(".a.tar.")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [InputError("x"), ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_atomic_path_keeps_the_old_file_on_failure(tmp_path, failure):
    path = tmp_path / "a.npz"
    path.write_text("old")
    with pytest.raises(type(failure)), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise failure
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_atomic_path_reports_refused_writes_as_one_line(tmp_path):
    with pytest.raises(OutputError, match="no space left") as caught, atomic_path(tmp_path / "a.npz") as temporary:
        temporary.touch()
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []
    assert "Read-only file system" in str(output_error(tmp_path, OSError(errno.EROFS, os.strerror(errno.EROFS))))


@pytest.mark.parametrize("stem", ["n" * 250, "ñ" * 124, "名" * 83])
def test_atomic_path_shortens_the_temporary_name_of_long_names(tmp_path, stem):
    path = tmp_path / f"{stem}.mp4"
    with atomic_path(path) as temporary:
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGKILL, signal.SIGSEGV])
def test_no_partial_file_remains_when_the_process_is_killed(tmp_path, number):
    code = f"""
import os, pathlib
from mimaface_cli.files import atomic_path
with atomic_path(pathlib.Path({str(tmp_path / "published")!r})) as temporary:
    temporary.write_text("whole")
with atomic_path(pathlib.Path({str(tmp_path / "a b.mp4")!r})) as temporary:
    temporary.write_text("half")
    temporary.with_name(temporary.name + ".signed.mp4").write_text("half")
    os.kill(os.getpid(), {int(number)})
"""
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -number
    limit = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) > 1 and time.monotonic() < limit:
        time.sleep(0.02)
    assert [path.name for path in tmp_path.iterdir()] == ["published"]
