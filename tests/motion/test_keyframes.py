"""Keyframes: parsing, CSV files and interpolation."""

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion.keyframes import (
    Keyframe,
    group_keyframes,
    interpolate_keyframes,
    parse_keyframe,
    read_keyframes,
)


def test_parse_keyframe_reads_time_name_and_value():
    assert parse_keyframe("1.5:jawOpen=0.4", "face478") == Keyframe(1.5, "jawOpen", 0.4)


@pytest.mark.parametrize(
    "text",
    ["jawOpen=0.4", "x:jawOpen=1", "1:jawOpen", "-1:jawOpen=1", "1:jawOpen=5", "nan:yaw=1", "1e9:yaw=1", "1.2.3:yaw=1"],
)
def test_parse_keyframe_refuses_wrong_keyframes_and_names_the_option(text):
    with pytest.raises(InputError, match=f"^keys: {text}") as caught:
        parse_keyframe(text, "face478")
    assert caught.value.field == "keys"


def test_parse_keyframe_suggests_names():
    with pytest.raises(InputError, match=r"^keys: jawopn: unknown curve. Did you mean jawOpen"):
        parse_keyframe("1:jawopn=0.4", "face478")


def test_group_keyframes_sorts_by_time_and_merges_equal_ones():
    keyframes = [Keyframe(2, "yaw", 5), Keyframe(1, "yaw", 0), Keyframe(2, "yaw", 5), Keyframe(0, "x", 1)]
    grouped = group_keyframes(keyframes)
    assert list(grouped) == ["yaw", "x"]
    np.testing.assert_array_equal(grouped["yaw"], [[1, 2], [0, 5]])


def test_group_keyframes_refuses_two_values_at_one_time():
    with pytest.raises(InputError, match="yaw: has two keyframes at 1 s"):
        group_keyframes([Keyframe(1, "yaw", 0), Keyframe(1, "yaw", 3)])


def test_single_keyframe_gives_a_constant():
    np.testing.assert_array_equal(interpolate_keyframes(np.array([1.0]), np.array([7.0]), np.zeros(3)), 7)


def test_read_keyframes_skips_empty_fields_and_blank_lines(tmp_path):
    path = tmp_path / "keys.csv"
    path.write_text("\ufefftime, yaw ,jawOpen\n\n0,0,\n1.0,,0.5\n2,-10,0\n", encoding="utf-8")
    assert read_keyframes(path, "face478") == [
        Keyframe(0, "yaw", 0),
        Keyframe(1, "jawOpen", 0.5),
        Keyframe(2, "yaw", -10),
        Keyframe(2, "jawOpen", 0),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("yaw,jawOpen\n1,2\n", "line 1: the first column must be time"),
        ("time\n1\n", "line 1: the first column"),
        ("time,jawOpn\n1,0\n", "line 1: jawOpn: .*Did you mean jawOpen"),
        ("time,yaw,yaw\n1,0,0\n", "line 1: column 'yaw' is repeated"),
        ("time,yaw\n0,1\n1\n", "line 3: has 1 fields, but the header has 2"),
        ("time,yaw\n0,1\n1,x\n", "line 3, column yaw: 'x' is not a number"),
        ("time,yaw\nnan,1\n", "line 2, column time"),
        ("time,yaw\n1,400\n", "line 2, column yaw: 400 is out of range. Give a number from -90 to 90"),
        ("time,yaw\n1,\n", "contains no keyframes"),
        ('time,yaw\n"1,2\n', "line 2"),
    ],
)
def test_read_keyframes_errors_name_line_and_column(tmp_path, text, message):
    path = tmp_path / "keys.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read_keyframes(path, "face478")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
