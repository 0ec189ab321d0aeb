"""Pose, projection and its inverse."""

import numpy as np

from mimaface_cli.face import camera
from mimaface_cli.motion.rotation import rotation_matrix


def test_project_maps_the_optical_axis_to_the_center_and_y_up_to_smaller_rows():
    points = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 1.0]])
    pixels, depth = camera.project(points, 224)
    assert np.allclose(depth, [10, 10, 10, 9])
    offset = 0.5 * 1015 / 10  # the release's focal length at its crop size
    assert np.allclose(pixels, [[112, 112], [112 + offset, 112], [112, 112 - offset], [112, 112]])


def test_unproject_inverts_project():
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    pixels, depth = camera.project(points, 300)
    assert np.allclose(camera.unproject(pixels, depth, 300), points)


def test_project_enlarges_nearer_points():
    pixels, _ = camera.project(np.array([[0.5, 0, 2.0], [0.5, 0, 0.0]]))
    center = camera.CROP_SIZE / 2
    assert (pixels[0, 0] - center) / (pixels[1, 0] - center) == 10 / 8


def test_apply_pose_rotates_then_translates():
    pose = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    vertices = np.random.default_rng(1).normal(size=(7, 3))
    expected = np.array([rotation_matrix(pose[:3]) @ vertex + pose[3:] for vertex in vertices])
    assert np.allclose(camera.apply_pose(vertices, pose), expected)
