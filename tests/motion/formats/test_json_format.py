"""Tracks as JSON: exact round trip, and errors that name the key."""

import json

import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion.formats import export_track, import_track
from tests.motion.tracks import assert_same_track, random_track


@pytest.mark.parametrize("space", ["face478", "bfm09"])
def test_json_round_trip_is_exact(tmp_path, space):
    track = random_track(space)
    assert export_track(track, tmp_path / "a.json") == []
    imported = import_track(tmp_path / "a.json")
    assert imported.format == "json"
    assert_same_track(imported.track, track)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: is not JSON"),
        ("{}", "is not a track in JSON"),
        ("{" + '"a":{' * 100_000, "nested too deeply|is not JSON"),
        ('{"format": "mimaface track", "meta": {}}', "format version"),
        ('{"format": "mimaface track", "meta": ' + "1" * 5000 + "}", "is not JSON of a track"),
    ],
)
def test_invalid_json_gives_a_one_line_error(tmp_path, text, message):
    path = tmp_path / "track.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        import_track(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def exported_json(tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "a.json"
    export_track(random_track(), path)
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pose", None, "pose: "),
        ("pose", [[1, 2]], "pose: has shape"),
        ("pose", [["a"] * 6] * 40, "pose: must hold numbers"),
        ("expression", [[1], [1, 2]], "expression: is not a list"),
        ("valid", [2] * 40, "valid: must hold true or false"),
        ("pts", [0] * 40, "pts: must increase"),
        ("pts", [], "pts: must be a list"),
        ("meta", {"version": 9}, "version"),
    ],
)
def test_invalid_value_in_json_is_named_in_the_error(tmp_path, exported_json, key, value, message):
    (tmp_path / "b.json").write_text(json.dumps(exported_json | {key: value}))
    with pytest.raises(InputError, match=message):
        import_track(tmp_path / "b.json")


def test_missing_key_in_json_is_named_in_the_error(tmp_path, exported_json):
    without_gaze = {key: value for key, value in exported_json.items() if key != "gaze"}
    (tmp_path / "b.json").write_text(json.dumps(without_gaze))
    with pytest.raises(InputError, match="gaze: is missing"):
        import_track(tmp_path / "b.json")
