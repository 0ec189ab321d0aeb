"""Help pages: short by default, complete with --help-all."""

import pytest
from typer.main import get_command

from mimaface_cli.cli.app import app


@pytest.fixture
def help_of(run_command, monkeypatch):
    """Return a function that runs a help command at 100 columns and returns its lines."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERMINAL_WIDTH", "100")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 100)

    def help_lines(*words: str) -> list[str]:
        result = run_command(*words)
        assert result.code == 0 and result.err == ""
        return result.out.splitlines()

    return help_lines


def test_animate_help_fits_in_70_lines(help_of):
    lines = help_of("animate", "--help")
    assert len(lines) <= 70 and max(map(len, lines)) <= 100
    text = "\n".join(lines)
    assert "--region" in text and "--help-all" in text and "--clip-length" not in text
    assert text.count("MIMAFACE_") == 2  # the pattern and one example


@pytest.mark.parametrize("command", ["animate", "audio", "edit", "extract", "evaluate"])
def test_help_all_shows_every_option(help_of, command):
    text = "\n".join(help_of(command, "--help-all"))
    program = get_command(app).commands[command]
    program = program.commands["measure"] if command == "evaluate" else program
    for option in program.params:
        assert max(option.opts, key=len) in text or not option.opts[0].startswith("-"), option.name
    assert any(option.hidden for option in program.params if hasattr(option, "hidden"))


def test_help_all_leaves_help_short(help_of):
    short = help_of("animate", "--help")
    assert len(help_of("animate", "--help-all")) > len(short)
    assert help_of("animate", "--help") == short


def test_program_help_explains_environment_once(help_of):
    text = "\n".join(help_of("--help"))
    assert "MIMAFACE_<COMMAND>_<OPTION>" in text and "[env var" not in text and "worker" not in text


@pytest.mark.parametrize(
    "words", [["--help"], ["animate", "--help-all"], ["track", "--help"], ["weights", "pull", "--help"]]
)
def test_help_shows_placeholders_instead_of_python_types(help_of, words):
    text = "\n".join(help_of(*words))
    assert "<bool>" not in text and "<int>" not in text and "<float>" not in text and "list[" not in text


@pytest.mark.parametrize("command", ["animate", "edit"])
def test_help_indents_examples(help_of, command):
    examples = [line for line in help_of(command, "--help") if line.strip().startswith(f"mimaface {command}")]
    assert examples and all(line.startswith("   mimaface") for line in examples)


def test_usage_names_required_arguments_without_braces(help_of):
    assert help_of("animate", "--help")[1].strip() == "Usage: mimaface animate [OPTIONS] SOURCE DRIVER"
