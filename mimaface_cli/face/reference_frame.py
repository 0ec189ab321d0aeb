"""The frame of a shot that the others are compared with, and where its landmarks lie.

The landmark model is off by a pixel or two in it as in any frame, and with it the skin that is taken for a lip's edge
would be put off for the whole shot. But skin that is taken for what it is not moves otherwise than the fitted face
says. So where the landmarks lie is found from the pictures of many frames, together with what the face does in each.
"""

import numpy as np
from scipy import sparse

from mimaface_cli.face.alignment import invert, transform_points
from mimaface_cli.face.face478 import VERTICES
from mimaface_cli.face.fitting import Fitter, FrameFit
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.photometric import Surface
from mimaface_cli.face.skin_tracking import FOLLOWED, Skin, Square
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix

FRAMES = 10  # of a shot's first ones, evenly, that tell where the reference's landmarks lie
_OFF = 1.5  # pixels of the 256 crop: how far a landmark is likely off
_FURTHEST = 2.0  # pixels: it is moved no further by the pictures


def most_usual(faces: list[Face]) -> int:
    """Which of a shot's faces is most like all of them, in expression and direction: what others are compared to."""
    scores = np.stack([face.scores for face in faces])
    directions = np.stack([face.rotation[:, 2] for face in faces])
    middle = np.median(directions, 0)
    turned = np.arccos(np.clip(directions @ (middle / np.linalg.norm(middle)), -1, 1))
    return int(np.argmin(np.abs(scores - np.median(scores, 0)).sum(1) + 2 * turned))


def settle(fitter: Fitter, crop: np.ndarray, shown: list[tuple[Square, Face]]) -> Skin:
    """A person's skin (fitter: that person's; crop: 2×3, the shot's) from the frames that a shot begins with. Pose and
    expression are on average what the landmarks alone say, so that those of one frame do not put the whole shot off.
    """
    square, face = shown[most_usual([face for _, face in shown])]
    surface = Surface.of(fitter.model.triangles)
    few = [shown[k] for k in np.linspace(0, len(shown) - 1, min(FRAMES, len(shown))).astype(int)]
    read = [transform_points(crop, one.points) for _, one in few]
    alone = [_alone(fitter, points, one) for points, (_, one) in zip(read, few)]

    def seen_from(points: np.ndarray, fit: FrameFit) -> Skin:
        through = fitter.through(points, face.scores, fit)
        return Skin(through, surface, square, crop, transform_points(invert(crop), points))

    points = transform_points(crop, face.points)
    skin = seen_from(points, _alone(fitter, points, face))
    # The landmark model lags behind a moving mouth: first what the others' landmarks say, brought here.
    found = [skin.fit(*one) for one in few]
    off = np.median([one - skin.fitter.shown(fit)[0] for one, fit in zip(read, found)], 0)
    points = points + np.where(FOLLOWED[:, None], off, 0)
    usual = _alone(fitter, points, face)
    skin = seen_from(points, usual)
    found = [skin.fit(*one) for one in few]
    settled = seen_from(points + _misplaced(skin, usual, few, found), _on_average(usual, found, alone))
    settled.know_irises(few, found)
    return settled


def _alone(fitter: Fitter, points: np.ndarray, face: Face) -> FrameFit:
    """What landmarks (478×2 pixels of the crop) say without a picture."""
    return fitter.frame(points, face.scores, fitter.first_pose(points, face.rotation))


def _on_average(reference: FrameFit, found: list[FrameFit], alone: list[FrameFit]) -> FrameFit:
    """The reference's fit, changed so that what is found of it in other frames is on average what those say alone."""
    turned = [rotation_matrix(a.pose[:3]).T @ rotation_matrix(b.pose[:3]) for a, b in zip(found, alone)]
    left, _, right = np.linalg.svd(np.sum(turned, 0))
    angles = euler_angles(rotation_matrix(reference.pose[:3]) @ left @ right)
    changed = np.mean([b.expression - a.expression for a, b in zip(found, alone)], 0)
    return FrameFit(np.append(angles, reference.pose[3:]), reference.expression + changed, reference.error)


def _misplaced(skin: Skin, usual: FrameFit, shown: list[tuple[Square, Face]], found: list[FrameFit]) -> np.ndarray:
    """By how much (478×2 pixels of the crop) the reference's landmarks are to be moved. usual: the reference's own fit;
    found: what is found in the frames that are shown. A step of Gauss–Newton over the landmarks and all frames' poses
    and expressions together, in which neighbors prefer to move alike.
    """
    fitter, surface = skin.fitter, skin.surface
    points = fitter.shown(usual)[0]
    curvature = np.kron(surface.roughness() + np.eye(len(fitter.seen)), np.eye(2)) / _OFF**2
    slope = np.zeros(len(curvature))
    for (square, face), fit in zip(shown, found):
        # What a landmark's place is worth: it carries its skin along as the head turns, not as the skin is stretched.
        turned = fitter.shown(FrameFit(fit.pose, usual.expression, 0.0))[0]
        unlike = surface.stretch(points, turned) - surface.stretch(points, fitter.shown(fit)[0])
        moves = sparse.bsr_array((unlike, np.arange(len(unlike)), np.arange(len(unlike) + 1)))
        bend, pull = fitter.for_moves(fit, face.scores, skin.differing(square), moves)
        curvature += bend
        slope += pull
    free = np.repeat(surface.free, 2)
    step = np.zeros(len(slope))
    step[free] = np.linalg.solve(curvature[np.ix_(free, free)], -slope[free])
    change = np.zeros((VERTICES, 2))
    change[fitter.seen] = np.clip(step.reshape(-1, 2), -_FURTHEST, _FURTHEST)
    return change
