"""What is compared: the full model, and the same without one of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mimaface_cli.train.autoencoder import load_autoencoder
from mimaface_cli.train.mini.data import Clips, read_clips
from mimaface_cli.train.mini.learn import Encoded, Report, Stage, encode_clips, train_image, train_video
from mimaface_cli.train.mini.networks import Size, Trained

# Unweighted v: min-SNR leaves next to no weight to the noisiest timesteps, where a few thousand steps must learn what
# render and tokens say; a network that has not learnt them there draws noise however good it is further down.
SIZE = Size(channels=(32, 64, 96), attention=(False, True, True), clip_layers=3, clip_image=48, patch=12, motion_divisor=2)
# At 2e-3 the appearance encoder collapses: its class token becomes the same for everybody within 600 steps.
IMAGE = Stage(steps=8000, batch=16, rate=5e-4, warm_up=300, snr=0.0, prediction="v", ema=0.998, identity=0.1, bank=1024)
VIDEO = Stage(steps=2000, batch=4, rate=1e-3, warm_up=50, snr=0.0, prediction="v", ema=0.995, frames=8, identity=0.0)
STAGE1: Mapping[str, dict] = {
    "full": {},
    "no_render": {"use_render": False},
    "no_coefficients": {"use_motion": False},
    "no_identity": {"identity": 0.0},
}
STAGE2: Mapping[str, dict] = {"full": {}, "no_ica": {"ica": False}}  # both from stage 1's full model
# Jobs that can run side by side, each lane in its order.
LANES = (("image full", "video full", "video no_ica"), ("image no_render", "image no_coefficients", "image no_identity"))


@dataclass(frozen=True)
class Place:
    """folder: of everything; scale: share of the steps to run."""

    folder: Path
    scale: float = 1.0

    def stage(self, kind: str, name: str) -> Stage:
        base, changes = (IMAGE, STAGE1[name]) if kind == "image" else (VIDEO, STAGE2[name])
        return replace(base, steps=max(2, round(base.steps * self.scale)), **changes)


def encoded(folder: Path, paths: list[Path]) -> Encoded:
    """The training clips and their latents, made once."""
    clips: Clips = read_clips(paths)
    kept = folder / "latents.pt"
    if kept.exists():
        latents, renders = torch.load(kept, weights_only=True)
        return Encoded(clips, latents, renders)
    data = encode_clips(load_autoencoder(folder / "vae"), clips)
    torch.save((data.latents, data.renders), kept)
    return data


def train(place: Place, kind: str, name: str, data: Encoded, report: Report) -> Trained:
    """One stage of one variant, trained or taken up where it was; at once where it is done."""
    stage = place.stage(kind, name)
    if kind == "image":
        return train_image(place.folder / "image" / name, data, SIZE, stage, report=report)
    image = train(place, "image", "full", data, report)
    return train_video(place.folder / "video" / name, image, data, SIZE, stage, report=report)
