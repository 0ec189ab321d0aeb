"""Terms, presets and keyframes applied to tracks with known values."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.editing import Term, apply_edits, expand_preset, list_edited_channels, parse_term
from mimaface_cli.motion.keyframes import Keyframe
from tests.motion.tracks import random_motion, read_channel


def test_apply_edits_scales_then_sets_then_adds():
    track = random_motion()
    terms = [
        Term("add", "mouthSmile", 0.2),
        Term("set", "jawOpen", 0.4),
        Term("scale", "jawOpen", 3.0),
        Term("scale", "mouthSmile", 0.5),
        Term("add", "yaw", 12.0),
    ]
    edited, notes = apply_edits(track, terms)
    assert notes == []
    np.testing.assert_allclose(read_channel(edited, "jawOpen"), 0.4, atol=1e-6)
    np.testing.assert_allclose(
        read_channel(edited, "mouthSmile"), 0.5 * read_channel(track, "mouthSmile") + 0.2, atol=1e-6
    )
    np.testing.assert_allclose(read_channel(edited, "yaw"), read_channel(track, "yaw") + 12, atol=1e-4)


def test_apply_edits_leaves_other_channels_unchanged():
    track = random_motion()
    terms = [Term("set", "jawOpen", 0.4), Term("scale", "mouthSmile", 0.5), Term("add", "yaw", 12.0)]
    edited, _ = apply_edits(track, terms)
    changed = {blendshape_index(name) for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight")}
    others = [index for index in range(64) if index not in changed]
    np.testing.assert_array_equal(edited.expression[:, others], track.expression[:, others])
    np.testing.assert_allclose(edited.pose[:, [0, 2, 3, 4, 5]], track.pose[:, [0, 2, 3, 4, 5]], atol=1e-6)
    np.testing.assert_array_equal(edited.gaze, track.gaze)


def test_apply_edits_clamps_values_to_the_range_and_counts_frames():
    track = random_motion()
    edited, notes = apply_edits(track, [Term("scale", "jawOpen", 5.0)])
    outside = int((read_channel(track, "jawOpen") * 5 > 1.5).sum())
    assert outside > 0
    assert notes == [f"jawOpen: clamped to -1 to 1.5 in {outside} of 50 frames"]
    assert read_channel(edited, "jawOpen").max() == pytest.approx(1.5)


def test_apply_edits_keeps_recorded_values_beyond_the_range():
    recorded = replace(random_motion(), expression=np.full((50, 64), 2.0))
    edited, notes = apply_edits(recorded, [Term("add", "jawOpen", 0.0)])
    assert read_channel(edited, "jawOpen").max() == 2.0
    assert notes == []


def test_keyframes_replace_set_values_and_meet_their_values_without_overshoot():
    keyframes = [
        Keyframe(0.4, "yaw", 0),
        Keyframe(1.0, "yaw", 20),
        Keyframe(1.2, "yaw", 20),
        Keyframe(1.6, "yaw", -5),
    ]
    edited, _ = apply_edits(random_motion(), [Term("set", "yaw", 50.0)], keyframes)
    yaw = read_channel(edited, "yaw")[:, 0]
    at_keyframes = [yaw[round(keyframe.time * 25)] for keyframe in keyframes]
    assert at_keyframes == pytest.approx([0, 20, 20, -5], abs=1e-4)
    # The first and the last value are held beyond the ends.
    assert np.abs(yaw[:10]).max() < 1e-4
    assert yaw[49] == pytest.approx(-5, abs=1e-4)
    assert yaw.max() < 20 + 1e-4
    assert yaw.min() > -5 - 1e-4
    assert np.abs(yaw[25:31] - 20).max() < 1e-4  # constant between equal keyframes
    assert np.abs(np.diff(yaw, 2)).max() < 6  # smooth: straight lines would have corners


@pytest.mark.parametrize(
    ("operation", "text", "message"),
    [
        ("set", "jawOpen", "NAME=VALUE"),
        ("set", "jawOpen=2", "from -1 to 1.5"),
        ("set", "yaw=120", "from -90 to 90"),
        ("set", "yaw=nan", "is not a number"),
        ("add", "jawopn=0.1", "Did you mean jawOpen"),
        ("scale", "yaw=1e9", "from -10 to 10"),
        ("set", "=3", "unknown curve"),
    ],
)
def test_parse_term_refuses_wrong_terms_and_names_the_option(operation, text, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_term(operation, text, "face478")
    assert caught.value.field == operation


def test_parse_term_reads_name_and_value():
    assert parse_term("add", "yaw=-100", "face478") == Term("add", "yaw", -100.0)


def test_expand_preset_scales_its_parts():
    assert expand_preset("kiss", 0.5) == [Term("add", "mouthPucker", 0.45), Term("add", "mouthFunnel", 0.1)]


def test_list_edited_channels_names_each_once():
    terms = [Term("set", "yaw", 1), Term("add", "yaw", 2), Term("add", "jawOpen", 0.1)]
    channels = list_edited_channels(terms, [Keyframe(0, "jawOpen", 0), Keyframe(0, "x", 0)], "face478", None)
    assert [channel.name for channel in channels] == ["yaw", "jawOpen", "x"]
