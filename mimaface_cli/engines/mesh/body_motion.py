"""The movement of the body in a source video, which carries the driven head."""

import numpy as np

from mimaface_cli.motion.rotation import rotation_matrix

_NECK = np.array([0.0, -1.4, -0.9])  # model units: where the head turns on the neck, in the head's frame


def carry_head(pose: np.ndarray, source: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Move driven heads with the body of a source video.

    A driver's motion is planned from one frame of the source. Where the body moves since then, the neck moves with it,
    and so does the head. How the source's head turns on its neck does not count.

    Args:
        pose: (N, 6) driven poses, planned from the pose at rest.
        source: (N, 6) poses of the source.
        rest: (6,) pose of the source at rest.

    Returns:
        (N, 6) poses.
    """
    movement = _neck_places(source) - _neck_places(rest[None])
    return np.concatenate([pose[:, :3], pose[:, 3:] + movement], 1)


def _neck_places(pose: np.ndarray) -> np.ndarray:
    """Return the places (N, 3) of the neck for poses (N, 6)."""
    return rotation_matrix(pose[:, :3]) @ _NECK + pose[:, 3:]
