"""Random batches of mouth samples: people, mirror images, light, color and sharpness vary."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from mimaface_cli.builders.crop_variation import vary_colors
from mimaface_cli.builders.mouth478.mouth_clips import MouthSamples
from mimaface_cli.engines.mesh.mouth_crop import CROP_HEIGHT, CROP_WIDTH, MOUTH_COLUMNS
from mimaface_cli.motion.coefficients import BLENDSHAPES

_CLOSED_SHARE = 0.4  # of the pairs are drawn from those whose photo has a closed mouth
_WIDE_SHARE = 0.3  # of the pairs are drawn from those with a wide opening
_WIDE_OPENING = 0.05  # share of the crop
_EXACT_SHARE = 0.5  # of the pairs: true lips around the inside of a rendered mouth
_CONDITION_NOISE = 0.02  # standard deviation


@dataclass(frozen=True, eq=False)
class MouthBatch:
    """B pairs of consecutive frames; all arrays float32.

    Attributes:
        planes: (2B, 8, 128, 192) input of the network, the first frames of all pairs, then the second ones.
        conditions: (2B, CONDITION_DIM).
        truths: (2B, 3, 128, 192), -1 to 1.
        true_openings: (2B, 1, 128, 192), 0 to 1, opening of the true lips; 0 where they were not detected.
        exact: (B,) bool, whether a pair shows the true lips and only the inside of the mouth is rendered.
        flows: (B, 128, 192, 2) from the second frame to the first, in pixels.
    """

    planes: np.ndarray
    conditions: np.ndarray
    truths: np.ndarray
    true_openings: np.ndarray
    exact: np.ndarray
    flows: np.ndarray


@dataclass(frozen=True, eq=False)
class MouthClip:
    """The samples of a clip, and the person in it."""

    name: str
    person: str
    samples: MouthSamples

    @cached_property
    def wide(self) -> np.ndarray:
        """(N,) whether the mouth is wide open in the first frame of a pair."""
        return self.samples.true_openings[:, 0].mean((1, 2)) > 255 * _WIDE_OPENING


def draw_batch(people: list[list[MouthClip]], size: int, rng: np.random.Generator) -> MouthBatch:
    """Draw pairs of random people.

    Args:
        people: The clips of each person.
        size: Number of pairs.
        rng: Random numbers.
    """
    wide = [clips for clips in people if any(clip.wide.any() for clip in clips)]
    pairs = []
    for _ in range(size):
        is_wide = bool(wide) and rng.random() < _WIDE_SHARE
        group = wide if is_wide else people
        clips = group[rng.integers(len(group))]
        if is_wide:
            clips = [clip for clip in clips if clip.wide.any()]
        clip = clips[rng.integers(len(clips))]
        samples = clip.samples
        choices = np.flatnonzero(clip.wide) if is_wide else np.arange(len(samples))
        closed = choices[samples.closed[samples.photo[choices]]]
        if len(closed) and rng.random() < _CLOSED_SHARE:
            choices = closed
        pairs.append(_vary(samples, int(rng.choice(choices)), rng))
    return stack_batch(pairs)


# Planes, conditions, truths, true openings and flow of one pair, and whether its lips are true.
Pair = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, bool]


def stack_batch(pairs: list[Pair]) -> MouthBatch:
    """Stack pairs, the first frames first."""
    planes, conditions, truths, openings = (np.concatenate(np.stack([pair[k] for pair in pairs], 1)) for k in range(4))
    exact = np.array([pair[5] for pair in pairs])
    return MouthBatch(planes, conditions, truths, openings, exact, np.stack([pair[4] for pair in pairs]))


def read_pair(samples: MouthSamples, k: int) -> Pair:
    """Return a pair as the network sees it."""
    colors = np.stack([*samples.truths[k], *samples.renders[k], samples.photos[samples.photo[k]]])
    return _to_pair(samples, k, colors.astype(np.float32), samples.conditions[k], exact=False)


def _vary(samples: MouthSamples, k: int, rng: np.random.Generator) -> Pair:
    """Return a pair with random changes that are the same for photo, renders and truths."""
    colors = np.stack([*samples.truths[k], *samples.renders[k], samples.photos[samples.photo[k]]]).astype(np.float32)
    colors = vary_colors(colors, rng)
    conditions = samples.conditions[k]
    conditions = conditions + rng.normal(0, _CONDITION_NOISE, conditions.shape).astype(np.float32)
    exact = bool(samples.true_openings[k].any()) and rng.random() < _EXACT_SHARE
    pair = _to_pair(samples, k, colors, conditions, exact)
    return _mirror(pair) if rng.random() < 0.5 else pair


def _to_pair(samples: MouthSamples, k: int, colors: np.ndarray, conditions: np.ndarray, exact: bool) -> Pair:
    """Stack the colors (5, H, W, 3) of two truths, two renders and the photo as the network sees them.

    Rendered lips never lie exactly where the true ones do. In exact pairs, the network sees the true lips with the
    inside of the rendered mouth, so that it learns what belongs between lips.
    """
    colors = np.moveaxis(colors, -1, 1) / np.float32(127.5) - 1
    frame_openings = (samples.true_openings if exact else samples.openings)[k]
    openings = np.stack([*frame_openings, samples.photo_openings[samples.photo[k]]])[:, None] / np.float32(255)
    seen = colors[2:4]
    if exact:
        seen = colors[:2] + openings[:2] * (seen - colors[:2])
    planes = np.stack([np.concatenate([seen[j], openings[j], colors[4], openings[2]]) for j in (0, 1)])
    flow = cv2.resize(samples.flows[k].astype(np.float32), (CROP_WIDTH, CROP_HEIGHT))
    true_openings = samples.true_openings[k][:, None] / np.float32(255)
    return planes, conditions, colors[:2], true_openings, flow, exact


def _mirror(pair: Pair) -> Pair:
    planes, conditions, truths, openings, flow, exact = pair
    mirrored = flow[:, ::-1] * np.array([-1, 1], np.float32)
    return planes[..., ::-1], mirror_conditions(conditions), truths[..., ::-1], openings[..., ::-1], mirrored, exact


def mirror_conditions(conditions: np.ndarray) -> np.ndarray:
    """Return the conditions (..., CONDITION_DIM) of the mirror images."""
    names = [BLENDSHAPES[k] for k in MOUTH_COLUMNS]
    swapped = [names.index(_swap_sides(name)) for name in names]
    count = len(names)
    order = [*swapped, *(count + k for k in swapped), *range(2 * count, 2 * count + 4)]
    mirrored = conditions[..., order]
    mirrored[..., [2 * count + 1, 2 * count + 3]] *= -1  # yaw
    return mirrored


def _swap_sides(name: str) -> str:
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name.removesuffix(side) + other
    return name
