"""Random motion of rendered people."""

import numpy as np

from mimaface_cli.builders.rendered_people.random_motion import GLANCE, TURN, generate_motion


def test_motion_is_smooth_and_within_its_limits():
    motion = generate_motion(4, 50)
    assert motion.expression.shape == (50, 64)
    assert motion.pose.shape == (50, 6)
    assert motion.gaze.shape == (50, 4)
    assert (np.abs(motion.pose[:, :3]) <= TURN + 1e-9).all()
    assert (np.abs(motion.gaze[:, :2]) <= GLANCE + 1e-9).all()
    assert np.abs(np.diff(motion.pose[:, :3], axis=0)).max() < 0.12
