"""Landmarks of a face in single frames, near the place where a track has it.

The landmarker's video mode smooths landmarks over time, and so they lag behind lips that move fast. Here each frame is
measured independently.
"""

import numpy as np

from mimaface_cli.face.face_view import FaceView
from mimaface_cli.face.landmarks import Face, FaceLandmarker, locate_landmark_model

_SIDE = 2.2  # of the view, in sides of the face
_SAME_FACE = 0.35  # sides of the face: the largest mean distance from the track's landmarks
_MAX_FACES = 2  # that overlap in the view


class FrameLandmarks:
    """Locates the landmarks of a face whose place is known roughly, in single frames."""

    def __init__(self) -> None:
        self._landmarker = FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=1)
        self._crowd: FaceLandmarker | None = None

    def __call__(self, image: np.ndarray, near: np.ndarray) -> Face | None:
        """Return the face that is nearest to where it is expected, or None.

        Args:
            image: (H, W, 3) uint8 RGB.
            near: (478, 2) expected landmarks in pixels.
        """
        height, width = image.shape[:2]
        box = np.concatenate([near.min(0), near.max(0)])
        size = float((box[2:] - box[:2]).max())
        if not np.isfinite(size) or size < 2:
            return None
        view = FaceView().around(box, width, height, max(16, round(_SIDE * size)))
        face = self._nearest(self._landmarker, view, image, near, size)
        if face is None:  # with a limit of one face, the detected one may be another person's
            self._crowd = self._crowd or FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=_MAX_FACES)
            face = self._nearest(self._crowd, view, image, near, size)
        return face

    def _nearest(
        self, landmarker: FaceLandmarker, view: FaceView, image: np.ndarray, near: np.ndarray, size: float
    ) -> Face | None:
        height, width = image.shape[:2]
        part = view.apply(image)
        if min(part.shape[:2]) < 2:
            return None
        faces = [view.restore(face, width, height) for face in landmarker(part)]
        distances = [float(np.linalg.norm(face.points - near, axis=1).mean()) / size for face in faces]
        if not faces or min(distances) > _SAME_FACE:
            return None
        return faces[int(np.argmin(distances))]

    def close(self) -> None:
        """Release the native landmarkers."""
        self._landmarker.close()
        if self._crowd is not None:
            self._crowd.close()
