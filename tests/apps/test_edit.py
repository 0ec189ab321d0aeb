"""Edits from Python, from input to output."""

import numpy as np
import pytest
from PIL import Image

from mimaface_cli.apps.edit import edit
from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.errors import OutputError
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from tests.motion.tracks import read_channel


def test_edit_writes_a_track_that_is_marked_as_edited(sample, tmp_path):
    result = edit(str(sample.track), str(tmp_path / "x.npz"), EditOptions(set=("yaw=10",)))
    assert (result.kind, result.space, result.width, result.engine) == ("track", "face478", None, None)
    track = MotionTrack.load(tmp_path / "x.npz")
    assert track.meta.options["edited"] is True
    np.testing.assert_allclose(read_channel(track, "yaw"), 10, atol=1e-4)
    assert result.duration == pytest.approx(track.duration)


def test_edit_renders_a_photo_and_reports_progress_and_notes(sample, tmp_path):
    stages = []
    options = EditOptions(set=("gazeYaw=44",), max_size=96, provenance=ProvenanceOptions(on=False))
    result = edit(
        sample.portrait,
        tmp_path / "x.png",
        options,
        progress=lambda stage, done, total: stages.append((stage, done, total)),
    )
    assert (result.kind, result.frames, result.engine) == ("image", 1, "mesh")
    assert stages == [("rendering", 1, 1)]
    assert "gaze: limited in 1 of 1 frames to what one photo can show" in result.notes
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (result.width, result.height) == (96, 96)


def test_edit_refuses_an_existing_output(sample, tmp_path):
    (tmp_path / "x.npz").touch()
    with pytest.raises(OutputError, match=r"x.npz"):
        edit(sample.track, tmp_path / "x.npz")
    edit(sample.track, tmp_path / "x.npz", overwrite=True)
    assert len(MotionTrack.load(tmp_path / "x.npz")) > 0
