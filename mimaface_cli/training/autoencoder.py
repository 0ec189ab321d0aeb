"""A small autoencoder of our own: diffusers' AutoencoderKL at a size that trains with the models it serves."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor

from mimaface_cli.engines.diffusion import checkpoint
from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path

STATE = "state.pt"


@dataclass(frozen=True)
class AutoencoderSettings:
    """channels: of each level, from the picture's size down; each but the last halves it. layers: resnets a level.
    latent: channels of a latent. steps, batch, rate: of AdamW, its rate falling to zero along a cosine. kl: weight of
    the latents' divergence from a standard normal. edges: weight of the pictures' differences between neighbors, at
    two scales, beside the pixels'.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    layers: int = 1
    latent: int = 4
    norm_groups: int = 8
    attention: bool = False
    steps: int = 3000
    batch: int = 16
    rate: float = 2e-3
    kl: float = 1e-6
    edges: float = 1.0
    ema: float = 0.995
    seed: int = 0

    def __post_init__(self) -> None:
        if any(count % self.norm_groups for count in self.channels):
            raise InputError(
                f"autoencoder: channels {list(self.channels)} must be multiples of norm_groups {self.norm_groups}"
            )

    @property
    def reduction(self) -> int:
        """Pixels of the picture to one of the latent, along each axis."""
        return 2 ** (len(self.channels) - 1)

    def config(self, size: int) -> dict[str, Any]:
        """AutoencoderKL's config for pictures of size×size."""
        if size % self.reduction:
            raise InputError(f"size {size}: the autoencoder needs a multiple of {self.reduction}")
        levels = len(self.channels)
        return {
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": self.latent,
            "block_out_channels": list(self.channels),
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
            "layers_per_block": self.layers,
            "norm_num_groups": self.norm_groups,
            "mid_block_add_attention": self.attention,
            "sample_size": size,
            "scaling_factor": 1.0,
        }


def reconstruction_loss(made: Tensor, wanted: Tensor, edges: float) -> Tensor:
    """Mean absolute difference of pictures (B, 3, H, W), of their edges and of the half-size pictures' edges."""
    loss = F.l1_loss(made, wanted)
    for _ in range(2):
        for axis in (-1, -2):
            loss = loss + edges * F.l1_loss(made.diff(dim=axis), wanted.diff(dim=axis))
        made, wanted = F.avg_pool2d(made, 2), F.avg_pool2d(wanted, 2)
    return loss


def fit_autoencoder(
    batches: Callable[[int], Iterator[Tensor]],
    size: int,
    settings: AutoencoderSettings,
    folder: Path,
    *,
    device: str = "cpu",
    save_every: int = 250,
    report: Callable[[int, int, Mapping[str, float]], None] = lambda step, steps, figures: None,
) -> AutoencoderKL:
    """Train one and leave it in the folder as `save_autoencoder` does; a run that was stopped goes on where it was.

    batches(k): pictures (B, 3, size, size) in [-1, 1] from the k-th batch on. Returns it in evaluation mode, its latents
    standardised over the last batches.
    """
    torch.manual_seed(settings.seed)
    vae = AutoencoderKL(**settings.config(size)).to(device)
    kept = {name: value.detach().clone() for name, value in vae.state_dict().items()}
    optimizer = torch.optim.AdamW(vae.parameters(), settings.rate, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps, settings.rate * 0.02)
    folder.mkdir(parents=True, exist_ok=True)
    start = 0
    if (folder / STATE).exists():
        state = torch.load(folder / STATE, map_location=device, weights_only=True)
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        rate.load_state_dict(state["rate"])
        kept, start = state["ema"], state["step"]
    stream = batches(start)
    for step, pictures in zip(range(start, settings.steps), stream):
        pictures = pictures.to(device)
        noise = torch.Generator(device).manual_seed(settings.seed * 1_000_003 + step)
        latents = vae.encode(pictures).latent_dist
        made = vae.decode(latents.sample(noise)).sample
        fidelity = reconstruction_loss(made, pictures, settings.edges)
        loss = fidelity + settings.kl * latents.kl().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        rate.step()
        decay = min(settings.ema, (step + 1) / (step + 10))
        for name, value in vae.state_dict().items():
            kept[name].lerp_(value, 1 - decay)
        if (step + 1) % 50 == 0 or step + 1 == settings.steps:
            error = F.mse_loss(made.detach().clamp(-1, 1), pictures) / 4
            report(step + 1, settings.steps, {"loss": float(loss.detach()), "psnr": float(-10 * error.log10())})
        if (step + 1) % save_every == 0 or step + 1 == settings.steps:
            state = {"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "rate": rate.state_dict()}
            with atomic_path(folder / STATE) as temporary:
                torch.save({**state, "ema": kept, "step": step + 1}, temporary)
    vae.load_state_dict(kept)
    vae.eval().requires_grad_(False)
    standardise(vae, itertools.islice(batches(0), 16))
    save_autoencoder(vae, folder)
    return vae


@torch.no_grad()
def standardise(vae: AutoencoderKL, batches: Iterator[Tensor]) -> None:
    """Give each latent channel zero mean and unit deviation over some pictures, in place, by the two 1×1 convolutions
    around the latents: pictures come out as before, and the scale that diffusion needs is 1.
    """
    latents = torch.cat([vae.encode(batch.to(vae.device)).latent_dist.mode().cpu() for batch in batches])
    mean = latents.mean((0, 2, 3)).to(vae.device)
    deviation = latents.std((0, 2, 3)).clamp_min(1e-4).to(vae.device)
    count = len(mean)
    inward, outward = vae.quant_conv, vae.post_quant_conv
    inward.weight[:count] /= deviation[:, None, None, None]
    inward.bias[:count] = (inward.bias[:count] - mean) / deviation
    inward.bias[count:] -= 2 * deviation.log()
    outward.bias += outward.weight[..., 0, 0] @ mean
    outward.weight *= deviation[None, :, None, None]


def save_autoencoder(vae: AutoencoderKL, folder: Path) -> None:
    """config.json and model.safetensors, each written whole."""
    config = {key: value for key, value in vae.config.items() if not key.startswith("_")}
    with atomic_path(folder / "config.json") as temporary:
        temporary.write_text(json.dumps({"_class_name": "AutoencoderKL", **config}, indent=1))
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file({key: value.contiguous().cpu() for key, value in vae.state_dict().items()}, temporary)


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """What `save_autoencoder` wrote, in evaluation mode. Raises WeightsError."""
    config = checkpoint.read_json(folder / "config.json")
    return checkpoint.build_vae(config, *checkpoint.read_tensors(folder / "model.safetensors"))
