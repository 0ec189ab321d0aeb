"""Edits of EditOptions, parsed for the space of a track."""

import pytest

from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.apps.edit_terms import load_region_maps, parse_edits
from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.motion.editing import Term
from mimaface_cli.motion.keyframes import Keyframe


def test_parse_edits_collects_presets_terms_and_keyframes(tmp_path):
    (tmp_path / "keys.csv").write_text("time,yaw\n0,5\n")
    options = EditOptions(
        presets=("kiss=0.5",),
        add=("x=0.1",),
        set=("jawOpen=0.2",),
        scale=("yaw=2",),
        keys=("1:yaw=10",),
        keys_file=tmp_path / "keys.csv",
    )
    notes = []
    edits = parse_edits(options, "face478", notes)
    assert edits.terms == [
        Term("add", "mouthPucker", 0.45),
        Term("add", "mouthFunnel", 0.1),
        Term("scale", "yaw", 2.0),
        Term("set", "jawOpen", 0.2),
        Term("add", "x", 0.1),
    ]
    assert edits.keyframes == [Keyframe(0, "yaw", 5), Keyframe(1, "yaw", 10)]
    assert [channel.name for channel in edits.channels] == ["mouthPucker", "mouthFunnel", "yaw", "jawOpen", "x"]
    assert notes == []


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"set": ("jawopen=0.4",)}, "set"),
        ({"add": ("yaw=nan",)}, "add"),
        ({"scale": ("yaw",)}, "scale"),
        ({"presets": ("smirk",)}, "presets"),
        ({"keys": ("yaw=2",)}, "keys"),
    ],
)
def test_parse_edits_names_the_option_of_an_invalid_term(options, field):
    with pytest.raises(InputError) as caught:
        parse_edits(EditOptions(**options), "face478", [])
    assert caught.value.field == field


def test_error_for_a_missing_face_model_names_its_path(tmp_path):
    with pytest.raises(WeightsError, match=r"^bfm: .*none.mat: no such file"):
        load_region_maps(tmp_path / "none.mat")
    with pytest.raises(WeightsError, match=r"^bfm: .*none.mat: no such file"):
        parse_edits(EditOptions(bfm=tmp_path / "none.mat"), "bfm09", [])


def test_named_expressions_in_bfm09_need_the_face_model(tmp_path, monkeypatch):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path))
    assert load_region_maps(None) is None
    with pytest.raises(WeightsError, match=r"^set: jawOpen: .*need its face model"):
        parse_edits(EditOptions(set=("jawOpen=0.5",)), "bfm09", [])
