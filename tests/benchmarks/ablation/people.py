"""The people of the ablation: those to learn from and those left out, as shards, and shards as arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.builders.rendered_people.rendered_shards import Cast
from mimaface_cli.training.shard_reader import open_shards
from mimaface_cli.training.training_data import clip_motion

PICTURE, RIM = 48, 8  # pixels of a side: the middle of what is drawn, which the face all but fills, and what is cut off
DRAWN = PICTURE + 2 * RIM
TRAIN = Cast(people=320, takes=4, frames=12, size=PICTURE, rim=RIM)
TEST = Cast(people=32, takes=2, frames=44, size=PICTURE, rim=RIM, first=30_000)


def close_up(pictures: np.ndarray) -> np.ndarray:
    """…×DRAWN×DRAWN×3 to their middle …×PICTURE×PICTURE×3, as a cast's clips are."""
    return np.ascontiguousarray(pictures[..., RIM : RIM + PICTURE, RIM : RIM + PICTURE, :])


def close_up_points(points: np.ndarray) -> np.ndarray:
    """Pixels …×2 of what was drawn as shares of the close-up's side."""
    return (points - RIM) / PICTURE


@dataclass(frozen=True)
class Clips:
    """C clips of N frames: pictures and renders C×N×S×S×3 uint8; source C×S×S×3 uint8, the photo; motion C×N×74: pose,
    expression, gaze; seeds: person and take of each.
    """

    pictures: np.ndarray
    renders: np.ndarray
    source: np.ndarray
    motion: np.ndarray
    seeds: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def size(self) -> int:
        return self.pictures.shape[2]

    @property
    def frames(self) -> int:
        return self.pictures.shape[1]


def read_all(folder: Path) -> Clips:
    """All clips of a cast, in memory."""
    clips = open_shards(folder)
    motion = [clip_motion(clip).numpy() for clip in clips]
    pictures, renders = (
        np.stack([np.stack([read(k) for k in range(clip.count)]) for clip, read in zip(clips, reads)])
        for reads in ([clip.frame for clip in clips], [clip.render for clip in clips])
    )
    seeds = [tuple(int(part) for part in clip.key.split("-")) for clip in clips]
    return Clips(pictures, renders, np.stack([clip.photo() for clip in clips]), np.stack(motion), seeds)
