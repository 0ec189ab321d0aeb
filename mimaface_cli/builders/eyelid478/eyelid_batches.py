"""Random batches of eyelid samples: people and closure of the eyes, light, color and sharpness vary."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from mimaface_cli.builders.crop_variation import vary_colors
from mimaface_cli.builders.eyelid478.eyelid_clips import EyelidSamples
from mimaface_cli.engines.mesh.eyelid_crop import EYELID

CLOSING = 0.6  # openness of a rendered eye, relative to the photo's, below which it counts as closing
_CLOSING_SHARE = 0.85  # of the pairs show a closing eye; in the others it stays open
_CONDITION_NOISE = 0.02  # standard deviation
# Change of the clip's eye since the photo, relative to that of the rendered one, from which both count as closing. A
# measured motion may close an eye that stays open in the clip.
_CLOSED_TOO = 0.5


@dataclass(frozen=True, eq=False)
class EyelidBatch:
    """B pairs of consecutive frames; all arrays float32.

    Attributes:
        planes: (2B, 8, 64, 96) input of the network, the first frames of all pairs, then the second ones.
        conditions: (2B, K).
        truths: (2B, 3, 64, 96), -1 to 1.
        flows: (B, 64, 96, 2) from the second frame to the first, in pixels.
    """

    planes: np.ndarray
    conditions: np.ndarray
    truths: np.ndarray
    flows: np.ndarray


@dataclass(frozen=True, eq=False)
class EyelidClip:
    """The samples of a clip, and the person in it."""

    name: str
    person: str
    samples: EyelidSamples

    @cached_property
    def is_true(self) -> np.ndarray:
        """(N,) bool, whether the eye of the clip closes where the rendered eye does."""
        return np.array([_closes_too(self.samples, k) for k in range(len(self.samples))])

    @cached_property
    def closing(self) -> np.ndarray:
        """Indices of the true pairs in which the eye closes."""
        return np.flatnonzero(self.is_true & (self.samples.openness.min(1) < CLOSING))

    @cached_property
    def open(self) -> np.ndarray:
        """Indices of the pairs in which the eye stays open."""
        return np.flatnonzero(self.samples.openness.min(1) >= CLOSING)


def _closes_too(samples: EyelidSamples, k: int) -> bool:
    """Return whether the eye changes in the clip as it does in the rendered frames of pair k."""
    photo = samples.photo[k]
    inside = samples.photo_openings[photo] > 127
    if not inside.any():
        return False
    colors = samples.photos[photo][inside].astype(np.float32)
    rendered, true = (np.abs(frames[:, inside] - colors).mean() for frames in (samples.renders[k], samples.truths[k]))
    return bool(true > _CLOSED_TOO * rendered)


def draw_batch(people: list[list[EyelidClip]], size: int, rng: np.random.Generator) -> EyelidBatch:
    """Draw pairs of random people.

    Args:
        people: The clips of each person.
        size: Number of pairs.
        rng: Random numbers.
    """
    kinds = {
        name: [clips for clips in ([clip for clip in group if len(getattr(clip, name))] for group in people) if clips]
        for name in ("closing", "open")
    }
    pairs = []
    for _ in range(size):
        name = "closing" if rng.random() < _CLOSING_SHARE else "open"
        groups = kinds[name] or kinds["open"] or kinds["closing"]
        name = name if kinds[name] else "open" if kinds["open"] else "closing"
        clips = groups[rng.integers(len(groups))]
        clip = clips[rng.integers(len(clips))]
        pairs.append(_vary(clip.samples, int(rng.choice(getattr(clip, name))), rng))
    planes, conditions, truths = (np.concatenate(np.stack([pair[k] for pair in pairs], 1)) for k in range(3))
    return EyelidBatch(planes, conditions, truths, np.stack([pair[3] for pair in pairs]))


Pair = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # planes, conditions, truths and flow


def read_pair(samples: EyelidSamples, k: int) -> Pair:
    """Return a pair as the network sees it."""
    return _to_pair(samples, k, _stack_colors(samples, k), samples.conditions[k])


def _stack_colors(samples: EyelidSamples, k: int) -> np.ndarray:
    """Return two truths, two renders and the photo, (5, 64, 96, 3) float32."""
    return np.stack([*samples.truths[k], *samples.renders[k], samples.photos[samples.photo[k]]]).astype(np.float32)


def _vary(samples: EyelidSamples, k: int, rng: np.random.Generator) -> Pair:
    """Return a pair with random changes that are the same for photo, renders and truths."""
    colors = vary_colors(_stack_colors(samples, k), rng)
    conditions = samples.conditions[k]
    return _to_pair(samples, k, colors, conditions + rng.normal(0, _CONDITION_NOISE, conditions.shape))


def _to_pair(samples: EyelidSamples, k: int, colors: np.ndarray, conditions: np.ndarray) -> Pair:
    colors = np.moveaxis(colors, -1, 1) / np.float32(127.5) - 1
    photo = samples.photo_openings[samples.photo[k]]
    openings = np.stack([*samples.openings[k], photo])[:, None] / np.float32(255)
    planes = np.stack([np.concatenate([colors[2 + j], openings[j], colors[4], openings[2]]) for j in (0, 1)])
    flow = cv2.resize(samples.flows[k].astype(np.float32), EYELID.size)
    return planes, conditions.astype(np.float32), colors[:2], flow
