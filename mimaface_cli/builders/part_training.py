"""Training of the network of a face part: its own differences, a critic, and an average of the weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mimaface_cli.builders.part_torch import PartCritic, PartUNet
from mimaface_cli.engines.mesh.face_part import FacePart, change_window
from mimaface_cli.files import atomic_path

_FINAL_SHARE = 0.05  # the rate falls to this share along a cosine
_CRITIC_RATE = 4e-4
_WARM_UP = 200  # steps
_CRITIC_STARTS = 0.05  # share of the training from which the critic learns
_AVERAGE = 0.999  # decay of the average of the weights


class PartBatch(Protocol):
    """B pairs of consecutive frames, the first frames of all pairs, then the second ones; all arrays float32."""

    @property
    def planes(self) -> np.ndarray:
        """(2B, 8, H, W) input of the network."""
        ...

    @property
    def conditions(self) -> np.ndarray:
        """(2B, K)."""
        ...

    @property
    def truths(self) -> np.ndarray:
        """(2B, 3, H, W), -1 to 1."""
        ...


B = TypeVar("B", bound=PartBatch)


def _keep_planes(planes: Tensor, batch: object) -> Tensor:
    return planes


@dataclass(frozen=True)
class PartTask(Generic[B]):
    """What the network of a part learns.

    Attributes:
        part: The part.
        widths: Channels by level.
        learning_rate: Largest learning rate.
        draw: Draws a batch with random numbers.
        compare: Returns the losses of results (2B, 3, H, W), from their truths, the network's input and the batch.
        critic_view: The part of the crop that the critic sees.
        critic_lengths: Length of the critic's gradient relative to that of the losses, at shares of the training.
        show_truth: Returns what the critic sees beside truths, from the network's input and the batch.
    """

    part: FacePart
    widths: tuple[int, int, int, int]
    learning_rate: float
    draw: Callable[[np.random.Generator], B]
    compare: Callable[[Tensor, Tensor, Tensor, B], dict[str, Tensor]]
    critic_view: tuple[slice | EllipsisType, ...]
    critic_lengths: dict[float, float]
    show_truth: Callable[[Tensor, B], Tensor] = _keep_planes


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


class PartTrainer(Generic[B]):
    """A training and its state.

    Attributes:
        step: Number of finished steps.
        average: The averaged weights, which are the result.
    """

    def __init__(self, task: PartTask[B], options: TrainingOptions, start: PartUNet | None = None) -> None:
        torch.manual_seed(options.seed)
        self._task, self._options = task, options
        self._network = start or PartUNet(task.part, task.widths)
        self._critic = PartCritic()
        for module in (self._network, self._critic):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self._optimizer = torch.optim.Adam(self._network.parameters(), task.learning_rate, (0.9, 0.99))
        self._critic_optimizer = torch.optim.Adam(self._critic.parameters(), _CRITIC_RATE, (0.5, 0.99))
        self.average = PartUNet(task.part, task.widths)
        self.average.load_state_dict(self._network.state_dict())
        self._window = torch.from_numpy(change_window(task.part))
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
            losses = self._train(self._task.draw(rng))
            self.step += 1
            if self.step % options.checkpoint_every == 0 or self.step == options.steps:
                self._store()
            progress(self.step, options.steps, losses)

    def _train(self, batch: B) -> dict[str, float]:
        share = self.step / self._options.steps
        rate = min(1.0, (self.step + 1) / _WARM_UP)
        rate *= _FINAL_SHARE + (1 - _FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * share))
        for optimizer, base in ((self._optimizer, self._task.learning_rate), (self._critic_optimizer, _CRITIC_RATE)):
            for group in optimizer.param_groups:
                group["lr"] = base * rate
        planes, truths = _to_tensor(batch.planes), _to_tensor(batch.truths)
        change = self._network(planes, torch.from_numpy(batch.conditions))
        result = planes[:, :3] + self._window * change
        leaf = result.detach().requires_grad_()
        losses = self._task.compare(leaf, truths, planes, batch)
        (gradient,) = torch.autograd.grad(torch.stack(list(losses.values())).sum(), leaf)
        if share >= _CRITIC_STARTS:  # the critic learns before it counts
            losses["critic"] = self._train_critic(leaf.detach(), planes, truths, self._task.show_truth(planes, batch))
            lengths = self._task.critic_lengths
            length = float(np.interp(share, list(lengths), list(lengths.values())))
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
        """Return the gradient along which the critic finds crops less real, scaled to a length."""
        view = self._task.critic_view
        (gradient,) = torch.autograd.grad(-self._critic(result[view], planes[view]).mean(), result)
        return gradient * (length / gradient.norm().clamp_min(1e-12))

    def _train_critic(self, result: Tensor, planes: Tensor, truths: Tensor, true_planes: Tensor) -> Tensor:
        """Teach the critic to tell results from truths, each with the opening of its own lips or lids."""
        view = self._task.critic_view
        colors, openings = torch.cat([truths, result])[view], torch.cat([true_planes, planes])[view]
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


def compare_colors(result: Tensor, truth: Tensor, weight: Tensor, gradient: float, coarse: float) -> dict[str, Tensor]:
    """Compare colors, their gradients and their coarse structure.

    Args:
        result: (N, 3, H, W).
        truth: (N, 3, H, W).
        weight: (N, 1, H, W) weights of the pixels.
        gradient: Weight of the gradients.
        coarse: Weight of the means over 4×4 pixels.
    """
    difference = result - truth
    blocks = functional.avg_pool2d(difference * weight, 4).abs()
    across = (difference[..., 1:] - difference[..., :-1]).abs() * torch.minimum(weight[..., 1:], weight[..., :-1])
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs()
    down = down * torch.minimum(weight[..., 1:, :], weight[..., :-1, :])
    return {
        "color": (difference.abs() * weight).mean(),
        "coarse": coarse * blocks.mean(),
        "gradient": gradient * (across.mean() + down.mean()),
    }


def measure_unsteadiness(result: Tensor, truth: Tensor, flow: Tensor) -> Tensor:
    """Compare how rendered crops and true ones change from the first frame of a pair to the second.

    Args:
        result: (2B, 3, H, W), first frames, then second frames.
        truth: As `result`.
        flow: (B, H, W, 2) from the second frame to the first, in pixels.

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
