"""Error lines: fields become the flags of the command that ran."""

import pytest
from typer.main import get_command

from mimaface_cli.cli.app import app
from mimaface_cli.cli.messages import error_line, with_help_hint
from mimaface_cli.errors import InputError

COMMANDS = get_command(app).commands


@pytest.mark.parametrize(
    ("command", "field", "flag"),
    [
        ("animate", "max_size", "--max-size"),
        ("animate", "length", "--clip-length"),
        ("animate", "reference", "--reference-frame"),
        ("animate", "preset", "--preset"),
        ("animate", "pixel_format", "--pixel-format"),
        ("edit", "keys", "--key"),
        ("edit", "keys_file", "--keys"),
        ("edit", "presets", "--preset"),
        ("edit", "set", "--set"),
        ("extract", "skin", "--follow-skin"),
        ("batch", "halt_on_error", "--halt-on-error"),
        ("animate", "source", "SOURCE"),
        (None, "no_such_field", "--no-such-field"),
    ],
)
def test_error_line_shows_field_as_flag_of_command(command, field, flag):
    error = InputError("is wrong. Fix it.", field=field)
    assert error_line(error, COMMANDS.get(command)) == f"{flag}: is wrong. Fix it."


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("a.mp4: exists. Set `overwrite` to replace it.", "a.mp4: exists. Set --overwrite to replace it."),
        ("Set `engine=mesh`.", "Set --engine mesh."),
        ("Set `on=False`.", "Set --no-provenance."),
        ("Set `compare=True`.", "Set --compare."),
        ("keeps `a.b` as it is", "keeps `a.b` as it is"),
    ],
)
def test_error_line_shows_fields_in_message_as_flags(message, text):
    assert error_line(InputError(message), COMMANDS["animate"]) == text


def test_with_help_hint_separates_the_sentences_with_one_mark():
    assert with_help_hint("Did you mean 'doctor'?.", "mimaface") == "Did you mean 'doctor'? See mimaface --help."
    assert with_help_hint("Give a number.", "mimaface animate") == "Give a number. See mimaface animate --help."
    assert with_help_hint("no such option", "mimaface") == "no such option. See mimaface --help."


@pytest.mark.parametrize(
    ("words", "variable", "text"),
    [
        (["--strength", "abc"], None, "Invalid value for '--strength': 'abc' is not a number."),
        (["--crf", "2.5"], None, "Invalid value for '--crf': '2.5' is not a whole number."),
        ([], ("MIMAFACE_ANIMATE_CRF", "low"), "Invalid value for '--crf' (from the environment): 'low' is not a whole"),
    ],
)
def test_value_of_the_wrong_type_is_quoted_with_its_origin(run_command, monkeypatch, words, variable, text):
    if variable:
        monkeypatch.setenv(*variable)
    result = run_command("animate", "a.jpg", "b.mp4", "-o", "c.mp4", *words)
    assert result.code == 2 and text in result.err and len(result.err.splitlines()) == 1


def test_value_of_the_configuration_file_is_named_as_such(run_command, monkeypatch, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[animate]\nregion = "mouth"\n')
    monkeypatch.setenv("MIMAFACE_CONFIG", str(path))
    result = run_command("animate", "a.jpg", "b.mp4", "-o", "c.mp4")
    assert result.code == 2 and "'--region' (from the configuration file): 'mouth' is not one of" in result.err
