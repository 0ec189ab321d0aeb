"""All pictures of a data set as latents, encoded once: for a small model encoding at each step costs a fair share of it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mimaface_cli.engines.diffusion.latents import encode_latents
from mimaface_cli.files import atomic_path
from mimaface_cli.training.samples import Footage, picture, to_range

CHUNK = 16  # frames whose picture and render the autoencoder takes at once


@dataclass
class Latents:
    """path: an array (frames of all clips, 2, C, h, w) float32: scaled latents of each picture and its render. starts:
    where each clip begins in it. Read from the disk as asked for, in whatever process.
    """

    path: Path
    starts: np.ndarray

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def __getstate__(self) -> dict:
        return {"path": self.path, "starts": self.starts}

    def read(self, clip: int, span: range) -> tuple[Tensor, Tensor]:
        """Latents of the pictures and of the renders of a clip's frames, each (F, C, h, w)."""
        first = int(self.starts[clip])
        both = torch.from_numpy(self._rows[first + span.start : first + span.stop].copy())
        return both[:, 0], both[:, 1]


@torch.no_grad()
def encode_footage(
    vae: AutoencoderKL, footage: Footage, folder: Path, report: Callable[[str, int, int], None] = lambda *_: None
) -> Latents:
    """The latents in a file in `folder`, named by the autoencoder and the clips; written whole, or taken as it is there.

    Raises InputError for damaged pictures, OutputError where the folder cannot be written.
    """
    counts = np.array([clip.count for clip in footage.clips])
    made = Latents(folder / f"latents-{_name(vae, footage)}.npy", np.cumsum(counts) - counts)
    if made.path.exists():
        return made
    side = footage.clips[0].size // 2 ** (len(vae.config.block_out_channels) - 1)
    shape = (int(counts.sum()), 2, vae.config.latent_channels, side, side)
    with atomic_path(made.path) as temporary:
        rows = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        for number, (clip, start) in enumerate(zip(footage.clips, made.starts), 1):
            for first in range(0, clip.count, CHUNK):
                span = range(first, min(first + CHUNK, clip.count))
                pictures = torch.stack([picture(source(k)) for k in span for source in (clip.frame, clip.render)])
                found = encode_latents(vae, to_range(pictures), len(pictures))[0].transpose(0, 1)
                rows[start + span.start : start + span.stop] = found.unflatten(0, (-1, 2)).cpu().numpy()
            report("latents", number, len(footage.clips))
        rows.flush()
        del rows
    return made


def _name(vae: AutoencoderKL, footage: Footage) -> str:
    digest = hashlib.sha256()
    for value in vae.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    for clip in footage.clips:
        digest.update(f"{clip.key} {clip.count}\n".encode())
    return digest.hexdigest()[:16]
