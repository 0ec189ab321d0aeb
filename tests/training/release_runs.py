"""Configurations of tiny runs with the release's recipe and condition tokens."""

from pathlib import Path
from typing import Any

from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.config_reader import build_config
from tests.training.small_runs import merge_sections

SIZE = 64
IDENTITY_FEATURES = 16 * 7 * 7
"""Features of the tiny identity network."""


def release_config(data: Path, output: Path, steps: int = 2, **changes: Any) -> TrainingConfig:
    """Build the configuration of a run of a few steps; `changes` are merged into their sections."""
    optimizer = {"steps": steps, "batch": 2, "learning_rate": 1e-3, "ema": 0.5}
    values: dict[str, Any] = {
        "data": str(data),
        "output": str(output),
        "recipe": "release",
        "size": SIZE,
        "workers": 0,
        "save_every": 2,
        "image": {"optimizer": optimizer},
        "video": {"optimizer": optimizer, "clip": 4, "most_known": 2},
        "validation": {"every": 0},
        "model": {},
    }
    return build_config(merge_sections(values, changes))
