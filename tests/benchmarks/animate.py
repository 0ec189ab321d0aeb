"""Measure the diffusion engine's presets: seconds per clip and per output frame, and peak memory.

    python -m tests.benchmarks.animate [--presets release,balanced,fast] [--dtypes fp32,bf16] [--compile]
        [--vram high,low]
    python -m tests.benchmarks.animate --levers       # each speed setting alone, on top of release

On a CUDA card, the networks have the full size with random weights at 512×512; on the CPU, a fifth of the width at
128×128. The time of a clip includes encoding its renders, denoising, and decoding its new frames. A warm-up clip
precedes each measurement. The first row, release in fp32, is the reference of the speedups. All rows come from one run
on one machine.
"""

import argparse
import itertools
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from mimaface_cli.engines.diffusion import ica
from mimaface_cli.engines.diffusion.denoise_settings import PRESETS, DenoiseSettings
from mimaface_cli.engines.diffusion.pipeline import Appearance, VideoInputs, decode_new_frames, denoise_clip
from mimaface_cli.engines.diffusion.runtime import DTYPES, MEMORY_PLANS, Runtime, place_networks
from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT
from tests.benchmarks.diffusers_floor import build_networks

LEVERS = {
    "12 steps of dpm++": {"sampler": "dpm++", "steps": 12},
    "12 steps of unipc": {"sampler": "unipc", "steps": 12},
    "guidance in 0:0.6": {"guided": (0.0, 0.6)},
    "tokens reused from 0.5 on": {"token_reuse": 0.5},
    "deep layers every 2nd step": {"deep_reuse": 2},
    "warm start, 0.5 of the steps": {"warm_start": 0.5},
    "24-frame clips": {"length": 24},
}


def make_inputs(length: int, side: int, device: str) -> VideoInputs:
    """Make random renders and appearance tokens for a clip of `length` frames of `side`×`side` pixels."""
    torch.manual_seed(0)
    renders = torch.rand(length, 3, side, side) * 2 - 1
    appearance = Appearance(torch.randn(1, 257, 1024, device=device), torch.randn(1, 25088, device=device))

    def read_renders(frames: Sequence[int]) -> torch.Tensor:
        return renders[list(frames)]

    motion = np.zeros((length, COEFFICIENT_COUNT), np.float32)
    return VideoInputs(appearance, motion, read_renders, read_renders)


def measure_clip(settings: DenoiseSettings, runtime: Runtime, side: int) -> tuple[float, float]:
    """Return the seconds of a clip and the card's peak memory in GB (NaN on the CPU)."""
    cuda = runtime.device.type == "cuda"
    networks = build_networks("cpu" if runtime.level == "minimal" else str(runtime.device), runtime.dtype)
    runtime = place_networks(networks, runtime, settings)
    memory = MEMORY_PLANS[runtime.level]
    clip = next(ica.plan_clips(settings.length, settings.length, settings.overlap))
    clip = replace(clip, carried=settings.overlap)
    inputs = make_inputs(settings.length, side, str(runtime.device))
    carried = torch.randn(1, 4, settings.overlap, side // 8, side // 8, device=runtime.device)
    seconds = 0.0
    for is_warm_up in (True, False):
        if cuda:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        start = time.perf_counter()
        clip_settings = replace(settings, steps=2) if is_warm_up and not cuda else settings
        latents = denoise_clip(networks, inputs, clip, carried, clip_settings, memory)
        for _ in decode_new_frames(networks.vae, clip, latents, memory.chunk):
            pass
        if cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    return seconds, torch.cuda.max_memory_allocated() / 1e9 if cuda else float("nan")


def compare_levers(runtime: Runtime, side: int) -> None:
    """Print the seconds per output frame with each speed setting, and their share of the release preset's."""
    reference = None
    for name, change in {"release": {}, **LEVERS}.items():
        settings = replace(PRESETS["release"], **change)
        frame_seconds = measure_clip(settings, runtime, side)[0] / (settings.length - settings.overlap)
        reference = reference or frame_seconds
        print(
            f"{runtime.name} {name:30} {frame_seconds:7.3f} s/frame, {frame_seconds / reference:.2f} of release",
            flush=True,
        )


def compare_presets(options: argparse.Namespace, device: torch.device, side: int) -> None:
    """Print one row for release in fp32 and one for each requested combination."""
    runs = [("release", "fp32", "high", False)]
    choices = options.presets.split(","), options.dtypes.split(","), options.vram.split(",")
    runs += [(*choice, options.compile) for choice in itertools.product(*choices)]
    reference: float | None = None
    print("preset     dtype  vram     compile   s/clip  s/frame  frames/s  peak GB   speedup")
    for preset, dtype, level, compiled in dict.fromkeys(runs):
        settings = PRESETS[preset]
        seconds, peak = measure_clip(settings, Runtime(device, DTYPES[dtype], level, compiled), side)
        frame_seconds = seconds / (settings.length - settings.overlap)
        reference = reference or frame_seconds
        print(
            f"{preset:10} {dtype:6} {level:8} {compiled!s:7} {seconds:8.2f} {frame_seconds:8.3f} "
            f"{1 / frame_seconds:9.2f} {peak:8.2f} {reference / frame_seconds:9.2f}",
            flush=True,
        )


def main() -> None:
    """Compare presets, or with --levers single speed settings."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", default=",".join(PRESETS), help="comma-separated (default: all)")
    parser.add_argument("--dtypes", default="bf16" if cuda else "fp32", help="comma-separated: fp32, bf16, fp16")
    parser.add_argument("--vram", default="high", help="memory modes, comma-separated (default: high)")
    parser.add_argument("--compile", action="store_true", help="compile the UNet's layers")
    parser.add_argument("--levers", action="store_true", help="measure each speed setting alone")
    options = parser.parse_args()
    device, side = (torch.device("cuda"), 512) if cuda else (torch.device("cpu"), 128)
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if cuda else 'CPU'}, {side}x{side}")
    if options.levers:
        compare_levers(Runtime(device, DTYPES[options.dtypes.split(",")[0]]), side)
    else:
        compare_presets(options, device, side)


if __name__ == "__main__":
    main()
