"""Compare one UNet call with diffusers' blocks of the same size: time and peak memory.

    python -m tests.benchmarks.unet [--frames 12] [--side 64] [--rounds 5] [--dtypes fp32,bf16,fp16] [--compile]

On a CUDA card, the networks have the full size with random weights; on the CPU, a fifth of the width. The networks run
alternately, round by round, so that a slowdown of the machine affects all of them. The program prints medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from mimaface_cli.engines.diffusion.runtime import DTYPES
from mimaface_cli.engines.diffusion.unet import FeatureCache, VideoUNet
from tests.benchmarks import diffusers_floor

Calls = dict[str, Callable[[], object]]


def measure_seconds(call: Callable[[], object], cuda: bool) -> float:
    """Return the seconds of one call, including the card's queued work."""
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure_alternately(calls: Calls, rounds: int, cuda: bool) -> dict[str, float]:
    """Return the median seconds of each call after one unmeasured round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_number in range(rounds + 1):
        for name, call in calls.items():
            seconds = measure_seconds(call, cuda)
            if round_number:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def measure_reuse(
    dtype: str, unet: VideoUNet, clip: torch.Tensor, tokens: torch.Tensor, reuse: FeatureCache, rounds: int
) -> None:
    """Print the share of a full call's time that remains when tokens or deep layers are reused."""

    def make_call(use_deep: bool, use_tokens: bool) -> Callable[[], object]:
        def call() -> object:
            reuse.use_deep, reuse.use_tokens = use_deep, use_tokens
            return unet(clip, 500.0, tokens, reuse)

        return call

    calls: Calls = {
        "full call": make_call(False, False),
        "tokens reused": make_call(False, True),
        "deep layers reused": make_call(True, True),
    }
    seconds = measure_alternately(calls, rounds, clip.is_cuda)
    shares = {name: round(value / seconds["full call"], 3) for name, value in seconds.items()}
    print(f"{dtype}: share of a full call:", shares)


def measure(dtype: str, frames: int, side: int, rounds: int, compiled: bool) -> None:
    """Print the times of all networks for one precision.

    Args:
        dtype: Floating-point precision, a key of DTYPES.
        frames: Frames of the clip.
        side: Side of the latents in latent pixels.
        rounds: Measured rounds.
        compiled: Compile the project's UNet.
    """
    cuda = torch.cuda.is_available()
    device, torch_dtype = ("cuda" if cuda else "cpu"), DTYPES[dtype]
    torch.manual_seed(0)
    # One half of classifier-free guidance; the batch of both halves takes about twice as long.
    clip = torch.randn(1, 13, frames, side, side, device=device, dtype=torch_dtype)
    images = clip.transpose(1, 2).flatten(0, 1).contiguous()
    tokens = torch.randn(1, 264, 768, device=device, dtype=torch_dtype)
    frame_tokens = tokens.expand(frames, -1, -1)
    video_unet = diffusers_floor.build_video_unet(device, torch_dtype)
    image_unet = diffusers_floor.build_video_unet(device, torch_dtype, motion=False)
    diffusers_image_unet = diffusers_floor.build_diffusers_image_unet(device, torch_dtype)
    diffusers_motion_unet = diffusers_floor.build_diffusers_motion_unet(device, torch_dtype)
    if cuda:
        for network in (video_unet, image_unet, diffusers_image_unet, diffusers_motion_unet):
            network.to(memory_format=torch.channels_last)
    if compiled:
        video_unet.compile_layers()
    reuse = None if compiled else FeatureCache()  # compiled attention layers cannot reuse tokens
    calls: Calls = {
        "mimaface without motion modules": lambda: image_unet(clip, 500.0, tokens),
        "diffusers UNet2DConditionModel": lambda: diffusers_image_unet(images, 500.0, frame_tokens),
        "mimaface": lambda: video_unet(clip, 500.0, tokens, reuse),
        "diffusers UNetMotionModel": lambda: diffusers_motion_unet(clip, 500.0, frame_tokens),
    }
    with torch.inference_mode():
        if cuda:
            torch.cuda.reset_peak_memory_stats()
            calls["mimaface"]()
            print(f"{dtype}: peak memory of a call {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")
        seconds = measure_alternately(calls, rounds, cuda)
        for name, value in seconds.items():
            print(f"{dtype} {frames} frames of {side}x{side}: {name}: {1000 * value:.0f} ms")
        names = list(calls)
        for name, reference in (names[:2], names[2:]):
            print(f"{dtype}: {name} takes {seconds[name] / seconds[reference]:.3f} of the time of {reference}")
        if reuse is not None:
            measure_reuse(dtype, video_unet, clip, tokens, reuse, rounds)


def main() -> None:
    """Measure each requested precision."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=12, help="frames of the clip (default: 12)")
    parser.add_argument("--side", type=int, default=64 if cuda else 24, help="side of the latents in latent pixels")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default: 5)")
    parser.add_argument("--dtypes", default="fp32,bf16,fp16" if cuda else "fp32", help="precisions, comma-separated")
    parser.add_argument("--compile", action="store_true", help="compile the project's UNet")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if cuda else 'CPU'}")
    for dtype in options.dtypes.split(","):
        measure(dtype, options.frames, options.side, options.rounds, options.compile)


if __name__ == "__main__":
    main()
