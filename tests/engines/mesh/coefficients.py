"""Coefficients by channel names, for the tests of the mesh engine."""

import numpy as np

from mimaface_cli.motion.channels import find_channel
from mimaface_cli.motion.coefficients import Coefficients


def make_coefficients(**channels: float) -> Coefficients:
    """Return one frame of face478 coefficients with some channels set, such as `yaw=20`."""
    arrays = {"expression": np.zeros((1, 64)), "pose": np.zeros((1, 6)), "gaze": np.zeros((1, 4))}
    for name, value in channels.items():
        channel = find_channel(name, "face478")
        channel.write(arrays[channel.array], np.full((1, 1), float(value)))
    return Coefficients(**arrays)
