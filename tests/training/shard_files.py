"""Write folders of shards for tests."""

import itertools
from collections.abc import Iterable
from pathlib import Path

from mimaface_cli.training.shards import TrainingClip, shard_name, write_shard


def write_shards(clips: Iterable[TrainingClip], folder: Path, per_shard: int = 64) -> list[Path]:
    """Write clips to shard-00000.tar and so on, and return the paths."""
    paths: list[Path] = []
    clips = iter(clips)
    while (first := next(clips, None)) is not None:
        path = folder / shard_name(len(paths))
        write_shard(path, itertools.chain([first], itertools.islice(clips, per_shard - 1)))
        paths.append(path)
    return paths
