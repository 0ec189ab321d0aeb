"""The paper's ablations in miniature, on rendered people that no model has seen.

    python -m tests.benchmarks.ablation FOLDER [--scale X] [--workers N] [--measure-only] [--json FILE]

Renders people, trains the judges and an autoencoder, then the full model and the same without render, without motion
coefficients, without the identity loss (stage 1) and without ICA (stage 2), and measures all. Everything is kept in
FOLDER: a run that was stopped goes on, and what is finished is not done again. --scale shortens every training (1: about
an hour and a half on two cores). Writes FOLDER/ablation.json, pictures.png and borders.png.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.builders.rendered_people.rendered_shards import render_shards
from mimaface_cli.engines.diffusion import ica
from mimaface_cli.face import face478
from mimaface_cli.training.autoencoder import load_autoencoder, train_autoencoder
from mimaface_cli.training.latent_cache import cache_latents
from mimaface_cli.training.samples import autoencoder_batches
from mimaface_cli.training.training_data import load_training_data
from tests.benchmarks.ablation import judges, measure
from tests.benchmarks.ablation.people import PICTURE, TEST, TRAIN, read_all
from tests.benchmarks.ablation.variants import LANES, STAGE1, STAGE2, Place, finished, run_lane, say, saying

VIDEOS = 16


def prepare(place: Place, workers: int) -> None:
    """People, judges, autoencoder and latents."""
    folder, model, config = place.folder, face478.load(), place.config("full")
    for name, cast in (("clips", TRAIN), ("test", TEST)):
        render_shards(cast, folder / name, workers, saying(name))
    judges.make_judges(model, folder / "judges", max(1, round(14 * place.scale)), say)
    footage = load_training_data(config)
    if not (folder / "vae" / "model.safetensors").exists():
        settings = config.model.autoencoder
        stream = autoencoder_batches(footage, config.seed, settings.batch)
        report = lambda step, steps, figures: say(f"autoencoder {step}/{steps} {figures}")  # noqa: E731
        train_autoencoder(stream, PICTURE, settings, folder / "vae", report=report)
    cache_latents(load_autoencoder(folder / "vae"), footage, folder / "clips", saying("clips"))


def measure_all(place: Place) -> dict:
    """Every figure of every variant, as far as it has been trained; `steps` says how far."""
    folder, model = place.folder, face478.load()
    judge, knower = judges.make_judges(model, folder / "judges", report=say)
    vae = load_autoencoder(folder / "vae")
    clips, config = read_all(folder / "test"), place.config("full")
    pairs = measure.make_pairs(model, clips, each=2)
    result: dict = {
        "sizes": {"train": asdict(TRAIN), "left_out": asdict(TEST), "config": asdict(config), "scale": place.scale},
        "settings": asdict(measure.SETTINGS),
        "limits": measure.limits(judge, knower, vae, pairs),
        "image": {},
        "video": {},
    }
    rows = [pairs.source, pairs.truth, pairs.render]
    for name in STAGE1:
        trained, steps = finished(place, "image", name)
        if trained is None:
            say(f"image {name}: not trained yet, left out")
            continue
        made = measure.generate(
            trained,
            vae,
            config.model.prediction,
            pairs.source,
            pairs.render[:, None],
            pairs.motion[:, None],
            measure.SETTINGS,
        )[:, 0]
        figures = measure.picture_figures(judge, knower, pairs, made)
        figures |= measure.retrieval(trained, clips) | measure.noise_error(trained, vae, config.model.prediction, clips)
        result["image"][name] = {**figures, "steps": steps}
        rows.append(made)
        say(f"image {name}: {rounded(result['image'][name])}")
    save_sheet(folder / "pictures.png", rows, range(0, len(pairs.source), max(1, len(pairs.source) // 12)))
    videos = slice(0, 2 * VIDEOS, 2)
    real, strips = clips.pictures[videos], [clips.pictures[videos]]
    for name in STAGE2:
        stage = place.config(name).video
        trained, steps = finished(place, "video", name)
        if trained is None:
            say(f"video {name}: not trained yet, left out")
            continue
        overlap = stage.clip // 4 if stage.none_known < 1 else 0
        settings = replace(measure.SETTINGS, length=stage.clip, overlap=overlap)
        made = measure.generate(
            trained,
            vae,
            config.model.prediction,
            clips.source[videos],
            clips.renders[videos],
            clips.motion[videos],
            settings,
            chunk=8,
        )
        starts, count = [], 0
        for piece in ica.plan_clips(real.shape[1], settings.length, settings.overlap):
            starts.append(count)
            count += piece.end - piece.carried
        result["video"][name] = {**measure.video_figures(judge, made, real, starts[1:]), "steps": steps}
        strips.append(made)
        say(f"video {name}: {rounded(result['video'][name])}")
    save_sheet(folder / "borders.png", [part[0] for part in strips] + [part[1] for part in strips], range(4, 22))
    result["claims"] = claims(result)
    return result


def claims(result: dict) -> dict[str, str]:
    """Which of the paper's directions hold: yes, no, or not measured."""
    image, video = result["image"], result["video"]

    def worse(name: str, figure: str, table: dict, higher_is_worse: bool = True) -> str:
        if "full" not in table or name not in table:
            return "not measured"
        change = table[name][figure] / table["full"][figure] - 1
        holds = change > 0 if higher_is_worse else change < 0
        return f"{'yes' if holds else 'no'} ({table['full'][figure]:.4g} -> {table[name][figure]:.4g}, {change:+.0%})"

    out = {}
    for name in ("no_render", "no_coefficients"):
        for figure in ("expression", "pose", "gaze"):
            out[f"{name}: {figure} error grows"] = worse(name, figure, image)
        out[f"{name}: error of the predicted noise grows"] = worse(name, "noise_error", image)
    out["no_identity: identity similarity falls"] = worse("no_identity", "identity", image, False)
    out["no_identity: retrieval by ID tokens falls"] = worse("no_identity", "top1", image, False)
    out["memory_bank: identity similarity rises"] = worse("memory_bank", "identity", image)
    out["memory_bank: retrieval by ID tokens rises"] = worse("memory_bank", "top1", image)
    for figure in ("pixels_border_ratio", "landmarks_border_ratio", "video_distance"):
        out[f"no_ica: {figure} grows"] = worse("no_ica", figure, video)
    return out


def rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def save_sheet(path: Path, rows: list[np.ndarray], columns: range) -> None:
    """Rows of pictures, twice their size."""
    sheet = np.concatenate([np.concatenate([row[k] for k in columns], 1) for row in rows], 0)
    cv2.imwrite(str(path), cv2.resize(sheet[..., ::-1], None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--measure-only", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    place = Place(given.folder, given.scale)
    if not given.measure_only:
        prepare(place, given.workers)
        image, video = (getattr(place.config("full"), name).optimizer for name in ("image", "video"))
        say(f"training: {image.steps} steps of {image.batch} (images), {video.steps} of {video.batch} (clips)")
        if given.workers == 1:
            for lane in LANES:
                run_lane(place, lane)
        else:
            with ProcessPoolExecutor(2, get_context("spawn")) as pool:
                for future in [pool.submit(run_lane, place, lane) for lane in LANES]:
                    future.result()
    result = measure_all(place)
    text = json.dumps(result, indent=1)
    (given.json or given.folder / "ablation.json").write_text(text)
    for claim, answer in result["claims"].items():
        print(f"{claim}: {answer}")


if __name__ == "__main__":
    main()
