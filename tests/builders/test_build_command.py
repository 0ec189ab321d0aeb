"""What the command lines of long builds share."""

import re

from mimaface_cli.builders.build_command import Log, run_build
from mimaface_cli.builders.mouth478.__main__ import main
from mimaface_cli.errors import InputError


def test_messages_carry_the_elapsed_time():
    lines: list[str] = []
    assert run_build(lambda log: log("step 1"), lines.append) == 0
    assert re.fullmatch(r" +\d+ s  step 1\n", lines[0])


def test_failed_build_ends_with_one_line_and_the_error_s_exit_code():
    def fail(log: Log) -> None:
        raise InputError("clips: no such folder. Name another one.")

    lines: list[str] = []
    assert run_build(fail, lines.append) == InputError("").exit_code != 0
    assert lines == ["error: clips: no such folder. Name another one.\n"]


def test_interrupted_build_ends_with_one_line():
    def stop(log: Log) -> None:
        raise KeyboardInterrupt

    lines: list[str] = []
    assert run_build(stop, lines.append) == 130
    assert lines == ["interrupted. Run the same command to resume.\n"]


def test_mouth_build_refuses_a_missing_folder(tmp_path, capsys):
    assert main([str(tmp_path / "none"), "-o", str(tmp_path / "m.npz")]) == InputError("").exit_code
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_run_build_shows_options_as_flags():
    def fail(log: Log) -> None:
        raise InputError("model.npz: exists already. Set `held_out_every` or `overwrite`.")

    lines: list[str] = []
    run_build(fail, lines.append)
    assert lines == ["error: model.npz: exists already. Set --held-out-every or --overwrite.\n"]
