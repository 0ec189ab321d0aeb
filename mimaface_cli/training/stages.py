"""The paper's two stages: images first (UNet, condition tokens, appearance encoder), then clips (motion modules and W_cond)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mimaface_cli.engines.diffusion import small_checkpoint
from mimaface_cli.engines.diffusion.latents import encode_latents
from mimaface_cli.engines.diffusion.pipeline import DiffusionNetworks
from mimaface_cli.engines.diffusion.samplers import compute_training_sigmas
from mimaface_cli.errors import InputError
from mimaface_cli.training.augment import photometric
from mimaface_cli.training.autoencoder import fit_autoencoder, load_autoencoder
from mimaface_cli.training.config import Config, Image, Video
from mimaface_cli.training.initialization import load_sd_vae, rebuild, start_image, start_video
from mimaface_cli.training.latent_cache import encode_footage
from mimaface_cli.training.loop import Report, Run, read_result
from mimaface_cli.training.losses import MemoryBank, denoising_loss, identity_loss, prediction_target
from mimaface_cli.training.release_export import write_release
from mimaface_cli.training.samples import (
    Footage,
    ImageSamples,
    VideoSamples,
    autoencoder_batches,
    load_samples,
    read_footage,
    to_range,
)
from mimaface_cli.training.trainables import CONDITION, Denoiser
from mimaface_cli.training.validation import Validator, keep_people, split_people
from mimaface_cli.weights.small_model import ModelCard

MODEL = "model"  # folder, in a run's output, of what the diffusion engine takes
CHUNK = 16  # pictures that the autoencoder takes at once


def train_image(config: Config, report: Report = lambda stage, done, total: None) -> Path:
    """Stage 1; returns the folder of its checkpoints. A run that was stopped goes on.

    Raises InputError, OutputError, WeightsError (see `Run.train`, `read_footage`, `start_image`).
    """
    stage = config.image
    footage, held = split_people(config, read_footage(config))
    if stage.identity_weight and footage.people < 2:
        raise InputError(
            f"{config.data}: shows one identity, so the identity loss has no negatives; set identity_weight = 0"
        )
    network = start_image(config, footage.features)
    network.clip.requires_grad_(True)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("post_layernorm" not in name)  # the last layer's tokens are taken without it
    _save_memory(network, config)
    bank = MemoryBank(stage.bank, network.clip.config.hidden_size) if stage.identity_weight and stage.bank else None
    groups = [{"params": [p for p in network.parameters() if p.requires_grad]}]
    run = Run("image", config, stage.optimizer, network, groups, bank, report)
    if bank is not None:
        bank.tokens, bank.person = bank.tokens.to(run.device), bank.person.to(run.device)
    vae = _autoencoder(config, footage, run)
    alphas = _alphas(run.device)
    waiting: list[tuple[Tensor, Tensor]] = []

    def losses(network: Denoiser, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        generator = _generator(config, batch, run)
        target, render = (_latents(vae, batch[name]) for name in ("target", "render"))
        photo = to_range(batch["photo"])
        shown = _drawn(len(photo), stage.clean_condition, generator, run.device)[:, None, None, None, None]
        conditions = torch.cat([render, target * shown, torch.ones_like(target[:, :1]) * shown], 1)
        views = [photo]
        if stage.identity_weight:
            views += [photometric(photo, generator), to_range(batch["other"])]
        shared = batch, alphas, stage, config.model.prediction, generator
        denoise, tokens = _denoise(network, target, conditions, torch.stack(views), *shared)
        if not stage.identity_weight:
            return {"denoise": denoise}
        identity = identity_loss(tokens[0], tokens[1:], batch["person"], bank, stage.temperature)
        found = {"denoise": denoise, "identity": stage.identity_weight * identity}
        if bank is None:
            return found
        waiting.append((run.accelerator.gather(tokens[0].detach()), run.accelerator.gather(batch["person"])))
        if run.accelerator.sync_gradients:  # by whole steps, however they are shared out
            bank.add(*(torch.cat(parts) for parts in zip(*waiting)))
            waiting.clear()
        return found

    samples = ImageSamples(footage, config.seed)
    _cache(samples, vae, config, run)
    _watch(run, config, held, 1, vae, alphas)
    run.train(lambda run: _batches(samples, config, run), losses)
    return run.folder


def train_video(config: Config, report: Report = lambda stage, done, total: None) -> Path:
    """Stage 2, from stage 1's moving average; returns the folder of the finished model. A run that was stopped goes on.

    Raises InputError, OutputError, WeightsError (see `Run.train`, `read_footage`, `start_video`).
    """
    stage = config.video
    footage, held = split_people(config, read_footage(config))
    samples = VideoSamples(footage, config.seed, stage)
    network = start_video(config, read_result(Path(config.output), "image")).requires_grad_(False)
    if network.unet.max_frames is not None and stage.clip > network.unet.max_frames:
        raise InputError(f"video.clip: is {stage.clip}, this model's positions reach {network.unet.max_frames}")
    groups = _trained_on_clips(network, stage)
    _save_memory(network, config)
    run = Run("video", config, stage.optimizer, network, groups, None, report)
    vae = _autoencoder(config, footage, run)
    alphas = _alphas(run.device)

    def losses(network: Denoiser, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        generator = _generator(config, batch, run)
        target, render = (_latents(vae, batch[name]) for name in ("target", "render"))
        frames = torch.arange(stage.clip, device=run.device)
        known = (frames < batch["known"][:, None]).float()[:, None, :, None, None]  # equation 3
        noise = torch.randn(target.shape, generator=generator, device=run.device)
        carried = (target + stage.known_noise * noise) * known  # equation 4
        conditions = torch.cat([render, carried, torch.ones_like(target[:, :1]) * known], 1)
        photo = to_range(batch["photo"])[None]
        shared = batch, alphas, stage, config.model.prediction, generator
        return {"denoise": _denoise(network, target, conditions, photo, *shared)[0]}

    _cache(samples, vae, config, run)
    _watch(run, config, held, stage.clip, vae, alphas)
    run.train(lambda run: _batches(samples, config, run), losses)
    if run.accelerator.is_main_process:
        _export(config, footage, vae)
    return Path(config.output) / MODEL


def _trained_on_clips(network: Denoiser, stage: Video) -> list[dict[str, Any]]:
    """The optimizer's groups of stage 2; all else stays frozen. Raises InputError where the encoder has fewer layers."""
    layers = getattr(network.clip, "vision_model", network.clip).encoder.layers  # transformers 5 has one level less
    if stage.clip_layers > len(layers):
        raise InputError(f"video.clip_layers: is {stage.clip_layers}, the appearance encoder has {len(layers)}")
    trained = [p for name, p in network.unet.named_parameters() if "motion_modules." in name]
    trained += [p for layer in layers[len(layers) - stage.clip_layers :] for p in layer.parameters()]
    trained += network.mia.parameters() if stage.train_tokens else []
    trained += [network.unet.conv_in.bias] if stage.whole_input else []
    conditioning = network.unet.conv_in.weight
    for parameter in (*trained, conditioning):
        parameter.requires_grad_(True)
    if stage.whole_input:
        return [{"params": [*trained, conditioning]}]
    network.train_partly("unet.conv_in.weight", _only_conditioning)
    # Decay would wear away the frozen part of the convolution.
    return [{"params": trained}, {"params": [conditioning], "weight_decay": 0.0}]


def _watch(run: Run, config: Config, held: Footage, length: int, vae: AutoencoderKL, alphas: Tensor) -> None:
    """Have the run look at the people left out, and remember who they are."""
    if run.accelerator.is_main_process:
        keep_people(config, held)
    if config.validation.every and held.clips:
        run.validator = Validator(config, held, length, vae, alphas, run.accelerator.autocast)


def _denoise(
    network: Denoiser,
    target: Tensor,
    conditions: Tensor,
    photos: Tensor,
    batch: dict[str, Tensor],
    alphas: Tensor,
    stage: Image | Video,
    prediction: str,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """The denoiser's loss on latents (B, 4, F, h, w), one timestep a clip, and the views' ID tokens."""
    count, device = len(target), target.device
    timestep = torch.randint(len(alphas), (count,), generator=generator, device=device)
    noise = torch.randn(target.shape, generator=generator, device=device)
    level = alphas[timestep][:, None, None, None, None]
    noisy = level.sqrt() * target + (1 - level).sqrt() * noise
    keep = 1 - _drawn(count, stage.token_dropout, generator, device)
    predicted, tokens = network(noisy, conditions, timestep, photos, batch["motion"], keep, batch.get("identity"))
    wanted = prediction_target(prediction, target, noise, alphas[timestep])
    return denoising_loss(predicted, wanted, alphas[timestep], stage.min_snr or None, prediction), tokens


def _batches(samples: ImageSamples | VideoSamples, config: Config, run: Run) -> Iterator[dict[str, Tensor]]:
    accelerator, optimizer = run.accelerator, run.optimizer
    place = accelerator.num_processes, accelerator.process_index
    return load_samples(samples, run.step, optimizer.steps, optimizer.batch, run.micro, *place, config.workers)


def _cache(samples: ImageSamples | VideoSamples, vae: AutoencoderKL, config: Config, run: Run) -> None:
    """Latents in place of pictures, where the config wants them encoded once."""
    if config.cache_latents:
        with run.accelerator.main_process_first():
            samples.latents = encode_footage(vae, samples.footage, Path(config.data), run.report)


def _generator(config: Config, batch: dict[str, Tensor], run: Run) -> torch.Generator:
    """The randomness of these samples alone, whichever process meets them after however many stops."""
    return torch.Generator(run.device).manual_seed(config.seed * 1_000_003 + int(batch["number"][0]))


def _drawn(count: int, share: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """(count,): 1 for a random share, else 0."""
    return (torch.rand(count, generator=generator, device=device) < share).float()


def _alphas(device: torch.device) -> Tensor:
    """Stable Diffusion's cumulative products at each timestep."""
    return 1 / (1 + torch.from_numpy(compute_training_sigmas()).to(device) ** 2)


@torch.no_grad()
def _latents(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Pictures (B, F, 3, S, S) uint8 to scaled latents (B, 4, F, h, w), the distribution's mode, in float32; what is
    latents already, (B, F, 4, h, w), only takes that order.
    """
    if pictures.is_floating_point():
        return pictures.transpose(1, 2)
    found = encode_latents(vae, to_range(pictures).flatten(0, 1), CHUNK)[0]
    return found.unflatten(1, pictures.shape[:2]).transpose(0, 1)


def _only_conditioning(gradient: Tensor) -> Tensor:
    """The gradient of conv_in's weight for the channels that are W_cond (paper, section 3.3)."""
    kept = torch.zeros_like(gradient)
    kept[:, CONDITION:] = gradient[:, CONDITION:]
    return kept


def _save_memory(network: Denoiser, config: Config) -> None:
    if config.gradient_checkpointing and torch.cuda.is_available():
        network.unet.gradient_checkpointing = True
        network.clip.gradient_checkpointing_enable({"use_reentrant": False})


def _autoencoder(config: Config, footage: Footage, run: Run) -> AutoencoderKL:
    """Stable Diffusion's, or the run's own, which is trained first; on the run's device."""
    if config.model.start == "sd15":
        return load_sd_vae().float().to(run.device)
    folder, settings = Path(config.output) / "vae", config.model.autoencoder
    if run.accelerator.is_main_process and not (folder / "model.safetensors").exists():
        tell = lambda done, total, figures: run.report("autoencoder", done, total)  # noqa: E731
        stream = autoencoder_batches(footage, config.seed, settings.batch)
        fit_autoencoder(stream, config.size, settings, folder, device=str(run.device), report=tell)
    run.accelerator.wait_for_everyone()
    return load_autoencoder(folder).to(run.device)


def _export(config: Config, footage: Footage, vae: AutoencoderKL) -> None:
    """The finished model as the diffusion engine takes it: a mini's folder (face478), or the release's layout (bfm09)."""
    made = read_result(Path(config.output), "video")
    network = rebuild(made).eval().requires_grad_(False)
    folder = Path(config.output) / MODEL
    if config.space == "bfm09":
        write_release(folder, network)
        return
    length, carried = config.video.clip, config.video.most_known or config.video.clip // 4
    settings = {"length": length, "overlap": 0 if config.video.none_known == 1 else carried}
    if config.model.start == "scratch":  # small enough to need no more
        settings |= {"sampler": "dpm++", "steps": 20, "guidance": 2.0}
    steps = {"image": config.image.optimizer.steps, "video": config.video.optimizer.steps}
    about = {
        "data": config.about or "not stated",
        "clips": len(footage.clips),
        "people": footage.people,
        "steps": steps,
    }
    card = ModelCard("own model", config.size, footage.condition, settings=settings, about=about)
    networks = DiffusionNetworks(network.unet, network.mia, vae.cpu(), config.model.prediction)
    small_checkpoint.save_small_model(folder, networks, made.unet_config, network.clip, card)
