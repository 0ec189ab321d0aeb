"""The autoencoder of a small model: a small AutoencoderKL of diffusers.

It is trained on the frames of the run's data.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from mimaface_cli.engines.diffusion import checkpoint
from mimaface_cli.files import atomic_path
from mimaface_cli.training.config import AutoencoderConfig

STATE = "state.pt"
REPORT_EVERY = 50
"""Steps between two calls of `report`."""
SAVE_EVERY = 250
"""Steps between two saved states."""
STANDARDIZING_BATCHES = 16
"""Batches from which the mean and the deviation of the latents are computed."""

AutoencoderReport = Callable[[int, int, Mapping[str, float]], None]
"""Called with the completed steps, the number of steps, and the figures `loss` and `psnr` (dB)."""


def reconstruction_loss(decoded: Tensor, target: Tensor, edge_weight: float) -> Tensor:
    """Return the mean absolute error of images and of their edges at two scales.

    Args:
        decoded: (B, 3, H, W) decoded images.
        target: (B, 3, H, W) the original images.
        edge_weight: Weight of each error of edges, which are differences between neighboring pixels.
    """
    loss = functional.l1_loss(decoded, target)
    for _ in range(2):
        for axis in (-1, -2):
            loss = loss + edge_weight * functional.l1_loss(decoded.diff(dim=axis), target.diff(dim=axis))
        decoded, target = functional.avg_pool2d(decoded, 2), functional.avg_pool2d(target, 2)
    return loss


def train_autoencoder(
    batches: Callable[[int], Iterator[Tensor]],
    size: int,
    config: AutoencoderConfig,
    folder: Path,
    *,
    device: str = "cpu",
    save_every: int = SAVE_EVERY,
    report: AutoencoderReport = lambda step, steps, figures: None,
) -> AutoencoderKL:
    """Train an autoencoder and save it. An interrupted run resumes at its last saved step.

    Args:
        batches: Function of k that yields images (B, 3, size, size) in [-1, 1] from the k-th batch on.
        size: Side of the images, in pixels.
        config: Size and optimizer.
        folder: Folder of the training state and of the result (see `save_autoencoder`).
        device: Device on which to train.
        save_every: Steps between two saved states.
        report: Called every REPORT_EVERY steps and at the end.

    Returns:
        The moving average in evaluation mode, without gradients, its latents standardized over the first batches.
    """
    trainer = _AutoencoderTrainer(size, config, folder, device)
    start = trainer.step
    for images in itertools.islice(batches(start), max(config.steps - start, 0)):
        loss, error = trainer.train_step(images.to(device))
        step, is_last = trainer.step, trainer.step == config.steps
        if step % save_every == 0 or is_last:
            trainer.save()
        if step % REPORT_EVERY == 0 or is_last:
            report(step, config.steps, {"loss": float(loss), "psnr": float(-10 * error.log10())})
    vae = trainer.averaged_network()
    standardize_latents(vae, itertools.islice(batches(0), STANDARDIZING_BATCHES))
    save_autoencoder(vae, folder)
    return vae


class _AutoencoderTrainer:
    """Network, optimizer, learning rate and moving average, resumed from the folder's state if there is one."""

    def __init__(self, size: int, config: AutoencoderConfig, folder: Path, device: str) -> None:
        self.config, self.folder, self.device = config, folder, device
        torch.manual_seed(config.seed)
        self.vae = AutoencoderKL(**config.network_config(size)).to(device)
        self.average = {name: value.detach().clone() for name, value in self.vae.state_dict().items()}
        self.optimizer = torch.optim.AdamW(self.vae.parameters(), config.rate, weight_decay=1e-4)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, config.steps, config.rate * 0.02)
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE).exists():
            self._load()

    def train_step(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Train on a batch of images (B, 3, S, S) in [-1, 1].

        Returns the loss, and the mean squared error for images in [0, 1].
        """
        config, vae = self.config, self.vae
        noise = torch.Generator(self.device).manual_seed(config.seed * 1_000_003 + self.step)
        latents = vae.encode(images).latent_dist
        decoded = vae.decode(latents.sample(noise)).sample
        loss = reconstruction_loss(decoded, images, config.edges) + config.kl * latents.kl().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step()
        decay = min(config.ema, (self.step + 1) / (self.step + 10))  # The average forgets faster at the beginning.
        for name, value in vae.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)
        self.step += 1
        return loss.detach(), functional.mse_loss(decoded.detach().clamp(-1, 1), images) / 4

    def averaged_network(self) -> AutoencoderKL:
        """Return the network with its moving average, in evaluation mode and without gradients."""
        self.vae.load_state_dict(self.average)
        return self.vae.eval().requires_grad_(False)

    def save(self) -> None:
        """Save the training state."""
        parts = {"vae": self.vae, "optimizer": self.optimizer, "rate": self.scheduler}
        state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
        with atomic_path(self.folder / STATE) as temporary:
            torch.save({**state, "ema": self.average, "step": self.step}, temporary)

    def _load(self) -> None:
        state = torch.load(self.folder / STATE, map_location=self.device, weights_only=True)
        self.vae.load_state_dict(state["vae"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["rate"])
        self.average, self.step = state["ema"], state["step"]


@torch.no_grad()
def standardize_latents(vae: AutoencoderKL, batches: Iterable[Tensor]) -> None:
    """Give each latent channel zero mean and unit deviation over some images, in place.

    Only the two 1×1 convolutions around the latents change. Decoded images stay the same, and diffusion can use the
    scaling factor 1.

    Args:
        vae: The autoencoder, with quant_conv and post_quant_conv.
        batches: Images (B, 3, S, S) in [-1, 1].
    """
    latents = torch.cat([vae.encode(batch.to(vae.device)).latent_dist.mode().cpu() for batch in batches])
    mean = latents.mean((0, 2, 3)).to(vae.device)
    deviation = latents.std((0, 2, 3)).clamp_min(1e-4).to(vae.device)
    count = len(mean)
    to_latent, from_latent = vae.quant_conv, vae.post_quant_conv
    to_latent.weight[:count] /= deviation[:, None, None, None]
    to_latent.bias[:count] = (to_latent.bias[:count] - mean) / deviation
    to_latent.bias[count:] -= 2 * deviation.log()  # The second half of the channels is the log variance.
    from_latent.bias += from_latent.weight[..., 0, 0] @ mean
    from_latent.weight *= deviation[None, :, None, None]


def save_autoencoder(vae: AutoencoderKL, folder: Path) -> None:
    """Write config.json and model.safetensors, each atomically."""
    config = {key: value for key, value in vae.config.items() if not key.startswith("_")}
    with atomic_path(folder / "config.json") as temporary:
        temporary.write_text(json.dumps({"_class_name": "AutoencoderKL", **config}, indent=1))
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file({key: value.contiguous().cpu() for key, value in vae.state_dict().items()}, temporary)


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """Load an autoencoder that `save_autoencoder` wrote, in evaluation mode.

    Raises:
        WeightsError: A file is missing or damaged.
    """
    config = checkpoint.read_json(folder / "config.json")
    return checkpoint.build_vae(config, *checkpoint.read_tensors(folder / "model.safetensors"))
