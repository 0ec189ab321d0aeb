"""The two stages: images first (UNet, condition tokens, appearance encoder), then clips (motion modules and W_cond)."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from mimaface_cli.diffusion import clip, ica
from mimaface_cli.diffusion.samplers import training_sigmas
from mimaface_cli.files import atomic_path
from mimaface_cli.train.augment import photometric
from mimaface_cli.train.losses import MemoryBank, denoising_loss, identity_loss, prediction_target
from mimaface_cli.train.mini.data import Clips, motion_groups, to_tensor
from mimaface_cli.train.mini.networks import Size, Trained, build

STATE, CURVE = "state.pt", "curve.csv"
Report = Callable[[str, int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Stage:
    """steps, batch, rate (AdamW, warm-up then cosine), drop: share of samples without tokens; snr: min-SNR's gamma, 0
    for none; prediction: what the UNet learns to give, epsilon, v or sample; shift: how far
    timesteps lean to the noisy end, 1 for not at all (Esser et al. 2024, equation 23). Stage 1: identity: weight of the
    contrastive loss, temperature, bank. Stage 2: frames of a clip, noise: sigma on conditioning latents. What an
    ablation leaves out: use_render, use_motion, ica.
"""

    steps: int = 30_000
    batch: int = 32
    rate: float = 1e-4
    warm_up: int = 100
    drop: float = 0.1
    snr: float = 5.0
    prediction: str = "epsilon"
    shift: float = 1.0
    ema: float = 0.998
    identity: float = 0.1
    temperature: float = 0.1
    bank: int = 1024
    frames: int = 12
    noise: float = 0.1
    use_render: bool = True
    use_motion: bool = True
    ica: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Encoded:
    """Clips with their latents (C, N, 4, h, w): pictures and renders."""

    clips: Clips
    latents: Tensor
    renders: Tensor


@torch.no_grad()
def encode_clips(vae: AutoencoderKL, clips: Clips, chunk: int = 64) -> Encoded:
    """Latents of all pictures and renders, once for all steps."""

    def latents(pictures: np.ndarray) -> Tensor:
        flat = pictures.reshape(-1, *pictures.shape[2:])
        parts = [
            (vae.encode(to_tensor(flat[k : k + chunk]).to(vae.device)).latent_dist.mode() * vae.config.scaling_factor).cpu()
            for k in range(0, len(flat), chunk)
        ]
        return torch.cat(parts).unflatten(0, pictures.shape[:2])

    return Encoded(clips, latents(clips.pictures), latents(clips.renders))


def clip_pixels(pictures: Tensor, size: int) -> Tensor:
    """Pictures (B, 3, S, S) in [-1, 1] as the appearance encoder takes them (B, 3, size, size)."""
    if pictures.shape[-1] != size:
        pictures = F.interpolate(pictures, (size, size), mode="bicubic", antialias=True, align_corners=False)
    mean, std = pictures.new_tensor(clip._MEAN), pictures.new_tensor(clip._STD)
    return (pictures * 0.5 + 0.5 - mean[:, None, None]) / std[:, None, None]


class Run:
    """One stage's training: networks, their moving average, optimiser and curve, kept in a folder and resumed exactly."""

    def __init__(self, folder: Path, trained: Trained, stage: Stage, parameters: list[torch.nn.Parameter], device: str):
        self.folder, self.trained, self.stage, self.device = folder, trained, stage, device
        self.parameters = parameters
        self.optimizer = torch.optim.AdamW(parameters, stage.rate, weight_decay=1e-2)
        self.kept = {name: _copied(module) for name, module in trained.modules().items()}
        self.bank = MemoryBank(stage.bank, trained.mia.clip_width, device)
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE).exists():
            self._resume()
        levels = torch.from_numpy(training_sigmas()).to(device)
        self.alphas = 1 / (1 + levels**2)

    def _resume(self) -> None:
        state = torch.load(self.folder / STATE, map_location=self.device, weights_only=True)
        for name, module in self.trained.modules().items():
            module.load_state_dict(state[name])
        self.kept, self.step = state["ema"], state["step"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.bank.load_state_dict(state["bank"])

    def save(self) -> None:
        state: dict[str, Any] = {name: module.state_dict() for name, module in self.trained.modules().items()}
        state |= {"ema": self.kept, "step": self.step, "optimizer": self.optimizer.state_dict(), "bank": self.bank.state_dict()}
        with atomic_path(self.folder / STATE) as temporary:
            torch.save(state, temporary)

    def generator(self) -> torch.Generator:
        """The randomness of this step alone: a resumed run draws as an uninterrupted one."""
        return torch.Generator(self.device).manual_seed(self.stage.seed * 1_000_003 + self.step)

    def update(self, loss: Tensor) -> None:
        loss.backward()
        stage, progress = self.stage, self.step / max(self.stage.steps, 1)
        warm = min(1.0, (self.step + 1) / max(stage.warm_up, 1))
        for group in self.optimizer.param_groups:
            group["lr"] = stage.rate * warm * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        decay = min(stage.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, module in self.trained.modules().items():
                for key, value in module.state_dict().items():
                    if value.is_floating_point():
                        self.kept[name][key].lerp_(value, 1 - decay)
        self.step += 1

    def loop(self, losses: Callable[["Run"], dict[str, Tensor]], report: Report, name: str, save_every: int = 200) -> None:
        """Run to the last step; the curve goes to a CSV beside the state."""
        sums: dict[str, float] = {}
        began = time.monotonic()
        while self.step < self.stage.steps:
            parts = losses(self)
            self.update(sum(parts.values()))
            for key, value in parts.items():
                sums[key] = sums.get(key, 0.0) + float(value.detach())
            if self.step % 50 == 0 or self.step == self.stage.steps:
                means = {key: value / ((self.step - 1) % 50 + 1) for key, value in sums.items()}
                sums = {}
                self._note({**means, "seconds": time.monotonic() - began})
                report(name, self.step, self.stage.steps, means)
            if self.step % save_every == 0 or self.step == self.stage.steps:
                self.save()

    def _note(self, values: dict[str, float]) -> None:
        path = self.folder / CURVE
        rows = path.read_text().splitlines() if path.exists() else ["step," + ",".join(values)]
        rows = [rows[0], *(row for row in rows[1:] if int(row.split(",")[0]) < self.step)]
        rows.append(f"{self.step}," + ",".join(f"{value:.5f}" for value in values.values()))
        with atomic_path(path) as temporary:
            temporary.write_text("\n".join(rows) + "\n")

    def finish(self) -> Trained:
        """The moving average in the networks' place, for use."""
        for name, module in self.trained.modules().items():
            module.load_state_dict(self.kept[name])
            module.eval().requires_grad_(False)
        return self.trained


def _copied(module: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in module.state_dict().items()}


def train_image(folder: Path, data: Encoded, size: Size, stage: Stage, device: str = "cpu", report: Report = lambda *a: None) -> Trained:
    """Stage 1, single frames. Returns the moving average, in evaluation mode; a run that was stopped goes on."""
    trained = build(size, stage.seed)
    for module in trained.modules().values():
        module.to(device).train()
    appearance_encoder = [p for n, p in trained.clip.named_parameters() if "post_layernorm" not in n]
    parameters = [*trained.unet.parameters(), *trained.mia.parameters(), *appearance_encoder]
    run = Run(folder, trained, stage, parameters, device)
    clips, by_person = data.clips, _by_person(data.clips.person)

    def losses(run: Run) -> dict[str, Tensor]:
        rng = np.random.default_rng((stage.seed, run.step))
        generator = run.generator()
        chosen = rng.integers(len(clips), size=stage.batch)
        frame = rng.integers(clips.frames, size=stage.batch)
        source = to_tensor(clips.source[chosen]).to(device)
        appearance = clip.encode(trained.clip, clip_pixels(source, size.clip_image))
        motion = torch.from_numpy(clips.motion[chosen, frame])[:, None].to(device)
        latents, render = (part[chosen, frame][:, :, None].to(device) for part in (data.latents, data.renders))
        parts = {"denoise": _denoise_loss(run, latents, render, None, appearance, motion, generator)}
        if stage.identity > 0:
            person = torch.from_numpy(clips.person[chosen]).to(device)
            others = [by_person[int(p)][rng.integers(len(by_person[int(p)]))] for p in clips.person[chosen]]
            other = to_tensor(clips.pictures[others, rng.integers(clips.frames, size=stage.batch)]).to(device)
            views = [photometric(source, generator), other]
            tokens = [clip.encode(trained.clip, clip_pixels(view, size.clip_image))[:, 0] for view in views]
            parts["identity"] = stage.identity * identity_loss(appearance[:, 0], torch.stack(tokens), person, run.bank, stage.temperature)
            run.bank.add(appearance[:, 0], person)
        return parts

    run.loop(losses, report, "image")
    return run.finish()


def train_video(
    folder: Path, image: Trained, data: Encoded, size: Size, stage: Stage, device: str = "cpu", report: Report = lambda *a: None
) -> Trained:
    """Stage 2, clips: motion modules and W_cond (conv_in's conditioning channels) are trained, all else is frozen."""
    trained = build(size, stage.seed, video=True)
    trained.mia, trained.clip = image.mia, image.clip
    trained.unet.load_state_dict(image.unet.state_dict(), strict=False)
    for module in trained.modules().values():
        module.to(device).requires_grad_(False)
    motion_parameters = [p for n, p in trained.unet.named_parameters() if "motion_modules." in n]
    conditioning = trained.unet.conv_in.weight
    for parameter in (*motion_parameters, conditioning):
        parameter.requires_grad_(True)
    hook = conditioning.register_hook(_only_conditioning)
    trained.unet.train()
    run = Run(folder, trained, stage, [*motion_parameters, conditioning], device)
    run.optimizer.param_groups[0]["weight_decay"] = 0.0  # it would wear away conv_in's frozen part
    clips = data.clips

    def losses(run: Run) -> dict[str, Tensor]:
        rng = np.random.default_rng((stage.seed, run.step))
        generator = run.generator()
        chosen = rng.integers(len(clips), size=stage.batch)
        first = int(rng.integers(clips.frames - stage.frames + 1))
        span = slice(first, first + stage.frames)
        with torch.no_grad():
            appearance = clip.encode(trained.clip, clip_pixels(to_tensor(clips.source[chosen]).to(device), size.clip_image))
        motion = torch.from_numpy(clips.motion[chosen, span]).to(device)
        latents, render = (part[chosen, span].transpose(1, 2).to(device) for part in (data.latents, data.renders))
        known = int(rng.integers(stage.frames // 4 + 1)) if stage.ica else 0  # equation 3
        carried = None
        if known:
            noise = torch.randn(latents[:, :, :known].shape, generator=generator, device=device)
            carried = latents[:, :, :known] + stage.noise * noise  # equation 4
        return {"denoise": _denoise_loss(run, latents, render, carried, appearance, motion, generator)}

    run.loop(losses, report, "video")
    hook.remove()
    return run.finish()


def _only_conditioning(gradient: Tensor) -> Tensor:
    kept = torch.zeros_like(gradient)
    kept[:, 8:] = gradient[:, 8:]
    return kept


def _denoise_loss(
    run: Run, latents: Tensor, render: Tensor, carried: Tensor | None, appearance: Tensor, motion: Tensor, generator: torch.Generator
) -> Tensor:
    """The denoiser's loss on latents (B, 4, F, h, w): squared error with min-SNR weights, one timestep a clip."""
    stage, trained, batch = run.stage, run.trained, len(latents)
    timestep = torch.randint(len(run.alphas), (batch,), generator=generator, device=run.device)
    if stage.shift != 1:
        share = (timestep + 0.5) / len(run.alphas)
        timestep = (len(run.alphas) * stage.shift * share / (1 + (stage.shift - 1) * share)).long()
    noise = torch.randn(latents.shape, generator=generator, device=run.device)
    alpha = run.alphas[timestep]
    level = alpha[:, None, None, None, None]
    noisy = level.sqrt() * latents + (1 - level).sqrt() * noise
    tokens = make_tokens(trained, appearance, motion, stage)
    keep = torch.rand(batch, generator=generator, device=run.device) >= stage.drop
    tokens = tokens * keep[:, None, None, None]
    condition = ica.condition(carried, latents.shape[2], latents)
    sample = torch.cat([noisy, render if stage.use_render else torch.zeros_like(render), condition], 1)
    predicted = trained.unet(sample, timestep, tokens)
    target = prediction_target(stage.prediction, latents, noise, alpha)
    return denoising_loss(predicted, target, alpha, stage.snr or None, stage.prediction)


def make_tokens(trained: Trained, appearance: Tensor, motion: Tensor, stage: Stage) -> Tensor:
    """Appearance (B, 1 + P, C) and motion (B, F, 74) -> tokens (B, F, 1 + P, C')."""
    return trained.mia(appearance, motion_groups(motion if stage.use_motion else torch.zeros_like(motion)))


def _by_person(person: np.ndarray) -> dict[int, np.ndarray]:
    return {int(p): np.flatnonzero(person == p) for p in np.unique(person)}


def load_trained(folder: Path, size: Size, video: bool = False) -> tuple[Trained, int]:
    """A stage's moving average from its folder, in evaluation mode, and the steps it has seen."""
    state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    trained = build(size, video=video)
    for name, module in trained.modules().items():
        module.load_state_dict(state["ema"][name])
        module.eval().requires_grad_(False)
    return trained, state["step"]
