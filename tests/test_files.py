"""Files appear whole or not at all, and nothing is replaced unasked."""

import errno
import os
from pathlib import Path

import pytest

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.files import atomic_path, check_folder, check_output, output_error, remove_partial_files


def refusal(*arguments, **named) -> str:
    with pytest.raises(OutputError) as caught:
        check_output(*arguments, **named)
    return str(caught.value)


def test_a_new_name_is_fine_and_nothing_is_made(tmp_path):
    check_output(tmp_path / "new.mp4", inputs=(tmp_path / "absent.mp4",))
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "a.mp4"
    path.touch()
    assert "--overwrite" in refusal(path)
    check_output(path, overwrite=True)


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_an_input_is_never_replaced(tmp_path, link):
    given, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    given.touch()
    link(other, given)
    for path in (given, other, tmp_path / "." / "a.mp4"):
        assert "same file as an input" in refusal(path, overwrite=True, inputs=(tmp_path / "absent", given))


def test_places_that_take_no_file(tmp_path):
    (tmp_path / "file").touch()
    assert "is a folder" in refusal(tmp_path, overwrite=True)
    assert "no such folder" in refusal(tmp_path / "gone" / "a.mp4")
    assert "no such folder" in refusal(tmp_path / "file" / "a.mp4")
    assert "cannot be written" in refusal(tmp_path / ("n" * 300 + ".mp4"))
    (tmp_path / "a.mp4").symlink_to(os.devnull)
    assert "not an ordinary file" in refusal(tmp_path / "a.mp4", overwrite=True)


def test_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # no permission holds for the superuser
    with pytest.raises(OutputError, match="cannot be written to"):
        check_folder(tmp_path)


def test_leftovers_of_one_name_are_removed_and_no_others(tmp_path):
    ours = (".a.01234567.part.mp4", ".a.89abcdef.part.mp4.signed.mp4")
    others = (".b.01234567.part.mp4", ".a.01234567.part.mov", "a.mp4", ".a.nothexno.part.mp4")
    for name in (*ours, *others):
        (tmp_path / name).touch()
    remove_partial_files(tmp_path / "a.mp4")
    assert {path.name for path in tmp_path.iterdir()} == set(others)


def test_the_name_appears_at_the_end(tmp_path):
    path = tmp_path / "a.tar.npz"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".npz" and temporary.name.startswith(".a.tar.")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fault", [InputError("x"), ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_a_failure_leaves_the_older_file(tmp_path, fault):
    path = tmp_path / "a.npz"
    path.write_text("old")
    with pytest.raises(type(fault)), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise fault
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_the_system_refuses_is_one_line(tmp_path):
    with pytest.raises(OutputError, match="no space left") as caught, atomic_path(tmp_path / "a.npz") as temporary:
        temporary.touch()
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []
    assert "Read-only file system" in str(output_error(tmp_path, OSError(errno.EROFS, os.strerror(errno.EROFS))))


@pytest.mark.parametrize("stem", ["n" * 250, "ñ" * 124, "名" * 83])
def test_the_longest_names_have_room_for_the_temporary_one(tmp_path, stem):
    path = tmp_path / f"{stem}.mp4"
    with atomic_path(path) as temporary:
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == [path]
