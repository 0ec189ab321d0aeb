"""Notes on the limits of rendering an edit."""

import numpy as np

from mimaface_cli.apps.edit_rendering import note_limits
from mimaface_cli.motion.coefficients import Coefficients


def test_note_limits_counts_the_limited_frames_of_each_part():
    requested = Coefficients(np.zeros((3, 64)), np.zeros((3, 6)), np.zeros((3, 4)))
    pose = requested.pose.copy()
    pose[1, 1] = 0.1
    rendered = Coefficients(requested.expression, pose, requested.gaze + 0.01)
    assert note_limits(requested, rendered) == [
        "head: limited in 1 of 3 frames to what one photo can show",
        "gaze: limited in 3 of 3 frames to what one photo can show",
    ]
    assert note_limits(requested, requested) == []
