"""The second texture of the face: the visible half where the photo hides the other."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.face_symmetry import complete_face, find_mirrored_vertices, measure_visibility
from mimaface_cli.engines.mesh.fine_face import build_fine_face
from mimaface_cli.face import camera


@pytest.fixture(scope="module")
def fine(model):
    return build_fine_face(model.face.tobytes())


def place(model, fine, yaw: float) -> np.ndarray:
    return fine.matrix @ camera.apply_pose(model.mean, np.array([0, yaw, 0, 0, 0, 0.0]))


def test_mirrored_vertices_are_mirror_images(model, fine):
    points, mirrored = fine.matrix @ model.mean, find_mirrored_vertices(model)
    distance = np.linalg.norm(points[mirrored] - points * [-1, 1, 1], axis=1)
    assert np.median(distance) < 0.03 and distance.max() < 0.15  # model units; the mean face is not quite symmetric


def test_visibility_is_lost_on_the_far_cheek(model, fine):
    frontal, turned = (measure_visibility(place(model, fine, yaw), fine.triangles) for yaw in (0.0, 0.7))
    right, left = 234, 454  # beside the ears
    nose = 4
    assert frontal[nose] > 0.8 and frontal.min() >= 0 and frontal.max() <= 1
    far, near = (right, left) if turned[right] < turned[left] else (left, right)
    assert turned[far] == 0 and turned[near] > frontal[near] + 0.2


def test_complete_face_takes_the_far_cheek_from_the_near_one(model, fine):
    placed = place(model, fine, 0.7)
    texture = camera.project(placed)[0]
    image = np.full((256, 256, 3), (180, 140, 120), np.uint8)
    image[:, :128] = (90, 70, 60)  # in shadow
    mirrored, visibility = find_mirrored_vertices(model), measure_visibility(placed, fine.triangles)
    completion = complete_face(image, texture, visibility, mirrored, fine.triangles)
    assert completion.share.max() > 0.9 and (completion.share >= 0).all()
    assert np.allclose(completion.texture, texture[mirrored])
    assert (completion.share[visibility > 0.5] == 0).all()
    is_completed = completion.share > 0.5
    ratio = completion.gain[is_completed].mean()
    assert ratio < 0.95 if texture[is_completed, 0].mean() < 128 else ratio > 1.05  # in the light of its new place


def test_complete_face_of_a_frontal_photo_changes_next_to_nothing(model, fine):
    placed = place(model, fine, 0.0)
    visibility = measure_visibility(placed, fine.triangles)
    image = np.full((256, 256, 3), 128, np.uint8)
    mirrored = find_mirrored_vertices(model)
    share = complete_face(image, camera.project(placed)[0], visibility, mirrored, fine.triangles).share
    assert share.mean() < 0.02
