"""Training benchmark: the time of a step against the bare passes of its networks, and of the parts of a step."""

import contextlib
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback
from mimaface_cli.training import stages, train_state
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.config_reader import build_config
from mimaface_cli.training.denoiser import Denoiser
from mimaface_cli.training.initialization import initialize_image_stage, initialize_video_stage
from mimaface_cli.training.run_checkpoints import read_stage_result
from mimaface_cli.training.shard_index import ShardIndex
from mimaface_cli.training.shards import TrainingClip
from tests.training.shard_files import write_shards

NETWORKS: dict[str, dict[str, Any]] = {
    "tiny": {"channels": [32, 64, 96], "attention": [False, True, True], "tokens": 64, "clip": 64, "clip_image": 64},
    "mid": {"channels": [64, 128, 256], "attention": [True, True, True], "layers": 2, "tokens": 256, "clip": 256,
            "clip_layers": 6, "clip_image": 128, "patch": 16},
    "sd15": {"channels": [320, 640, 1280, 1280], "attention": [True, True, True, False], "layers": 2, "heads": 8,
             "tokens": 768, "adapter": 3, "clip": 1024, "clip_layers": 24, "clip_image": 224, "patch": 14},
}  # fmt: skip
SD_VAE = {"channels": [128, 256, 512, 512], "layers": 2, "norm_groups": 32, "attention": True}
IMAGE_SIZE = {"tiny": 64, "mid": 128, "sd15": 512}  # pixels
BATCH = {"image": 8, "video": 2}
CLIP = 12  # frames
BLOCK = 5  # steps of a round; the first round warms up
LEARNING_RATE = 1e-5
# Object and attribute of each timed part of a step.
PARTS = {
    "autoencoder": (stages, "encode_frames"),
    "augmentation": (stages, "augment_photometric"),
    "identity loss": (stages, "identity_loss"),
    "memory bank": (stages.MemoryBank, "add"),
    "moving average": (train_state.TrainState, "update_average"),
    "data": (stages, "load_batches"),
}


def measure_steps(network: str, stage: str, rounds: int, workers: int, cached: bool) -> None:
    """Print the time of a training step, its lower bound, and the shares of its parts; see `compare_steps`."""
    figures = compare_steps(network, stage, rounds, workers, cached)
    step, bare = figures["step_ms"], figures["bare_ms"]
    print(f"{network} {stage}: step {step:.0f} ms, bare {bare:.0f} ms: bare / step {bare / step:.2f}")
    print("   of a step: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in figures["shares"].items()))


def compare_steps(network: str, stage: str, rounds: int, workers: int, cached: bool) -> dict[str, Any]:
    """Return the milliseconds of a training step and of its lower bound, and the shares of its parts.

    Args:
        network: Key of NETWORKS.
        stage: "image" or "video".
        rounds: Measured rounds of BLOCK training steps and BLOCK bare steps.
        workers: Processes that load data.
        cached: Whether latents are cached.
    """
    comparison, part_timer = StepComparison(network, stage), PartTimer(stage)
    for timer in (comparison, part_timer):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_synthetic_clips(folder / "data", IMAGE_SIZE[network])
            config = make_step_config(folder, network, stage, (rounds + 1) * BLOCK, workers, cached)
            if stage == "video":
                stages.train_image(config)
            train: Callable[[TrainingConfig, ProgressCallback], Path] = (
                stages.train_image if stage == "image" else stages.train_video
            )
            if timer is comparison:
                comparison.config = config
                train(config, comparison)
            else:
                with time_parts(part_timer.seconds):
                    train(config, part_timer)
    step, bare = statistics.median(comparison.steps), statistics.median(comparison.bare_steps)
    total = part_timer.seconds.pop("all")
    shares = {name: round(value / total, 4) for name, value in sorted(part_timer.seconds.items())}
    return {"step_ms": 1000 * step, "bare_ms": 1000 * bare, "bare_of_step": bare / step, "shares": shares}


class StepComparison:
    """Progress callback that times training steps, and runs bare steps after each block of them.

    Args:
        network: Key of NETWORKS.
        stage: "image" or "video".

    Attributes:
        config: Configuration of the run; set before training.
        steps: Seconds of each training step.
        bare_steps: Seconds of each bare step.
    """

    def __init__(self, network: str, stage: str):
        self.config: TrainingConfig | None = None
        self.steps: list[float] = []
        self.bare_steps: list[float] = []
        self._network, self._stage = network, stage
        self._bare_step: Callable[[], None] | None = None
        self._last = 0.0

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Record a step; after each block, run as many bare steps."""
        now = time.perf_counter()
        if stage == self._stage and done:
            if done > BLOCK:
                self.steps.append(now - self._last)
            if done % BLOCK == 0:
                self._run_bare_steps(is_warm_up=done == BLOCK)
        self._last = time.perf_counter()

    def _run_bare_steps(self, is_warm_up: bool) -> None:
        if self._bare_step is None:
            self._bare_step = build_bare_step(self.config, self._stage)
        for k in range(BLOCK):
            start = time.perf_counter()
            self._bare_step()
            if k or not is_warm_up:
                self.bare_steps.append(time.perf_counter() - start)


class PartTimer:
    """Progress callback that adds up the time of all steps after the first block.

    Args:
        stage: "image" or "video".

    Attributes:
        seconds: Seconds by part, filled by `time_parts`; "all" is the time of all steps.
    """

    def __init__(self, stage: str):
        self.seconds: dict[str, float] = defaultdict(float)
        self._stage, self._last = stage, 0.0

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Add a step."""
        now = time.perf_counter()
        if stage == self._stage:
            if done == BLOCK:
                self.seconds.clear()
            elif done > BLOCK:
                self.seconds["all"] += now - self._last
        self._last = time.perf_counter()


@contextlib.contextmanager
def time_parts(seconds: dict[str, float]) -> Iterator[None]:
    """Add up the seconds within each of PARTS."""

    def time_call(name: str, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name] += time.perf_counter() - start
            return result

        return call

    def time_batches(name: str, function: Callable) -> Callable:
        def call(*args: Any) -> Iterator:
            batches = function(*args)
            take = time_call(name, lambda: next(batches, None))
            while (batch := take()) is not None:
                yield batch

        return call

    with contextlib.ExitStack() as stack:
        for name, (owner, attribute) in PARTS.items():
            wrap = time_batches if name == "data" else time_call
            stack.enter_context(mock.patch.object(owner, attribute, wrap(name, getattr(owner, attribute))))
        yield


def write_synthetic_clips(folder: Path, size: int) -> None:
    """Write eight clips of four people as coarse noise. The content does not change the cost of a step."""
    rng = np.random.default_rng(0)

    def make_clip(number: int) -> TrainingClip:
        frames = rng.integers(0, 255, (2, CLIP, 8, 8, 3), np.uint8).repeat(size // 8, 2).repeat(size // 8, 3)
        track = MotionTrack.neutral(CLIP, "face478")
        track = replace(track, expression=rng.normal(size=track.expression.shape).astype(np.float32))
        return TrainingClip(f"c{number}", f"p{number % 4}", "noise", frames[0], track, None, frames[1][0], frames[1])

    folder.mkdir()
    write_shards((make_clip(k) for k in range(8)), folder)
    ShardIndex({"space": "face478", "size": size}, {"noise": 8}, {}, 1).save(folder)


def make_step_config(folder: Path, network: str, stage: str, steps: int, workers: int, cached: bool) -> TrainingConfig:
    """Build the configuration of a run of `steps` steps of a stage."""
    size = IMAGE_SIZE[network]
    optimizer = {"batch": BATCH[stage], "learning_rate": LEARNING_RATE}
    autoencoder = {"steps": 2, "batch": 2, **(SD_VAE if network == "sd15" else {})}
    return build_config({
        "data": str(folder / "data"), "output": str(folder / "run"), "size": size, "space": "face478",
        "workers": workers, "precision": "bf16" if torch.cuda.is_available() else "no", "gradient_checkpointing": False,
        "save_every": 10**6, "validation": {"every": 0}, "cache_latents": cached,
        "model": {"start": "scratch", "size": NETWORKS[network], "autoencoder": autoencoder},
        "image": {"optimizer": optimizer | {"steps": steps if stage == "image" else 1}},
        "video": {"optimizer": optimizer | {"steps": steps}, "clip": CLIP},
    })  # fmt: skip


def build_bare_step(config: TrainingConfig, stage: str) -> Callable[[], None]:
    """Build a stage's networks and return a function that does one bare step with them."""
    if stage == "image":
        network = initialize_image_stage(config)
    else:
        network = initialize_video_stage(config, read_stage_result(Path(config.output), "image"))
    network.requires_grad_(stage == "image").train()
    if stage == "video":
        for name, parameter in network.unet.named_parameters():
            parameter.requires_grad_("motion_modules." in name or name == "conv_in.weight")
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    return make_bare_step(network, stage, config.size, config.model.autoencoder.reduction)


def make_bare_step(network: Denoiser, stage: str, size: int, reduction: int) -> Callable[[], None]:
    """Return a function that does forward pass, backward pass and AdamW update on prepared tensors.

    Args:
        network: The stage's networks on their device.
        stage: "image" or "video".
        size: Side of the frames in pixels.
        reduction: Pixels per latent pixel.
    """
    device, side, batch = next(network.parameters()).device, size // reduction, BATCH[stage]
    frames, views = (1, 3) if stage == "image" else (CLIP, 1)
    shape = (batch, 4, frames, side, side)
    noisy, noise = torch.randn(2, *shape, device=device)
    conditions = torch.randn(batch, 9, *shape[2:], device=device)
    photos = torch.rand(views, batch, 3, size, size, device=device) * 2 - 1
    motion, keep = torch.randn(batch, frames, 74, device=device), torch.ones(batch, device=device)
    timestep = torch.randint(1000, (batch,), device=device)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            predicted, tokens = network(noisy, conditions, timestep, photos, motion, keep)
        loss = (predicted.float() - noise).square().mean()
        if stage == "image":
            loss = loss + tokens.float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step
