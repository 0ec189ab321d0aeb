"""`python -m mimaface_cli.train.mini VIDEOS -o FOLDER`: mimaface-mini from a folder of videos, in one command."""

import argparse
import csv
import json
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mimaface_cli.diffusion import mini
from mimaface_cli.diffusion.pipeline import Networks
from mimaface_cli.errors import InputError, MimafaceError
from mimaface_cli.reenact.prefer import JUDGED_BY, judge
from mimaface_cli.train.autoencoder import AutoencoderSettings, fit_autoencoder, load_autoencoder
from mimaface_cli.train.mini.data import Clips, read_clips, to_tensor
from mimaface_cli.train.mini.learn import Stage, encode_clips, train_image, train_video
from mimaface_cli.train.mini.networks import Size
from mimaface_cli.train.mini.prepare import prepare
from mimaface_cli.weights.mini import Card, read_card, write_card

PREPARE = {"size": 128, "frames": 24, "per_video": 20}
DEFAULTS = {
    "autoencoder": AutoencoderSettings(channels=(64, 128, 192), layers=2, norm_groups=16, steps=40_000, batch=32, rate=5e-4),
    "size": Size(channels=(128, 256, 384), attention=(True, True, True), layers=2, heads=8, tokens=384, adapter=3,
                 clip=384, clip_layers=8, clip_image=128, patch=16),
    "image": Stage(steps=60_000, batch=64, rate=2e-4, warm_up=1000, ema=0.9995, bank=4096),
    "video": Stage(steps=30_000, batch=8, rate=2e-4, warm_up=500, ema=0.9995, frames=12, identity=0.0),
}  # fmt: skip


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mimaface_cli.train.mini",
        description="Train a small model of the paper from face videos: clips, autoencoder, stage 1, stage 2, and the "
        "folder that --engine diffusion uses. Stopped at any moment, the same command goes on.",
    )
    parser.add_argument("videos", type=Path, nargs="?", help="videos, subfolders included: a subfolder for each person")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="of clips, states and the model")
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="sizes and steps (see examples/mini.toml)")
    parser.add_argument("--people", type=Path, metavar="FILE.csv", help="columns file, person, where folders do not tell")
    parser.add_argument("--test", type=Path, metavar="FILE.txt", help="people to leave out, one a line (default: a tenth)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--about", default="No word was given on where the data come from.", help="for the card")
    parser.add_argument(
        "--scores", type=Path, nargs=2, metavar=("MESH.json", "MINI.json"),
        help="instead of training: put what mimaface evaluate --json said of both engines into the model's card",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    if given.scores is None and given.videos is None:
        parser.error("a folder of videos is needed")
    return given


def read_config(path: Path | None) -> dict[str, Any]:
    """Settings by section: the defaults with what a TOML file changes. Raises InputError that names an unknown key."""
    import difflib

    values: Mapping[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as TOML ({error})") from error
    known = {"prepare": set(PREPARE), **{name: {f.name for f in fields(item)} for name, item in DEFAULTS.items()}}

    def check(key: str, names: set[str], where: str) -> None:
        if key not in names:
            near = difflib.get_close_matches(key, sorted(names), 1)
            raise InputError(f"{path}: {where}{key} is not known" + (f"; did you mean {near[0]}?" if near else ""))

    out: dict[str, Any] = {"prepare": dict(PREPARE), **DEFAULTS}
    for section, changes in values.items():
        check(section, set(known), "")
        if not isinstance(changes, dict):
            raise InputError(f"{path}: {section} must be a section, [{section}]")
        for key in changes:
            check(key, known[section], f"[{section}] ")
        changes = {key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()}
        out[section] = {**out[section], **changes} if section == "prepare" else replace(out[section], **changes)
    return out


def main(arguments: list[str] | None = None) -> int:
    given = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        score(given.output / "mini", *given.scores) if given.scores else run(given)
    except MimafaceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except torch.cuda.OutOfMemoryError:
        print("error: the device has too little memory; make batch smaller in the config", file=sys.stderr)
        return 3
    return 0


def run(given: argparse.Namespace) -> None:
    """Everything from videos to the model's folder."""
    config, output = read_config(given.config), given.output
    size, sizes = config["prepare"]["size"], config["size"]
    bad = prepare(given.videos, output / "clips", _people(given.people), **config["prepare"], report=_say)
    for line in bad:
        print(f"skipped: {line}", flush=True)
    clips = read_clips(sorted((output / "clips").glob("*.npz")))
    train, left_out = _split(output, clips, given.test)
    print(f"{len(train)} clips to learn from; {len(set(left_out))} people left out: {', '.join(sorted(set(left_out)))}", flush=True)

    vae_folder = output / "vae"
    if not (vae_folder / "model.safetensors").exists():
        settings = config["autoencoder"]
        fit_autoencoder(_batches(train, settings.batch), size, settings, vae_folder, device=given.device,
                        report=lambda *a: _report("autoencoder", *a))  # fmt: skip
    vae = load_autoencoder(vae_folder).to(given.device)
    data = encode_clips(vae, train)
    image = train_image(output / "image", data, sizes, config["image"], given.device, _report)
    video = train_video(output / "video", image, data, sizes, config["video"], given.device, _report)
    stage = config["video"]
    card = Card(
        "mimaface-mini",
        size,
        settings={"length": stage.frames, "overlap": stage.frames // 4, "steps": 20, "sampler": "dpm++", "guidance": 2.0},
        about={"data": given.about, "clips": len(train), "left_out": sorted(set(left_out)), "made": time.strftime("%Y-%m-%d"),
               "steps": {"image": config["image"].steps, "video": stage.steps}},
    )  # fmt: skip
    networks = Networks(video.unet.cpu(), video.mia.cpu(), vae.cpu(), stage.prediction)
    mini.save(output / "mini", networks, sizes.unet_config(), video.clip.cpu(), card)
    print(f"{output / 'mini'}: put this folder into the weights folder to use it (--engine diffusion)")


def score(folder: Path, mesh: Path, model: Path) -> None:
    """Write both engines' figures into the card."""
    columns = {}
    for name, path in (("mesh", mesh), ("diffusion", model)):
        try:
            means = json.loads(path.read_bytes())["means"]
            columns[name] = {key: means[key]["value"] for key in JUDGED_BY if means.get(key, {}).get("value") is not None}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: is not what mimaface evaluate --json writes ({error})") from error
    write_card(folder, replace(read_card(folder), scores=columns))
    verdict = judge(columns)
    for name, own, other, winner in verdict.rows:
        print(f"{name:16} mesh {own:9.4f}  mini {other:9.4f}  {winner or 'draw'}")
    print(f"{'preferred by --engine auto' if verdict.better else 'not preferred by --engine auto'}: {verdict.why}")


def _people(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["file"]: row["person"] for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: must be a table with the columns file and person ({error})") from error


def _split(output: Path, clips: Clips, test: Path | None) -> tuple[Clips, list[str]]:
    """The clips to learn from, and the names of the people left out; the same ones every time."""
    names = np.array([str(np.load(path)["person"]) for path in sorted((output / "clips").glob("*.npz"))])
    if test is not None:
        out = set(test.read_text("utf-8").split("\n")) - {""}
    else:
        people = sorted(set(names))
        out = set(np.random.default_rng(0).permutation(people)[: len(people) // 10].tolist())
    keep = ~np.isin(names, sorted(out))
    if len(set(names[keep])) < 2:
        raise InputError(f"{output}: clips of one person are left to learn from; two at least are needed")
    parts = {item.name: getattr(clips, item.name)[keep] for item in fields(clips)}
    return Clips(**parts), sorted(out)


def _batches(clips: Clips, batch: int):
    flat = clips.pictures.reshape(-1, *clips.pictures.shape[2:])

    def stream(first: int) -> Iterator[Tensor]:
        while True:
            yield to_tensor(flat[np.random.default_rng(first).integers(0, len(flat), batch)])
            first += 1

    return stream


def _say(name: str, done: int, total: int) -> None:
    print(f"prepared {done}/{total} {name}", flush=True)


def _report(stage: str, step: int, steps: int, figures: Mapping[str, float]) -> None:
    print(f"{stage} {step}/{steps} " + " ".join(f"{key} {value:.4f}" for key, value in figures.items()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
