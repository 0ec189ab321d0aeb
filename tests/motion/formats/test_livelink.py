"""CSV of Live Link Face: round trip, sign conventions, timecodes, and errors."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import BLENDSHAPES, blendshape_index
from mimaface_cli.motion.formats import export_track, import_track
from mimaface_cli.motion.formats.livelink import COLUMNS, CURVES, format_timecode, head_to_rotator, rotator_to_head
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack
from tests.motion.tracks import NTSC, random_track


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30), NTSC, Fraction(60000, 1001), Fraction(24)])
def test_livelink_round_trip_keeps_curves_eyes_and_rotation(tmp_path, rate):
    track = random_track(rate=rate, frames=200)
    notes = export_track(track, tmp_path / "a.csv", "livelink")
    assert any("no head position" in note for note in notes)
    imported = import_track(tmp_path / "a.csv", frame_rate=rate)
    assert imported.format == "livelink"
    assert imported.track.frame_rate == rate
    np.testing.assert_allclose(imported.track.pts, track.pts, atol=0.0006 / float(rate))  # a thousandth of a frame
    columns = [BLENDSHAPES.index(name[0].lower() + name[1:]) for name in CURVES[:-1]]
    np.testing.assert_allclose(imported.track.expression[:, columns], track.expression[:, columns], atol=1e-6)
    np.testing.assert_allclose(imported.track.gaze, track.gaze, atol=1e-6)
    np.testing.assert_allclose(
        rotation_matrix(imported.track.pose[:, :3]), rotation_matrix(track.pose[:, :3]), atol=1e-6
    )
    if rate.denominator == 1:  # the highest frame number identifies the rate
        assert import_track(tmp_path / "a.csv").track.frame_rate == rate


def test_livelink_file_has_the_columns_and_first_timecode_of_the_app(tmp_path):
    export_track(random_track(frames=3), tmp_path / "a.csv", "livelink")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert tuple(lines[0].split(",")) == COLUMNS
    assert len(lines) == 4
    first = lines[1].split(",")
    assert first[:2] == ["00:00:00:00.000", "61"]
    assert first[COLUMNS.index("TongueOut")] == "0.0000000000"


def test_livelink_columns_are_in_the_order_of_the_app():
    assert len(COLUMNS) == len(set(COLUMNS)) == 63
    assert len(CURVES) == 52
    assert COLUMNS[2] == "EyeBlinkLeft"
    assert COLUMNS[15:20] == ("EyeWideRight", "JawForward", "JawRight", "JawLeft", "JawOpen")
    names = {name[0].lower() + name[1:] for name in CURVES}
    assert names - {"tongueOut"} == set(BLENDSHAPES) - {"_neutral"}


def test_livelink_angles_are_positive_to_the_right_and_down(tmp_path):
    """In a track they are positive to the left and up; both are in radians."""
    down_and_left = np.array([[0.1, 0.3, 0.0, 0, 0, 0]])
    track = replace(MotionTrack.neutral(1, "face478"), pose=down_and_left, gaze=[[0.2, 0.1, 0.2, 0.1]])
    export_track(track, tmp_path / "a.csv", "livelink")
    header, values = (line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines())
    row = dict(zip(header, values, strict=True))
    assert float(row["HeadYaw"]) < -0.29
    assert float(row["HeadPitch"]) > 0.09
    assert float(row["LeftEyeYaw"]) == pytest.approx(-0.2)
    assert float(row["RightEyePitch"]) == pytest.approx(-0.1)


def test_livelink_roll_is_positive_to_the_left_shoulder():
    np.testing.assert_allclose(head_to_rotator(np.array([[0, 0, -0.2]])), [[0, 0, 0.2]], atol=1e-12)


def test_rotator_to_head_inverts_head_to_rotator():
    angles = np.random.default_rng(0).uniform(-0.9, 0.9, (50, 3))
    np.testing.assert_allclose(rotator_to_head(head_to_rotator(angles)), angles, atol=1e-9)


def test_timecodes_are_exact_to_the_frame():
    frames_per_hour = 3600 * 30  # in non-drop timecode
    assert format_timecode(float(frames_per_hour / NTSC), NTSC) == "01:00:00:00.000"
    assert format_timecode(float(Fraction(1001, 30000) * 29), NTSC) == "00:00:00:29.000"
    assert format_timecode(float(Fraction(1001, 30000) * 30), NTSC) == "00:00:01:00.000"
    assert format_timecode(0.02, Fraction(25)) == "00:00:00:00.500"


def make_capture(rows: list[str], header: str = "Timecode,BlendShapeCount,EyeBlinkLeft,JawOpen,TongueOut") -> str:
    """Return the text of a CSV file with few columns."""
    return "\n".join([header, *rows]) + "\n"


def test_capture_past_midnight_keeps_its_times(tmp_path):
    """The app writes frame numbers with a growing fraction; names may be in another case."""
    rows = ["23:59:59:58.078,61,0,0,0.3", "23:59:59:59.080,61,0.5,1,0", "00:00:00:00.082,61,1,0,0"]
    (tmp_path / "take.csv").write_text(make_capture(rows).lower())
    imported = import_track(tmp_path / "take.csv")
    assert imported.track.frame_rate == 60
    assert any("60 frames per second" in note for note in imported.notes)
    assert any("TongueOut" in note for note in imported.notes)
    np.testing.assert_allclose(imported.track.pts, np.array([0, 1.002, 2.004]) / 60, atol=1e-9)
    assert imported.track.expression[1, blendshape_index("jawOpen")] == 1


def test_unknown_columns_of_a_capture_are_ignored_with_a_note(tmp_path):
    (tmp_path / "take.csv").write_text(make_capture(["0:0:0:0,0,1,7"], "Timecode,EyeBlinkLeft,JawOpen,Mood"))
    imported = import_track(tmp_path / "take.csv")
    assert "1 unknown columns were ignored (Mood)" in imported.notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (make_capture([]), "has 0 lines of values"),
        ("timecode,a\n1,2\n", "no column EyeBlinkLeft"),
        (make_capture(["00:00:00:00,61,0,0"]), "line 2: has 4 fields, but the header has 5"),
        (make_capture(["00:00:00:00,61,0,0,0", "00:00:00:00,61,0,0,0"]), "line 3, column Timecode: is not later"),
        (make_capture(["0:0:0,61,0,0,0"]), "line 2, column Timecode: '0:0:0' is not a timecode"),
        (make_capture(["00:61:00:00,61,0,0,0"]), "line 2, column Timecode"),
        (make_capture(["00:00:00:00,61,0,x,0"]), "line 2, column JawOpen: 'x' is not a number"),
        (make_capture(["00:00:00:00,61,nan,0,0"]), "line 2, column EyeBlinkLeft: 'nan'"),
        (make_capture(["00:00:00:00,61,0,30,0"]), "line 2, column JawOpen: .*curves from 0 to 1"),
        (
            make_capture(["00:00:00:00,1,1,35"], "Timecode,EyeBlinkLeft,JawOpen,HeadYaw"),
            "column HeadYaw: .*rotations in radians",
        ),
    ],
)
def test_invalid_capture_gives_a_one_line_error_that_names_line_and_column(tmp_path, text, message):
    path = tmp_path / "take.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        import_track(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_frame_number_beyond_the_frame_rate_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text(make_capture(["00:00:00:29,61,0,0,0", "00:00:00:30,61,0,0,0"]))
    with pytest.raises(InputError, match="line 3, column Timecode: frame 30 is beyond 30 frames per second"):
        import_track(tmp_path / "a.csv", frame_rate=NTSC)


def test_tracks_in_other_spaces_cannot_be_exported(tmp_path):
    with pytest.raises(InputError, match=r"^format: .*bfm09 space have no names"):
        export_track(random_track("bfm09"), tmp_path / "a.csv", "livelink")
    assert list(tmp_path.iterdir()) == []
