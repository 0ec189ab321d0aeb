"""Training of the mouth network: differences of color and gradient, a critic, and steadiness over time."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mimaface_cli.builders.mouth478.mouth_batches import MouthBatch, MouthClip, draw_batch
from mimaface_cli.builders.mouth478.mouth_torch import MouthCritic, MouthUNet
from mimaface_cli.engines.mesh.mouth_crop import change_window
from mimaface_cli.files import atomic_path

PAIRS_PER_BATCH = 4
_LEARNING_RATE, _FINAL_SHARE = 6e-4, 0.05  # the rate falls to this share along a cosine
_CRITIC_RATE = 4e-4
_WARM_UP = 200  # steps
_CRITIC_STARTS = 0.05  # share of the training from which the critic learns
# Length of the critic's gradient relative to that of the differences, at shares of the training. Longer ones draw a
# texture of fine lines between the lips.
_CRITIC_LENGTHS = {0.1: 0.0, 0.25: 0.5}
_EXACT_WEIGHT = 6.0  # of pixels in the opening of true lips and close to it, beside 1 elsewhere
_CRITIC_VIEW = np.s_[..., 16:112, 32:160]  # the lips in the crop: what the critic sees
_GRADIENT_WEIGHT, _COARSE_WEIGHT, _STEADY_WEIGHT = 0.6, 0.5, 0.4
_TONE_WEIGHT = 1.0  # of the colors between the lips, wherever they lie
_SMALLEST_OPENING = 100  # pixels from which the colors are compared
_TONE_LEVELS = 64  # quantiles that are compared
_AVERAGE = 0.999  # decay of the average of the weights


@dataclass(frozen=True)
class TrainingOptions:
    """Options of the training.

    Attributes:
        steps: Number of steps.
        seed: Seed of all random numbers.
        checkpoint: File in which the state is kept, so that an interrupted training resumes.
        checkpoint_every: Steps between two states.
    """

    steps: int
    seed: int
    checkpoint: Path
    checkpoint_every: int = 250


class MouthTrainer:
    """A training and its state.

    Attributes:
        step: Number of finished steps.
        average: The averaged weights, which are the result.
    """

    def __init__(self, people: list[list[MouthClip]], options: TrainingOptions, start: MouthUNet | None = None) -> None:
        torch.manual_seed(options.seed)
        self._people, self._options = people, options
        self._network = start or MouthUNet()
        self._critic = MouthCritic()
        for module in (self._network, self._critic):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self._optimizer = torch.optim.Adam(self._network.parameters(), _LEARNING_RATE, (0.9, 0.99))
        self._critic_optimizer = torch.optim.Adam(self._critic.parameters(), _CRITIC_RATE, (0.5, 0.99))
        self.average = MouthUNet()
        self.average.load_state_dict(self._network.state_dict())
        self._window = torch.from_numpy(change_window())
        self.step = 0
        if options.checkpoint.exists():
            self._restore()

    def run(self, progress: Callable[[int, int, dict[str, float]], None]) -> None:
        """Train until the end.

        Args:
            progress: Is called with the finished steps, all steps and the losses.
        """
        options = self._options
        while self.step < options.steps:
            rng = np.random.default_rng([options.seed, self.step])
            losses = self._train(draw_batch(self._people, PAIRS_PER_BATCH, rng))
            self.step += 1
            if self.step % options.checkpoint_every == 0 or self.step == options.steps:
                self._store()
            progress(self.step, options.steps, losses)

    def _train(self, batch: MouthBatch) -> dict[str, float]:
        share = self.step / self._options.steps
        rate = min(1.0, (self.step + 1) / _WARM_UP)
        rate *= _FINAL_SHARE + (1 - _FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * share))
        for optimizer, base in ((self._optimizer, _LEARNING_RATE), (self._critic_optimizer, _CRITIC_RATE)):
            for group in optimizer.param_groups:
                group["lr"] = base * rate
        planes, truths, true_openings = (_to_tensor(part) for part in (batch.planes, batch.truths, batch.true_openings))
        change = self._network(planes, torch.from_numpy(batch.conditions))
        result = planes[:, :3] + self._window * change
        leaf = result.detach().requires_grad_()
        exact = torch.from_numpy(np.tile(batch.exact, 2))
        losses = compare_mouths(leaf, truths, weigh_pixels(planes[:, 3:4], true_openings, exact))
        losses["tones"] = _TONE_WEIGHT * compare_tones(leaf, truths, planes[:, 3], true_openings[:, 0])
        losses["steady"] = _STEADY_WEIGHT * measure_unsteadiness(leaf, truths, torch.from_numpy(batch.flows))
        (gradient,) = torch.autograd.grad(torch.stack(list(losses.values())).sum(), leaf)
        if share >= _CRITIC_STARTS:  # the critic learns before it counts
            true_planes = torch.cat([planes[:, :3], true_openings, planes[:, 4:]], 1)
            losses["critic"] = self._train_critic(leaf.detach(), planes, truths, true_planes)
            length = float(np.interp(share, list(_CRITIC_LENGTHS), list(_CRITIC_LENGTHS.values())))
            gradient = gradient + self._ask_critic(leaf, planes, length * gradient.norm())
        self._optimizer.zero_grad(set_to_none=True)
        result.backward(gradient)
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        with torch.no_grad():
            decay = min(_AVERAGE, (1 + self.step) / (10 + self.step))
            for mean, value in zip(self.average.parameters(), self._network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _ask_critic(self, result: Tensor, planes: Tensor, length: Tensor) -> Tensor:
        """Return the gradient along which the critic finds mouths less real, scaled to a length."""
        (gradient,) = torch.autograd.grad(-self._critic(result[_CRITIC_VIEW], planes[_CRITIC_VIEW]).mean(), result)
        return gradient * (length / gradient.norm().clamp_min(1e-12))

    def _train_critic(self, result: Tensor, planes: Tensor, truths: Tensor, true_planes: Tensor) -> Tensor:
        """Teach the critic to tell results from truths, each with the opening of its own lips."""
        colors, openings = torch.cat([truths, result])[_CRITIC_VIEW], torch.cat([true_planes, planes])[_CRITIC_VIEW]
        real, rendered = self._critic(colors, openings).chunk(2)
        loss = functional.relu(1 - real).mean() + functional.relu(1 + rendered).mean()
        self._critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._critic_optimizer.step()
        return loss.detach()

    def _store(self) -> None:
        path = self._options.checkpoint
        state = {name: part.state_dict() for name, part in self._parts().items()}
        with atomic_path(path) as temporary:
            torch.save({"step": self.step, **state}, temporary)

    def _restore(self) -> None:
        state = torch.load(self._options.checkpoint, weights_only=True)
        self.step = state.pop("step")
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "network": self._network,
            "critic": self._critic,
            "average": self.average,
            "optimizer": self._optimizer,
            "critic_optimizer": self._critic_optimizer,
        }


def _to_tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(memory_format=torch.channels_last)


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
    difference = result - truth
    coarse = functional.avg_pool2d(difference * weight, 4).abs()
    across = (difference[..., 1:] - difference[..., :-1]).abs() * torch.minimum(weight[..., 1:], weight[..., :-1])
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs()
    down = down * torch.minimum(weight[..., 1:, :], weight[..., :-1, :])
    return {
        "color": (difference.abs() * weight).mean(),
        "coarse": _COARSE_WEIGHT * coarse.mean(),
        "gradient": _GRADIENT_WEIGHT * (across.mean() + down.mean()),
    }


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


def measure_unsteadiness(result: Tensor, truth: Tensor, flow: Tensor) -> Tensor:
    """Compare how rendered mouths and true ones change from the first frame of a pair to the second.

    Args:
        result: (2B, 3, 128, 192), first frames, then second frames.
        truth: As `result`.
        flow: (B, 128, 192, 2) from the second frame to the first, in pixels.

    Returns:
        The mean difference of both changes, each along the flow.
    """
    height, width = flow.shape[1:3]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([columns, rows], -1) + 0.5 + flow
    grid = places / torch.tensor([width, height]) * 2 - 1
    first, second = (result - truth).chunk(2)
    followed = functional.grid_sample(first, grid, padding_mode="border", align_corners=False)
    return (second - followed).abs().mean()
