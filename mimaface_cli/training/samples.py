"""Samples of the two stages.

Sample i depends only on the seed and i. So a resumed run has the same samples as an uninterrupted one, on any number of
processes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mimaface_cli.errors import InputError
from mimaface_cli.training.config import VideoStageConfig
from mimaface_cli.training.latent_cache import LatentCache
from mimaface_cli.training.training_data import TrainingData, image_tensor, to_signed, token_inputs

Sample = dict[str, Tensor | int]


class ImageSamples(Dataset):
    """Samples of stage 1: single frames.

    A sample is a dictionary of:

    - `target`, `render`: (1, 3, S, S) uint8, or their latents (1, 4, h, w) float32 if `latents` is set;
    - `photo`, `other`: (3, S, S) uint8, the source image and another frame of the person;
    - the `token_inputs` of the frame;
    - `person`, `number`: numbers of the person and of the sample.

    Args:
        data: The clips.
        seed: Random seed.

    Attributes:
        latents: Cached latents of the data, or None.
    """

    def __init__(self, data: TrainingData, seed: int) -> None:
        self.data, self.seed = data, seed
        self.latents: LatentCache | None = None

    def __getitem__(self, number: int) -> Sample:
        clips, person, rng = self.data.clips, self.data.person, np.random.default_rng((self.seed, number))
        index = int(rng.integers(len(clips)))
        clip = clips[index]
        frame = int(rng.integers(clip.count))
        other = clips[int(rng.choice(np.flatnonzero(person == person[index])))]
        target, render = _load_frames(self, index, range(frame, frame + 1))
        return {
            "target": target,
            "render": render,
            "photo": image_tensor(clip.photo()),
            "other": image_tensor(other.frame(int(rng.integers(other.count)))),
            **token_inputs(clip, slice(frame, frame + 1), self.data.identity_features),
            "person": int(person[index]),
            "number": number,
        }


class VideoSamples(Dataset):
    """Samples of stage 2: clips of F frames.

    A sample is a dictionary of:

    - `target`, `render`: (F, 3, S, S) uint8, or their latents (F, 4, h, w) float32 if `latents` is set;
    - `photo`: (3, S, S) uint8, the source image;
    - the `token_inputs` of the frames;
    - `known`: number of conditioning frames (paper, equation 3);
    - `number`: number of the sample.

    Args:
        data: The clips.
        seed: Random seed.
        stage: The configuration of stage 2.

    Attributes:
        latents: Cached latents of the data, or None.

    Raises:
        InputError: A clip of the data is shorter than the stage's clips.
    """

    def __init__(self, data: TrainingData, seed: int, stage: VideoStageConfig) -> None:
        self.data, self.seed, self.stage = data, seed, stage
        self.latents: LatentCache | None = None
        shortest = min(data.clips, key=lambda clip: clip.count)
        if shortest.count < stage.clip:
            raise InputError(
                f"{shortest.shard}: has clips of {shortest.count} frames. Lower video.clip, or prepare longer clips."
            )

    def __getitem__(self, number: int) -> Sample:
        clips, rng = self.data.clips, np.random.default_rng((self.seed, number))
        index, length = int(rng.integers(len(clips))), self.stage.clip
        clip = clips[index]
        first = int(rng.integers(clip.count - length + 1))
        span = range(first, first + length)
        target, render = _load_frames(self, index, span)
        return {
            "target": target,
            "render": render,
            "photo": image_tensor(clip.photo()),
            **token_inputs(clip, slice(span.start, span.stop), self.data.identity_features),
            "known": self._sample_known_frames(rng),
            "number": number,
        }

    def _sample_known_frames(self, rng: np.random.Generator) -> int:
        """Return a random number of conditioning frames."""
        stage = self.stage
        if rng.random() < stage.none_known:
            return 0
        if stage.most_known:
            return int(rng.integers(1, stage.most_known + 1))
        return int(rng.integers(stage.clip // 4 + 1))


def _load_frames(samples: ImageSamples | VideoSamples, index: int, span: range) -> tuple[Tensor, Tensor]:
    """Return frames and renders of a clip, or their latents."""
    if samples.latents is not None:
        return samples.latents.read(index, span)
    clip = samples.data.clips[index]
    frames = torch.stack([image_tensor(clip.frame(k)) for k in span])
    return frames, torch.stack([image_tensor(clip.render(k)) for k in span])


@dataclass(frozen=True)
class SampleShare:
    """Which samples of a run one process loads.

    Attributes:
        start: First step, counted from 0.
        steps: Number of steps of the whole run.
        batch: Samples per step, over all processes.
        micro: Samples that a process takes at once.
        processes: Number of processes.
        process: Number of this process.
    """

    start: int
    steps: int
    batch: int
    micro: int
    processes: int = 1
    process: int = 0


class _SampleNumbers(Sampler):
    """The numbers of one process's samples: processes take turns of `micro` samples of each batch."""

    def __init__(self, share: SampleShare) -> None:
        self.share = share
        self.steps = range(share.start, share.steps)

    def __iter__(self) -> Iterator[int]:
        share = self.share
        for step in self.steps:
            for turn in range(share.process * share.micro, share.batch, share.processes * share.micro):
                first = step * share.batch + turn
                yield from range(first, first + share.micro)

    def __len__(self) -> int:
        return len(self.steps) * self.share.batch // self.share.processes


def load_batches(samples: Dataset, share: SampleShare, workers: int) -> Iterator[dict[str, Tensor]]:
    """Yield the micro-batches of one process.

    Args:
        samples: The samples.
        share: Which of them this process loads.
        workers: Number of processes that load data.

    Raises:
        InputError: The data are damaged.
    """
    pinned = torch.cuda.is_available()
    numbers = _SampleNumbers(share)
    loader = DataLoader(samples, share.micro, sampler=numbers, num_workers=workers, pin_memory=pinned)
    try:
        yield from loader
    except InputError as error:  # From a worker process, the message contains the worker's traceback.
        raise InputError(str(error).strip().rpartition("InputError: ")[2]) from error


def autoencoder_batches(data: TrainingData, seed: int, batch: int) -> Callable[[int], Iterator[Tensor]]:
    """Return a function that yields random frames from the k-th batch on.

    A batch is (B, 3, S, S) in [-1, 1].
    """

    def stream(first: int) -> Iterator[Tensor]:
        while True:
            rng = np.random.default_rng((seed, 1, first))
            clips = [data.clips[int(k)] for k in rng.integers(len(data.clips), size=batch)]
            yield to_signed(torch.stack([image_tensor(clip.frame(int(rng.integers(clip.count)))) for clip in clips]))
            first += 1

    return stream
