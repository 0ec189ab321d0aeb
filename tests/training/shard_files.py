"""Clips and folders of shards for tests."""

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training.shards import TrainingClip, shard_name, write_shard


def make_clip(number: int, frames: int = 4, size: int = 32) -> TrainingClip:
    """Return a clip of a gray ramp with random landmarks, without photo and renders."""
    ramp = np.linspace(40, 200, size).astype(np.uint8)
    images = np.stack([np.stack([np.tile(ramp, (size, 1))] * 3, -1) + np.uint8(number + n) for n in range(frames)])
    points = np.random.default_rng(number).random((frames, 7, 2), np.float32)
    track = MotionTrack.neutral(frames, "face478")
    return TrainingClip(f"clip-{number}", f"person{number % 2}", "a.mp4", images, track, points)


def write_shards(clips: Iterable[TrainingClip], folder: Path, per_shard: int = 64) -> list[Path]:
    """Write clips to shard-00000.tar and so on, and return the paths."""
    paths: list[Path] = []
    clips = iter(clips)
    while (first := next(clips, None)) is not None:
        path = folder / shard_name(len(paths))
        write_shard(path, itertools.chain([first], itertools.islice(clips, per_shard - 1)))
        paths.append(path)
    return paths
