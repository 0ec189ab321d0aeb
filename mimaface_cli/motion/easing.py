"""Easing: smooth transitions, and limits that head motion approaches smoothly instead of stopping abruptly."""

import numpy as np

# Angles that a photo can show, in radians: pitch, yaw, roll. Up to the knee they do not change; beyond it they approach
# the limit. A photo whose own head is turned further may show that pose.
ANGLE_KNEE = np.radians([22.0, 32.0, 30.0])
ANGLE_MARGIN = np.radians([10.0, 10.0, 14.0])
# Change since the photo's own pose, in radians: a photo at one end of the range does not show the other end.
CHANGE_KNEE = np.radians([32.0, 46.0, 34.0])


def smoothstep(value: np.ndarray) -> np.ndarray:
    """Return the smooth step from 0 to 1 over values from 0 to 1."""
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


def ease_range(
    value: np.ndarray, low: np.ndarray | float, high: np.ndarray | float, margin: np.ndarray | float
) -> np.ndarray:
    """Limit values smoothly to a range.

    The result is monotone and continuously differentiable in the value, the range and the margins.

    Args:
        value: Values of any shape.
        low: Values from here to `high` do not change.
        high: As above; at least `low`.
        margin: Positive distance beyond the range that the result approaches but does not exceed.

    Returns:
        Values of the same shape.
    """
    above, below = np.maximum(value - high, 0), np.maximum(low - value, 0)
    return np.clip(value, low, high) + margin * (np.tanh(above / margin) - np.tanh(below / margin))


def ease_angles(angles: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Limit the angles of a head smoothly to what a photo can show.

    Args:
        angles: (..., 3) Euler angles about x, y, z in radians.
        rest: (3,) or (..., 3), the angles in the photo; they do not change.

    Returns:
        (..., 3) Euler angles.
    """
    low = np.minimum(np.maximum(-ANGLE_KNEE, rest - CHANGE_KNEE), rest)
    high = np.maximum(np.minimum(ANGLE_KNEE, rest + CHANGE_KNEE), rest)
    return ease_range(angles, low, high, ANGLE_MARGIN)
