"""The complete build of face478 from observations, and its measurements and card."""

import numpy as np
import pytest

from mimaface_cli.builders.face478 import held_out, model_arrays, model_card
from mimaface_cli.builders.face478.__main__ import main, parse_arguments
from mimaface_cli.builders.face478.column_effects import measure_columns
from mimaface_cli.builders.face478.model_build import measure_model, split_data
from mimaface_cli.builders.face478.model_card import BuildInfo, write_card
from mimaface_cli.builders.face478.overview_image import CELL_SIZE, COLUMNS, render_overview
from mimaface_cli.face import face478
from mimaface_cli.face.face478 import Face478
from tests.builders.face478.synthetic_observations import make_face_data
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def shipped():
    return face478.load()


@pytest.fixture(scope="module")
def data(shipped):
    return split_data(make_face_data(shipped, stills=60, clips=4, frames=24), 0.25, seed=0)


@pytest.fixture(scope="module")
def built(data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_arrays, "measure_score_error", lambda model, *_: model.score_error)
        return model_arrays.build_arrays(data[0], photos=[], seed=0)


def as_model(arrays: dict[str, np.ndarray]) -> Face478:
    return Face478(**(arrays | {"version": str(arrays["version"])}))


def test_split_holds_out_whole_subjects(data):
    training, test = data
    for part in ("stills", "clips"):
        subjects = [set(getattr(split, part).subject) for split in (training, test)]
        assert subjects[0].isdisjoint(subjects[1])
    assert len(test.stills.points) == 15
    assert len(test.clips.points) == 24


def test_build_returns_the_arrays_of_the_shipped_file(built, shipped):
    with np.load(ROOT / "weights" / "face478.npz") as file:
        assert set(file) == set(built)
        for name in file:
            assert built[name].shape == file[name].shape, name
            assert built[name].dtype.kind == file[name].dtype.kind, name
    for name in ("face", "eyes", "mouth"):
        assert np.array_equal(built[name], getattr(shipped, name))


def test_build_recovers_the_model_of_its_observations(built, data):
    figures = held_out.measure_explained_variance(as_model(built), data[1])
    assert figures.expression > 0.6
    assert figures.identity > 0.6
    assert figures.texture > 0.3


def test_card_lists_every_column_and_has_the_texts_of_the_shipped_card(shipped, data, monkeypatch):
    monkeypatch.setattr("mimaface_cli.builders.face478.model_build.score_rendered_columns", lambda model: {})
    card = write_card(shipped, measure_model(shipped, *data), BuildInfo("made up", "command", 0, "face478.png"))
    shipped_card = (ROOT / "weights" / "face478.md").read_text(encoding="utf-8")
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert headings == [line for line in shipped_card.splitlines() if line.startswith("#")]
    assert card.count("no face") == 51
    for text in (model_card._DESCRIPTION, model_card._CONTENT, model_card._LEGEND, model_card._LIMITS):
        assert text in card
        assert text in shipped_card


def test_shipped_columns_move_their_defining_measure(shipped):
    effects = measure_columns(shipped)
    assert len(effects) == 51
    assert min(effect.amount for effect in effects) > 1.0


def test_landmark_model_scores_a_rendered_open_jaw(shipped):
    scores = held_out.score_rendered_columns(shipped, ["jawOpen"])["jawOpen"]
    assert scores.after - scores.before > 0.5


@pytest.mark.slow
def test_overview_shows_a_cell_for_each_column(shipped):
    image = render_overview(shipped)
    assert image.shape[1:] == (COLUMNS * CELL_SIZE, 3)
    assert image.shape[0] % CELL_SIZE == 0
    assert image.min() < 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["folder", "-o", "model.txt"], "-o must end in .npz"),
        (["folder", "-o", "model.npz", "--held-out", "0.7"], "--held-out must be above 0 and at most 0.5"),
        (["folder", "-o", "model.npz", "--seed", "-1"], "--seed must not be negative"),
    ],
)
def test_command_rejects_wrong_options(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(arguments)
    assert message in capsys.readouterr().err


def test_command_prints_input_errors_on_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "missing"), "-o", str(tmp_path / "model.npz")]) == 3
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "no such folder" in error
    assert error.count("\n") == 1
