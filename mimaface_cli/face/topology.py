"""Indices into MediaPipe's 478 landmarks.

Left and right are the subject's. Rings list the landmarks around an opening in order.
"""

import numpy as np

RIGHT_EYE = np.array([33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246])
LEFT_EYE = np.array([263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466])
EYES = np.concatenate([RIGHT_EYE, LEFT_EYE])
INNER_LIPS = np.array([78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191])
OUTER_LIPS = np.array([61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185])
OVAL = np.concatenate(
    [
        [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377],
        [152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109],
    ]
)
# The iris center comes first, then four points of the rim.
RIGHT_IRIS, LEFT_IRIS = np.arange(468, 473), np.arange(473, 478)
IRIS = np.arange(468, 478)
NOSE_TIP, CHIN = 4, 152
RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER = 61, 291
UPPER_LIP, LOWER_LIP = 13, 14  # midpoints of the inner contours


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Reduce landmarks to eye centers, nose tip and mouth corners.

    Args:
        landmarks: (..., 478, k) coordinates.

    Returns:
        (..., 5, k): right eye, left eye, nose tip, right and left mouth corner. An eye center is the mean of its ring,
        which gaze does not move.
    """
    eye_centers = [landmarks[..., ring, :].mean(-2) for ring in (RIGHT_EYE, LEFT_EYE)]
    points = [landmarks[..., index, :] for index in (NOSE_TIP, RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER)]
    return np.stack(eye_centers + points, -2)
