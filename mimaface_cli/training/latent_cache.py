"""Cached latents of all frames of the data.

For a small model, encoding would take a large part of each step.
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mimaface_cli.concurrency import ordered_map
from mimaface_cli.engines.diffusion.latents import encode_latents
from mimaface_cli.files import atomic_path
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.training.shard_reader import StoredClip
from mimaface_cli.training.training_data import TrainingData, image_tensor, to_signed

CHUNK = 16
"""Frames that the autoencoder encodes at once, each with its render."""
DECODERS = 8
"""Threads that decode images."""


@dataclass
class LatentCache:
    """Latents in a file, read on demand in any process.

    Attributes:
        path: Array (frames of all clips, 2, C, h, w) float32: scaled latents of each frame and of its render.
        starts: (clips,) index of each clip's first frame.
    """

    path: Path
    starts: np.ndarray

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "starts": self.starts}

    def read(self, clip: int, span: range) -> tuple[Tensor, Tensor]:
        """Return the latents of a clip's frames and of their renders, each (F, C, h, w)."""
        first = int(self.starts[clip])
        both = torch.from_numpy(self._rows[first + span.start : first + span.stop].copy())
        return both[:, 0], both[:, 1]


@torch.no_grad()
def cache_latents(
    vae: AutoencoderKL, data: TrainingData, folder: Path, progress: ProgressCallback = ignore_progress
) -> LatentCache:
    """Encode all frames and renders to a file, atomically, unless the file exists.

    Args:
        vae: The autoencoder.
        data: The clips.
        folder: Folder of the file. The file name contains a hash of the autoencoder and the clips.
        progress: Called with the stage "latents", the encoded clips and all clips.

    Raises:
        InputError: Images are damaged.
        OutputError: The folder cannot be written to.
    """
    counts = np.array([clip.count for clip in data.clips])
    latents = LatentCache(folder / f"latents-{_hash_inputs(vae, data)}.npy", np.cumsum(counts) - counts)
    if latents.path.exists():
        return latents
    side = data.clips[0].size // 2 ** (len(vae.config.block_out_channels) - 1)
    shape = (int(counts.sum()), 2, vae.config.latent_channels, side, side)
    with atomic_path(latents.path) as temporary:
        rows = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        # Decoding takes longer than encoding on a GPU, so several threads decode ahead.
        with closing(ordered_map(_read_images, _list_chunks(data.clips), DECODERS)) as chunks:
            row = 0
            for number, span, images in chunks:
                encoded = encode_latents(vae, to_signed(images), len(images))[0].transpose(0, 1)
                rows[row : row + len(span)] = encoded.unflatten(0, (-1, 2)).cpu().numpy()
                row += len(span)
                if span.stop == data.clips[number].count:
                    progress("latents", number + 1, len(data.clips))
        rows.flush()
        del rows
    return latents


def _list_chunks(clips: list[StoredClip]) -> Iterator[tuple[int, StoredClip, range]]:
    """Yield the frames of all clips in chunks, with the number of the clip."""
    for number, clip in enumerate(clips):
        for first in range(0, clip.count, CHUNK):
            yield number, clip, range(first, min(first + CHUNK, clip.count))


def _read_images(chunk: tuple[int, StoredClip, range]) -> tuple[int, range, Tensor]:
    """Return a chunk's clip number, its frames, and the images: each frame followed by its render."""
    number, clip, span = chunk
    images = [image_tensor(read(k)) for k in span for read in (clip.frame, clip.render)]
    return number, span, torch.stack(images)


def _hash_inputs(vae: AutoencoderKL, data: TrainingData) -> str:
    digest = hashlib.sha256()
    for value in vae.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    for clip in data.clips:
        digest.update(f"{clip.key} {clip.count}\n".encode())
    return digest.hexdigest()[:16]
