"""What the mouth network learns: differences of color, gradient and tones, and steadiness over time."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mimaface_cli.builders.mouth478.mouth_batches import MouthBatch, MouthClip, draw_batch
from mimaface_cli.builders.part_training import PartTask, compare_colors, measure_unsteadiness
from mimaface_cli.engines.mesh.mouth_crop import MOUTH

PAIRS_PER_BATCH = 4
WIDTHS = (16, 32, 64, 96)  # channels by level
_LEARNING_RATE = 6e-4
# Length of the critic's gradient relative to that of the differences, at shares of the training. Longer ones draw a
# texture of fine lines between the lips.
_CRITIC_LENGTHS = {0.1: 0.0, 0.25: 0.5}
_EXACT_WEIGHT = 6.0  # of pixels in the opening of true lips and close to it, beside 1 elsewhere
_CRITIC_VIEW = np.s_[..., 16:112, 32:160]  # the lips in the crop: what the critic sees
_GRADIENT_WEIGHT, _COARSE_WEIGHT, _STEADY_WEIGHT = 0.6, 0.5, 0.4
_TONE_WEIGHT = 1.0  # of the colors between the lips, wherever they lie
_SMALLEST_OPENING = 100  # pixels from which the colors are compared
_TONE_LEVELS = 64  # quantiles that are compared


def build_mouth_task(people: list[list[MouthClip]]) -> PartTask[MouthBatch]:
    """Return what the mouth network learns from the clips of each person."""
    return PartTask(
        part=MOUTH,
        widths=WIDTHS,
        learning_rate=_LEARNING_RATE,
        draw=lambda rng: draw_batch(people, PAIRS_PER_BATCH, rng),
        compare=_compare,
        critic_view=_CRITIC_VIEW,
        critic_lengths=_CRITIC_LENGTHS,
        show_truth=_show_true_openings,
    )


def _compare(result: Tensor, truth: Tensor, planes: Tensor, batch: MouthBatch) -> dict[str, Tensor]:
    exact, true_openings = torch.from_numpy(np.tile(batch.exact, 2)), torch.from_numpy(batch.true_openings)
    losses = compare_mouths(result, truth, weigh_pixels(planes[:, 3:4], true_openings, exact))
    losses["tones"] = _TONE_WEIGHT * compare_tones(result, truth, planes[:, 3], true_openings[:, 0])
    losses["steady"] = _STEADY_WEIGHT * measure_unsteadiness(result, truth, torch.from_numpy(batch.flows))
    return losses


def _show_true_openings(planes: Tensor, batch: MouthBatch) -> Tensor:
    """Return the input of the network with the openings of the true lips, which the critic sees beside truths."""
    return torch.cat([planes[:, :3], torch.from_numpy(batch.true_openings), planes[:, 4:]], 1)


def weigh_pixels(opening: Tensor, true_opening: Tensor, exact: Tensor) -> Tensor:
    """Weigh the pixels of rendered mouths.

    Where the lips are true, the opening and its rim count more. Where they are rendered, nothing is known between them
    but where the true lips are open too: elsewhere the truth shows lips, and the mean of teeth and lips is pale.

    Args:
        opening: (N, 1, 128, 192), 0 to 1.
        true_opening: (N, 1, 128, 192), 0 to 1.
        exact: (N,) bool, whether the lips are true.

    Returns:
        (N, 1, 128, 192).
    """
    near = functional.max_pool2d(opening, 9, 1, 4)
    known = 1 - opening * (1 - true_opening)
    return torch.where(exact[:, None, None, None], 1 + (_EXACT_WEIGHT - 1) * near, known)


def compare_mouths(result: Tensor, truth: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Compare rendered mouths with the truth.

    Args:
        result: (N, 3, 128, 192).
        truth: (N, 3, 128, 192).
        weight: (N, 1, 128, 192), see `weigh_pixels`.
    """
    return compare_colors(result, truth, weight, _GRADIENT_WEIGHT, _COARSE_WEIGHT)


def compare_tones(result: Tensor, truth: Tensor, opening: Tensor, true_opening: Tensor) -> Tensor:
    """Compare the colors between rendered lips with those between true lips, sorted, wherever they lie.

    A network that does not know where a tooth ends paints the mean of tooth and shadow. Sorted colors differ then.

    Args:
        result: (N, 3, 128, 192).
        truth: (N, 3, 128, 192).
        opening: (N, 128, 192), of the rendered lips.
        true_opening: (N, 128, 192).

    Returns:
        The mean difference over N, weighted by the square root of the opening's share of the crop; small openings
        count 0.
    """
    total = result.new_zeros(())
    for k in range(len(result)):
        inside, truly_inside = opening[k] > 0.5, true_opening[k] > 0.5
        if min(int(inside.sum()), int(truly_inside.sum())) >= _SMALLEST_OPENING:
            tones, true_tones = _sort_colors(result[k], inside), _sort_colors(truth[k], truly_inside)
            total = total + (tones - true_tones).abs().mean() * inside.float().mean().sqrt()
    return total / len(result)


def _sort_colors(image: Tensor, inside: Tensor) -> Tensor:
    """Return quantiles (3, _TONE_LEVELS) of the colors of an image (3, H, W) in a mask (H, W)."""
    levels = image[:, inside].sort(1).values
    return functional.interpolate(levels[None], size=_TONE_LEVELS, mode="area")[0]
