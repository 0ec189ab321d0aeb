"""What training costs and whether it learns: step time against its floor, overfitting, retrieval by ID tokens.

    python -m tests.benchmarks.training steps [--stages image,video] [--sizes tiny,mid] [--rounds 6] [--cached]
    python -m tests.benchmarks.training overfit FOLDER [--steps 2000]
    python -m tests.benchmarks.training retrieval FOLDER [--steps 300]

`steps`: whole steps of `train image` and `train video` on made-up clips against the bare forward, backward and AdamW of the
same UNet, MIA and CLIP (all views of the contrastive loss) on ready tensors, in turn on one machine; where the rest goes is
timed in a second run. On a CUDA card also `sd15`, the size of Stable Diffusion 1.5 with random weights.
`overfit`: eight clips of rendered people by `train image`; loss and PSNR of what is made of these very clips.
`retrieval`: who is who among rendered people left out, by the ID tokens of two moments, after training without the identity
contrastive loss, with a memory bank's negatives and with the batch's. Both go on where they were stopped; the folder keeps
clips, checkpoints and sheets.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

from mimaface_cli.builders.rendered_people.rendered_shards import Cast, render_shards
from mimaface_cli.engines.diffusion import clip_encoder
from mimaface_cli.evaluation.functional.image_quality import psnr
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training import stages, train_state
from mimaface_cli.training.autoencoder import load_autoencoder
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.config_reader import build_config
from mimaface_cli.training.denoiser import Denoiser, prepare_clip_pixels
from mimaface_cli.training.initialization import rebuild_network
from mimaface_cli.training.objective import compute_alphas
from mimaface_cli.training.run_checkpoints import read_stage_result
from mimaface_cli.training.shard_index import ShardIndex
from mimaface_cli.training.shard_reader import open_shards
from mimaface_cli.training.shards import TrainingClip
from mimaface_cli.training.training_data import TrainingData, load_training_data
from mimaface_cli.training.validation import Validator
from tests.training.shard_files import write_shards

NETWORKS = {
    "tiny": {"channels": [32, 64, 96], "attention": [False, True, True], "tokens": 64, "clip": 64, "clip_image": 64},
    "mid": {"channels": [64, 128, 256], "attention": [True, True, True], "layers": 2, "tokens": 256, "clip": 256,
            "clip_layers": 6, "clip_image": 128, "patch": 16},
    "sd15": {"channels": [320, 640, 1280, 1280], "attention": [True, True, True, False], "layers": 2, "heads": 8,
             "tokens": 768, "adapter": 3, "clip": 1024, "clip_layers": 24, "clip_image": 224, "patch": 14},
}  # fmt: skip
SD_VAE = {"channels": [128, 256, 512, 512], "layers": 2, "norm_groups": 32, "attention": True}
PICTURE = {"tiny": 64, "mid": 128, "sd15": 512}
BATCH = {"image": 8, "video": 2}
CLIP = 12
HELD = 30_000  # the first seed of rendered people left out


# --- steps ----------------------------------------------------------------------------------------------------------


def made_up_clips(folder: Path, size: int) -> None:
    """Eight clips of four people, of coarse noise: what is in them costs nothing to learn from or not."""
    rng = np.random.default_rng(0)

    def clip(number: int) -> TrainingClip:
        pictures = rng.integers(0, 255, (2, CLIP, 8, 8, 3), np.uint8).repeat(size // 8, 2).repeat(size // 8, 3)
        track = MotionTrack.neutral(CLIP, "face478")
        track = replace(track, expression=rng.normal(size=track.expression.shape).astype(np.float32))
        return TrainingClip(
            f"c{number}", f"p{number % 4}", "noise", pictures[0], track, None, pictures[1][0], pictures[1]
        )

    folder.mkdir()
    write_shards((clip(k) for k in range(8)), folder)
    ShardIndex({"space": "face478", "size": size}, {"noise": 8}, {}, 1).save(folder)


def bare_step(network: Denoiser, stage: str, size: int, reduction: int, batch: int, rate: float) -> Callable[[], None]:
    """Forward, backward and AdamW of a stage's networks on tensors that are ready."""
    device, side = next(network.parameters()).device, size // reduction
    frames, views = (1, 3) if stage == "image" else (CLIP, 1)
    shape = (batch, 4, frames, side, side)
    noisy, noise = torch.randn(2, *shape, device=device)
    conditions = torch.randn(batch, 9, *shape[2:], device=device)
    photos = torch.rand(views, batch, 3, size, size, device=device) * 2 - 1
    motion, keep = torch.randn(batch, frames, 74, device=device), torch.ones(batch, device=device)
    timestep = torch.randint(1000, (batch,), device=device)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, rate)

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


PARTS = {
    "autoencoder": (stages, "encode_frames"),
    "augmentation": (stages, "augment_photometric"),
    "identity loss": (stages, "identity_loss"),
    "memory bank": (stages.MemoryBank, "add"),
    "moving average": (train_state.TrainState, "update_average"),
    "data": (stages, "load_batches"),
}


@contextlib.contextmanager
def timed_parts(found: dict[str, float]) -> Iterator[None]:
    """Adds up the seconds within each of PARTS."""

    def timed(name: str, work: Callable) -> Callable:
        def call(*given, **more):
            began = time.perf_counter()
            result = work(*given, **more)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            found[name] += time.perf_counter() - began
            return result

        return call

    def batches(work: Callable) -> Callable:
        def call(*given) -> Iterator:
            source = work(*given)
            take = timed("data", lambda: next(source, None))
            while (batch := take()) is not None:
                yield batch

        return call

    with contextlib.ExitStack() as stack:
        for name, (place, attribute) in PARTS.items():
            work = getattr(place, attribute)
            stack.enter_context(
                mock.patch.object(place, attribute, batches(work) if name == "data" else timed(name, work))
            )
        yield


def step_config(folder: Path, network: str, stage: str, steps: int, workers: int, cached: bool) -> TrainingConfig:
    size = PICTURE[network]
    optimizer = {"batch": BATCH[stage], "learning_rate": 1e-5}
    autoencoder = {"steps": 2, "batch": 2, **(SD_VAE if network == "sd15" else {})}
    return build_config({
        "data": str(folder / "data"), "output": str(folder / "run"), "size": size, "space": "face478", "workers": workers,
        "precision": "bf16" if torch.cuda.is_available() else "no", "gradient_checkpointing": False,
        "save_every": 10**6, "validation": {"every": 0}, "cache_latents": cached,
        "model": {"start": "scratch", "size": NETWORKS[network], "autoencoder": autoencoder},
        "image": {"optimizer": optimizer | {"steps": steps if stage == "image" else 1}},
        "video": {"optimizer": optimizer | {"steps": steps}, "clip": CLIP},
    })  # fmt: skip


def measure_steps(network: str, stage: str, rounds: int, workers: int, cached: bool) -> None:
    """Blocks of training steps and of bare steps in turn; then a run with the parts timed."""
    block, config = 5, None
    steps, bare, parts = [], [], defaultdict(float)
    for timing in (False, True):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            made_up_clips(folder / "data", PICTURE[network])
            config = step_config(folder, network, stage, (rounds + 1) * block, workers, cached)
            if stage == "video":
                stages.train_image(config)
            last = 0.0
            train_floor = {}

            def report(name: str, done: int, total: int | None) -> None:
                nonlocal last
                now = time.perf_counter()
                if name == stage and not timing and done:
                    if done > block:  # the first block warms up
                        steps.append(now - last)
                    if done % block == 0:
                        floor = train_floor.setdefault("step", floor_of(config, network, stage))
                        for k in range(block):
                            began = time.perf_counter()
                            floor()
                            if k or done > block:
                                bare.append(time.perf_counter() - began)
                elif name == stage and timing:
                    if done == block:
                        parts.clear()
                    elif done > block:
                        parts["all"] += now - last
                last = time.perf_counter()

            with timed_parts(parts) if timing else contextlib.nullcontext():
                stages.train_image(config, report) if stage == "image" else stages.train_video(config, report)
    step, least = statistics.median(steps), statistics.median(bare)
    print(
        f"{network} {stage}: a step {1000 * step:.0f} ms, bare {1000 * least:.0f} ms: floor / step {least / step:.2f}"
    )
    whole = parts.pop("all")
    print("   of a step: " + ", ".join(f"{name} {100 * value / whole:.1f} %" for name, value in sorted(parts.items())))


def floor_of(config: TrainingConfig, network: str, stage: str) -> Callable[[], None]:
    from mimaface_cli.training.initialization import initialize_image_stage, initialize_video_stage

    made = (
        initialize_image_stage(config)
        if stage == "image"
        else initialize_video_stage(config, read_stage_result(Path(config.output), "image"))
    )
    made.requires_grad_(stage == "image").train()
    if stage == "video":
        for name, parameter in made.unet.named_parameters():
            parameter.requires_grad_("motion_modules." in name or name == "conv_in.weight")
    made.to("cuda" if torch.cuda.is_available() else "cpu")
    reduction = config.model.autoencoder.reduction
    return bare_step(made, stage, config.size, reduction, BATCH[stage], 1e-5)


# --- does it learn --------------------------------------------------------------------------------------------------


AUTOENCODER = 1500  # steps; fewer where less is trained than that


def learning_config(
    data: Path, output: Path, size: int, steps: int, batch: int, autoencoder: int, **image
) -> TrainingConfig:
    return build_config({
        "data": str(data), "output": str(output), "size": size, "space": "face478", "workers": 0, "save_every": 250,
        "precision": "no", "validation": {"every": 0}, "cache_latents": True,
        "model": {"start": "scratch", "size": NETWORKS["tiny"], "autoencoder": {"steps": min(AUTOENCODER, autoencoder), "batch": 8}},
        "image": {"optimizer": {"steps": steps, "batch": batch, "learning_rate": 1e-3, "ema": 0.99}, "temperature": 0.1,
                  "bank": 512, **image},
    })  # fmt: skip


def overfit(folder: Path, steps: int) -> None:
    """Eight clips, seen again and again: the loss falls and what is made of them comes near to them."""
    data = folder / "data"
    render_shards(Cast(people=8, takes=1, frames=8), data)
    print("step  loss    held-in loss  PSNR result  PSNR render  PSNR autoencoder  SSIM")
    for part in (steps // 8, steps // 4, steps // 2, steps):
        config = learning_config(data, folder / "run", 64, part, 8, steps, bank=0)
        config = replace(config, model=replace(config.model, prediction="v"))  # as small models want it
        stages.train_image(config)
        footage = load_training_data(config)
        network = rebuild_network(read_stage_result(folder / "run", "image")).eval()
        vae = load_autoencoder(folder / "run/vae")
        settings = replace(config, validation=replace(config.validation, clips=8, steps=10, guidance=2.0))
        look = Validator(
            settings, footage, 1, vae, compute_alphas(torch.device("cpu")), contextlib.nullcontext
        ).validate(network, part)
        Image.fromarray(look.sheet).save(folder / f"overfit-{part:05d}.png")
        rows = (folder / "run/image/losses.csv").read_text().splitlines()[1:]
        loss = np.mean([float(row.split(",")[1]) for row in rows[-max(1, len(rows) // 4) :]])
        render = np.mean([psnr(clip.render(k), clip.frame(k)) for clip in footage.clips for k in range(clip.count)])
        print(
            f"{part:5d} {loss:.4f}  {look.figures['denoise']:.4f}        {look.figures['psnr']:.2f}        {render:.2f}"
            f"        {through(vae, footage):.2f}            {look.figures['ssim']:.3f}", flush=True
        )  # fmt: skip


@torch.no_grad()
def through(vae, footage: TrainingData) -> float:
    """Mean PSNR of frames that only went through the autoencoder: what no denoiser can beat."""
    from mimaface_cli.engines.diffusion import latents

    values = []
    for clip in footage.clips:
        frames = np.stack([clip.frame(k) for k in range(clip.count)])
        pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        values += [
            psnr(made, frame)
            for made, frame in zip(latents.decode_latents(vae, latents.encode_latents(vae, pictures)), frames)
        ]
    return float(np.mean(values))


def retrieval(folder: Path, steps: int, people: int = 48, held: int = 48, takes: int = 3) -> None:
    """Top-1 among people left out: a token of one clip finds the same person's of another clip, in another light."""
    render_shards(Cast(people, takes, frames=6), folder / "data")
    render_shards(Cast(held, 2, frames=6, first=HELD), folder / "held")
    clips = open_shards(folder / "held")
    print(f"top-1 among {held} people left out (chance {100 / held:.1f} %), {steps} steps on {people} people:")
    ways = {"without": {"identity_weight": 0.0}, "with": {}, "current": {"bank": 0}}
    said = {
        "without": "no contrastive loss",
        "with": "over a memory bank of 512",
        "current": "over the batch's other people",
    }
    for name, changes in ways.items():
        config = learning_config(folder / "data", folder / name, 64, steps, 16, steps, **changes)
        network = stages.start_image(config).eval()
        if name == "without":
            print(f"   {'before training':30s} {100 * top1(network, clips):.1f} %")
        if name != "without" and not (folder / name / "vae").exists():
            (folder / name).mkdir(exist_ok=True)
            (folder / name / "vae").symlink_to((folder / "without/vae").resolve())
        stages.train_image(config)
        network = rebuild_network(read_stage_result(folder / name, "image")).eval()
        print(f"   {said[name]:30s} {100 * top1(network, clips):.1f} %", flush=True)


@torch.no_grad()
def top1(network: Denoiser, clips: list) -> float:
    tokens = []
    for take in (0, 1):
        photos = np.stack([clip.frame(3) for clip in clips[take::2]])
        pixels = prepare_clip_pixels(
            torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 127.5 - 1, network.clip.config.image_size
        )
        tokens.append(
            torch.nn.functional.normalize(clip_encoder.encode_image_tokens(network.clip, pixels)[:, 0], dim=1)
        )
    return float((tokens[0] @ tokens[1].T).argmax(1).eq(torch.arange(len(tokens[0]))).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_subparsers(dest="what", required=True)
    steps = what.add_parser("steps")
    steps.add_argument("--stages", default="image,video")
    steps.add_argument("--sizes", default="tiny,mid,sd15" if torch.cuda.is_available() else "tiny,mid")
    steps.add_argument("--rounds", type=int, default=6)
    steps.add_argument("--workers", type=int, default=0)
    steps.add_argument("--cached", action="store_true", help="cache_latents = true")
    for name, count in (("overfit", 2000), ("retrieval", 300)):
        other = what.add_parser(name)
        other.add_argument("folder", type=Path)
        other.add_argument("--steps", type=int, default=count)
    given = parser.parse_args()
    if given.what == "overfit":
        overfit(given.folder, given.steps)
    elif given.what == "retrieval":
        retrieval(given.folder, given.steps)
    else:
        print(
            f"torch {torch.__version__}, {torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'}, batches {BATCH}"
        )
        for size in given.sizes.split(","):
            for stage in given.stages.split(","):
                measure_steps(size, stage, given.rounds, given.workers, given.cached)


if __name__ == "__main__":
    main()
