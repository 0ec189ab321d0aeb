"""Landmarks of single images, as they are detected in the middle of a video.

The landmark model looks at a part of the image. In photos and in the first frame of a video a detector finds that part;
later, the landmarks of the frame before do. The same face is read differently in both: its rotation by up to 3°.
"""

import numpy as np

from mimaface_cli.face.landmarks import Face, FaceLandmarker, locate_landmark_model

_READINGS = 2  # of each image: the last one is settled
_STEP = 1000  # milliseconds between readings: the landmark model smooths over shorter times


class SettledLandmarker:
    """Detects the face of single images as if each stood still in a video."""

    def __init__(self) -> None:
        self._landmarker = FaceLandmarker(locate_landmark_model(), is_video=True, max_faces=1)
        self._milliseconds = 0

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Return the face of an image (H, W, 3) uint8 RGB, or an empty list."""
        faces: list[Face] = []
        for _ in range(_READINGS):
            faces = self._landmarker(image, self._milliseconds)
            self._milliseconds += _STEP
        return faces

    def close(self) -> None:
        """Release the native landmarker."""
        self._landmarker.close()
