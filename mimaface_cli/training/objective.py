"""The denoising objective of both stages, and the tensors that it needs."""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from mimaface_cli.engines.diffusion.latents import encode_latents
from mimaface_cli.engines.diffusion.samplers import compute_training_sigmas
from mimaface_cli.training.losses import denoising_loss, prediction_target
from mimaface_cli.training.training_data import to_signed

CHUNK = 16
"""Images that the autoencoder encodes at once."""
SAMPLE_NUMBER = "number"
"""Key of a micro-batch's sample numbers, which stay on the host."""


@dataclass(frozen=True)
class DenoisingObjective:
    """The denoiser's loss on noisy latents, with one timestep per clip.

    Attributes:
        alphas: (T,) the schedule's cumulative products at each timestep.
        prediction: What the network predicts, as for `prediction_target`.
        token_dropout: Share of samples without condition tokens.
        min_snr: Bound of the min-SNR weights; 0 for no weights.
    """

    alphas: Tensor
    prediction: str
    token_dropout: float
    min_snr: float

    def compute(
        self,
        network: nn.Module,
        target: Tensor,
        conditions: Tensor,
        photos: Tensor,
        batch: dict[str, Tensor],
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Compute the loss of a micro-batch.

        Args:
            network: The Denoiser, as accelerate wraps it.
            target: (B, 4, F, h, w) clean latents.
            conditions: (B, 9, F, h, w), as for `Denoiser.forward`.
            photos: (V, B, 3, S, S), as for `Denoiser.forward`.
            batch: The micro-batch with `motion` and, for the release's tokens, `identity`.
            generator: Source of randomness.

        Returns:
            The loss and the ID tokens of all views, (V, B, C).
        """
        count, device = len(target), target.device
        timestep = torch.randint(len(self.alphas), (count,), generator=generator, device=device)
        noise = torch.randn(target.shape, generator=generator, device=device)
        alphas = self.alphas[timestep]
        level = alphas[:, None, None, None, None]
        noisy = level.sqrt() * target + (1 - level).sqrt() * noise
        keep = 1 - sample_mask(count, self.token_dropout, generator, device)
        predicted, tokens = network(noisy, conditions, timestep, photos, batch["motion"], keep, batch.get("identity"))
        expected = prediction_target(self.prediction, target, noise, alphas)
        return denoising_loss(predicted, expected, alphas, self.min_snr or None, self.prediction), tokens


def sample_mask(count: int, share: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """Return (count,) float32, 1 for a random share and 0 otherwise."""
    return (torch.rand(count, generator=generator, device=device) < share).float()


def create_generator(seed: int, batch: dict[str, Tensor], device: torch.device) -> torch.Generator:
    """Return the random generator of a micro-batch.

    It depends only on the run's seed and the micro-batch's first sample.

    So a micro-batch has the same noise in any process and after any number of resumes.
    """
    return torch.Generator(device).manual_seed(seed * 1_000_003 + int(batch[SAMPLE_NUMBER][0]))


def compute_alphas(device: torch.device) -> Tensor:
    """Return the cumulative products of Stable Diffusion's schedule at each timestep, (T,)."""
    return 1 / (1 + torch.from_numpy(compute_training_sigmas()).to(device) ** 2)


@torch.no_grad()
def encode_frames(vae: AutoencoderKL, frames: Tensor) -> Tensor:
    """Encode frames to scaled latents (the mode of the distribution).

    Args:
        vae: The autoencoder.
        frames: (B, F, 3, S, S) uint8, or their cached latents (B, F, 4, h, w).

    Returns:
        (B, 4, F, h, w) float32.
    """
    if frames.is_floating_point():
        return frames.transpose(1, 2)
    encoded = encode_latents(vae, to_signed(frames).flatten(0, 1), CHUNK)[0]
    return encoded.unflatten(1, frames.shape[:2]).transpose(0, 1)
