"""Rendered frames agree with the coefficients."""

import numpy as np

from mimaface_cli.face import camera, topology
from tests.builders.rendered_people.frames import SIZE, render_still


def test_landmarks_lie_where_the_camera_projects_them(model, person):
    pose = np.array([0.1, -0.3, 0.05, 0.05, -0.02, 0.1])
    rendered = render_still(model, person, pose=pose)
    posed = camera.apply_pose(model.shape(person.identity, np.zeros(64)), pose)
    expected = camera.project(posed, SIZE)[0]
    rigid = np.setdiff1d(np.arange(478), np.concatenate([topology.IRIS, topology.INNER_LIPS]))
    np.testing.assert_allclose(rendered.points[rigid], expected[rigid], atol=1e-6)


def test_irises_follow_the_gaze_and_nothing_else_changes(model, person):
    left, right = (render_still(model, person, gaze=(yaw, 0, yaw, 0)) for yaw in (-0.4, 0.4))
    shift = right.points[topology.IRIS] - left.points[topology.IRIS]
    assert (shift[:, 0] > 1.5).all()
    assert np.abs(shift[:, 1]).max() < 0.3
    difference = np.abs(left.image.astype(float) - right.image).sum(2)
    rows, _ = np.nonzero(difference > 60)
    eyes = left.points[np.concatenate([topology.LEFT_EYE, topology.RIGHT_EYE])]
    assert len(rows)
    assert rows.min() > eyes[:, 1].min() - 2
    assert rows.max() < eyes[:, 1].max() + 2
