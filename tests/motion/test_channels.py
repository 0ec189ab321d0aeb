"""Names that can be edited: what they stand for, their units and signs, and what is said of wrong ones."""

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


def test_every_name_is_found_and_reads_what_it_wrote():
    rng = np.random.default_rng(0)
    for space in SPACES:
        for name in channels.channel_names(space):
            if space == "bfm09" and channels._sides(name):
                continue
            channel = find_channel(name, space)
            array = rng.normal(size=(5, {"pose": 6, "gaze": 4, "expression": 64}[channel.array]))
            before = array.copy()
            channel.write(array, np.full((5, 1), 0.25))
            np.testing.assert_allclose(channel.read(array), 0.25, atol=1e-12)
            untouched = [k for k in range(array.shape[1]) if k not in channel.columns]
            np.testing.assert_array_equal(array[:, untouched], before[:, untouched])


def test_left_and_up_are_positive():
    pose = np.zeros((1, 6))
    ahead, up = np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
    find_channel("yaw", "face478").write(pose, np.array([[20.0]]))
    assert (rotation_matrix(pose[0, :3]) @ ahead)[0] == pytest.approx(np.sin(np.radians(20)))  # x: the subject's left
    pose[:] = 0
    find_channel("pitch", "face478").write(pose, np.array([[10.0]]))
    assert (rotation_matrix(pose[0, :3]) @ ahead)[1] == pytest.approx(np.sin(np.radians(10)))
    pose[:] = 0
    find_channel("roll", "face478").write(pose, np.array([[10.0]]))
    assert (rotation_matrix(pose[0, :3]) @ up)[0] == pytest.approx(np.sin(np.radians(10)))


def test_eyes_turn_together():
    gaze = np.radians([[-4.0, 1.0, 8.0, 3.0]])
    look = find_channel("gazeYaw", "face478")
    assert look.read(gaze)[0, 0] == pytest.approx(2)
    look.write(gaze, np.array([[12.0]]))
    np.testing.assert_allclose(np.degrees(gaze), [[6, 1, 18, 3]])


def test_a_name_without_a_side_is_both():
    assert [BLENDSHAPES[k] for k in find_channel("mouthSmile", "face478").columns] == [
        "mouthSmileLeft",
        "mouthSmileRight",
    ]
    assert find_channel("mouthLeft", "face478").columns == (BLENDSHAPES.index("mouthLeft"),)
    assert split_sides("eyeBlink") == ("eyeBlinkLeft", "eyeBlinkRight") and split_sides("jawOpen") == ("jawOpen",)
    for movement in ("mouth", "jaw"):  # to the left and to the right, not two sides of one
        with pytest.raises(InputError, match="nothing is called so"):
            find_channel(movement, "face478")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("jawopen", "jawOpen"),
        ("mouthsmle", "mouthSmile"),
        ("Yaw", "yaw"),
        ("gazeyaw", "gazeYaw"),
        ("eyeBlinks", "eyeBlink"),
    ],
)
def test_unknown_names_get_the_nearest(name, near):
    with pytest.raises(InputError, match=f"did you mean .*{near}"):
        find_channel(name, "face478")
    with pytest.raises(InputError, match="--list"):
        find_channel("xyzzy", "face478")


def test_spaces_are_told_apart():
    assert find_channel("exp12", "bfm09").columns == (12,)
    assert find_channel("gaze3", "bfm09").array == "gaze"
    with pytest.raises(WeightsError, match="--bfm FILE"):
        find_channel("jawOpen", "bfm09")
    with pytest.raises(InputError, match="gaze0 to gaze3"):
        find_channel("gazeYaw", "bfm09")
    with pytest.raises(InputError):
        find_channel("gaze0", "face478")


def test_presets_name_what_exists():
    for name, parts in PRESETS.items():
        for part, value in parts.items():
            channel = find_channel(part, "face478")
            assert 0 < value <= channel.high, name
    assert parse_preset("smile") == ("smile", 1.0) and parse_preset("smile=0.4") == ("smile", 0.4)
    for bad in ("smyle", "smile=9", "smile=nan"):
        with pytest.raises(InputError, match="--preset"):
            parse_preset(bad)
    assert len(NAMED_EXPRESSIONS) == 51


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "1e999", "1_0", "٣", "0x1", "one", "1,5"])
def test_numbers_are_plain_and_finite(text):
    with pytest.raises(InputError, match="here: "):
        parse_number(text, "here", -5, 5)
    assert parse_number("-1.5e0", "here", -5, 5) == -1.5
    with pytest.raises(InputError, match="between -5 and 5"):
        parse_number("5.1", "here", -5, 5)
