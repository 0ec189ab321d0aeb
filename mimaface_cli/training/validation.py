"""Validation: generate clips of people that are held out of training, and measure them.

Training is not affected: validation has its own random generators, computes no gradients, and gets the moving
average as weights.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mimaface_cli.engines.diffusion import ica, latents
from mimaface_cli.engines.diffusion.denoise import ClipConditions, denoise
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.samplers import create_sampler
from mimaface_cli.evaluation.functional.image_quality import psnr, ssim
from mimaface_cli.evaluation.networks import pretrained
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.losses import denoising_loss, prediction_target
from mimaface_cli.training.shard_reader import StoredClip
from mimaface_cli.training.training_data import TrainingData, to_signed, token_inputs
from mimaface_cli.training.validation_log import ValidationResult, render_sheet

TIMESTEPS = (100, 300, 500, 700, 900)
"""Timesteps at which the denoising loss is measured."""
SHEET_FRAMES = 3
"""Frames per clip on the contact sheet; stage 1 generates only these."""

Figures = dict[str, list[float]]
SheetRow = tuple[np.ndarray, ...]


class Validator:
    """Validation of a network on fixed clips of held-out people.

    The noise is the same at every step.

    Args:
        config: The run's configuration.
        held_out: The clips of the held-out people.
        length: Frames that the network denoises at once, 1 in stage 1.
        vae: The autoencoder.
        alphas: The schedule's cumulative products at each timestep.
        context: Context in which the network runs during training, such as autocast.
    """

    def __init__(
        self,
        config: TrainingConfig,
        held_out: TrainingData,
        length: int,
        vae: AutoencoderKL,
        alphas: Tensor,
        context: Callable[[], AbstractContextManager],
    ) -> None:
        validation, video, self.prediction = config.validation, config.video, config.model.prediction
        self.vae, self.alphas, self.context, self.every = vae, alphas, context, validation.every
        self.clips = _choose_clips(held_out, validation.clips, config.seed)
        self.identity_features = held_out.identity_features
        self.is_image_stage = length == 1
        has_conditioning = not self.is_image_stage and video.none_known < 1
        overlap = (video.most_known or length // 4) if has_conditioning else 0
        self.settings = DenoiseSettings(
            length=SHEET_FRAMES if self.is_image_stage else length,
            overlap=overlap,
            sampler="dpm++",
            steps=validation.steps,
            guidance=validation.guidance,
            seed=config.seed,
        )

    def is_due(self, step: int, last_step: int) -> bool:
        """Return whether a step is followed by a validation."""
        return bool(self.clips) and (step % self.every == 0 or step == last_step)

    @torch.no_grad()
    def validate(self, network: Denoiser, step: int) -> ValidationResult:
        """Generate and measure the clips.

        Afterwards the network's modules are in their previous modes.
        """
        modes = [(module, module.training) for module in network.modules()]
        network.eval()
        try:
            results = [self._validate_clip(network, clip) for clip in self.clips]
        finally:
            for module, mode in modes:
                module.training = mode
        names = results[0][0]
        figures = {
            name: float(np.mean([value for clip_figures, _ in results for value in clip_figures[name]]))
            for name in names
        }
        return ValidationResult(step, figures, render_sheet([row for _, rows in results for row in rows]))

    def _validate_clip(self, network: Denoiser, clip: StoredClip) -> tuple[Figures, list[SheetRow]]:
        """Return the figures of a clip's frames, and some of the frames as rows of the contact sheet."""
        device, length = self.vae.device, self.settings.length
        numbers = self._frame_numbers(clip.count)
        photo, truths, renders = clip.photo(), [clip.frame(k) for k in numbers], [clip.render(k) for k in numbers]
        target, render = (latents.encode_latents(self.vae, _image_batch(images)) for images in (truths, renders))
        photo_batch = _image_batch([photo]).to(device)
        inputs = token_inputs(clip, numbers, self.identity_features)
        inputs = {key: value[None].to(device) for key, value in inputs.items()}
        with self.context():
            loss = self._denoising_loss(network, target[:, :, :length], render[:, :, :length], photo_batch, **inputs)
            generated = self._generate(network, render, photo_batch, **inputs)
        results = list(latents.decode_latents(self.vae, generated.float()))
        figures = {"denoise": [loss], **_measure_frames(results, truths)}
        chosen = np.linspace(0, len(numbers) - 1, SHEET_FRAMES).round().astype(int)
        return figures, [(photo, renders[k], truths[k], results[k]) for k in chosen]

    def _frame_numbers(self, count: int) -> list[int]:
        """Return the frames to generate of a clip of `count` frames."""
        length = self.settings.length
        if self.is_image_stage:
            return np.linspace(0, count - 1, length).round().astype(int).tolist()
        # Two overlapping clips of the engine, or fewer frames if the clip is shorter.
        return list(range(min(count, 2 * length - self.settings.overlap)))

    def _denoising_loss(
        self,
        network: Denoiser,
        target: Tensor,
        render: Tensor,
        photo: Tensor,
        motion: Tensor,
        identity: Tensor | None = None,
    ) -> float:
        """Return the mean squared error of the prediction over TIMESTEPS, without conditioning frames.

        Args:
            network: The network.
            target: (1, 4, F, h, w) clean latents.
            render: (1, 4, F, h, w) latents of the renders.
            photo: (1, 3, S, S) in [-1, 1].
            motion: (1, N, ...) with N >= F, as for `Denoiser.compute_tokens`.
            identity: As for `Denoiser.compute_tokens`.
        """
        frames, height, width = target.shape[2:]
        motion = motion[:, :frames]
        noise = ica.sample_noise(frames, height, width, seed=self.settings.seed + 1).to(target)
        conditions = torch.cat([render, ica.build_ica_channels(None, frames, render)], 1)
        total = 0.0
        for number in TIMESTEPS:
            alpha, timestep = self.alphas[number], torch.tensor([number], device=target.device)
            noisy = alpha.sqrt() * target + (1 - alpha).sqrt() * noise
            keep = torch.ones_like(alpha)[None]
            predicted, _ = network(noisy, conditions, timestep, photo[None], motion, keep, identity)
            expected = prediction_target(self.prediction, target, noise, alpha[None])
            total += float(denoising_loss(predicted, expected, alpha[None]))
        return total / len(TIMESTEPS)

    def _generate(
        self, network: Denoiser, render: Tensor, photo: Tensor, motion: Tensor, identity: Tensor | None = None
    ) -> Tensor:
        """Return the latents (1, 4, N, h, w) of a whole clip, generated with ICA, as in the engine."""
        settings, parts = self.settings, []
        final: Tensor | None = None
        appearance = network.encode_appearance(photo)
        for clip in ica.plan_clips(render.shape[2], settings.length, settings.overlap):
            frames = list(clip.frames)
            carried = final[:, :, -clip.carried :] if final is not None and clip.carried else None
            clip_render, tokens = render[:, :, frames], network.compute_tokens(appearance, motion[:, frames], identity)
            height, width = render.shape[-2:]
            noise = ica.sample_noise(settings.length, height, width, seed=settings.seed)
            condition = ica.build_ica_channels(carried, settings.length, clip_render)
            conditions = ClipConditions(clip_render, condition, tokens)
            sampler = create_sampler(settings, self.prediction)
            *_, final = denoise(network.unet, sampler, noise, conditions, settings)
            parts.append(final[:, :, clip.new])
        return torch.cat(parts, 2)


def _measure_frames(results: list[np.ndarray], truths: list[np.ndarray]) -> Figures:
    """Return PSNR, SSIM and, if its network is installed, LPIPS of each frame."""
    pairs = list(zip(results, truths, strict=True))
    figures = {
        "psnr": [psnr(result, truth) for result, truth in pairs],
        "ssim": [ssim(result, truth) for result, truth in pairs],
    }
    if pretrained.missing_weights("lpips") is None:
        from mimaface_cli.evaluation.networks.lpips import lpips_distance

        model = pretrained.load_network("lpips")
        figures["lpips"] = [lpips_distance(model, result, truth) for result, truth in pairs]
    return figures


def _choose_clips(held_out: TrainingData, count: int, seed: int) -> list[StoredClip]:
    """Choose clips of as many people as possible. The seed determines the choice."""
    order = np.random.default_rng((seed, 3)).permutation(len(held_out.clips)).tolist()
    clip_counts: Counter[int] = Counter()
    ranks = []  # The first clip of each person comes first, then the second of each, and so on.
    for index in order:
        ranks.append(clip_counts[held_out.person[index]])
        clip_counts[held_out.person[index]] += 1
    ranked = sorted(zip(ranks, order, strict=True), key=lambda pair: pair[0])
    return [held_out.clips[index] for _, index in ranked][:count]


def _image_batch(images: list[np.ndarray]) -> Tensor:
    """Convert images (S, S, 3) uint8 to a batch (F, 3, S, S) in [-1, 1]."""
    return to_signed(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))
