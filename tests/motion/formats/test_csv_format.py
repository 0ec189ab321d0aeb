"""Tracks as CSV: round trip, files written by hand, and errors."""

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.formats import export_track, import_track
from tests.motion.tracks import NTSC, random_track


@pytest.mark.parametrize("space", ["face478", "bfm09"])
def test_csv_round_trip_keeps_motion_and_times(tmp_path, space):
    track = random_track(space)
    export_track(track, tmp_path / "a.csv")
    imported = import_track(tmp_path / "a.csv")
    assert imported.format == "csv"
    assert imported.track.meta.space == space
    assert imported.track.frame_rate == NTSC
    for name in ("expression", "pose", "gaze"):
        np.testing.assert_allclose(getattr(imported.track, name), getattr(track, name), atol=1e-6)
    np.testing.assert_allclose(imported.track.pts, track.pts, atol=1e-8)
    np.testing.assert_array_equal(imported.track.valid, track.valid)


def test_csv_written_by_hand_may_have_few_columns(tmp_path):
    (tmp_path / "a.csv").write_text("time,yaw\n0,0\n0.04,10\n0.08,20\n")
    imported = import_track(tmp_path / "a.csv")
    assert np.degrees(imported.track.pose[2, 1]) == pytest.approx(20, abs=1e-4)
    assert imported.track.frame_rate == 25
    assert imported.notes == ["73 curves are not in the file and stay at 0"]


def test_csv_written_by_hand_may_name_both_sides_at_once(tmp_path):
    (tmp_path / "a.csv").write_text("time,mouthSmile\n0,0\n0.04,0.5\n0.08,1\n")
    track = import_track(tmp_path / "a.csv").track
    smile = track.expression[:, [blendshape_index("mouthSmileLeft"), blendshape_index("mouthSmileRight")]]
    np.testing.assert_allclose(smile, [[0, 0], [0.5, 0.5], [1, 1]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("yaw\n1\n", "no column time"),
        ("time\n1\n", "no column for a channel"),
        ("time,yaw\n", "has 0 lines of values"),
        ("time,jawOpen\n0,inf\n", "line 2, column jawOpen: 'inf' is not a number"),
        ("time,jawOpen\n0,x\n", "line 2, column jawOpen: 'x' is not a number"),
        ("time,jawOpen\n1,0\n1,0\n", "line 3, column time: is not later"),
        ("time,jawOpen\n0,1e9\n", "line 2, column jawOpen: is out of range"),
        ("time,jawOpen\n1e10,1\n", "column time: a time is out of range"),
        ("time,jawOpn\n0,1\n", "line 1: jawOpn: .*Did you mean jawOpen"),
        ("[" * 100_000, "no column time"),
    ],
)
def test_invalid_csv_gives_a_one_line_error_that_names_line_and_column(tmp_path, text, message):
    path = tmp_path / "track.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        import_track(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
