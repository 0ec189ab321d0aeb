"""Configurations of tiny runs with validation, on random clips of four people."""

import csv
from pathlib import Path
from typing import Any

from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.config_reader import build_config

SIZE, PEOPLE_COUNT = 32, 4
NETWORK_SIZE = {
    "channels": [16, 16],
    "attention": [False, True],
    "layers": 1,
    "heads": 2,
    "tokens": 16,
    "adapter": 1,
    "clip": 16,
    "clip_layers": 1,
    "clip_image": 32,
    "patch": 16,
}
AUTOENCODER = {"channels": [8, 8], "norm_groups": 4, "steps": 2, "batch": 2}


def validated_config(data: Path, output: Path, steps: int = 4, **changes: Any) -> TrainingConfig:
    """Build a configuration that holds out one person and validates every second step; `changes` replace sections."""
    optimizer = {"steps": steps, "batch": 2, "learning_rate": 1e-3, "ema": 0.9}
    values = {
        "data": str(data),
        "output": str(output),
        "size": SIZE,
        "space": "face478",
        "workers": 0,
        "save_every": 2,
        "model": {"start": "scratch", "size": NETWORK_SIZE, "autoencoder": AUTOENCODER},
        "image": {"optimizer": optimizer, "bank": 8},
        "video": {"optimizer": optimizer, "clip": 4},
        "validation": {"every": 2, "share": 0.25, "clips": 2, "steps": 2},
    }
    return build_config(values | changes)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file with a header."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
