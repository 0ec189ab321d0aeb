"""Rendered people as the shards that both stages read, in as many processes as asked for; what is there stays."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mimaface_cli.builders.rendered_people.rendered_clips import make_clip, plain_condition, textured_condition
from mimaface_cli.face import face478
from mimaface_cli.files import output_error
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training.shard_index import ShardIndex, open_shard_index
from mimaface_cli.training.shards import TrainingClip, shard_name, write_shard

PER_SHARD = 64  # clips
ProgressCallback = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Cast:
    """Who is rendered: `people` people from seed `first` on, `takes` clips of each, of `frames` frames of size×size.
    rim: pixels of what is drawn that are cut off at each side, for a face that fills more of the picture. condition:
    render (the paper's, of coefficients alone) or textured (the mesh engine's frame of the photo).
    """

    people: int
    takes: int = 4
    frames: int = 12
    size: int = 64
    rim: int = 0
    condition: str = "render"
    first: int = 0


def render_shards(
    cast: Cast, folder: Path, jobs: int = 1, report: ProgressCallback = lambda stage, done, total: None
) -> ShardIndex:
    """Write a cast's clips to `folder` with the index that training wants; a shard that is there is not done again.

    Raises InputError where the folder holds another cast, OutputError where it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    index = open_shard_index(folder, {"space": "face478", **asdict(cast)})
    index.save(folder)
    each = max(1, PER_SHARD // cast.takes)
    blocks = [range(k, min(k + each, cast.people)) for k in range(0, cast.people, each)]
    todo = [k for k in range(len(blocks)) if not (folder / shard_name(k)).exists()]
    report("rendering", len(blocks) - len(todo), len(blocks))
    many = jobs > 1 and len(todo) > 1
    with ProcessPoolExecutor(jobs, get_context("spawn")) if many else nullcontext() as pool:
        if pool is None:
            done = (_render(cast, blocks[k], folder / shard_name(k)) for k in todo)
        else:
            waited = as_completed([pool.submit(_render, cast, blocks[k], folder / shard_name(k)) for k in todo])
            done = (future.result() for future in waited)
        for number, _ in enumerate(done, len(blocks) - len(todo) + 1):
            report("rendering", number, len(blocks))
    index.shards = len(blocks)
    index.videos = {f"{cast.first + k}": cast.takes for k in range(cast.people)}
    index.save(folder)
    return index


def _render(cast: Cast, block: range, path: Path) -> int:
    return write_shard(path, _clips(cast, block))


def _clips(cast: Cast, block: range) -> Iterator[TrainingClip]:
    model, size = face478.load(), cast.size + 2 * cast.rim
    middle = np.s_[..., cast.rim : cast.rim + cast.size, cast.rim : cast.rim + cast.size, :]
    for person in range(cast.first + block.start, cast.first + block.stop):
        for take in range(cast.takes):
            made = make_clip(model, person, take, cast.frames, size)
            at = int(np.random.default_rng((person, take)).integers(cast.frames))
            if cast.condition == "textured":
                drawn = textured_condition(model, made, at, made.track, size)
            else:
                drawn = plain_condition(model, made.track, made.track, size)
            yield TrainingClip(
                f"{person:06d}-{take}",
                f"{person:06d}",
                "rendered",
                made.pictures[middle],
                _cut(made.track, cast),
                (made.points - cast.rim).astype(np.float32),
                made.pictures[at][middle],
                np.stack(list(drawn))[middle],
            )


def _cut(track: MotionTrack, cast: Cast) -> MotionTrack:
    """The track for the middle of its pictures: their pixels lie `rim` further in what was drawn."""
    crop = track.crop.astype(np.float64)
    crop[:, :, 2] += crop[:, :, :2] @ [cast.rim, cast.rim]
    return replace(track, crop=crop, meta=replace(track.meta, width=cast.size, height=cast.size))
