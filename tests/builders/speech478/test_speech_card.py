"""The model card of the lip network, and the command line of its training."""

from pathlib import Path

import pytest

from mimaface_cli.builders.clip_tracks import read_people
from mimaface_cli.builders.speech478 import speech_card
from mimaface_cli.builders.speech478.__main__ import main, parse_arguments
from mimaface_cli.builders.speech478.lip_evaluation import ClipFigures
from mimaface_cli.errors import InputError
from mimaface_cli.speech.lip_model_file import load_lip_model
from tests.conftest import ROOT


def test_card_states_the_figures_of_each_language_and_of_all_clips():
    options = parse_arguments(["folder", "-o", "speech478.npz", "--people", "people.csv", "--about", "made up"])
    figures = [
        ClipFigures("a", 4.0, 0.02, 0.5, 0.6, 0.7, 0.8, 0.1, "Klingon"),
        ClipFigures("b", 2.0, 0, 0, 0, 0, 0, 0),
    ]
    model = load_lip_model()
    card = speech_card.write_card(options, model, figures, {"a"})
    for text in (speech_card._describe_model(model), speech_card._TERMS):
        assert text in card
    assert "| training, Klingon | 1 | 0.10 | 0.50 | 0.60 | 0.70 | 0.80 |" in card
    assert "| 50% | 10 | 0.30 | 0.40 |" in card
    assert "| all | 2 | 0.05 | 0.25 | 0.30 | 0.35 | 0.40 |" in card


def test_shipped_card_is_of_the_shipped_network():
    shipped = (ROOT / "weights" / "speech478.md").read_text(encoding="utf-8")
    assert f"version {load_lip_model().version}" in shipped


def test_read_people_maps_file_names_to_persons(tmp_path):
    table = tmp_path / "people.csv"
    table.write_text("file,person\nfirst.mp4,ann\nsub/second.mov,ben\n")
    assert read_people(table) == {"first": "ann", "second": "ben"}
    assert read_people(None) == {}
    assert read_people(table, "language", is_optional=True) == {}
    table.write_text("name\nfirst.mp4\n")
    with pytest.raises(InputError, match="columns file and person"):
        read_people(table)


def test_command_rejects_wrong_options(capsys):
    for arguments, message in ((["-o", "model.txt"], "-o must end"), (["-o", "m.npz", "--folds", "1"], "--folds")):
        with pytest.raises(SystemExit, match="2"):
            parse_arguments(["folder", *arguments])
        assert message in capsys.readouterr().err


def test_command_prints_input_errors_on_one_line(tmp_path: Path, capsys):
    assert main([str(tmp_path / "missing"), "-o", str(tmp_path / "model.npz")]) == 3
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
