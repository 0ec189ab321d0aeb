"""Landmarks of single images, read as in the middle of a video."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.settled_landmarks import SettledLandmarker
from mimaface_cli.face.landmarks import FaceLandmarker, locate_landmark_model
from mimaface_cli.media.image import read_image
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(read_image(ROOT / "examples" / "portrait.jpg").rgb)


def test_reading_is_that_of_a_still_video(photo):
    settled = SettledLandmarker()
    (face,) = settled(photo)
    settled.close()
    video = FaceLandmarker(locate_landmark_model(), is_video=True, max_faces=1)
    (last,) = [video(photo, 40 * k) for k in range(12)][-1]
    video.close()
    assert np.abs(face.points - last.points).mean() < 0.004 * np.ptp(face.points[:, 0])


def test_reading_does_not_depend_on_the_image_before(photo):
    moved = np.ascontiguousarray(np.roll(photo, photo.shape[1] // 20, 1))
    settled = SettledLandmarker()
    (alone,) = settled(photo)
    settled(moved)
    (after,) = settled(photo)
    assert settled(np.zeros_like(photo)) == []
    settled.close()
    assert np.abs(alone.points - after.points).mean() < 0.004 * np.ptp(alone.points[:, 0])
