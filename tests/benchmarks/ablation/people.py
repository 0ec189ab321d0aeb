"""People of the ablation: training and held-out people as shards, and shards as arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.builders.rendered_people.rendered_shards import Cast
from mimaface_cli.training.shard_reader import open_shards
from mimaface_cli.training.training_data import clip_motion

# The images are the center of what is rendered, which the face almost fills; the margin is cropped. In pixels.
SIZE, MARGIN = 48, 8
RENDER_SIZE = SIZE + 2 * MARGIN
TRAINING_CAST = Cast(people=320, takes=4, frames=12, size=SIZE, rim=MARGIN)
HELD_OUT_CAST = Cast(people=32, takes=2, frames=44, size=SIZE, rim=MARGIN, first=30_000)


def crop_images(images: np.ndarray) -> np.ndarray:
    """Crop renders …×RENDER_SIZE×RENDER_SIZE×3 to their center …×SIZE×SIZE×3, as a cast's clips are."""
    return np.ascontiguousarray(images[..., MARGIN : MARGIN + SIZE, MARGIN : MARGIN + SIZE, :])


def crop_points(points: np.ndarray) -> np.ndarray:
    """Convert pixels …×2 of a render to shares of the crop's side."""
    return (points - MARGIN) / SIZE


@dataclass(frozen=True)
class Clips:
    """C clips of N frames in memory.

    Attributes:
        frames: C×N×S×S×3 uint8 RGB.
        renders: C×N×S×S×3 uint8, the engine's render of each frame.
        sources: C×S×S×3 uint8, the photos.
        motion: C×N×74: pose, expression, gaze.
        seeds: Person and take of each clip.
    """

    frames: np.ndarray
    renders: np.ndarray
    sources: np.ndarray
    motion: np.ndarray
    seeds: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def length(self) -> int:
        """Frames of a clip."""
        return self.frames.shape[1]


def load_clips(folder: Path) -> Clips:
    """Load all clips of a cast into memory."""
    clips = open_shards(folder)
    return Clips(
        frames=np.stack([np.stack([clip.frame(k) for k in range(clip.count)]) for clip in clips]),
        renders=np.stack([np.stack([clip.render(k) for k in range(clip.count)]) for clip in clips]),
        sources=np.stack([clip.photo() for clip in clips]),
        motion=np.stack([clip_motion(clip).numpy() for clip in clips]),
        seeds=[_parse_key(clip.key) for clip in clips],
    )


def _parse_key(key: str) -> tuple[int, int]:
    person, take = key.split("-")
    return int(person), int(take)
