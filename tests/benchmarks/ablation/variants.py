"""Variants of the ablation: the full model, and the same without one of its parts, as training configurations."""

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mimaface_cli.progress import ProgressCallback
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.config_reader import build_config
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.initialization import rebuild_network
from mimaface_cli.training.run_checkpoints import list_checkpoints, read_stage_result
from mimaface_cli.training.stages import train_image, train_video
from tests.benchmarks.ablation.people import SIZE

BASE: Mapping[str, Any] = {
    "space": "face478",
    "size": SIZE,
    "workers": 0,
    "seed": 0,
    "save_every": 200,
    "keep": 1,
    "cache_latents": True,
    "validation": {"every": 0},  # the held-out people are a cast of their own
    "model": {
        "start": "scratch",
        # Without min-SNR, which gives the noisiest timesteps almost no weight. A few thousand steps must learn there
        # how render and tokens determine the image; otherwise the network generates noise, however good it is at less
        # noisy timesteps.
        "prediction": "v",
        "size": {
            "channels": [32, 64, 96],
            "attention": [False, True, True],
            "clip_layers": 3,
            "clip_image": 48,
            "patch": 12,
            "motion_divisor": 2,
        },
        "autoencoder": {"steps": 3200},
    },
    "image": {
        "optimizer": {
            "steps": 2300,
            "batch": 32,
            "learning_rate": 7e-4,
            "schedule": "cosine",
            "warm_up": 200,
            "ema": 0.995,
        },
        "identity_weight": 0.1,
        "temperature": 0.1,
        "bank": 0,  # negatives from the batch, because the encoder changes fast
    },
    "video": {
        "optimizer": {
            "steps": 1500,
            "batch": 4,
            "learning_rate": 1e-3,
            "schedule": "cosine",
            "warm_up": 50,
            "ema": 0.99,
        },
        "clip": 8,
    },
}
IMAGE_VARIANTS: Mapping[str, dict] = {
    "full": {},
    "no_render": {"model": {"use_render": False}},
    "no_coefficients": {"model": {"use_motion": False}},
    "no_identity": {"image": {"identity_weight": 0.0}},
    # As in the paper. Tokens of an encoder that changes fast become stale in a bank, and the encoder can differ from
    # stale tokens just by changing on.
    "memory_bank": {"image": {"bank": 1024}},
}
# Both start from the full model of the image stage.
VIDEO_VARIANTS: Mapping[str, dict] = {"full": {}, "no_ica": {"video": {"none_known": 1.0}}}
# Stage and variant of each training. The lanes can run in parallel; a lane runs in its order.
LANES = (
    ("image full", "video full", "video no_ica"),
    ("image no_render", "image no_coefficients", "image no_identity", "image memory_bank"),
)


def log(text: str) -> None:
    """Print a line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def log_progress(job: str, interval: float = 60.0) -> ProgressCallback:
    """Return a progress callback that logs a line each `interval` seconds and at the end."""
    last = 0.0

    def progress(stage: str, done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= interval or done == total:
            last = time.monotonic()
            log(f"{job} {stage} {done}/{total}")

    return progress


@dataclass(frozen=True)
class Study:
    """An ablation study in a folder.

    Attributes:
        folder: Folder of all its files.
        scale: Share of the training steps to run.
    """

    folder: Path
    scale: float = 1.0

    def build_config(self, variant: str) -> TrainingConfig:
        """Build the training configuration of a variant."""
        values = _merge(BASE, {**IMAGE_VARIANTS, **VIDEO_VARIANTS}[variant])
        values |= {"data": str(self.folder / "clips"), "output": str(self.folder / "runs" / variant)}
        for part in (values["model"]["autoencoder"], values["image"]["optimizer"], values["video"]["optimizer"]):
            part["steps"] = max(2, round(part["steps"] * self.scale))
        return build_config(values)


def train_variant(study: Study, stage: str, variant: str, progress: ProgressCallback) -> None:
    """Train one stage ("image" or "video") of a variant, or resume it; a finished training returns at once."""
    config = study.build_config(variant)
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    if not (output / "vae").exists():
        shutil.copytree(study.folder / "vae", output / "vae")  # all variants share one autoencoder
    if stage == "image":
        train_image(config, progress)
        return
    if not (output / "image").exists():
        os.symlink(Path(study.build_config("full").output).resolve() / "image", output / "image")
    train_video(config, progress)


def run_lane(study: Study, lane: tuple[str, ...]) -> None:
    """Run the trainings of a lane in this process.

    This function is not in __main__, because a spawned process cannot import from a package's __main__.
    """
    torch.set_num_threads(1)
    for job in lane:
        stage, variant = job.split()
        train_variant(study, stage, variant, log_progress(job))


def load_variant(study: Study, stage: str, variant: str) -> tuple[Denoiser | None, int]:
    """Return a variant's network from its last checkpoint, and its steps; None and 0 without a checkpoint."""
    output = Path(study.build_config(variant).output)
    checkpoints = list_checkpoints(output / stage)
    if not checkpoints:
        return None, 0
    network = rebuild_network(read_stage_result(output, stage)).eval().requires_grad_(False)
    return network, int(checkpoints[-1].stem.partition("-")[2])


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deep copy of nested values with changes applied."""
    merged = {key: _merge(value, {}) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in changes.items():
        merged[key] = _merge(merged[key], value) if isinstance(value, dict) else value
    return merged
