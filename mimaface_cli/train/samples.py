"""What a step learns from. Sample i is a function of the seed and i alone, so that a run which goes on, on whatever many
processes, sees what an uninterrupted one sees."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mimaface_cli.errors import InputError
from mimaface_cli.train.config import Config, Video
from mimaface_cli.train.prepare import read_index
from mimaface_cli.train.shards import StoredClip, open_shards


@dataclass(frozen=True)
class Footage:
    """Prepared clips, and whose each is, as a number."""

    clips: list[StoredClip]
    person: np.ndarray

    @property
    def people(self) -> int:
        return len(np.unique(self.person))


def read_footage(config: Config) -> Footage:
    """All clips of a run's data. Raises InputError where they are not what the config says."""
    folder = Path(config.data)
    index = read_index(folder)
    for name in ("space", "size"):
        if index.made.get(name) != getattr(config, name):
            found = index.made.get(name)
            raise InputError(f"{folder}: was prepared with {name} {found!r}; set {name} = {found!r}, or prepare it anew")
    clips = open_shards(folder)
    if len({str(clip.shard) for clip in clips}) != index.shards:
        raise InputError(f"{folder}: lacks shards that its index names; run mimaface train prepare again")
    for clip in clips:
        if (clip.space, clip.size, clip.has_renders) != (config.space, config.size, True):
            raise InputError(f"{clip.shard}: clip {clip.key} is of another size or space; prepare it again")
    names = sorted({clip.identity for clip in clips})
    return Footage(clips, np.array([names.index(clip.identity) for clip in clips]))


class ImageSamples(Dataset):
    """Single frames: target, render, photo and other (another frame of that person), each (3, S, S) uint8; motion (74,);
    person; number."""

    def __init__(self, footage: Footage, seed: int):
        self.footage, self.seed = footage, seed

    def __getitem__(self, number: int) -> dict[str, Tensor | int]:
        clips, person, rng = self.footage.clips, self.footage.person, np.random.default_rng((self.seed, number))
        chosen = int(rng.integers(len(clips)))
        clip = clips[chosen]
        frame = int(rng.integers(clip.count))
        same = np.flatnonzero(person == person[chosen])
        other = clips[int(rng.choice(same))]
        return {
            "target": _picture(clip.frame(frame)),
            "render": _picture(clip.render(frame)),
            "photo": _picture(clip.photo()),
            "other": _picture(other.frame(int(rng.integers(other.count)))),
            "motion": _motion(clip, slice(frame, frame + 1)),
            "person": int(person[chosen]),
            "number": number,
        }


class VideoSamples(Dataset):
    """Clips of F frames: target and render (F, 3, S, S) uint8, photo (3, S, S), motion (F, 74), known: how many of the
    first frames are conditioning (paper, equation 3), number."""

    def __init__(self, footage: Footage, seed: int, stage: Video):
        self.footage, self.seed, self.stage = footage, seed, stage
        short = min(footage.clips, key=lambda clip: clip.count)
        if short.count < stage.clip:
            raise InputError(f"{short.shard}: has clips of {short.count} frames; set video.clip to that, or prepare longer ones")

    def __getitem__(self, number: int) -> dict[str, Tensor | int]:
        clips, rng = self.footage.clips, np.random.default_rng((self.seed, number))
        clip, length = clips[int(rng.integers(len(clips)))], self.stage.clip
        first = int(rng.integers(clip.count - length + 1))
        span = range(first, first + length)
        return {
            "target": torch.stack([_picture(clip.frame(k)) for k in span]),
            "render": torch.stack([_picture(clip.render(k)) for k in span]),
            "photo": _picture(clip.photo()),
            "motion": _motion(clip, slice(span.start, span.stop)),
            "known": self._known(rng),
            "number": number,
        }

    def _known(self, rng: np.random.Generator) -> int:
        stage = self.stage
        if not stage.most_known:
            return int(rng.integers(stage.clip // 4 + 1))
        return 0 if rng.random() < stage.none_known else int(rng.integers(1, stage.most_known + 1))


class _Numbers(Sampler):
    """The numbers of the samples of one process from a step on: each step takes the next `batch`, a process its turns."""

    def __init__(self, start: int, steps: int, batch: int, micro: int, processes: int, process: int):
        self.steps, self.batch, self.micro = range(start, steps), batch, micro
        self.processes, self.process = processes, process

    def __iter__(self) -> Iterator[int]:
        for step in self.steps:
            for turn in range(self.process * self.micro, self.batch, self.processes * self.micro):
                yield from range(step * self.batch + turn, step * self.batch + turn + self.micro)

    def __len__(self) -> int:
        return len(self.steps) * self.batch // self.processes


def load_samples(
    samples: Dataset, start: int, steps: int, batch: int, micro: int, processes: int, process: int, workers: int
) -> Iterator[dict[str, Tensor]]:
    """Micro-batches of one process, from a step (counted from 0) to the last. Raises InputError for damaged data."""
    numbers = _Numbers(start, steps, batch, micro, processes, process)
    pinned = torch.cuda.is_available()
    loader = DataLoader(samples, micro, sampler=numbers, num_workers=workers, pin_memory=pinned)
    try:
        yield from loader
    except InputError as error:  # from a worker it comes with the worker's traceback
        raise InputError(str(error).strip().rpartition("InputError: ")[2]) from error


def autoencoder_batches(footage: Footage, seed: int, batch: int):
    """Pictures (B, 3, S, S) in [-1, 1] of any clips, from the k-th batch on."""

    def stream(first: int) -> Iterator[Tensor]:
        while True:
            rng = np.random.default_rng((seed, 1, first))
            chosen = [footage.clips[int(k)] for k in rng.integers(len(footage.clips), size=batch)]
            yield to_range(torch.stack([_picture(clip.frame(int(rng.integers(clip.count)))) for clip in chosen]))
            first += 1

    return stream


def to_range(pictures: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def _picture(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _motion(clip: StoredClip, part: slice) -> Tensor:
    """(F, 74): pose, expression, gaze."""
    track = clip.track()
    return torch.from_numpy(np.concatenate([values[part] for values in (track.pose, track.expression, track.gaze)], 1))
