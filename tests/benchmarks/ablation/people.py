"""The people of the ablation as training clips: rendered once, by as many processes as asked for."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from mimaface_cli.face import face478
from mimaface_cli.train.mini.data import write_clip
from mimaface_cli.train.rendered.clips import make_clip, plain_condition, textured_condition

TRAIN, TEST = 0, 30_000  # first seeds of the people to learn from and of those left out
DRAWN, PICTURE = 64, 48  # sides in pixels: as drawn, and the middle of it, which the face all but fills
RIM = (DRAWN - PICTURE) // 2


def close_up(pictures: np.ndarray) -> np.ndarray:
    """…×DRAWN×DRAWN×3 to their middle …×PICTURE×PICTURE×3."""
    return np.ascontiguousarray(pictures[..., RIM : RIM + PICTURE, RIM : RIM + PICTURE, :])


def close_up_points(points: np.ndarray) -> np.ndarray:
    """Pixels …×2 of what was drawn as shares of the close-up's side."""
    return (points - RIM) / PICTURE


def render_clips(folder: Path, first: int, people: int, takes: int, frames: int, textured: bool, workers: int) -> list[Path]:
    """Files of all takes of `people` people from seed `first` on, close up; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(folder, person, take, frames, textured) for person in range(first, first + people) for take in range(takes)]
    missing = [job for job in jobs if not _path(*job).exists()]
    if missing:
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(_render, missing, chunksize=8))
    return [_path(*job) for job in jobs]


def _path(folder: Path, person: int, take: int, frames: int, textured: bool) -> Path:
    return folder / f"{'mesh' if textured else 'plain'}-{PICTURE}-{frames}-{person:06d}-{take}.npz"


def _render(job: tuple[Path, int, int, int, bool]) -> None:
    folder, person, take, frames, textured = job
    model = face478.load()
    made = make_clip(model, person, take, frames, DRAWN)
    track, at = made.track, int(np.random.default_rng((person, take)).integers(frames))
    if textured:
        drawn = textured_condition(model, made, at, track, DRAWN)
    else:
        drawn = plain_condition(model, track, track, DRAWN)
    motion = np.concatenate([track.pose, track.expression, track.gaze], 1)
    pictures, renders = close_up(made.pictures), close_up(np.stack(list(drawn)))
    write_clip(_path(*job), str(person), pictures, renders, pictures[at], motion)
