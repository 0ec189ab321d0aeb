"""Training benchmark: overfitting eight clips, and retrieval of held-out people by their ID tokens."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from mimaface_cli.builders.rendered_people.rendered_shards import Cast, render_shards
from mimaface_cli.engines.diffusion import clip_encoder, latents
from mimaface_cli.evaluation.functional.image_quality import psnr
from mimaface_cli.training import stages
from mimaface_cli.training.autoencoder import load_autoencoder
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.config_reader import build_config
from mimaface_cli.training.denoiser import Denoiser, prepare_clip_pixels
from mimaface_cli.training.initialization import initialize_image_stage, rebuild_network
from mimaface_cli.training.objective import compute_alphas
from mimaface_cli.training.run_checkpoints import read_stage_result
from mimaface_cli.training.shard_reader import open_shards
from mimaface_cli.training.training_data import TrainingData, load_training_data
from mimaface_cli.training.validation import Validator
from tests.benchmarks.training_steps import NETWORKS

FIRST_HELD_OUT = 30_000  # first seed of the held-out people
AUTOENCODER_STEPS = 1500  # at most; shorter runs train the autoencoder no longer than the network
PEOPLE, HELD_OUT, TAKES = 48, 48, 3
SIZE = 64  # pixels
# Title of each retrieval run and its changes of the image stage.
RETRIEVAL_RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "without": ("no contrastive loss", {"identity_weight": 0.0}),
    "with": ("over a memory bank of 512", {}),
    "current": ("over the batch's other people", {"bank": 0}),
}


def make_learning_config(
    data: Path, output: Path, steps: int, batch: int, autoencoder_steps: int, **image: Any
) -> TrainingConfig:
    """Build the configuration of an image stage.

    Args:
        data: Folder of the clips.
        output: Folder of the run.
        steps: Training steps.
        batch: Clips per step.
        autoencoder_steps: Training steps of the autoencoder, limited to AUTOENCODER_STEPS.
        **image: Changes of the image stage's settings.
    """
    autoencoder = {"steps": min(AUTOENCODER_STEPS, autoencoder_steps), "batch": 8}
    return build_config({
        "data": str(data), "output": str(output), "size": SIZE, "space": "face478", "workers": 0, "save_every": 250,
        "precision": "no", "validation": {"every": 0}, "cache_latents": True,
        "model": {"start": "scratch", "size": NETWORKS["tiny"], "autoencoder": autoencoder},
        "image": {"optimizer": {"steps": steps, "batch": batch, "learning_rate": 1e-3, "ema": 0.99}, "temperature": 0.1,
                  "bank": 512, **image},
    })  # fmt: skip


def overfit(folder: Path, steps: int) -> None:
    """Train on eight clips; print the falling loss and the PSNR of the generated frames against the clips."""
    data = folder / "data"
    render_shards(Cast(people=8, takes=1, frames=8), data)
    print("step  loss    denoising loss  PSNR result  PSNR render  PSNR autoencoder  SSIM")
    for part in (steps // 8, steps // 4, steps // 2, steps):
        config = make_learning_config(data, folder / "run", part, 8, steps, bank=0)
        config = replace(config, model=replace(config.model, prediction="v"))  # small models need v-prediction
        stages.train_image(config)
        clips = load_training_data(config)
        network = rebuild_network(read_stage_result(folder / "run", "image")).eval()
        vae = load_autoencoder(folder / "run/vae")
        settings = replace(config, validation=replace(config.validation, clips=8, steps=10, guidance=2.0))
        alphas = compute_alphas(torch.device("cpu"))
        validator = Validator(settings, clips, 1, vae, alphas, contextlib.nullcontext)
        validation = validator.validate(network, part)
        Image.fromarray(validation.sheet).save(folder / f"overfit-{part:05d}.png")
        rows = (folder / "run/image/losses.csv").read_text().splitlines()[1:]
        loss = np.mean([float(row.split(",")[1]) for row in rows[-max(1, len(rows) // 4) :]])
        render = np.mean([psnr(clip.render(k), clip.frame(k)) for clip in clips.clips for k in range(clip.count)])
        figures = validation.figures
        print(
            f"{part:5d} {loss:.4f}  {figures['denoise']:.4f}          {figures['psnr']:.2f}        {render:.2f}"
            f"        {measure_autoencoder(vae, clips):.2f}            {figures['ssim']:.3f}",
            flush=True,
        )


@torch.no_grad()
def measure_autoencoder(vae: AutoencoderKL, data: TrainingData) -> float:
    """Return the mean PSNR of frames after the autoencoder alone, the upper bound for the denoiser."""
    values = []
    for clip in data.clips:
        frames = np.stack([clip.frame(k) for k in range(clip.count)])
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        decoded = latents.decode_latents(vae, latents.encode_latents(vae, pixels))
        values += [psnr(image, frame) for image, frame in zip(decoded, frames, strict=True)]
    return float(np.mean(values))


def measure_retrieval(folder: Path, steps: int) -> None:
    """Print the top-1 accuracy among held-out people: a clip's token looks up the same person's other clip.

    The two clips of a person differ in lighting.
    """
    render_shards(Cast(PEOPLE, TAKES, frames=6), folder / "data")
    render_shards(Cast(HELD_OUT, 2, frames=6, first=FIRST_HELD_OUT), folder / "held")
    clips = open_shards(folder / "held")
    print(f"top-1 among {HELD_OUT} held-out people (chance {100 / HELD_OUT:.1f} %), {steps} steps on {PEOPLE} people:")
    for name, (title, changes) in RETRIEVAL_RUNS.items():
        config = make_learning_config(folder / "data", folder / name, steps, 16, steps, **changes)
        network = initialize_image_stage(config).eval()
        if name == "without":
            print(f"   {'before training':30s} {100 * compute_top1(network, clips):.1f} %")
        elif not (folder / name / "vae").exists():
            (folder / name).mkdir(exist_ok=True)
            (folder / name / "vae").symlink_to((folder / "without/vae").resolve())
        stages.train_image(config)
        network = rebuild_network(read_stage_result(folder / name, "image")).eval()
        print(f"   {title:30s} {100 * compute_top1(network, clips):.1f} %", flush=True)


@torch.no_grad()
def compute_top1(network: Denoiser, clips: list) -> float:
    """Return the share of people whose class token of clip 0 is nearest to their own of clip 1.

    Args:
        network: The network under test.
        clips: Two clips of each person, one after the other.
    """
    tokens = []
    for take in (0, 1):
        photos = np.stack([clip.frame(3) for clip in clips[take::2]])
        photos = torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 127.5 - 1
        pixels = prepare_clip_pixels(photos, network.clip.config.image_size)
        class_tokens = clip_encoder.encode_image_tokens(network.clip, pixels)[:, 0]
        tokens.append(torch.nn.functional.normalize(class_tokens, dim=1))
    nearest = (tokens[0] @ tokens[1].T).argmax(1)
    return float(nearest.eq(torch.arange(len(nearest))).float().mean())
