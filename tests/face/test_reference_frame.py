"""The reference frame of a shot, and the correction of its landmarks."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.face import topology
from mimaface_cli.face.alignment import compose, invert, transform_points
from mimaface_cli.face.reference_frame import build_skin_tracker, select_reference
from mimaface_cli.face.skin_tracking import FacePatch, ShotFrame

BROWS = [46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336]


def test_select_reference_picks_a_face_similar_to_the_others(expression_clip):
    faces = expression_clip.faces
    outlier = replace(faces[0], scores=np.ones(52))
    index = select_reference([outlier, *faces, outlier])
    assert 0 < index <= len(faces)
    assert np.abs(faces[index - 1].scores - faces[0].scores).max() < 0.3


@pytest.fixture(scope="module")
def landmark_errors(expression_clip):
    """A function that returns the distances of a tracker's landmarks from the true ones in pixels of the crop.

    Its argument is an error (478, 2) that is added to the landmarks of all frames.
    """
    clip = expression_clip

    def measure(error: np.ndarray) -> np.ndarray:
        to_image = invert(clip.crop)
        faces = [
            replace(face, points=transform_points(to_image, transform_points(clip.crop, face.points) + error))
            for face in clip.faces
        ]
        frames = [
            ShotFrame(FacePatch.cut(image, face.points), face) for image, face in zip(clip.images, faces, strict=True)
        ]
        tracker = build_skin_tracker(clip.fitter, clip.crop, frames)
        points = transform_points(compose(clip.crop, invert(tracker.patch.affine)), tracker.points)
        true_points = transform_points(clip.crop, clip.faces[select_reference(faces)].points)
        return np.linalg.norm(points - true_points, axis=1)[: topology.IRIS.min()]

    return measure


def test_landmarks_that_are_wrong_in_all_frames_are_corrected(landmark_errors):
    """Brows are detected two pixels too high in all frames, but the skin two pixels lower moves as brows do."""
    error = np.zeros((478, 2))
    error[BROWS, 1] = -2.0
    remaining = landmark_errors(error)
    assert remaining[BROWS].mean() < 1.4
    assert np.median(remaining) < 0.5


def test_correct_landmarks_are_left_almost_unchanged(landmark_errors):
    assert np.median(landmark_errors(np.zeros((478, 2)))) < 0.4
