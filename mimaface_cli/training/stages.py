"""The paper's two stages.

Stage 1 trains the UNet, the condition tokens and the appearance encoder on single frames. Stage 2 trains the motion
modules and W_cond on clips.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from mimaface_cli.errors import InputError
from mimaface_cli.progress import ProgressCallback, ignore_progress
from mimaface_cli.training.augmentation import augment_photometric
from mimaface_cli.training.autoencoder import load_autoencoder, train_autoencoder
from mimaface_cli.training.config import ImageStageConfig, TrainingConfig, VideoStageConfig
from mimaface_cli.training.denoiser import CONDITIONING_START, Denoiser
from mimaface_cli.training.held_out_people import record_held_out, split_held_out
from mimaface_cli.training.initialization import initialize_image_stage, initialize_video_stage, load_sd_vae
from mimaface_cli.training.latent_cache import cache_latents
from mimaface_cli.training.loop import Batch, Losses, TrainingRun, report_full_memory
from mimaface_cli.training.losses import MemoryBank, identity_loss
from mimaface_cli.training.model_export import MODEL, export_model
from mimaface_cli.training.objective import (
    DenoisingObjective,
    compute_alphas,
    create_generator,
    encode_frames,
    sample_mask,
)
from mimaface_cli.training.run_checkpoints import read_stage_result
from mimaface_cli.training.samples import ImageSamples, SampleShare, VideoSamples, autoencoder_batches, load_batches
from mimaface_cli.training.training_data import TrainingData, load_training_data, to_signed
from mimaface_cli.training.validation import Validator


def train_image(config: TrainingConfig, progress: ProgressCallback = ignore_progress) -> Path:
    """Train stage 1, resuming at its last checkpoint if there is one.

    Args:
        config: The run's configuration.
        progress: Called with the stages "autoencoder", "latents" and "image".

    Returns:
        The folder of the checkpoints.

    Raises:
        InputError: The data or the configuration cannot be used, memory ran out, or a loss is NaN or Inf.
        WeightsError: Initial weights are not installed, or a checkpoint does not match the configured model.
        OutputError: The output cannot be written.
    """
    stage = config.image
    data, held_out = split_held_out(config, load_training_data(config))
    if stage.identity_weight and data.people < 2:
        raise InputError(
            f"{config.data}: shows one person, so the identity loss has no negatives. Set [image] identity_weight = 0."
        )
    network = initialize_image_stage(config, data.identity_features)
    network.clip.requires_grad_(True)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("post_layernorm" not in name)  # Appearance tokens come before this layer.
    _enable_gradient_checkpointing(network, config)
    bank = None
    if stage.identity_weight and stage.bank:
        bank = MemoryBank(stage.bank, network.clip.config.hidden_size)
    groups = [{"params": [parameter for parameter in network.parameters() if parameter.requires_grad]}]
    run = TrainingRun("image", config, stage.optimizer, network, groups, bank, progress)
    if bank is not None:
        bank.to(run.device)
    vae, objective = _prepare_autoencoder(config, data, run), _create_objective(config, stage, run)
    samples = ImageSamples(data, config.seed)
    _attach_latent_cache(samples, vae, run)
    _attach_validator(run, held_out, 1, vae, objective.alphas)
    run.train(lambda run: _load_stage_batches(samples, run), _ImageLosses(run, vae, objective))
    return run.folder


def train_video(config: TrainingConfig, progress: ProgressCallback = ignore_progress) -> Path:
    """Train stage 2 and export the model.

    Training starts from stage 1's moving average, or resumes at the last checkpoint of stage 2.

    Args:
        config: The run's configuration.
        progress: Called with the stages "latents" and "video".

    Returns:
        The folder of the finished model.

    Raises:
        InputError: As for `train_image`, or stage 1 has no checkpoint.
        WeightsError: As for `train_image`.
        OutputError: As for `train_image`.
    """
    stage = config.video
    data, held_out = split_held_out(config, load_training_data(config))
    samples = VideoSamples(data, config.seed, stage)
    network = initialize_video_stage(config, read_stage_result(Path(config.output), "image")).requires_grad_(False)
    if network.unet.max_frames is not None and stage.clip > network.unet.max_frames:
        raise InputError(
            f"video.clip: is {stage.clip}, but this model has positions for {network.unet.max_frames} frames. Lower it."
        )
    groups = _unfreeze_video_parameters(network, stage)
    _enable_gradient_checkpointing(network, config)
    run = TrainingRun("video", config, stage.optimizer, network, groups, None, progress)
    vae, objective = _prepare_autoencoder(config, data, run), _create_objective(config, stage, run)
    _attach_latent_cache(samples, vae, run)
    _attach_validator(run, held_out, stage.clip, vae, objective.alphas)
    run.train(lambda run: _load_stage_batches(samples, run), _VideoLosses(run, vae, objective))
    if run.accelerator.is_main_process:
        export_model(config, data, vae)
    return Path(config.output) / MODEL


class _ImageLosses:
    """The losses of stage 1: denoising, and the identity contrastive loss."""

    def __init__(self, run: TrainingRun, vae: AutoencoderKL, objective: DenoisingObjective) -> None:
        self.run, self.vae, self.objective = run, vae, objective
        self.stage = run.config.image
        self.new_tokens: list[tuple[Tensor, Tensor]] = []  # ID tokens and people of this step's micro-batches.

    def __call__(self, network: nn.Module, batch: Batch) -> Losses:
        stage, device = self.stage, self.run.device
        generator = create_generator(self.run.config.seed, batch, device)
        target, render = (encode_frames(self.vae, batch[name]) for name in ("target", "render"))
        photo = to_signed(batch["photo"])
        is_clean = sample_mask(len(photo), stage.clean_condition, generator, device)[:, None, None, None, None]
        conditions = torch.cat([render, target * is_clean, torch.ones_like(target[:, :1]) * is_clean], 1)
        views = [photo]
        if stage.identity_weight:
            views += [augment_photometric(photo, generator), to_signed(batch["other"])]
        denoising, tokens = self.objective.compute(network, target, conditions, torch.stack(views), batch, generator)
        if not stage.identity_weight:
            return {"denoise": denoising}
        bank = self.run.bank
        identity = identity_loss(tokens[0], tokens[1:], batch["person"], bank, stage.temperature)
        if bank is not None:
            self._add_to_bank(bank, tokens[0].detach(), batch["person"])
        return {"denoise": denoising, "identity": stage.identity_weight * identity}

    def _add_to_bank(self, bank: MemoryBank, tokens: Tensor, person: Tensor) -> None:
        """Add the ID tokens of all processes, once per step, so that the bank does not depend on the micro-batches."""
        accelerator = self.run.accelerator
        self.new_tokens.append((accelerator.gather(tokens), accelerator.gather(person)))
        if accelerator.sync_gradients:
            bank.add(*(torch.cat(parts) for parts in zip(*self.new_tokens, strict=True)))
            self.new_tokens.clear()


class _VideoLosses:
    """The loss of stage 2: denoising of clips, with or without conditioning frames at the start."""

    def __init__(self, run: TrainingRun, vae: AutoencoderKL, objective: DenoisingObjective) -> None:
        self.run, self.vae, self.objective = run, vae, objective
        self.stage = run.config.video

    def __call__(self, network: nn.Module, batch: Batch) -> Losses:
        stage, device = self.stage, self.run.device
        generator = create_generator(self.run.config.seed, batch, device)
        target, render = (encode_frames(self.vae, batch[name]) for name in ("target", "render"))
        frames = torch.arange(stage.clip, device=device)
        is_known = (frames < batch["known"][:, None]).float()[:, None, :, None, None]  # Paper, equation 3.
        noise = torch.randn(target.shape, generator=generator, device=device)
        conditioning = (target + stage.known_noise * noise) * is_known  # Paper, equation 4.
        conditions = torch.cat([render, conditioning, torch.ones_like(target[:, :1]) * is_known], 1)
        photo = to_signed(batch["photo"])[None]
        return {"denoise": self.objective.compute(network, target, conditions, photo, batch, generator)[0]}


def _create_objective(
    config: TrainingConfig, stage: ImageStageConfig | VideoStageConfig, run: TrainingRun
) -> DenoisingObjective:
    alphas = compute_alphas(run.device)
    return DenoisingObjective(alphas, config.model.prediction, stage.token_dropout, stage.min_snr)


def _unfreeze_video_parameters(network: Denoiser, stage: VideoStageConfig) -> list[dict[str, Any]]:
    """Unfreeze the parameters that stage 2 trains, and return the optimizer's groups.

    Raises:
        InputError: The appearance encoder has fewer layers than should be trained.
    """
    # transformers 5 has no `vision_model` level.
    layers = getattr(network.clip, "vision_model", network.clip).encoder.layers
    if stage.clip_layers > len(layers):
        raise InputError(
            f"video.clip_layers: is {stage.clip_layers}, but the appearance encoder has {len(layers)}. Lower it."
        )
    trained = [parameter for name, parameter in network.unet.named_parameters() if "motion_modules." in name]
    trained += [parameter for layer in layers[len(layers) - stage.clip_layers :] for parameter in layer.parameters()]
    trained += network.mia.parameters() if stage.train_tokens else []
    trained += [network.unet.conv_in.bias] if stage.whole_input else []
    input_weight = network.unet.conv_in.weight
    for parameter in (*trained, input_weight):
        parameter.requires_grad_(True)
    if stage.whole_input:
        return [{"params": [*trained, input_weight]}]
    network.mask_gradient("unet.conv_in.weight", _select_conditioning_gradient)
    # Weight decay would shrink the frozen part of the convolution.
    return [{"params": trained}, {"params": [input_weight], "weight_decay": 0.0}]


def _select_conditioning_gradient(gradient: Tensor) -> Tensor:
    """Return the gradient of conv_in's weight for W_cond alone (paper, section 3.3)."""
    masked = torch.zeros_like(gradient)
    masked[:, CONDITIONING_START:] = gradient[:, CONDITIONING_START:]
    return masked


def _attach_validator(
    run: TrainingRun, held_out: TrainingData, length: int, vae: AutoencoderKL, alphas: Tensor
) -> None:
    """Set the run's validator for the held-out people, and list them in the output."""
    if run.accelerator.is_main_process:
        record_held_out(run.config, held_out)
    if run.config.validation.every and held_out.clips:
        run.validator = Validator(run.config, held_out, length, vae, alphas, run.accelerator.autocast)


def _attach_latent_cache(samples: ImageSamples | VideoSamples, vae: AutoencoderKL, run: TrainingRun) -> None:
    """Replace frames by cached latents if the configuration enables them."""
    if run.config.cache_latents:
        advice = "Set cache_latents = false."
        with run.accelerator.main_process_first(), report_full_memory(run.device, advice):
            samples.latents = cache_latents(vae, samples.data, Path(run.config.data), run.progress)


def _load_stage_batches(samples: ImageSamples | VideoSamples, run: TrainingRun) -> Iterator[Batch]:
    accelerator, optimizer = run.accelerator, run.optimizer
    share = SampleShare(
        run.step, optimizer.steps, optimizer.batch, run.micro, accelerator.num_processes, accelerator.process_index
    )
    return load_batches(samples, share, run.config.workers)


def _enable_gradient_checkpointing(network: Denoiser, config: TrainingConfig) -> None:
    if config.gradient_checkpointing and torch.cuda.is_available():
        network.unet.gradient_checkpointing = True
        network.clip.gradient_checkpointing_enable({"use_reentrant": False})


def _prepare_autoencoder(config: TrainingConfig, data: TrainingData, run: TrainingRun) -> AutoencoderKL:
    """Return Stable Diffusion's VAE, or the small model's autoencoder, which is trained first; on the run's device."""
    if config.model.start == "sd15":
        return load_sd_vae().float().to(run.device)
    folder, autoencoder_config = Path(config.output) / "vae", config.model.autoencoder
    if run.accelerator.is_main_process and not (folder / "model.safetensors").exists():
        batches = autoencoder_batches(data, config.seed, autoencoder_config.batch)
        advice = f"Set batch in [model.autoencoder] below {autoencoder_config.batch}."
        with report_full_memory(run.device, advice):
            train_autoencoder(
                batches,
                config.size,
                autoencoder_config,
                folder,
                device=str(run.device),
                report=lambda step, steps, figures: run.progress("autoencoder", step, steps),
            )
    run.accelerator.wait_for_everyone()
    return load_autoencoder(folder).to(run.device)
