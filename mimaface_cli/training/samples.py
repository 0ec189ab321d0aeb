"""What a step learns from. Sample i is a function of the seed and i alone, so that a run which goes on, on whatever many
processes, sees what an uninterrupted one sees.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mimaface_cli.errors import InputError
from mimaface_cli.face.d3dfr import mix_coefficients, pack_coefficients
from mimaface_cli.training.config import Config, Video
from mimaface_cli.training.preparation import read_index
from mimaface_cli.training.shards import StoredClip, open_shards

if TYPE_CHECKING:
    from mimaface_cli.training.latent_cache import Latents


@dataclass(frozen=True)
class Footage:
    """Prepared clips, and whose each is, as a number. condition: what their renders are, as `Index.made` has it. features:
    how many of the identity network's a photo has, which the release's condition tokens want; 0 for the paper's.
    """

    clips: list[StoredClip]
    person: np.ndarray
    condition: str = "render"
    features: int = 0

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
            raise InputError(
                f"{folder}: was prepared with {name} {found!r}; set {name} = {found!r}, or prepare it anew"
            )
    clips = open_shards(folder)
    if len({str(clip.shard) for clip in clips}) != index.shards:
        raise InputError(f"{folder}: lacks shards that its index names; run mimaface train prepare again")
    for clip in clips:
        if (clip.space, clip.size, clip.has_renders) != (config.space, config.size, True):
            raise InputError(f"{clip.shard}: clip {clip.key} is of another size or space; prepare it again")
    features = _features(clips) if config.model.tokens == "release" else 0
    names = sorted({clip.identity for clip in clips})
    numbers = {name: number for number, name in enumerate(names)}
    person = np.array([numbers[clip.identity] for clip in clips])
    return Footage(clips, person, index.made.get("condition", "render"), features)


def _features(clips: list[StoredClip]) -> int:
    """How many identity features each photo has. Raises InputError where a clip lacks them."""
    bare = next((clip for clip in clips if not clip.has_features), None)
    if bare is not None:
        raise InputError(
            f"{bare.shard}: clip {bare.key} lacks the photo's own coefficients and identity features, which the release's "
            'condition tokens are made of; set [model] tokens = "paper", or with the identity network installed (mimaface '
            "weights pull mimaface, or weights import) prepare into another folder"
        )
    return len(clips[0].photo_features())


class ImageSamples(Dataset):
    """Single frames: target and render (1, 3, S, S) uint8, or their latents (1, 4, h, w) float32 where `latents` is set;
    photo and other (another frame of that person), each (3, S, S) uint8; `token_inputs` of the frame; person; number.
    """

    def __init__(self, footage: Footage, seed: int):
        self.footage, self.seed = footage, seed
        self.latents: Latents | None = None

    def __getitem__(self, number: int) -> dict[str, Tensor | int]:
        clips, person, rng = self.footage.clips, self.footage.person, np.random.default_rng((self.seed, number))
        chosen = int(rng.integers(len(clips)))
        clip = clips[chosen]
        frame = int(rng.integers(clip.count))
        same = np.flatnonzero(person == person[chosen])
        other = clips[int(rng.choice(same))]
        target, render = _shown(self, chosen, range(frame, frame + 1))
        return {
            "target": target,
            "render": render,
            "photo": picture(clip.photo()),
            "other": picture(other.frame(int(rng.integers(other.count)))),
            **token_inputs(clip, slice(frame, frame + 1), self.footage.features),
            "person": int(person[chosen]),
            "number": number,
        }


class VideoSamples(Dataset):
    """Clips of F frames: target and render (F, 3, S, S) uint8, or their latents (F, 4, h, w) float32 where `latents` is
    set; photo (3, S, S); `token_inputs` of the frames; known: how many of the first are conditioning (paper,
    equation 3); number.
    """

    def __init__(self, footage: Footage, seed: int, stage: Video):
        self.footage, self.seed, self.stage = footage, seed, stage
        self.latents: Latents | None = None
        short = min(footage.clips, key=lambda clip: clip.count)
        if short.count < stage.clip:
            raise InputError(
                f"{short.shard}: has clips of {short.count} frames; set video.clip to that, or prepare longer ones"
            )

    def __getitem__(self, number: int) -> dict[str, Tensor | int]:
        clips, rng = self.footage.clips, np.random.default_rng((self.seed, number))
        chosen, length = int(rng.integers(len(clips))), self.stage.clip
        clip = clips[chosen]
        first = int(rng.integers(clip.count - length + 1))
        span = range(first, first + length)
        target, render = _shown(self, chosen, span)
        return {
            "target": target,
            "render": render,
            "photo": picture(clip.photo()),
            **token_inputs(clip, slice(span.start, span.stop), self.footage.features),
            "known": self._known(rng),
            "number": number,
        }

    def _known(self, rng: np.random.Generator) -> int:
        stage = self.stage
        if rng.random() < stage.none_known:
            return 0
        return int(rng.integers(1, stage.most_known + 1) if stage.most_known else rng.integers(stage.clip // 4 + 1))


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
            yield to_range(torch.stack([picture(clip.frame(int(rng.integers(clip.count)))) for clip in chosen]))
            first += 1

    return stream


def to_range(pictures: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def picture(image: np.ndarray) -> Tensor:
    """S × S × 3 to (3, S, S), as it is."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _shown(samples: ImageSamples | VideoSamples, chosen: int, span: range) -> tuple[Tensor, Tensor]:
    """Pictures and renders of a clip's frames, or their latents."""
    if samples.latents is not None:
        return samples.latents.read(chosen, span)
    clip = samples.footage.clips[chosen]
    return torch.stack([picture(clip.frame(k)) for k in span]), torch.stack([picture(clip.render(k)) for k in span])


@lru_cache(maxsize=4096)  # a track's file is slower to read than a picture; a few kilobytes each
def motion_of(clip: StoredClip) -> Tensor:
    """All frames' pose, expression and gaze (F, 74); kept, so not to be changed."""
    track = clip.track()
    return torch.from_numpy(np.concatenate([track.pose, track.expression, track.gaze], 1))


@lru_cache(maxsize=4096)
def mixed_of(clip: StoredClip) -> Tensor:
    """All frames' coefficients (F, 261) in the order of `d3dfr.FIELDS`, as the release mixes them: identity, texture and
    light of the photo, motion of the frames; kept, so not to be changed.
    """
    track = clip.track()
    names = ("identity", "texture", "illumination", "expression", "pose", "gaze")
    return torch.from_numpy(
        mix_coefficients(clip.photo_coefficients(), pack_coefficients({name: getattr(track, name) for name in names}))
    )


def token_inputs(clip: StoredClip, part: slice | list[int], features: int) -> dict[str, Tensor]:
    """What the condition tokens of some frames are made of beside the photo: motion (F, 74) for the paper's; where there are
    `features`, for the release's: motion, mixed coefficients (F, 261), and identity (features,).
    """
    if not features:
        return {"motion": motion_of(clip)[part].clone()}
    return {"motion": mixed_of(clip)[part].clone(), "identity": torch.from_numpy(clip.photo_features(features))}
