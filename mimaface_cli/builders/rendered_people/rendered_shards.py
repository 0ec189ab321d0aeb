"""Shards of rendered people for training. Several processes can render them; finished shards are kept."""

from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mimaface_cli.builders.rendered_people.rendered_clips import (
    render_clip,
    render_plain_conditions,
    render_textured_conditions,
)
from mimaface_cli.face import face478
from mimaface_cli.files import output_error
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.training.shard_index import ShardIndex, open_shard_index
from mimaface_cli.training.shards import TrainingClip, shard_name, write_shard

CLIPS_PER_SHARD = 64


@dataclass(frozen=True)
class Cast:
    """The people of a data set, and how they are rendered.

    Attributes:
        people: Number of people.
        takes: Clips of each person.
        frames: Frames of each clip.
        size: Width and height of the frames in pixels.
        rim: Pixels that are rendered and then cut off at each side, so that the face fills more of the frame.
        condition: "render" (the paper's, from coefficients) or "textured" (the mesh engine's frame of the photo).
        first: Seed of the first person.
    """

    people: int
    takes: int = 4
    frames: int = 12
    size: int = 64
    rim: int = 0
    condition: str = "render"
    first: int = 0


def render_shards(cast: Cast, folder: Path, jobs: int = 1, progress: ProgressCallback = ignore_progress) -> ShardIndex:
    """Write the clips of a cast as shards, with the index that training reads. Shards that exist are kept.

    Args:
        cast: People to render.
        folder: Folder of the shards.
        jobs: Number of processes.
        progress: Called with "rendering", the finished shards and all shards.

    Raises:
        InputError: If the folder holds another cast.
        OutputError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    index = open_shard_index(folder, {"space": "face478", **asdict(cast)})
    index.save(folder)
    people_per_shard = max(1, CLIPS_PER_SHARD // cast.takes)
    blocks = [range(k, min(k + people_per_shard, cast.people)) for k in range(0, cast.people, people_per_shard)]
    missing = [(cast, block, folder / shard_name(k)) for k, block in enumerate(blocks)]
    missing = [task for task in missing if not task[2].exists()]
    done = len(blocks) - len(missing)
    progress("rendering", done, len(blocks))
    with closing(_run_tasks(missing, jobs)) as finished:
        for _ in finished:
            done += 1
            progress("rendering", done, len(blocks))
    index.shards = len(blocks)
    index.videos = {f"{cast.first + k}": cast.takes for k in range(cast.people)}
    index.save(folder)
    return index


def _run_tasks(tasks: list[tuple[Cast, range, Path]], jobs: int) -> Generator[int, None, None]:
    """Render shards, in this process where one suffices; yield when one is finished."""
    if jobs <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield _render_shard(*task)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for future in as_completed([pool.submit(_render_shard, *task) for task in tasks]):
            yield future.result()


def _render_shard(cast: Cast, block: range, path: Path) -> int:
    return write_shard(path, _render_clips(cast, block))


def _render_clips(cast: Cast, block: range) -> Iterator[TrainingClip]:
    model, size = face478.load(), cast.size + 2 * cast.rim
    middle = np.s_[..., cast.rim : cast.rim + cast.size, cast.rim : cast.rim + cast.size, :]
    for person in range(cast.first + block.start, cast.first + block.stop):
        for take in range(cast.takes):
            clip = render_clip(model, person, take, cast.frames, size)
            photo_index = int(np.random.default_rng((person, take)).integers(cast.frames))
            if cast.condition == "textured":
                conditions = render_textured_conditions(model, clip, photo_index, clip.track, size)
            else:
                conditions = render_plain_conditions(model, clip.track, clip.track, size)
            yield TrainingClip(
                f"{person:06d}-{take}",
                f"{person:06d}",
                "rendered",
                clip.frames[middle],
                _crop_track(clip.track, cast),
                (clip.points - cast.rim).astype(np.float32),
                clip.frames[photo_index][middle],
                np.stack(list(conditions))[middle],
            )


def _crop_track(track: MotionTrack, cast: Cast) -> MotionTrack:
    """Return the track for the middle of its frames, whose pixels lie `rim` further inside the rendered frame."""
    crop = track.crop.astype(np.float64)
    crop[:, :, 2] += crop[:, :, :2] @ [cast.rim, cast.rim]
    return replace(track, crop=crop, meta=replace(track.meta, width=cast.size, height=cast.size))
