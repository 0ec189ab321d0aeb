"""Channels: names, units, signs, ranges and the errors for wrong names."""

import numpy as np
import pytest

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.motion import channels
from mimaface_cli.motion.channels import (
    NAMED_EXPRESSIONS,
    PRESETS,
    find_channel,
    parse_number,
    parse_preset,
    split_sides,
)
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track_meta import SPACES

WIDTHS = {"pose": 6, "gaze": 4, "expression": 64}


@pytest.mark.parametrize("space", SPACES)
def test_every_channel_reads_what_it_wrote_and_changes_nothing_else(space):
    random = np.random.default_rng(0)
    for name in channels.channel_names(space):
        if space == "bfm09" and split_sides(name)[0] in NAMED_EXPRESSIONS:
            continue  # these need the face model
        channel = find_channel(name, space)
        array = random.normal(size=(5, WIDTHS[channel.array]))
        before = array.copy()
        channel.write(array, np.full((5, 1), 0.25))
        np.testing.assert_allclose(channel.read(array), 0.25, atol=1e-12)
        other_columns = [index for index in range(array.shape[1]) if index not in channel.columns]
        np.testing.assert_array_equal(array[:, other_columns], before[:, other_columns])


def test_positive_angles_turn_tilt_left_and_lift_the_head():
    pose = np.zeros((1, 6))
    ahead, up = np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
    find_channel("yaw", "face478").write(pose, np.array([[20.0]]))
    # x points to the subject's left.
    assert (rotation_matrix(pose[0, :3]) @ ahead)[0] == pytest.approx(np.sin(np.radians(20)))
    pose[:] = 0
    find_channel("pitch", "face478").write(pose, np.array([[10.0]]))
    assert (rotation_matrix(pose[0, :3]) @ ahead)[1] == pytest.approx(np.sin(np.radians(10)))
    pose[:] = 0
    find_channel("roll", "face478").write(pose, np.array([[10.0]]))
    assert (rotation_matrix(pose[0, :3]) @ up)[0] == pytest.approx(np.sin(np.radians(10)))


def test_gaze_yaw_is_the_mean_of_both_eyes_and_keeps_their_difference():
    gaze = np.radians([[-4.0, 1.0, 8.0, 3.0]])
    channel = find_channel("gazeYaw", "face478")
    assert channel.read(gaze)[0, 0] == pytest.approx(2)
    channel.write(gaze, np.array([[12.0]]))
    np.testing.assert_allclose(np.degrees(gaze), [[6, 1, 18, 3]])


def test_name_without_side_means_both_sides():
    columns = find_channel("mouthSmile", "face478").columns
    assert [BLENDSHAPES[index] for index in columns] == ["mouthSmileLeft", "mouthSmileRight"]
    assert find_channel("mouthLeft", "face478").columns == (BLENDSHAPES.index("mouthLeft"),)
    assert split_sides("eyeBlink") == ("eyeBlinkLeft", "eyeBlinkRight")
    assert split_sides("jawOpen") == ("jawOpen",)


@pytest.mark.parametrize("name", ["mouth", "jaw"])
def test_movements_to_left_and_right_are_not_two_sides(name):
    with pytest.raises(InputError, match="unknown curve"):
        find_channel(name, "face478")


@pytest.mark.parametrize(
    ("name", "space", "unit"),
    [
        ("yaw", "face478", "degrees"),
        ("x", "face478", "units"),
        ("gazePitchLeft", "face478", "degrees"),
        ("gaze0", "bfm09", "number"),
        ("jawOpen", "face478", "score"),
        ("exp60", "face478", "number"),
    ],
)
def test_channel_has_the_unit_of_its_array_and_space(name, space, unit):
    assert find_channel(name, space).unit == unit


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("jawopen", "jawOpen"),
        ("mouthsmle", "mouthSmile"),
        ("Yaw", "yaw"),
        ("gazeyaw", "gazeYaw"),
        ("eyeBlinks", "eyeBlink"),
    ],
)
def test_unknown_name_error_suggests_the_nearest_names(name, suggestion):
    with pytest.raises(InputError, match=rf"^add: {name}: unknown curve\. Did you mean .*{suggestion}"):
        find_channel(name, "face478", field="add")


def test_unknown_name_error_refers_to_the_list_when_no_name_is_near():
    with pytest.raises(InputError, match="mimaface edit --list"):
        find_channel("xyzzy", "face478")


def test_channel_names_depend_on_the_space():
    assert find_channel("exp12", "bfm09").columns == (12,)
    assert find_channel("gaze3", "bfm09").array == "gaze"
    with pytest.raises(WeightsError, match=r"Set `bfm` to the file BFM09_model_info.mat"):
        find_channel("jawOpen", "bfm09")
    with pytest.raises(InputError, match="Use gaze0 to gaze3"):
        find_channel("gazeYaw", "bfm09")
    with pytest.raises(InputError, match="unknown curve"):
        find_channel("gaze0", "face478")


def test_presets_contain_known_channels_within_their_ranges():
    for name, parts in PRESETS.items():
        for part, value in parts.items():
            assert 0 < value <= find_channel(part, "face478").high, name
    assert len(NAMED_EXPRESSIONS) == 51


def test_parse_preset_reads_name_and_share():
    assert parse_preset("smile") == ("smile", 1.0)
    assert parse_preset("smile=0.4") == ("smile", 0.4)


@pytest.mark.parametrize("text", ["smyle", "smile=9", "smile=nan"])
def test_parse_preset_refuses_unknown_names_and_shares_out_of_range(text):
    with pytest.raises(InputError, match=f"^presets: {text}: ") as caught:
        parse_preset(text)
    assert caught.value.field == "presets"


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "1e999", "1_0", "٣", "0x1", "one", "1,5"])
def test_parse_number_refuses_what_is_not_a_plain_finite_number(text):
    with pytest.raises(InputError, match=r"here: .* is not a number"):
        parse_number(text, "here", -5, 5)


def test_parse_number_checks_the_range():
    assert parse_number("-1.5e0", "here", -5, 5) == -1.5
    with pytest.raises(InputError, match=r"here: 5.1 is out of range. Give a number from -5 to 5"):
        parse_number("5.1", "here", -5, 5)
