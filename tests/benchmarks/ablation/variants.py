"""What is compared: the full model, and the same without one of its parts; each a configuration of the one trainer."""

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
from tests.benchmarks.ablation.people import PICTURE

BASE: Mapping[str, Any] = {
    "space": "face478",
    "size": PICTURE,
    "workers": 0,
    "seed": 0,
    "save_every": 200,
    "keep": 1,
    "cache_latents": True,
    "validation": {"every": 0},  # the people left out are others
    "model": {
        "start": "scratch",
        # Without min-SNR, which leaves next to no weight to the noisiest timesteps, where a few thousand steps must learn
        # what render and tokens say; a network that has not learned them there draws noise however good it is further down.
        "prediction": "v",
        "size": {"channels": [32, 64, 96], "attention": [False, True, True], "clip_layers": 3, "clip_image": 48, "patch": 12,
                 "motion_divisor": 2},
        "autoencoder": {"steps": 3200},
    },
    "image": {
        "optimizer": {"steps": 2300, "batch": 32, "learning_rate": 7e-4, "schedule": "cosine", "warm_up": 200, "ema": 0.995},
        "identity_weight": 0.1,
        "temperature": 0.1,
        "bank": 0,  # negatives from the batch, for an encoder that learns fast
    },
    "video": {
        "optimizer": {"steps": 1500, "batch": 4, "learning_rate": 1e-3, "schedule": "cosine", "warm_up": 50, "ema": 0.99},
        "clip": 8,
    },
}  # fmt: skip
STAGE1: Mapping[str, dict] = {
    "full": {},
    "no_render": {"model": {"use_render": False}},
    "no_coefficients": {"model": {"use_motion": False}},
    "no_identity": {"image": {"identity_weight": 0.0}},
    # The paper's: tokens of an encoder that moves fast grow old in a bank, and to be unlike them it need only move on.
    "memory_bank": {"image": {"bank": 1024}},
}
STAGE2: Mapping[str, dict] = {"full": {}, "no_ica": {"video": {"none_known": 1.0}}}  # both from stage 1's full model
# Jobs that can run side by side, each lane in its order.
LANES = (
    ("image full", "video full", "video no_ica"),
    ("image no_render", "image no_coefficients", "image no_identity", "image memory_bank"),
)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def saying(job: str, every: float = 60.0):
    """Progress of a job, a line a minute and at its end."""
    last = 0.0

    def report(stage: str, done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= every or done == total:
            last = time.monotonic()
            say(f"{job} {stage} {done}/{total}")

    return report


@dataclass(frozen=True)
class Place:
    """folder: of everything; scale: share of the steps to run."""

    folder: Path
    scale: float = 1.0

    def config(self, name: str) -> TrainingConfig:
        """A variant's own."""
        values = _over(dict(BASE), {**STAGE1, **STAGE2}[name])
        values |= {"data": str(self.folder / "clips"), "output": str(self.folder / "runs" / name)}
        for part in (values["model"]["autoencoder"], values["image"]["optimizer"], values["video"]["optimizer"]):
            part["steps"] = max(2, round(part["steps"] * self.scale))
        return build_config(values)


def train(place: Place, kind: str, name: str, report: ProgressCallback) -> None:
    """One stage of one variant, trained or taken up where it was; at once where it is done."""
    config = place.config(name)
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    if not (output / "vae").exists():
        shutil.copytree(place.folder / "vae", output / "vae")  # one for all
    if kind == "image":
        train_image(config, report)
        return
    if not (output / "image").exists():
        os.symlink(Path(place.config("full").output).resolve() / "image", output / "image")
    train_video(config, report)


def run_lane(place: Place, lane: tuple[str, ...]) -> None:
    """One process's share of the trainings. Not beside `main`: what a package's __main__ holds, no spawned process finds."""
    torch.set_num_threads(1)
    for job in lane:
        train(place, *job.split(), saying(job))


def finished(place: Place, kind: str, name: str) -> tuple[Denoiser | None, int]:
    """A variant as far as it has been trained, and after how many steps; None where it has not begun."""
    output = Path(place.config(name).output)
    found = list_checkpoints(output / kind)
    if not found:
        return None, 0
    return rebuild_network(read_stage_result(output, kind)).eval().requires_grad_(False), int(
        found[-1].stem.partition("-")[2]
    )


def _over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested values with changes over it."""
    made = {key: _over(value, {}) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in changes.items():
        made[key] = _over(made[key], value) if isinstance(value, dict) else value
    return made
