"""Data sets of random clips for training tests."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training.shard_index import ShardIndex
from mimaface_cli.training.shards import TrainingClip
from tests.training.shard_files import write_shards


def write_noise_data(folder: Path, space: str, size: int, clips: int, people: int, frames: int) -> Path:
    """Write clips of coarse noise with random expressions to a folder, and return it.

    Args:
        folder: The folder.
        space: Coefficient space.
        size: Side of the frames, in pixels; a multiple of 4.
        clips: Number of clips.
        people: Number of people. Clips belong to "p0", "p1" and so on in turn.
        frames: Frames per clip.
    """
    rng = np.random.default_rng(0)

    def make_clip(number: int) -> TrainingClip:
        coarse = rng.integers(0, 255, (2, frames, 4, 4, 3), np.uint8)
        images, renders = coarse.repeat(size // 4, 2).repeat(size // 4, 3)
        neutral = MotionTrack.neutral(frames, space)
        track = replace(neutral, expression=rng.normal(size=neutral.expression.shape))
        return TrainingClip(f"c{number}", f"p{number % people}", "a.mp4", images, track, None, renders[0], renders)

    folder.mkdir(parents=True, exist_ok=True)
    write_shards((make_clip(number) for number in range(clips)), folder)
    ShardIndex({"space": space, "size": size}, {"a.mp4": clips}, {}, 1).save(folder)
    return folder
