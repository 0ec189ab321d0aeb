"""What the eyelid network learns: differences of color and gradient, and steadiness over time."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mimaface_cli.builders.eyelid478.eyelid_batches import EyelidBatch, EyelidClip, draw_batch
from mimaface_cli.builders.part_training import PartTask, compare_colors, measure_unsteadiness
from mimaface_cli.engines.mesh.eyelid_crop import EYELID

PAIRS_PER_BATCH = 4
WIDTHS = (16, 24, 40, 64)  # channels by level
_LEARNING_RATE = 1e-3
# Length of the critic's gradient relative to that of the differences, at shares of the training.
_CRITIC_LENGTHS = {0.1: 0.0, 0.25: 0.4}
_CRITIC_VIEW = np.s_[..., 8:56, 8:88]  # lids and lashes in the crop: what the critic sees
_EYE_WEIGHT = 2.0  # of pixels near the photo's opening, beside 1 elsewhere
_GRADIENT_WEIGHT, _COARSE_WEIGHT, _STEADY_WEIGHT = 0.6, 0.5, 0.4


def build_eyelid_task(people: list[list[EyelidClip]]) -> PartTask[EyelidBatch]:
    """Return what the eyelid network learns from the clips of each person."""
    return PartTask(
        part=EYELID,
        widths=WIDTHS,
        learning_rate=_LEARNING_RATE,
        draw=lambda rng: draw_batch(people, PAIRS_PER_BATCH, rng),
        compare=compare_eyelids,
        critic_view=_CRITIC_VIEW,
        critic_lengths=_CRITIC_LENGTHS,
    )


def compare_eyelids(result: Tensor, truth: Tensor, planes: Tensor, batch: EyelidBatch) -> dict[str, Tensor]:
    """Compare corrected eyes with the truth.

    Args:
        result: (2B, 3, 64, 96).
        truth: (2B, 3, 64, 96).
        planes: (2B, 8, 64, 96) input of the network.
        batch: The batch.
    """
    near = functional.max_pool2d(planes[:, 7:8], 9, 1, 4)
    losses = compare_colors(result, truth, 1 + (_EYE_WEIGHT - 1) * near, _GRADIENT_WEIGHT, _COARSE_WEIGHT)
    losses["steady"] = _STEADY_WEIGHT * measure_unsteadiness(result, truth, torch.from_numpy(batch.flows))
    return losses
