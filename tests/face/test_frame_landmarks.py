"""Landmarks in single frames, near an expected place."""

from contextlib import closing

import numpy as np
import pytest

from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.frame_landmarks import FrameLandmarks
from mimaface_cli.media.image import read_image
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(read_image(ROOT / "examples" / "portrait.jpg").rgb[:256, 96:352])


@pytest.fixture(scope="module")
def points(photo):
    return detect_faces(photo)[0].points


def test_landmarks_are_those_of_the_face_at_the_expected_place(photo, points):
    two = np.ascontiguousarray(np.hstack([photo, photo]))
    shifted = points + np.array([256, 0])
    with closing(FrameLandmarks()) as locate:
        left, right = locate(two, points + 4), locate(two, shifted - 4)
    assert np.abs(left.points - points).mean() < 2
    assert np.abs(right.points - shifted).mean() < 2


def test_no_landmarks_where_no_face_is_expected(photo, points):
    with closing(FrameLandmarks()) as locate:
        assert locate(photo, points * 0.3 + np.array([0, 170])) is None
        assert locate(photo, np.zeros((478, 2))) is None
        assert locate(photo, np.full((478, 2), np.nan)) is None
        assert locate(photo, points + 5000) is None
