"""Checkpoints of a training stage: list, read, and write them."""

import os
import re
from pathlib import Path
from typing import Any

import torch

from mimaface_cli.errors import InputError, WeightsError, brief
from mimaface_cli.files import atomic_path
from mimaface_cli.training.initialization import NetworkState

_KEYS = {"unet_config", "clip_config", "heads", "network", "average", "optimizer", "step", "bank", "scaler"}
_NAME = re.compile(r"step-\d{8,}\.pt")


def list_checkpoints(folder: Path) -> list[Path]:
    """Return a stage's checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name))


def write_checkpoint(folder: Path, state: dict[str, Any], keep: int) -> None:
    """Write a checkpoint atomically, and remove the oldest ones.

    Args:
        folder: The stage's folder.
        state: Content of the checkpoint, with its `step`.
        keep: Number of checkpoints to keep.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_path(folder / f"step-{state['step']:08d}.pt") as temporary:
        torch.save(state, temporary)
        with temporary.open(
            "rb"
        ) as file:  # The data must be on the disk before the file is renamed, in case of a power failure.
            os.fsync(file.fileno())
    for path in list_checkpoints(folder)[:-keep]:
        path.unlink(missing_ok=True)


def remove_partial_checkpoints(folder: Path) -> None:
    """Remove temporary files of a killed run.

    Only the process that holds the folder's lock may call it.
    """
    for path in folder.glob(".step-*.part.pt"):
        path.unlink()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint's plain values and tensors to the CPU.

    Raises:
        WeightsError: It is not a checkpoint, or damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if not isinstance(state, dict) or state.keys() != _KEYS or type(state["step"]) is not int:
            raise ValueError("unexpected content")
    except Exception as error:  # zipfile, pickle and torch raise a dozen kinds of exceptions
        raise WeightsError(
            f"{path}: is not a checkpoint, or damaged ({brief(error, 120)}). Remove it to resume from the previous one."
        ) from error
    return state


def read_stage_result(output: Path, stage: str) -> NetworkState:
    """Read the network of a stage's last checkpoint, with its moving average as weights.

    Args:
        output: The run's output folder.
        stage: "image" or "video".

    Raises:
        InputError: There is no checkpoint.
        WeightsError: The checkpoint is damaged.
    """
    paths = list_checkpoints(output / stage)
    if not paths:
        raise InputError(f"{output / stage}: has no checkpoint. Run mimaface train {stage} first.")
    state = read_checkpoint(paths[-1])
    network = {**state["network"], **state["average"]}
    return NetworkState(state["unet_config"], state["clip_config"], state["heads"], network)
