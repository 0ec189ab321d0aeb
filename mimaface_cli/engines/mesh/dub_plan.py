"""Where the lower face of a dubbed video has to be in each frame."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mimaface_cli.engines.mesh.contact import LIP_PAIRS, separate_lips
from mimaface_cli.engines.mesh.face_symmetry import measure_visibility
from mimaface_cli.engines.mesh.lower_face import LowerFace
from mimaface_cli.engines.mesh.mouth import UNITS_PER_MM
from mimaface_cli.face import camera
from mimaface_cli.face.camera import apply_pose
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.portrait import Portrait, crop_to_image
from mimaface_cli.motion.coefficients import BLENDSHAPES, Coefficients
from mimaface_cli.motion.easing import smoothstep
from mimaface_cli.motion.smoothing import filter_gaussian
from mimaface_cli.motion.track import MotionTrack

# Landmarks that speech does not move: corners of the eyes, bridge and tip of the nose, forehead, temples, cheekbones.
_STABLE = np.array([33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 98, 327, 10, 151, 9, 8, 127, 356, 116, 345, 118, 347])
_TURNED = 0.3, 0.5  # radians of yaw over which hidden skin starts to count
_VISIBLE = 0.1  # cosine between skin and view from which skin moves fully
_CONTACT = 2.0 * UNITS_PER_MM  # least gap of lips that do not touch


# What stays of a source's mouth while it says something else: shares of a slow smile or frown, and of habits.
_MOOD, _MOOD_SHARE, _MOOD_SECONDS = ("mouthSmile", "mouthFrown", "mouthDimple"), 0.6, 0.4
_HABITS, _HABIT_SHARE = ("mouthUpperUp",), 0.5


@dataclass(frozen=True)
class DubbedShape:
    """The face of one frame as it has to look.

    Attributes:
        head: (478, 3) the face in the head's frame.
        alignment: (2, 3) similarity from the projection of the pose to the frame, in pixels of the frame.
        movement: (478, 2) movement of the landmarks in pixels of the frame.
        depth: (478,) distances of the landmarks from the camera.
        lips: (478, 3) the face before the movement, as far as the lips are concerned, in the head's frame.
    """

    head: np.ndarray
    alignment: np.ndarray
    movement: np.ndarray
    depth: np.ndarray
    lips: np.ndarray

    def place(self, portrait: Portrait, crop_pixels: np.ndarray) -> np.ndarray:
        """Return the pixels (N, 2) of a frame for pixels of its crop."""
        pixels = crop_to_image(portrait, crop_pixels)
        return np.asarray(pixels @ self.alignment[:, :2].T + self.alignment[:, 2])


def find_speaking_rest(track: MotionTrack, rest: Coefficients) -> Coefficients:
    """Return a speaker at rest in each frame of a video, before the new words are added.

    Jaw and lips rest. A smile or a frown stays, but not its fast part, which belongs to the old words. So does the
    usual height of the upper lip.

    Args:
        track: Motion of the video.
        rest: One frame of it at rest.
    """
    expression = np.repeat(rest.expression, len(track), 0)
    own = track.expression.astype(np.float64)
    sigma = _MOOD_SECONDS / max(float(np.median(np.diff(track.pts))), 1e-3) if len(track) > 1 else 0.0
    for start, end in pairwise([0, *track.meta.cuts, len(track)]):
        for k, name in enumerate(BLENDSHAPES):
            if name.startswith(_MOOD) and end - start > 2:
                expression[start:end, k] = _MOOD_SHARE * filter_gaussian(own[start:end, k : k + 1], sigma)[:, 0]
            elif name.startswith((*_MOOD, *_HABITS)):
                expression[start:end, k] = _HABIT_SHARE * np.median(own[start:end, k])
            elif name.startswith(("jaw", "mouth")):
                expression[start:end, k] = 0
    return Coefficients(expression, np.repeat(rest.pose, len(track), 0), np.repeat(rest.gaze, len(track), 0))


def plan_shape(
    portrait: Portrait, model: Face478, face: LowerFace, neutral: np.ndarray, expression: np.ndarray
) -> DubbedShape:
    """Plan the face of one frame.

    Lips go exactly where the expression has them, from where they are detected. Elsewhere, skin moves by the change of
    the expression, which is smoother over time than detected landmarks are.

    Args:
        portrait: The frame, with the landmarks and the source's own coefficients.
        model: The face model.
        face: The lower face of the model.
        neutral: (478, 3) the person's neutral face in the head's frame.
        expression: (64,) planned expression.
    """
    pose = portrait.pose
    head = separate_lips(neutral + model.expression_basis @ expression)
    before = neutral + model.expression_basis @ portrait.expression
    placed, depth = camera.project(apply_pose(head, pose))
    target = crop_to_image(portrait, placed)
    own = crop_to_image(portrait, camera.project(apply_pose(before, pose))[0])
    alignment = fit_similarity(own[_STABLE], portrait.points[_STABLE])
    target, own = (pixels @ alignment[:, :2].T + alignment[:, 2] for pixels in (target, own))
    target = _join_lips(target, head)
    share = face.lip_share[:, None]
    movement = share * (target - portrait.points) + (1 - share) * (target - own)
    movement *= _measure_facing(before, pose, model)[:, None]
    scale = float(np.linalg.norm(own[33] - own[263])) / max(float(np.linalg.norm(before[33] - before[263])), 1e-6)
    lips = head.copy()
    lips[:, :2] -= movement / max(scale, 1e-6)
    return DubbedShape(head, alignment, movement, depth, lips)


def _measure_facing(head: np.ndarray, pose: np.ndarray, model: Face478) -> np.ndarray:
    """Return 1 for each landmark (478,) that the camera sees, down to 0 for those that a turned face hides.

    What is behind the outline of a face must not be pulled into view.
    """
    lowest, highest = _TURNED
    turned = np.clip((abs(pose[1]) - lowest) / (highest - lowest), 0, 1)
    if turned == 0:
        return np.ones(len(head))
    visibility = measure_visibility(apply_pose(head, pose), model.face)
    return np.asarray(1 - turned * (1 - smoothstep(visibility / _VISIBLE)))


def _join_lips(points: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Let lips that meet in the head's frame also meet in the image, where one may lie in front of the other.

    Args:
        points: (478, 2) the face in pixels.
        head: (478, 3) the face in the head's frame.
    """
    joined = points.copy()
    upper, lower = LIP_PAIRS.T
    share = np.clip(1 - (head[upper, 1] - head[lower, 1]) / _CONTACT, 0, 1)[:, None]
    change = share * (points[lower] - points[upper]) / 2
    joined[upper] += change
    joined[lower] -= change
    return joined


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit the similarity (2, 3) that maps points (N, 2) to others with the least squared error."""
    middle, goal = source.mean(0), target.mean(0)
    a, b = source - middle, target - goal
    power = max(float((a**2).sum()), 1e-9)
    cosine = float((a * b).sum()) / power
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / power
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.concatenate([linear, (goal - linear @ middle)[:, None]], 1)
