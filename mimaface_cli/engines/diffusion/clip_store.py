"""The latents of clips that are done, kept on disk until the video is: a run that was stopped goes on at its clip."""

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
from safetensors.torch import load, save
from torch import Tensor

from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.errors import OutputError
from mimaface_cli.files import atomic_path

REVISION = 1  # raise it when the same inputs give other latents


def compute_run_key(settings: DenoiseSettings, arrays: Mapping[str, np.ndarray], **more: Any) -> str:
    """64 hex digits that name everything the latents depend on: settings, the inputs' arrays, weights and number
    format (more, JSON values).
    """
    digest = hashlib.sha256(json.dumps([REVISION, asdict(settings), more], sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


class ClipStore:
    """One run's clips in a folder of their own. What cannot be kept is not; what cannot be read is made again."""

    def __init__(self, folder: Path, key: str, shape: tuple[int, ...]) -> None:
        """shape: of a clip's latents (1, 4, F, h, w)."""
        self.folder, self.shape = folder / key, shape

    def load(self, index: int) -> Tensor | None:
        """The latents of a clip, or None."""
        try:
            latents = load(self._path(index).read_bytes())["latents"]
        except Exception:  # missing, cut short or damaged: safetensors raises several kinds
            return None
        if latents.shape != self.shape or latents.dtype != torch.float32 or not latents.isfinite().all():
            return None
        return latents

    def keep(self, index: int, latents: Tensor) -> None:
        """Keep a clip, if the disk allows."""
        with suppress(OSError, OutputError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(self._path(index)) as temporary:
                temporary.write_bytes(save({"latents": latents.cpu().contiguous()}))

    def forget(self) -> None:
        """Remove all clips: the video is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.safetensors"
