"""What the diffusion engine's presets cost: seconds for each clip and output frame, and peak memory.

    python -m tests.benchmarks.animate [--presets release,balanced,fast] [--dtypes fp32,bf16] [--compile] [--vram high,low]
    python -m tests.benchmarks.animate --levers       # each lever alone, on top of release

On a CUDA card the full-size architecture with random weights at 512², on the CPU a fifth of the width at 128². A clip is
encoding its renders, denoising and decoding its new frames; each is measured after one that warms up. The first line,
release in fp32, is what the others are compared with; all in one run on one machine.
"""

import argparse
import itertools
import time
from dataclasses import replace

import numpy as np
import torch

from mimaface_cli.engines.diffusion import ica
from mimaface_cli.engines.diffusion.denoise_settings import PRESETS, DenoiseSettings
from mimaface_cli.engines.diffusion.pipeline import Appearance, VideoInputs, decode_new_frames, denoise_clip
from mimaface_cli.engines.diffusion.runtime import DTYPES, FallbackDenoiser, Runtime, place_networks
from mimaface_cli.face.d3dfr import COEFFICIENT_COUNT
from tests.benchmarks import diffusers_floor as floor

LEVERS = {
    "12 steps of dpm++": {"sampler": "dpm++", "steps": 12},
    "12 steps of unipc": {"sampler": "unipc", "steps": 12},
    "guidance in 0:0.6": {"guided": (0.0, 0.6)},
    "tokens reused from 0.5 on": {"token_reuse": 0.5},
    "deep layers every 2nd step": {"deep_reuse": 2},
    "warm start, 0.5 of the steps": {"warm_start": 0.5},
    "24-frame clips": {"length": 24},
}


def inputs(length: int, side: int, device: str) -> VideoInputs:
    torch.manual_seed(0)
    renders = torch.rand(length, 3, side, side) * 2 - 1
    appearance = Appearance(torch.randn(1, 257, 1024, device=device), torch.randn(1, 25088, device=device))
    shown = lambda frames: renders[list(frames)]  # noqa: E731
    return VideoInputs(appearance, np.zeros((length, COEFFICIENT_COUNT), np.float32), shown, shown)


def measure(settings: DenoiseSettings, runtime: Runtime, side: int) -> tuple[float, float]:
    """Seconds of a clip and peak memory in GB (of the card; nan on the CPU)."""
    cuda = runtime.device.type == "cuda"
    networks = floor.networks("cpu" if runtime.level == "minimal" else str(runtime.device), runtime.dtype)
    place_networks(networks, runtime, settings)
    memory = FallbackDenoiser(runtime).memory
    clip = next(ica.plan_clips(settings.length, settings.length, settings.overlap))
    clip = replace(clip, carried=settings.overlap)
    given = inputs(settings.length, side, str(runtime.device))
    carried = torch.randn(1, 4, settings.overlap, side // 8, side // 8, device=runtime.device)
    for warm in (True, False):
        if cuda:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        began = time.perf_counter()
        steps = replace(settings, steps=2) if warm and not cuda else settings
        final = denoise_clip(networks, given, clip, carried, steps, memory)
        sum(1 for _ in decode_new_frames(networks.vae, clip, final, memory.chunk))
        if cuda:
            torch.cuda.synchronize()
        taken = time.perf_counter() - began
    return taken, torch.cuda.max_memory_allocated() / 1e9 if cuda else float("nan")


def levers(runtime: Runtime, side: int) -> None:
    """Seconds of an output frame with each lever, and what share of release's it is."""
    first = None
    for name, change in {"release": {}, **LEVERS}.items():
        settings = replace(PRESETS["release"], **change)
        frame = measure(settings, runtime, side)[0] / (settings.length - settings.overlap)
        first = first or frame
        print(f"{runtime.name} {name:30} {frame:7.3f} s/frame, {frame / first:.2f} of release", flush=True)


def main() -> None:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", default=",".join(PRESETS))
    parser.add_argument("--dtypes", default="bf16" if cuda else "fp32")
    parser.add_argument("--vram", default="high")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--levers", action="store_true", help="each lever of speed alone")
    options = parser.parse_args()
    side, device = (512, "cuda") if cuda else (128, "cpu")
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if cuda else 'CPU'}, {side}x{side}")
    if options.levers:
        return levers(Runtime(torch.device(device), DTYPES[options.dtypes.split(",")[0]]), side)
    runs = [("release", "fp32", "high", False)]
    choices = options.presets.split(","), options.dtypes.split(","), options.vram.split(",")
    runs += [(*choice, options.compile) for choice in itertools.product(*choices)]
    floor_: float | None = None
    print("preset     dtype  vram     compile   s/clip  s/frame  frames/s  peak GB  times the first")
    for preset, dtype, level, compiled in dict.fromkeys(runs):
        settings = PRESETS[preset]
        taken, peak = measure(settings, Runtime(torch.device(device), DTYPES[dtype], level, compiled), side)
        frame = taken / (settings.length - settings.overlap)
        floor_ = floor_ or frame
        print(
            f"{preset:10} {dtype:6} {level:8} {compiled!s:7} {taken:8.2f} {frame:8.3f} {1 / frame:9.2f} {peak:8.2f} "
            f"{floor_ / frame:8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
