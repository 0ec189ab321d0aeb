"""Configurations of tiny training runs on rendered people, and how to interrupt and inspect runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from mimaface_cli.builders.rendered_people.rendered_shards import Cast
from mimaface_cli.progress import ProgressCallback
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.config_reader import build_config
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.initialization import rebuild_network
from mimaface_cli.training.run_checkpoints import read_stage_result

CAST = Cast(people=4, takes=2, frames=4, size=32)
NETWORK_SIZE = {
    "channels": [8, 16],
    "attention": [False, True],
    "heads": 2,
    "tokens": 16,
    "adapter": 1,
    "clip": 16,
    "clip_layers": 1,
    "clip_image": 16,
    "patch": 8,
}
AUTOENCODER = {"channels": [8, 8, 8], "norm_groups": 4, "steps": 4, "batch": 2}


class InterruptionError(Exception):
    """Raised in a run to interrupt it."""


def small_config(data: Path, output: Path, steps: int = 4, **changes: Any) -> TrainingConfig:
    """Build the configuration of a run of a few steps; `changes` are merged into their sections."""
    return build_config(small_values(data, output, steps, **changes))


def write_small_config(path: Path, data: Path, output: Path, steps: int = 4, **changes: Any) -> Path:
    """Write the configuration of `small_config` to a TOML file."""
    values = small_values(data, output, steps, **changes)
    path.write_text("".join(f"{key} = {_to_toml(value)}\n" for key, value in values.items()))
    return path


def _to_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_to_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def small_values(data: Path, output: Path, steps: int = 4, **changes: Any) -> dict[str, Any]:
    """Return the values of `small_config`."""
    optimizer = {"steps": steps, "batch": 4, "learning_rate": 1e-3, "schedule": "cosine", "warm_up": 2, "ema": 0.9}
    values: dict[str, Any] = {
        "data": str(data),
        "output": str(output),
        "space": "face478",
        "size": CAST.size,
        "workers": 0,
        "save_every": 2,
        "cache_latents": True,
        "model": {"start": "scratch", "size": NETWORK_SIZE, "autoencoder": AUTOENCODER},
        "image": {"optimizer": optimizer, "bank": 16, "temperature": 0.1},
        "video": {"optimizer": optimizer | {"batch": 2}, "clip": 4},
    }
    return merge_sections(values, changes)


def merge_sections(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return values with changes; a changed section keeps its other keys."""
    merged = dict(values)
    for key, value in changes.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return merged


def copy_image_stage(config: TrainingConfig, output: Path) -> Path:
    """Copy the result of stage 1 to the output of another run, and return that output."""
    return shutil.copytree(config.output, output, ignore=shutil.ignore_patterns("video", "model"))


def interrupt_at(step: int, *stages: str) -> ProgressCallback:
    """Return a progress callback that interrupts the stages after a step."""

    def progress(stage: str, done: int, total: int | None) -> None:
        if stage in stages and done == step:
            raise InterruptionError

    return progress


def read_losses(config: TrainingConfig, stage: str = "image") -> list[list[float]]:
    """Read the rows of a stage's loss log: step and losses."""
    lines = (Path(config.output) / stage / "losses.csv").read_text().splitlines()[1:]
    return [[float(value) for value in line.split(",")] for line in lines]


def load_result(config: TrainingConfig, stage: str = "image") -> Denoiser:
    """Build the network of a stage's last checkpoint."""
    return rebuild_network(read_stage_result(Path(config.output), stage)).eval()


def assert_equal_states(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """Check that two state dicts have the same names and values."""
    assert first.keys() == second.keys()
    different = [key for key, value in first.items() if not torch.equal(value, second[key])]
    assert not different
