"""Edits of a track as pure functions, on tracks whose values are known."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.motion.channels import find_channel
from mimaface_cli.motion.coefficients import BLENDSHAPES, blendshape_index
from mimaface_cli.motion.editing import (
    Term,
    change,
    cut,
    mix,
    parse_term,
    region_columns,
    single,
    smooth,
    strengthen,
    stretch,
)
from mimaface_cli.motion.keyframes import (
    Keyframe,
    group_keyframes,
    interpolate_keyframes,
    parse_keyframe,
    read_keyframes,
)
from mimaface_cli.motion.mix_regions import MIX_REGIONS
from mimaface_cli.motion.track import MotionTrack

RATE = Fraction(25)


def moving(frames: int = 50, seed: int = 0, rate: Fraction = RATE) -> MotionTrack:
    rng = np.random.default_rng(seed)
    track = MotionTrack.neutral(frames, "face478", rate)
    return replace(
        track,
        expression=rng.uniform(0, 0.8, (frames, 64)),
        pose=rng.normal(0, 0.1, (frames, 6)),
        gaze=rng.normal(0, 0.1, (frames, 4)),
    )


def read(track: MotionTrack, name: str) -> np.ndarray:
    channel = find_channel(name, track.meta.space)
    return channel.read(getattr(track, channel.array))


def test_scale_then_set_then_add():
    track = moving()
    terms = [
        Term("add", "mouthSmile", 0.2),
        Term("set", "jawOpen", 0.4),
        Term("scale", "jawOpen", 3.0),
        Term("scale", "mouthSmile", 0.5),
        Term("add", "yaw", 12.0),
    ]
    edited, notes = change(track, terms)
    assert notes == []
    np.testing.assert_allclose(read(edited, "jawOpen"), 0.4, atol=1e-6)
    np.testing.assert_allclose(read(edited, "mouthSmile"), 0.5 * read(track, "mouthSmile") + 0.2, atol=1e-6)
    np.testing.assert_allclose(read(edited, "yaw"), read(track, "yaw") + 12, atol=1e-4)
    touched = {blendshape_index(name) for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight")}
    rest = [k for k in range(64) if k not in touched]
    np.testing.assert_array_equal(edited.expression[:, rest], track.expression[:, rest])
    np.testing.assert_allclose(edited.pose[:, [0, 2, 3, 4, 5]], track.pose[:, [0, 2, 3, 4, 5]], atol=1e-6)
    np.testing.assert_array_equal(edited.gaze, track.gaze)


def test_what_leaves_the_range_is_held_and_counted():
    track = moving()
    edited, notes = change(track, [Term("scale", "jawOpen", 5.0)])
    outside = int((read(track, "jawOpen") * 5 > 1.5).sum())
    assert notes == [f"jawOpen: {outside} of 50 frames held within -1 to 1.5"] and outside
    assert read(edited, "jawOpen").max() == pytest.approx(1.5)
    wild = replace(track, expression=np.full((50, 64), 2.0))  # recorded beyond: left as it is
    assert read(change(wild, [Term("add", "jawOpen", 0.0)])[0], "jawOpen").max() == 2.0


@pytest.mark.parametrize(
    ("how", "text", "says"),
    [
        ("set", "jawOpen", "NAME=VALUE"),
        ("set", "jawOpen=2", "between -1 and 1.5"),
        ("set", "yaw=120", "between -90 and 90"),
        ("set", "yaw=nan", "is not a number"),
        ("add", "jawopn=0.1", "did you mean jawOpen"),
        ("scale", "yaw=1e9", "between -10 and 10"),
        ("set", "=3", "nothing is called so"),
    ],
)
def test_terms_are_checked(how, text, says):
    with pytest.raises(InputError, match=says):
        parse_term(how, text, "face478")


def test_keys_are_met_without_overshoot():
    keys = [Keyframe(0.4, "yaw", 0), Keyframe(1.0, "yaw", 20), Keyframe(1.2, "yaw", 20), Keyframe(1.6, "yaw", -5)]
    edited, _ = change(moving(), [Term("set", "yaw", 50.0)], keys)
    yaw = read(edited, "yaw")[:, 0]
    at = lambda time: yaw[round(time * 25)]  # noqa: E731
    assert [at(key.time) for key in keys] == pytest.approx([0, 20, 20, -5], abs=1e-4)
    assert np.abs(yaw[:10]).max() < 1e-4 and at(1.96) == pytest.approx(-5, abs=1e-4)  # held beyond the ends
    assert yaw.max() < 20 + 1e-4 and yaw.min() > -5 - 1e-4
    assert np.abs(yaw[25:31] - 20).max() < 1e-4  # level between equal keys
    assert np.abs(np.diff(yaw, 2)).max() < 6  # smooth: no corner of a straight line


def test_keys_from_words_and_files(tmp_path):
    assert parse_keyframe("1.5:jawOpen=0.4", "face478") == Keyframe(1.5, "jawOpen", 0.4)
    for bad in ("jawOpen=0.4", "x:jawOpen=1", "1:jawOpen", "-1:jawOpen=1", "1:jawOpen=5", "nan:yaw=1", "1e9:yaw=1"):
        with pytest.raises(InputError, match="--key"):
            parse_keyframe(bad, "face478")
    with pytest.raises(InputError, match="two keys at 1 s"):
        group_keyframes([Keyframe(1, "yaw", 0), Keyframe(1, "yaw", 3)])
    path = tmp_path / "keys.csv"
    path.write_text("\ufefftime, yaw ,jawOpen\n\n0,0,\n1.0,,0.5\n2,-10,0\n", encoding="utf-8")
    assert read_keyframes(path, "face478") == [
        Keyframe(0, "yaw", 0), Keyframe(1, "jawOpen", 0.5), Keyframe(2, "yaw", -10), Keyframe(2, "jawOpen", 0)
    ]  # fmt: skip
    np.testing.assert_array_equal(interpolate_keyframes(np.array([1.0]), np.array([7.0]), np.zeros(3)), 7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("yaw,jawOpen\n1,2\n", "line 1: the first column must be called time"),
        ("time\n1\n", "line 1: the first column"),
        ("time,jawOpn\n1,0\n", "line 1: jawOpn: .*did you mean jawOpen"),
        ("time,yaw,yaw\n1,0,0\n", "line 1: column 'yaw' is there twice"),
        ("time,yaw\n0,1\n1\n", "line 3: has 1 fields where the header has 2"),
        ("time,yaw\n0,1\n1,x\n", "line 3, column yaw: 'x' is not a number"),
        ("time,yaw\nnan,1\n", "line 2, column time"),
        ("time,yaw\n1,400\n", "line 2, column yaw: must lie between -90 and 90"),
        ("time,yaw\n1,\n", "holds no keys"),
        ('time,yaw\n"1,2\n', "line 2"),
    ],
)
def test_bad_key_files_name_line_and_column(tmp_path, text, says):
    path = tmp_path / "keys.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says) as caught:
        read_keyframes(path, "face478")
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_key_file_that_is_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01")
    for name, says in (("a.csv", "UTF-8"), ("none.csv", "no such file"), ("", "is a folder")):
        with pytest.raises(InputError, match=says):
            read_keyframes(tmp_path / name, "face478")


def test_mixing_takes_regions_matched_by_time():
    track, other = moving(50), moving(120, seed=1, rate=Fraction(60))
    mixed, notes = mix(track, other, ["mouth", "head"])
    assert any("matched by time" in note for note in notes)
    jaw, brow = blendshape_index("jawOpen"), blendshape_index("browInnerUp")
    at = np.arange(50) / 25 * 60
    expected = np.interp(at, np.arange(120), other.expression[:, jaw])
    np.testing.assert_allclose(mixed.expression[:, jaw], expected, atol=1e-5)
    np.testing.assert_array_equal(mixed.expression[:, brow], track.expression[:, brow])
    np.testing.assert_array_equal(mixed.gaze, track.gaze)
    np.testing.assert_allclose(
        np.diff(mixed.pose[:, 1]), np.diff(np.interp(at, np.arange(120), other.pose[:, 1])), atol=1e-5
    )
    np.testing.assert_allclose(np.median(mixed.pose[:, 3:], 0), np.median(track.pose[:, 3:], 0), atol=1e-5)
    held, notes = mix(track, other.select_frames(slice(0, 60)), ["gaze"])
    assert any("its end is held" in note for note in notes) and np.ptp(held.gaze[26:], 0).max() == 0


def test_mixing_without_names_takes_parts_of_the_difference():
    rng = np.random.default_rng(3)
    blank = MotionTrack.neutral(4, "bfm09")
    track, other = (replace(blank, expression=rng.normal(size=(4, 64)).astype(np.float32)) for _ in range(2))
    parts = {name: rng.normal(size=(64, 64)) for name in ("mouth", "eyes", "brows")}
    mixed, _ = mix(track, other, ["mouth", "brows"], parts)
    change = (parts["mouth"] + parts["brows"]) @ (other.expression - track.expression).T
    np.testing.assert_allclose(mixed.expression, track.expression + change.T, atol=1e-4)
    np.testing.assert_array_equal(mix(track, other, ["gaze"], parts)[0].expression, track.expression)


def test_regions_share_the_face_out():
    columns = [region_columns([region]) for region in MIX_REGIONS]
    flat = sorted(column for part in columns for column in part)
    assert flat == list(range(1, 64))
    assert {BLENDSHAPES[k] for k in region_columns(["brows"])} >= {"browDownLeft", "browInnerUp"}
    assert all(BLENDSHAPES[k].startswith("eyeLook") for k in region_columns(["gaze"]))


def test_mixing_refuses_what_it_cannot():
    track = moving()
    with pytest.raises(InputError, match="^regions: unknown region .chin.. Choose mouth"):
        mix(track, track, ["chin"])
    other = MotionTrack.neutral(5, "bfm09")
    with pytest.raises(InputError, match="bfm09 space and the first in face478"):
        mix(track, other, ["head"])
    with pytest.raises(WeightsError, match="--region mouth: in the bfm09 space regions need its face model"):
        mix(other, other, ["mouth"])
    assert len(mix(other, other, ["head"])[0]) == 5


def test_strength_is_about_rest():
    track = moving()
    rest = strengthen(track, 0.0)
    assert np.ptp(rest.expression, 0).max() < 1e-6 and np.ptp(rest.pose, 0).max() < 1e-6
    assert strengthen(track, 1.0) is track
    small = replace(track, pose=track.pose * 0.1)
    np.testing.assert_allclose(np.ptp(strengthen(small, 2).pose, 0), 2 * np.ptp(small.pose, 0), rtol=0.02)
    for bad in (-0.1, 3.1, float("nan")):
        with pytest.raises(InputError, match="--strength"):
            strengthen(track, bad)


def test_smoothing_calms_and_keeps_cuts():
    track = moving()
    track = replace(track, expression=track.expression * 0.1, meta=replace(track.meta, cuts=(25,)))
    expression = track.expression.copy()
    expression[25:] += 1
    calm = smooth(replace(track, expression=expression), 2.0)
    jitter = lambda t: np.abs(np.diff(t.expression[:25], 2, axis=0)).mean()  # noqa: E731
    assert jitter(calm) < 0.2 * jitter(track)
    assert calm.expression[24].mean() < 0.2 and calm.expression[25].mean() > 0.9
    assert smooth(track, 0) is track
    with pytest.raises(InputError, match="--smooth"):
        smooth(track, 11)


def test_time_is_cut_and_stretched():
    track = moving(100)
    part = cut(track, 1.0, 2.0)
    assert len(part) == 50 and part.pts[0] == 1.0
    fast, slow = stretch(track, 2.0), stretch(track, 0.5)
    assert (len(fast), len(slow)) == (50, 200) and fast.frame_rate == slow.frame_rate == RATE
    np.testing.assert_allclose(fast.pose, track.pose[::2], atol=1e-6)
    np.testing.assert_allclose(slow.pose[::2], track.pose, atol=1e-6)
    for bad in (0, 100, float("nan")):
        with pytest.raises(InputError, match="--speed"):
            stretch(track, bad)
    for start, duration in ((4.0, None), (-1, None), (float("nan"), None), (0, 0), (0, float("nan"))):
        with pytest.raises(InputError, match="--start|--duration"):
            cut(track, start, duration)


def test_a_frame_can_be_held():
    still = single(moving(3), 1.0, Fraction(30000, 1001))
    assert len(still) == 30 and still.frame_rate == Fraction(30000, 1001) and np.ptp(still.pose, 0).max() == 0
    assert still.pts[1] == pytest.approx(1001 / 30000)
