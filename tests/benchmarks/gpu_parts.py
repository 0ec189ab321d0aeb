"""The measurements of `tests.benchmarks.gpu`, most valuable first."""

import math
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any
from unittest import mock

import torch

from mimaface_cli.engines.diffusion.denoise_settings import PRESETS
from mimaface_cli.engines.diffusion.device import is_out_of_memory, release_memory, synchronize
from mimaface_cli.engines.diffusion.runtime import DTYPES, Runtime
from mimaface_cli.training.config import NetworkSize
from mimaface_cli.training.small_networks import build_small_networks
from tests.benchmarks import diffusers_floor
from tests.benchmarks.animate import measure_clip
from tests.benchmarks.gpu_goldens import measure_goldens
from tests.benchmarks.training_steps import BATCH, IMAGE_SIZE, NETWORKS, compare_steps, make_bare_step
from tests.benchmarks.unet import measure_seconds
from tests.conftest import ROOT

# Preset, precision, memory mode, compiled, side in pixels. The first is the reference of the others.
CLIPS = [
    ("release", "fp32", "high", False, 512),
    ("balanced", "bf16", "high", False, 512),
    ("fast", "bf16", "high", False, 512),
    ("fast", "bf16", "high", True, 512),
    ("release", "bf16", "low", False, 512),
    ("release", "bf16", "minimal", False, 512),
    ("balanced", "bf16", "high", True, 512),
    ("release", "bf16", "high", False, 512),
    ("balanced", "fp16", "high", False, 512),
    ("fast", "fp16", "high", False, 512),
    ("fast", "fp16", "high", True, 512),
    ("balanced", "bf16", "low", False, 512),
    ("fast", "bf16", "low", False, 512),
    ("fast", "bf16", "minimal", False, 512),
    ("balanced", "bf16", "high", False, 768),
    ("fast", "bf16", "high", False, 768),
    ("release", "fp32", "low", False, 512),
    ("release", "bf16", "high", True, 512),
    ("release", "bf16", "high", False, 768),
]
TOY_CLIP = {"length": 3, "overlap": 1, "steps": 2}
MINI_MINUTES = 15


@dataclass(frozen=True)
class Measurement:
    """A measurement of the benchmark.

    Attributes:
        name: Its name in the results.
        limit: Seconds after which it is ended.
        run: Returns its figures, as JSON values.
    """

    name: str
    limit: float
    run: Callable[[], dict[str, Any]]


def list_measurements(device: torch.device, is_toy: bool) -> list[Measurement]:
    """Return all measurements, the most valuable first."""
    if is_toy:
        diffusers_floor.sizes.append((diffusers_floor.TOY, diffusers_floor.TOY_VAE))
    clips = list(_list_clips(device, is_toy))
    goldens = list(_list_goldens(device, is_toy))
    training = list(_list_training(device, is_toy))
    return [goldens[0], *clips[:6], *goldens[1:], *training[:1], *clips[6:12], *training[1:], *clips[12:]]


def _list_goldens(device: torch.device, is_toy: bool) -> Iterator[Measurement]:
    for name, dtype, tf32 in (
        ("fp32", torch.float32, False),
        ("fp32 with TF32", torch.float32, True),
        ("bf16", torch.bfloat16, False),
        ("fp16", torch.float16, False),
    ):
        if is_toy and name != "fp32":
            continue
        yield Measurement(f"goldens {name}", 120, partial(measure_goldens, device, dtype, tf32))


def _list_clips(device: torch.device, is_toy: bool) -> Iterator[Measurement]:
    for preset, dtype, level, compiled, side in CLIPS[:7:2] if is_toy else CLIPS:
        settings = replace(PRESETS[preset], **TOY_CLIP) if is_toy else PRESETS[preset]
        runtime = Runtime(device, DTYPES[dtype], level, compiled and not is_toy)
        name = f"clip {preset} {dtype} {level}{' compiled' if compiled else ''} {side}"
        yield Measurement(
            name, 240 if compiled else 120, partial(_measure_clip, settings, runtime, 64 if is_toy else side)
        )


def _measure_clip(settings: Any, runtime: Runtime, side: int) -> dict[str, Any]:
    """Return seconds and peak memory of a clip of a full-size network with random weights."""
    seconds, peak = measure_clip(settings, runtime, side)
    new_frames = settings.length - settings.overlap
    return {
        "clip_seconds": round(seconds, 4),
        "frame_seconds": round(seconds / new_frames, 4),
        "frames_per_second": round(new_frames / seconds, 3),
        "peak_gb": None if math.isnan(peak) else round(peak, 2),
    }


def _list_training(device: torch.device, is_toy: bool) -> Iterator[Measurement]:
    network = "tiny" if is_toy else "sd15"
    yield Measurement("profile", 90, partial(_profile_step, device, is_toy))
    for stage in ("image", "video"):
        rounds = 1 if is_toy else 3
        yield Measurement(f"training {stage}", 240, partial(compare_steps, network, stage, rounds, 0, True))
    yield Measurement("mini", 120, partial(_measure_mini, device, is_toy))
    for stage in ("image", "video"):
        counts = (1, 2) if is_toy else (1, 2, 4, 8, 16, 32, 64)
        size = NetworkSize(**_as_tuples(NETWORKS[network]))
        measure = partial(_measure_batches, size, stage, IMAGE_SIZE[network], device, counts)
        yield Measurement(f"batches {stage}", 120, measure)


def _as_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _measure_batches(
    size: NetworkSize, stage: str, side: int, device: torch.device, counts: tuple[int, ...], reduction: int = 8
) -> dict[str, Any]:
    """Return the milliseconds of a bare training step and the peak memory for growing batches, until memory is full."""
    network = build_small_networks(size, video=stage == "video").to(device)
    results: dict[str, Any] = {}
    for count in counts:
        with mock.patch.dict(BATCH, {stage: count}):
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            try:
                step = make_bare_step(network, stage, side, reduction)
                step()
                seconds = min(measure_seconds(step, device.type == "cuda") for _ in range(2))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                results[str(count)] = "out of memory"
                break
            peak = round(torch.cuda.max_memory_allocated() / 1e9, 2) if device.type == "cuda" else None
            results[str(count)] = {"ms": round(1000 * seconds, 1), "peak_gb": peak}
        del step
        network.zero_grad(set_to_none=True)
        release_memory(device)
    return results


def _measure_mini(device: torch.device, is_toy: bool) -> dict[str, Any]:
    """Return the step times of examples/mini.toml, and how many steps fit into a quarter of an hour."""
    config = tomllib.loads((ROOT / "examples" / "mini.toml").read_text())
    values = NETWORKS["tiny"] if is_toy else config["model"]["size"]
    size = NetworkSize(
        **{item.name: value for item in fields(NetworkSize) if (value := _as_tuples(values).get(item.name))}
    )
    side = 32 if is_toy else config["size"]
    results: dict[str, Any] = {
        "parameters": sum(p.numel() for p in build_small_networks(size, video=True).parameters())
    }
    for stage in ("image", "video"):
        batch = 2 if is_toy else config[stage]["optimizer"]["batch"]
        reduction = 2 ** (len(config["model"]["autoencoder"]["channels"]) - 1)
        with torch.autocast(device.type, torch.bfloat16, enabled=config["precision"] == "bf16"):
            figures = _measure_batches(size, stage, side, device, (batch,), reduction)[str(batch)]
        steps = None if isinstance(figures, str) else round(MINI_MINUTES * 60_000 / figures["ms"])
        results[stage] = {"batch": batch, "figures": figures, "steps_in_15_minutes": steps}
    return results


def _profile_step(device: torch.device, is_toy: bool) -> dict[str, Any]:
    """Return the operations that take the most time in a call of the UNet in bf16, in milliseconds."""
    dtype = torch.bfloat16
    unet = diffusers_floor.build_video_unet(str(device), dtype)
    if device.type == "cuda":
        unet.to(memory_format=torch.channels_last)
    side, frames = (8, 2) if is_toy else (64, 12)
    sample = torch.randn(2, 13, frames, side, side, device=device, dtype=dtype)
    tokens = torch.randn(2, 264, 768, device=device, dtype=dtype)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.inference_mode():
        unet(sample, 500.0, tokens)
        synchronize(device)
        with torch.profiler.profile(activities=activities) as profile:
            unet(sample, 500.0, tokens)
            synchronize(device)
    key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    events = sorted(profile.key_averages(), key=lambda event: -getattr(event, key))[:15]
    return {event.key[:80]: {"ms": round(getattr(event, key) / 1000, 3), "calls": event.count} for event in events}
