"""Motion of edits: photos over time, and recorded tracks."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.apps.edit_job import EditJob, PhotoInput
from mimaface_cli.apps.edit_motion import edit_photo_motion, edit_recorded_motion
from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.apps.edit_terms import parse_edits
from mimaface_cli.engines.mesh.face_networks import FaceNetworks
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.media.reader import probe
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ignore_progress
from tests.motion.tracks import random_motion, read_channel


@pytest.fixture
def photo(sample) -> PhotoInput:
    return PhotoInput(sample.portrait, probe(sample.portrait))


@pytest.fixture
def portrait() -> Portrait:
    """A portrait whose jaw is open by 0.2 and whose head is turned by 5 degrees; it has no image."""
    expression, pose = np.zeros(64), np.zeros(6)
    expression[blendshape_index("jawOpen")] = 0.2
    pose[1] = np.radians(5)
    return Portrait(
        np.zeros((8, 8, 3), np.uint8),
        None,
        np.zeros((478, 2)),
        np.eye(2, 3),
        np.zeros(80),
        expression,
        pose,
        np.zeros(4),
    )


def make_job(photo: PhotoInput, mixed_track: MotionTrack | None = None, **options) -> EditJob:
    edit_options = EditOptions(**options)
    edits = parse_edits(edit_options, "face478", [])
    output = Path("x.npz")
    return EditJob(
        photo,
        output,
        "track",
        edit_options,
        edits,
        [],
        None,
        None,
        False,
        mixed_track,
        FaceNetworks(),
        None,
        ignore_progress,
        [],
    )


def test_photo_without_duration_becomes_one_edited_frame(photo, portrait):
    track = edit_photo_motion(portrait, make_job(photo, set=("jawOpen=0.7",)))
    assert len(track) == 1
    assert read_channel(track, "jawOpen")[0, 0] == pytest.approx(0.7)
    assert (track.meta.width, track.meta.height) == portrait.image.shape[1::-1]


def test_photo_with_a_duration_changes_smoothly_to_the_edited_face(photo, portrait):
    job = make_job(photo, set=("jawOpen=0.7",), seconds=2.0)
    track = edit_photo_motion(portrait, job)
    jaw = read_channel(track, "jawOpen")[:, 0]
    assert len(track) == 50
    assert jaw[0] == pytest.approx(0.2)
    assert jaw[30:] == pytest.approx(0.7)  # after 60 % of the duration
    assert (np.diff(jaw) >= 0).all()
    assert np.abs(np.diff(jaw, 2)).max() < 0.01


def test_keyframes_of_a_photo_start_at_the_values_of_the_photo(photo, portrait):
    job = make_job(photo, keys=("0.4:yaw=25", "0.2:mouthSmileLeft=0.5"), frame_rate=Fraction(50))
    track = edit_photo_motion(portrait, job)
    yaw = read_channel(track, "yaw")[:, 0]
    assert len(track) == 21  # to the last keyframe, and one frame more
    assert yaw[0] == pytest.approx(5, abs=1e-4)
    assert yaw[-1] == pytest.approx(25, abs=1e-4)
    assert read_channel(track, "mouthSmileLeft")[0, 0] == 0
    assert job.notes == []


def test_keyframes_beyond_the_duration_are_noted(photo, portrait):
    job = make_job(photo, keys=("0.4:yaw=25",), seconds=0.2)
    assert len(edit_photo_motion(portrait, job)) == 5
    assert any("keyframes after 0.2 s are not reached" in note for note in job.notes)


def test_photo_takes_regions_of_a_mixed_track(photo, portrait):
    other = random_motion(10)
    job = make_job(photo, other, regions=("mouth",), seconds=0.4)
    track = edit_photo_motion(portrait, job)
    np.testing.assert_allclose(read_channel(track, "jawOpen"), read_channel(other, "jawOpen"), atol=1e-6)


def test_recorded_motion_is_trimmed_before_it_is_stretched_and_edited(photo):
    track = random_motion(100)
    job = make_job(photo, start=1.0, duration=2.0, speed=2.0, set=("yaw=10",))
    edited = edit_recorded_motion(track, job)
    assert len(edited) == 25
    np.testing.assert_allclose(read_channel(edited, "yaw"), 10, atol=1e-4)
    np.testing.assert_allclose(read_channel(edited, "jawOpen"), read_channel(track, "jawOpen")[25:75:2], atol=1e-6)


def test_unedited_recorded_motion_is_unchanged(photo):
    track = replace(random_motion(10), identity=np.arange(80.0))
    edited = edit_recorded_motion(track, make_job(photo))
    np.testing.assert_array_equal(edited.identity, track.identity)
    np.testing.assert_array_equal(edited.expression, track.expression)
    np.testing.assert_allclose(edited.pose, track.pose, atol=1e-6)
