"""Tracks in CSV, JSON and Live Link Face files: round trips, conventions, and hostile input."""

import json
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.motion.coefficients import BLENDSHAPES, blendshape_index
from mimaface_cli.motion.formats import export_track, import_track
from mimaface_cli.motion.formats.csv_format import nominal_rate
from mimaface_cli.motion.formats.livelink import COLUMNS, CURVES, head_to_rotator, rotator_to_head, timecode
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack

NTSC = Fraction(30000, 1001)


def some(space: str = "face478", rate: Fraction = NTSC, frames: int = 40) -> MotionTrack:
    rng = np.random.default_rng(4)
    track = MotionTrack.neutral(frames, space, rate)
    return replace(
        track,
        identity=rng.normal(size=80),
        expression=rng.uniform(0, 1, (frames, 64)),
        pose=rng.normal(0, 0.4, (frames, 6)),
        gaze=rng.normal(0, 0.2, (frames, 4)),
        valid=rng.random(frames) > 0.2,
        meta=replace(track.meta, cuts=(1, frames - 1), options={"a": [1, None]}),
    )


@pytest.mark.parametrize("space", ["face478", "bfm09"])
def test_json_keeps_every_bit(tmp_path, space):
    track = some(space)
    assert export_track(track, tmp_path / "a.json") == []
    read = import_track(tmp_path / "a.json")
    assert read.format == "json" and read.track.meta == track.meta
    for name in ("pts", "valid", "identity", "texture", "expression", "illumination", "pose", "gaze", "crop"):
        np.testing.assert_array_equal(getattr(read.track, name), getattr(track, name))


@pytest.mark.parametrize("space", ["face478", "bfm09"])
def test_csv_keeps_motion_and_time(tmp_path, space):
    track = some(space)
    export_track(track, tmp_path / "a.csv")
    read = import_track(tmp_path / "a.csv")
    assert read.format == "csv" and read.track.meta.space == space and read.track.frame_rate == NTSC
    for name in ("expression", "pose", "gaze"):
        np.testing.assert_allclose(getattr(read.track, name), getattr(track, name), atol=1e-6)
    np.testing.assert_allclose(read.track.pts, track.pts, atol=1e-8)
    np.testing.assert_array_equal(read.track.valid, track.valid)


def test_csv_by_hand(tmp_path):
    (tmp_path / "a.csv").write_text("time,mouthSmile,yaw\n0,0,0\n0.04,0.5,10\n0.08,1,20\n")
    read = import_track(tmp_path / "a.csv")
    smile = read.track.expression[:, [blendshape_index("mouthSmileLeft"), blendshape_index("mouthSmileRight")]]
    np.testing.assert_allclose(smile, [[0, 0], [0.5, 0.5], [1, 1]])
    assert np.degrees(read.track.pose[2, 1]) == pytest.approx(20, abs=1e-4) and read.track.frame_rate == 25


def test_usual_rates_are_told_from_times():
    for rate in (24, 25, 30, 60, 120, NTSC, Fraction(24000, 1001), Fraction(60000, 1001)):
        assert nominal_rate(np.arange(100) * float(1 / rate)) == rate
    assert nominal_rate(np.array([0.0])) == 25


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30), NTSC, Fraction(60000, 1001), Fraction(24)])
def test_live_link_round_trip(tmp_path, rate):
    track = some(rate=rate, frames=200)
    notes = export_track(track, tmp_path / "a.csv", "livelink")
    assert any("no place of the head" in note for note in notes)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert tuple(lines[0].split(",")) == COLUMNS and len(lines) == 201
    first = lines[1].split(",")
    assert first[:2] == ["00:00:00:00.000", "61"] and first[COLUMNS.index("TongueOut")] == "0.0000000000"
    read = import_track(tmp_path / "a.csv", frame_rate=rate)
    assert read.format == "livelink" and read.track.frame_rate == rate
    np.testing.assert_allclose(read.track.pts, track.pts, atol=0.0006 / float(rate))  # a thousandth of a frame
    columns = [BLENDSHAPES.index(name[0].lower() + name[1:]) for name in CURVES[:-1]]
    np.testing.assert_allclose(read.track.expression[:, columns], track.expression[:, columns], atol=1e-6)
    np.testing.assert_allclose(read.track.gaze, track.gaze, atol=1e-6)
    np.testing.assert_allclose(rotation_matrix(read.track.pose[:, :3]), rotation_matrix(track.pose[:, :3]), atol=1e-6)
    if rate.denominator == 1:  # what the highest frame number tells
        assert import_track(tmp_path / "a.csv").track.frame_rate == rate


def test_live_link_columns_are_the_apps():
    assert len(COLUMNS) == 63 and len(CURVES) == 52 and len(set(COLUMNS)) == 63
    assert COLUMNS[2] == "EyeBlinkLeft" and COLUMNS[15:20] == (
        "EyeWideRight",
        "JawForward",
        "JawRight",
        "JawLeft",
        "JawOpen",
    )
    assert {name[0].lower() + name[1:] for name in CURVES} - {"tongueOut"} == set(BLENDSHAPES) - {"_neutral"}


def test_live_link_signs(tmp_path):
    """Right and down are positive there, left and up here; units are radians in both."""
    track = MotionTrack.neutral(1, "face478")
    pose = np.array([[0.1, 0.3, 0.0, 0, 0, 0]])  # down, to the subject's left
    export_track(replace(track, pose=pose, gaze=[[0.2, 0.1, 0.2, 0.1]]), tmp_path / "a.csv", "livelink")
    row = dict(zip(*(line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines())))
    assert float(row["HeadYaw"]) < -0.29 and float(row["HeadPitch"]) > 0.09
    assert float(row["LeftEyeYaw"]) == pytest.approx(-0.2) and float(row["RightEyePitch"]) == pytest.approx(-0.1)
    tilted = head_to_rotator(np.array([[0, 0, -0.2]]))  # to the subject's left shoulder
    np.testing.assert_allclose(tilted, [[0, 0, 0.2]], atol=1e-12)
    angles = np.random.default_rng(0).uniform(-0.9, 0.9, (50, 3))
    np.testing.assert_allclose(rotator_to_head(head_to_rotator(angles)), angles, atol=1e-9)


def test_timecodes_are_exact_to_the_frame():
    hour = 3600 * 30  # frames of a non-drop timecode hour
    assert timecode(float(hour / NTSC), NTSC) == "01:00:00:00.000"
    assert timecode(float(Fraction(1001, 30000) * 29), NTSC) == "00:00:00:29.000"
    assert timecode(float(Fraction(1001, 30000) * 30), NTSC) == "00:00:01:00.000"
    assert timecode(0.02, Fraction(25)) == "00:00:00:00.500"


def capture(rows: list[str], header: str = "Timecode,BlendShapeCount,EyeBlinkLeft,JawOpen,TongueOut") -> str:
    return "\n".join([header, *rows]) + "\n"


def test_a_capture_keeps_its_clock(tmp_path):
    """As the app writes it: frame numbers with a growing share, names in another case, past midnight."""
    path = tmp_path / "take.csv"
    path.write_text(
        capture(["23:59:59:58.078,61,0,0,0.3", "23:59:59:59.080,61,0.5,1,0", "00:00:00:00.082,61,1,0,0"]).lower()
    )
    read = import_track(path)
    assert read.track.frame_rate == 60 and any("60 frames a second" in note for note in read.notes)
    assert any("TongueOut" in note for note in read.notes)
    np.testing.assert_allclose(read.track.pts, np.array([0, 1.002, 2.004]) / 60, atol=1e-9)
    assert read.track.expression[1, blendshape_index("jawOpen")] == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (capture([]), "has 0 lines of values"),
        ("timecode,a\n1,2\n", "no column EyeBlinkLeft"),
        (capture(["00:00:00:00,61,0,0"]), "line 2: has 4 fields where the header has 5"),
        (capture(["00:00:00:00,61,0,0,0", "00:00:00:00,61,0,0,0"]), "line 3, column Timecode: is not later"),
        (capture(["0:0:0,61,0,0,0"]), "line 2, column Timecode: '0:0:0' is not HH"),
        (capture(["00:61:00:00,61,0,0,0"]), "line 2, column Timecode"),
        (capture(["00:00:00:00,61,0,x,0"]), "line 2, column JawOpen: 'x' is not a number"),
        (capture(["00:00:00:00,61,nan,0,0"]), "line 2, column EyeBlinkLeft: 'nan'"),
        (capture(["00:00:00:00,61,0,30,0"]), "line 2, column JawOpen: curves go from 0 to 1"),
        (
            capture(["00:00:00:00,1,1,35"], "Timecode,EyeBlinkLeft,JawOpen,HeadYaw"),
            "column HeadYaw: rotations are in rad",
        ),
    ],
)
def test_bad_captures_name_line_and_column(tmp_path, text, says):
    path = tmp_path / "take.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        import_track(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_frame_beyond_the_rate(tmp_path):
    (tmp_path / "a.csv").write_text(capture(["00:00:00:29,61,0,0,0", "00:00:00:30,61,0,0,0"]))
    with pytest.raises(InputError, match="line 3, column Timecode: frame 30 of 30"):
        import_track(tmp_path / "a.csv", frame_rate=NTSC)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("yaw\n1\n", "no column time"),
        ("time\n1\n", "names no curve"),
        ("time,yaw\n", "has 0 lines of values"),
        ("time,jawOpen\n0,inf\n", "line 2, column jawOpen: 'inf' is not a number"),
        ("time,jawOpen\n1,0\n1,0\n", "line 3, column time: is not later"),
        ("time,jawOpen\n0,1e9\n", "line 2, column jawOpen: is far beyond"),
        ("time,jawOpn\n0,1\n", "line 1: jawOpn: .*did you mean jawOpen"),
        ("{", "line 1: is not JSON"),
        ("{}", "is not a track in JSON"),
        ("[" * 100_000, "no column time"),
        ("{" + '"a":{' * 100_000, "nested too deep|is not JSON"),
        ('{"format": "mimaface track", "meta": {}}', "format version"),
    ],
)
def test_bad_files_are_told_in_one_line(tmp_path, text, says):
    path = tmp_path / "track.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        import_track(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_damaged_json_names_the_key(tmp_path):
    export_track(some(), tmp_path / "a.json")
    whole = json.loads((tmp_path / "a.json").read_text())
    for key, value, says in (
        ("pose", None, "pose: "),
        ("pose", [[1, 2]], "pose: has shape"),
        ("pose", [["a"] * 6] * 40, "pose: must hold numbers"),
        ("expression", [[1], [1, 2]], "expression: is not a list"),
        ("valid", [2] * 40, "valid: must hold true or false"),
        ("pts", [0] * 40, "pts: must increase"),
        ("pts", [], "pts: must be a list"),
        ("meta", {"version": 9}, "version"),
    ):
        (tmp_path / "b.json").write_text(json.dumps(whole | {key: value}))
        with pytest.raises(InputError, match=says):
            import_track(tmp_path / "b.json")
    del whole["gaze"]
    (tmp_path / "b.json").write_text(json.dumps(whole))
    with pytest.raises(InputError, match="gaze: is missing"):
        import_track(tmp_path / "b.json")


def test_no_damage_escapes(tmp_path):
    """Bytes changed at random give a track or one line, nothing else."""
    choose = random.Random(5)
    for format in ("csv", "json", "livelink"):
        good = tmp_path / f"good.{format}"
        export_track(some(frames=3), good, format)
        data = good.read_bytes()
        for _ in range(60):
            bad = bytearray(data)
            for _ in range(choose.randint(1, 4)):
                bad[choose.randrange(len(bad))] = choose.randrange(256)
            (tmp_path / "bad").write_bytes(bytes(bad))
            try:
                import_track(tmp_path / "bad")
            except InputError as error:
                assert "\n" not in str(error).replace("\\n", "")


def test_what_cannot_be_exported(tmp_path):
    with pytest.raises(InputError, match="no names there"):
        export_track(some("bfm09"), tmp_path / "a.csv", "livelink")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="--format csv, json, livelink"):
        export_track(some(), tmp_path / "a.fbx")
    (tmp_path / "a.csv").touch()
    with pytest.raises(OutputError, match="--overwrite"):
        export_track(some(), tmp_path / "a.csv")
    export_track(some(), tmp_path / "a.csv", overwrite=True)
    with pytest.raises(InputError, match="knows its frame rate"):
        export_track(some(), tmp_path / "a.json")
        import_track(tmp_path / "a.json", frame_rate=NTSC)
