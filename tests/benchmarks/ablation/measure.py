"""Measurements of the ablation: images with other people's motion, retrieval by ID tokens, and borders of clips.

For rendered people, a true image exists for every combination of source and motion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mimaface_cli.builders.rendered_people.appearance import make_person
from mimaface_cli.builders.rendered_people.scene import make_scene, render_person
from mimaface_cli.engines.diffusion import ica
from mimaface_cli.engines.diffusion.denoise import ClipConditions, denoise
from mimaface_cli.engines.diffusion.denoise_settings import DenoiseSettings
from mimaface_cli.engines.diffusion.latents import decode_latents, encode_latents
from mimaface_cli.engines.diffusion.samplers import compute_training_sigmas, create_sampler
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.head_mesh import render_coefficients
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.losses import prediction_target
from tests.benchmarks.ablation.estimators import (
    IdentityEncoder,
    MotionEstimator,
    encode_identity,
    estimate_motion,
    make_label,
    split_groups,
    to_tensor,
)
from tests.benchmarks.ablation.people import RENDER_SIZE, Clips, crop_images

SETTINGS = DenoiseSettings(length=1, overlap=0, sampler="dpm++", steps=12, guidance=1.5)
TIMESTEPS = (100, 300, 500, 700, 900)  # at which the training objective is measured
MOTION_GROUPS = ("expression", "pose", "gaze")


@dataclass(frozen=True)
class Pairs:
    """P pairs of one person's source and another person's motion.

    Attributes:
        source: P×S×S×3 uint8, photos.
        truth: P×S×S×3 uint8, the true images.
        render: P×S×S×3 uint8, renders of the coefficients.
        motion: P×74.
        labels: P×sum(GROUPS), true values of the motion estimator's groups.
        person: P seeds.
    """

    source: np.ndarray
    truth: np.ndarray
    render: np.ndarray
    motion: np.ndarray
    labels: np.ndarray
    person: np.ndarray


def make_pairs(model: Face478, clips: Clips, count: int) -> Pairs:
    """Pair every clip's source with `count` frames of other clips."""
    rows: list[tuple] = []
    for k, (seed, take) in enumerate(clips.seeds):
        person, scene = make_person(model, seed), make_scene(seed * 1009 + take)
        for j in range(count):
            other = (k + 2 + 5 * j) % len(clips)
            motion = clips.motion[other, (7 * j + 3) % clips.length].astype(np.float64)
            pose, expression, gaze = motion[:6], motion[6:70], motion[70:]
            truth = render_person(model, person, scene, expression, pose, gaze, RENDER_SIZE)
            render = render_coefficients(
                model, person.identity, person.texture, scene.illumination, expression, pose, RENDER_SIZE
            )
            label = make_label(expression, pose, gaze, truth.points)
            rows.append((clips.sources[k], crop_images(truth.image), crop_images(render), motion, label, seed))
    return Pairs(*(np.stack(column) for column in zip(*rows, strict=True)))


class VideoGenerator:
    """Generates videos with a trained network, clip by clip as the engine does.

    Every clip starts from the same noise; the last latents of each are carried to the next.

    Args:
        network: The network under test.
        vae: The autoencoder of all variants.
        prediction: What the network predicts: "epsilon" or "v".
    """

    def __init__(self, network: Denoiser, vae: AutoencoderKL, prediction: str):
        self.network, self.vae, self.prediction = network, vae, prediction

    @torch.no_grad()
    def generate(
        self,
        source: np.ndarray,
        renders: np.ndarray,
        motion: np.ndarray,
        settings: DenoiseSettings = SETTINGS,
        batch: int = 32,
    ) -> np.ndarray:
        """Generate videos.

        Args:
            source: B×S×S×3 uint8, photos.
            renders: B×N×S×S×3 uint8.
            motion: B×N×74.
            settings: Sampler and clip length.
            batch: Videos to generate at once.

        Returns:
            B×N×S×S×3 uint8.
        """
        videos = []
        for start in range(0, len(source), batch):
            part = slice(start, start + batch)
            latents = self._generate_latents(source[part], renders[part], motion[part], settings)
            videos += [np.stack(list(decode_latents(self.vae, row[None], 16))) for row in latents]
        return np.stack(videos)

    def _generate_latents(
        self, source: np.ndarray, renders: np.ndarray, motion: np.ndarray, settings: DenoiseSettings
    ) -> Tensor:
        appearance = self.network.encode_appearance(to_tensor(source))
        parts: list[Tensor] = []
        latents: Tensor | None = None
        for clip in ica.plan_clips(renders.shape[1], settings.length, settings.overlap):
            frames = list(clip.frames)
            render_latents = encode_images(self.vae, renders[:, frames])
            tokens = self.network.compute_tokens(appearance, torch.from_numpy(motion[:, frames]).float())
            carried = latents[:, :, -clip.carried :] if clip.carried else None
            noise = ica.sample_noise(settings.length, *render_latents.shape[-2:], seed=settings.seed)
            noise = noise.expand_as(render_latents)
            channels = ica.build_ica_channels(carried, settings.length, render_latents)
            conditions = ClipConditions(render_latents, channels, tokens)
            sampler = create_sampler(settings, self.prediction)
            *_, latents = denoise(self.network.unet, sampler, noise, conditions, settings, batched=False)
            parts.append(latents[:, :, clip.new])
        return torch.cat(parts, 2)


def encode_images(vae: AutoencoderKL, images: np.ndarray) -> Tensor:
    """Encode B×N×S×S×3 uint8 images to latents (B, 4, N, S/8, S/8)."""
    latents = encode_latents(vae, to_tensor(images).flatten(0, 1), 32)[0]
    return latents.unflatten(1, images.shape[:2]).transpose(0, 1)


def measure_images(
    motion_estimator: MotionEstimator, identity_encoder: IdentityEncoder, pairs: Pairs, images: np.ndarray
) -> dict[str, float]:
    """Measure P images of the pairs: mean motion and landmark errors, identity similarity to the source, PSNR."""
    estimates, truth = estimate_motion(motion_estimator, images), split_groups(pairs.labels)
    figures = measure_motion_errors(estimates, truth)
    points = (estimates["points"] - truth["points"]).reshape(len(images), -1, 2) * images.shape[1]
    figures["landmarks_px"] = float(np.linalg.norm(points, axis=2).mean())
    similarity = encode_identity(identity_encoder, images) * encode_identity(identity_encoder, pairs.source)
    figures["identity"] = float(similarity.sum(1).mean())
    error = ((images.astype(np.float32) - pairs.truth) ** 2).mean((1, 2, 3))
    figures["psnr"] = float((10 * np.log10(255**2 / np.maximum(error, 1e-4))).mean())
    return figures


def measure_motion_errors(estimates: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the mean distance of estimated and true expression, pose and gaze."""
    return {name: float(np.linalg.norm(estimates[name] - truth[name], axis=1).mean()) for name in MOTION_GROUPS}


def measure_limits(
    motion_estimator: MotionEstimator, identity_encoder: IdentityEncoder, vae: AutoencoderKL, pairs: Pairs
) -> dict[str, dict[str, float]]:
    """Measure the limits of the figures.

    Returns:
        "true_image": the true images, that is the estimators' own errors. "autoencoder": the same after the
        autoencoder. "source": the source without motion. "mean_guess": an estimator that always returns the mean.
        "other_person": identity similarity to another person.
    """
    decoded = np.stack([next(decode_latents(vae, encode_images(vae, image[None, None]))) for image in pairs.truth])
    limits = {
        name: measure_images(motion_estimator, identity_encoder, pairs, images)
        for name, images in (("true_image", pairs.truth), ("autoencoder", decoded), ("source", pairs.source))
    }
    mean = split_groups(motion_estimator.mean.numpy())
    limits["mean_guess"] = measure_motion_errors(mean, split_groups(pairs.labels))
    identity = encode_identity(identity_encoder, pairs.truth)
    is_other = pairs.person[:, None] != pairs.person[None]
    limits["other_person"] = {"identity": float((identity @ identity.T)[is_other].mean())}
    return limits


@torch.no_grad()
def measure_retrieval(network: Denoiser, clips: Clips) -> dict[str, float]:
    """Return the top-1 accuracy of ID tokens: frames of each person's one take look up the source of the other."""
    person, take = np.array(clips.seeds).T

    def compute_id_tokens(images: np.ndarray) -> Tensor:
        tokens = torch.cat([network.encode_appearance(part)[:, 0] for part in to_tensor(images).split(64)])
        return torch.nn.functional.normalize(tokens, dim=1)

    gallery = compute_id_tokens(clips.sources[take == 1])
    frames = clips.frames[take == 0][:, ::6]
    nearest = (compute_id_tokens(frames.reshape(-1, *frames.shape[2:])) @ gallery.T).argmax(1).numpy()
    expected = np.repeat(person[take == 0], frames.shape[1])
    return {"top1": float((person[take == 1][nearest] == expected).mean()), "chance": 1 / int((take == 1).sum())}


@torch.no_grad()
def measure_noise_error(
    network: Denoiser, vae: AutoencoderKL, prediction: str, clips: Clips, timesteps: Sequence[int] = TIMESTEPS
) -> dict[str, float]:
    """Measure the training objective on held-out people: mean squared error of the prediction, by timestep.

    The noise is the same for every network. The error shows what a network has learned long before its images are
    good.
    """
    index = np.arange(len(clips)), np.arange(len(clips)) * 7 % clips.length
    latents, render_latents = (encode_images(vae, part[index][:, None]) for part in (clips.frames, clips.renders))
    appearance = network.encode_appearance(to_tensor(clips.sources))
    tokens = network.compute_tokens(appearance, torch.from_numpy(clips.motion[index][:, None]))
    alphas = 1 / (1 + torch.from_numpy(compute_training_sigmas()) ** 2)
    figures = {}
    for timestep in timesteps:
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(timestep))
        noisy = alphas[timestep].sqrt() * latents + (1 - alphas[timestep]).sqrt() * noise
        sample = torch.cat([noisy, render_latents, ica.build_ica_channels(None, 1, latents)], 1)
        target = prediction_target(prediction, latents, noise, alphas[timestep].expand(len(latents)))
        error = (network.unet(sample, float(timestep), tokens) - target).square().mean()
        figures[f"noise_error_{timestep}"] = float(error)
    figures["noise_error"] = float(np.mean(list(figures.values())))
    return figures
