"""The part of an image in which faces are detected, turned by quarter turns so that the faces are upright."""

from dataclasses import dataclass, replace

import numpy as np

from mimaface_cli.face.alignment import invert, transform_points
from mimaface_cli.face.landmarks import Face
from mimaface_cli.motion.rotation import rotation_matrix


@dataclass(frozen=True)
class FaceView:
    """A view of an image.

    Attributes:
        turns: Quarter turns counterclockwise that make the faces upright, 0 to 3.
        region: Left, top, right and bottom of the part of the turned image in pixels, or None for the whole image.
    """

    turns: int = 0
    region: tuple[int, int, int, int] | None = None

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return the view (H', W', C), contiguous, of an image (H, W, C)."""
        if self.region is None and not self.turns:
            return image
        turned = np.rot90(image, self.turns)
        if self.region is not None:
            left, top, right, bottom = self.region
            turned = turned[top:bottom, left:right]
        return np.ascontiguousarray(turned)

    def restore(self, face: Face, width: int, height: int) -> Face:
        """Return a face of the view in the axes and pixels of the image.

        Args:
            face: The face that was detected in the view.
            width: Width of the image in pixels.
            height: Height of the image in pixels.
        """
        if self.region is None and not self.turns:
            return face
        points = face.points if self.region is None else face.points + np.array(self.region[:2])
        points = transform_points(invert(turn_matrix(self.turns, width, height)), points)
        turn = turn_rotation(-self.turns)
        pitch, yaw, _ = (turn @ [*face.apparent_turn, 0.0]).tolist()
        return replace(face, points=points, rotation=turn @ face.rotation, apparent_turn=(pitch, yaw))

    def around(self, box: np.ndarray, width: int, height: int, side: int) -> "FaceView":
        """Return the view of a square of the same image around a face.

        Args:
            box: (4,) left, top, right and bottom of the face in pixels of the image.
            width: Width of the image in pixels.
            height: Height of the image in pixels.
            side: Side of the square in pixels; the image's borders cut it.
        """
        center = transform_points(turn_matrix(self.turns, width, height), (box[None, :2] + box[None, 2:]) / 2)[0]
        size = (height, width) if self.turns % 2 else (width, height)
        starts = [int(np.clip(round(center[k] - side / 2), 0, max(size[k] - side, 0))) for k in range(2)]
        left, top = starts
        return replace(self, region=(left, top, min(left + side, size[0]), min(top + side, size[1])))

    def following(self, face: Face, share: float, width: int, height: int) -> "FaceView":
        """Return the view whose region is moved toward a face; a view of the whole image stays.

        Args:
            face: The face, in pixels of the image.
            share: Largest movement along an axis, relative to the size of the face.
            width: Width of the image in pixels.
            height: Height of the image in pixels.
        """
        if self.region is None:
            return self
        left, top, right, bottom = self.region
        target = self.around(face.box, width, height, max(right - left, bottom - top)).region or self.region
        limit = max(1, round(share * face.size))
        dx, dy = (int(np.clip(target[k] - self.region[k], -limit, limit)) for k in range(2))
        return replace(self, region=(left + dx, top + dy, right + dx, bottom + dy))


def turn_matrix(turns: int, width: int, height: int) -> np.ndarray:
    """Return the transform (2, 3) of an image's pixels to those of the image turned by `numpy.rot90`.

    Args:
        turns: Quarter turns counterclockwise.
        width: Width of the image before the turn, in pixels.
        height: Height of the image before the turn, in pixels.
    """
    linear = np.round(turn_rotation(-turns)[:2, :2])  # y points down in pixels
    corner = linear @ np.array([width, height], np.float64)
    return np.hstack([linear, np.maximum(-corner, 0)[:, None]])


def turn_rotation(turns: int) -> np.ndarray:
    """Return the rotation (3, 3) of camera axes when an image is turned by quarter turns counterclockwise."""
    return np.round(rotation_matrix([0.0, 0.0, turns * np.pi / 2]))
