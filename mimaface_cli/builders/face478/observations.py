"""Landmark observations of faces, and their split into training and held-out subjects."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Observations:
    """Landmarks of N faces.

    Attributes:
        points: N×478×3 pixels; x to the right, y up, z to the camera.
        scores: N×52 blendshape scores, 0..1.
        rotation: N×3×3 canonical face to camera axes.
        subject: N int, one number for each person (images) or clip.
        colors: N×478×3, 0..255; None for clips.
    """

    points: np.ndarray
    scores: np.ndarray
    rotation: np.ndarray
    subject: np.ndarray
    colors: np.ndarray | None = None

    @property
    def landmark_colors(self) -> np.ndarray:
        """N×478×3 float64 colors.

        Raises:
            ValueError: If these are clips, which have no colors.
        """
        if self.colors is None:
            raise ValueError("observations of clips have no colors")
        return self.colors.astype(np.float64)

    def take(self, index: np.ndarray) -> "Observations":
        """Return the faces of an index array."""
        colors = None if self.colors is None else self.colors[index]
        return Observations(self.points[index], self.scores[index], self.rotation[index], self.subject[index], colors)


@dataclass(frozen=True)
class FaceData:
    """Observations to build or measure a model with.

    Attributes:
        stills: Faces of images, one subject each, with colors.
        clips: Frames of clips, one subject for each file.
    """

    stills: Observations
    clips: Observations


def split_subjects(observations: Observations, share: float, seed: int) -> tuple[Observations, Observations]:
    """Split observations into training and held-out subjects at random.

    Args:
        observations: Observations whose subjects are numbered from 0.
        share: Share of the subjects to hold out, at least one subject.
        seed: Random seed.

    Returns:
        The training and the held-out observations.
    """
    count = int(observations.subject.max()) + 1
    subjects = np.random.default_rng(seed).permutation(count)[: max(1, round(share * count))]
    is_held_out = np.isin(observations.subject, subjects)
    return observations.take(np.flatnonzero(~is_held_out)), observations.take(np.flatnonzero(is_held_out))
