"""Latents of finished clips, cached on disk until the video is complete: an interrupted run resumes at its clip."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import torch as safetensors_torch
from torch import Tensor

from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.errors import OutputError
from mimaface_cli.files import atomic_path

REVISION = 1  # increment it when the same inputs give other latents


def compute_run_key(settings: DenoiseSettings, arrays: Mapping[str, np.ndarray], **facts: Any) -> str:
    """Compute a key that depends on everything that the latents depend on.

    Args:
        settings: Settings of the denoising.
        arrays: Input arrays by name.
        **facts: Further JSON values, such as the weights and the precision.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([REVISION, asdict(settings), facts], sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class ClipStore:
    """The clips of one run, in a folder of their own.

    Clips that cannot be written are not stored; clips that cannot be read are computed again.

    Args:
        folder: Folder of all runs.
        key: Key of the run.
        shape: Shape of a clip's latents, (1, 4, F, h, w).
    """

    def __init__(self, folder: Path, key: str, shape: tuple[int, ...]) -> None:
        self.folder, self.shape = folder / key, shape

    def load(self, index: int) -> Tensor | None:
        """Load the latents of a clip; None if they are missing or damaged."""
        try:
            latents = safetensors_torch.load(self._path(index).read_bytes())["latents"]
        except Exception:  # missing, truncated or damaged: safetensors raises several types
            return None
        if latents.shape != self.shape or latents.dtype != torch.float32 or not latents.isfinite().all():
            return None
        return latents

    def save(self, index: int, latents: Tensor) -> None:
        """Store the latents of a clip, if the disk allows it."""
        with suppress(OSError, OutputError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(self._path(index)) as temporary:
                temporary.write_bytes(safetensors_torch.save({"latents": latents.cpu().contiguous()}))

    def clear(self) -> None:
        """Delete all clips: the video is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.safetensors"
