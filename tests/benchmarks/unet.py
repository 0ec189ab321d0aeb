"""One UNet call: time and peak memory, against diffusers' own blocks of the same size.

    python -m tests.benchmarks.unet [--frames 12] [--side 64] [--rounds 5] [--dtypes fp32,bf16,fp16] [--compile]

On a CUDA card at full size (random weights), on the CPU at a fifth of the width. Both run in turn, round by round, so
that a machine that slows down slows both; medians are printed.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from mimaface_cli.engines.diffusion.runtime import DTYPES
from mimaface_cli.engines.diffusion.unet import FeatureCache
from tests.benchmarks import diffusers_floor as floor


def seconds(work: Callable[[], object], cuda: bool) -> float:
    if cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def in_turn(works: dict[str, Callable[[], object]], rounds: int, cuda: bool) -> dict[str, float]:
    """Median seconds of each after one unmeasured round."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(rounds + 1):
        for name, work in works.items():
            taken = seconds(work, cuda)
            if round_:
                times[name].append(taken)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(dtype: str, frames: int, side: int, rounds: int, compiled: bool) -> None:
    cuda = torch.cuda.is_available()
    device, number = ("cuda", DTYPES[dtype]) if cuda else ("cpu", DTYPES[dtype])
    torch.manual_seed(0)
    # One guidance half; the batch of both takes about twice as long.
    clip = torch.randn(1, 13, frames, side, side, device=device, dtype=number)
    folded = clip.transpose(1, 2).flatten(0, 1).contiguous()
    tokens = torch.randn(1, 264, 768, device=device, dtype=number)
    spread = tokens.expand(frames, -1, -1)
    video, image = floor.ours(device, number), floor.ours(device, number, motion=False)
    plain, theirs = floor.image_blocks(device, number), floor.motion_blocks(device, number)
    if cuda:
        for network in (video, image, plain, theirs):
            network.to(memory_format=torch.channels_last)
    if compiled:
        video.compile_layers()
    reuse = None if compiled else FeatureCache()  # compiled attentions cannot reuse tokens
    works = {
        "ours, without motion modules": lambda: image(clip, 500.0, tokens),
        "diffusers UNet2DConditionModel": lambda: plain(folded, 500.0, spread),
        "ours": lambda: video(clip, 500.0, tokens, reuse),
        "diffusers UNetMotionModel": lambda: theirs(clip, 500.0, spread),
    }
    with torch.inference_mode():
        if cuda:
            torch.cuda.reset_peak_memory_stats()
            works["ours"]()
            print(f"{dtype}: peak memory of a call {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")
        found = in_turn(works, rounds, cuda)
        for name, taken in found.items():
            print(f"{dtype} {frames} frames of {side}x{side}: {name}: {1000 * taken:.0f} ms")
        names = list(works)
        for own, other in (names[:2], names[2:]):
            print(f"{dtype}: {own} takes {found[own] / found[other]:.3f} of {other}")
        if reuse is None:
            return
        kept = {}
        for name, deep, token in (("whole", 0, 0), ("tokens reused", 0, 1), ("deep layers reused", 1, 1)):

            def work(deep=deep, token=token):
                reuse.use_deep, reuse.use_tokens = bool(deep), bool(token)
                return video(clip, 500.0, tokens, reuse)

            kept[name] = work
        found = in_turn(kept, rounds, cuda)
        print(f"{dtype}: share of a whole call:", {name: round(found[name] / found["whole"], 3) for name in kept})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--side", type=int, default=64 if torch.cuda.is_available() else 24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtypes", default="fp32,bf16,fp16" if torch.cuda.is_available() else "fp32")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'}")
    for dtype in options.dtypes.split(","):
        measure(dtype, options.frames, options.side, options.rounds, options.compile)


if __name__ == "__main__":
    main()
