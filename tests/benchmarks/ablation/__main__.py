"""Repeat the paper's ablations at small scale, on rendered people that no model has seen.

    python -m tests.benchmarks.ablation FOLDER [--scale X] [--workers N] [--measure-only] [--json FILE]

The program renders people, trains the estimators and an autoencoder, then the full model and the same without render,
without motion coefficients, without the identity loss (stage 1) and without ICA (stage 2), and measures all of them.
FOLDER keeps everything: an interrupted run resumes, and finished parts are not repeated. --scale shortens every
training (1: about an hour and a half on two cores). The program writes FOLDER/ablation.json, images.png and
borders.png.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diffusers import AutoencoderKL

from mimaface_cli.builders.rendered_people.rendered_shards import render_shards
from mimaface_cli.engines.diffusion import ica
from mimaface_cli.face import face478
from mimaface_cli.training.autoencoder import load_autoencoder, train_autoencoder
from mimaface_cli.training.latent_cache import cache_latents
from mimaface_cli.training.samples import autoencoder_batches
from mimaface_cli.training.training_data import load_training_data
from tests.benchmarks.ablation import measure
from tests.benchmarks.ablation.estimators import IdentityEncoder, MotionEstimator, load_or_train_estimators
from tests.benchmarks.ablation.measure_video import measure_videos
from tests.benchmarks.ablation.people import HELD_OUT_CAST, SIZE, TRAINING_CAST, Clips, load_clips
from tests.benchmarks.ablation.variants import (
    IMAGE_VARIANTS,
    LANES,
    VIDEO_VARIANTS,
    Study,
    load_variant,
    log,
    log_progress,
    run_lane,
)

VIDEOS = 16  # held-out clips that stage 2 generates, of one person each
ESTIMATOR_EPOCHS = 14  # at scale 1
Figures = dict[str, dict[str, float]]


def prepare(study: Study, workers: int) -> None:
    """Render the people, train the estimators and the autoencoder, and cache the latents."""
    folder, model, config = study.folder, face478.load(), study.build_config("full")
    for name, cast in (("clips", TRAINING_CAST), ("test", HELD_OUT_CAST)):
        render_shards(cast, folder / name, workers, log_progress(name))
    load_or_train_estimators(model, folder / "estimators", max(1, round(ESTIMATOR_EPOCHS * study.scale)), log)
    data = load_training_data(config)
    if not (folder / "vae" / "model.safetensors").exists():
        settings = config.model.autoencoder
        batches = autoencoder_batches(data, config.seed, settings.batch)

        def report(step: int, steps: int, figures: dict[str, float]) -> None:
            log(f"autoencoder {step}/{steps} {figures}")

        train_autoencoder(batches, SIZE, settings, folder / "vae", report=report)
    cache_latents(load_autoencoder(folder / "vae"), data, folder / "clips", log_progress("clips"))


def train_all(study: Study, workers: int) -> None:
    """Train all variants, in one process or in a process for each lane."""
    image, video = (getattr(study.build_config("full"), name).optimizer for name in ("image", "video"))
    log(f"training: {image.steps} steps of {image.batch} (images), {video.steps} of {video.batch} (clips)")
    if workers == 1:
        for lane in LANES:
            run_lane(study, lane)
        return
    with ProcessPoolExecutor(len(LANES), get_context("spawn")) as pool:
        for future in [pool.submit(run_lane, study, lane) for lane in LANES]:
            future.result()


class Measurements:
    """Measures all variants of a study, each as far as it has been trained.

    Args:
        study: The study, prepared.
    """

    def __init__(self, study: Study):
        self.study = study
        model, folder = face478.load(), study.folder
        self.config = study.build_config("full")
        self.motion_estimator: MotionEstimator
        self.identity_encoder: IdentityEncoder
        self.motion_estimator, self.identity_encoder = load_or_train_estimators(model, folder / "estimators", log=log)
        self.vae: AutoencoderKL = load_autoencoder(folder / "vae")
        self.clips: Clips = load_clips(folder / "test")
        self.pairs = measure.make_pairs(model, self.clips, count=2)

    def run(self) -> dict[str, Any]:
        """Return all figures; `steps` of a variant is how far it has been trained."""
        sizes = {"train": asdict(TRAINING_CAST), "held_out": asdict(HELD_OUT_CAST)}
        limits = measure.measure_limits(self.motion_estimator, self.identity_encoder, self.vae, self.pairs)
        image, video = self.measure_image_stage(), self.measure_video_stage()
        return {
            "sizes": {**sizes, "config": asdict(self.config), "scale": self.study.scale},
            "settings": asdict(measure.SETTINGS),
            "limits": limits,
            "image": image,
            "video": video,
            "claims": check_claims(image, video),
        }

    def measure_image_stage(self) -> Figures:
        """Measure stage 1 of all variants, and save images.png: source, truth, render, and a row for each variant."""
        pairs, clips, prediction = self.pairs, self.clips, self.config.model.prediction
        result: Figures = {}
        rows = [pairs.source, pairs.truth, pairs.render]
        for name in IMAGE_VARIANTS:
            network, steps = load_variant(self.study, "image", name)
            if network is None:
                log(f"image {name}: skipped, not trained yet")
                continue
            generator = measure.VideoGenerator(network, self.vae, prediction)
            images = generator.generate(pairs.source, pairs.render[:, None], pairs.motion[:, None])[:, 0]
            figures = measure.measure_images(self.motion_estimator, self.identity_encoder, pairs, images)
            figures |= measure.measure_retrieval(network, clips)
            figures |= measure.measure_noise_error(network, self.vae, prediction, clips)
            result[name] = {**figures, "steps": steps}
            rows.append(images)
            log(f"image {name}: {round_figures(result[name])}")
        columns = range(0, len(pairs.source), max(1, len(pairs.source) // 12))
        save_sheet(self.study.folder / "images.png", rows, columns)
        return result

    def measure_video_stage(self) -> Figures:
        """Measure stage 2 of all variants, and save borders.png: the truth and a row for each variant, two videos."""
        clips, selection = self.clips, slice(0, 2 * VIDEOS, 2)
        truth = clips.frames[selection]
        result: Figures = {}
        rows = [truth]
        for name in VIDEO_VARIANTS:
            stage = self.study.build_config(name).video
            network, steps = load_variant(self.study, "video", name)
            if network is None:
                log(f"video {name}: skipped, not trained yet")
                continue
            overlap = stage.clip // 4 if stage.none_known < 1 else 0
            settings = replace(measure.SETTINGS, length=stage.clip, overlap=overlap)
            generator = measure.VideoGenerator(network, self.vae, self.config.model.prediction)
            sources, renders, motion = (part[selection] for part in (clips.sources, clips.renders, clips.motion))
            videos = generator.generate(sources, renders, motion, settings, batch=8)
            borders, count = [], 0
            for clip in ica.plan_clips(truth.shape[1], settings.length, settings.overlap):
                borders.append(count)
                count += clip.end - clip.carried
            result[name] = {**measure_videos(self.motion_estimator, videos, truth, borders[1:]), "steps": steps}
            rows.append(videos)
            log(f"video {name}: {round_figures(result[name])}")
        strips = [videos[0] for videos in rows] + [videos[1] for videos in rows]
        save_sheet(self.study.folder / "borders.png", strips, range(4, 22))
        return result


def check_claims(image: Figures, video: Figures) -> dict[str, str]:
    """Check in which direction each ablation changes the figures: "yes", "no" or "not measured" by claim."""

    def compare(name: str, figure: str, table: Figures, grows: bool = True) -> str:
        if "full" not in table or name not in table:
            return "not measured"
        change = table[name][figure] / table["full"][figure] - 1
        holds = change > 0 if grows else change < 0
        return f"{'yes' if holds else 'no'} ({table['full'][figure]:.4g} -> {table[name][figure]:.4g}, {change:+.0%})"

    claims = {}
    for name in ("no_render", "no_coefficients"):
        for figure in measure.MOTION_GROUPS:
            claims[f"{name}: {figure} error grows"] = compare(name, figure, image)
        claims[f"{name}: error of the predicted noise grows"] = compare(name, "noise_error", image)
    claims["no_identity: identity similarity falls"] = compare("no_identity", "identity", image, grows=False)
    claims["no_identity: retrieval by ID tokens falls"] = compare("no_identity", "top1", image, grows=False)
    claims["memory_bank: identity similarity rises"] = compare("memory_bank", "identity", image)
    claims["memory_bank: retrieval by ID tokens rises"] = compare("memory_bank", "top1", image)
    for figure in ("pixels_border_ratio", "landmarks_border_ratio", "video_distance"):
        claims[f"no_ica: {figure} grows"] = compare("no_ica", figure, video)
    return claims


def round_figures(figures: dict[str, float]) -> dict[str, float]:
    """Round figures to four decimals for a log line."""
    return {name: round(value, 4) for name, value in figures.items()}


def save_sheet(path: Path, rows: list[np.ndarray], columns: range) -> None:
    """Save rows of images as one image at twice their size."""
    sheet = np.concatenate([np.concatenate([row[k] for k in columns], 1) for row in rows], 0)
    cv2.imwrite(str(path), cv2.resize(sheet[..., ::-1], None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST))


def main() -> None:
    """Prepare, train and measure the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the study")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the training steps (default: 1)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--measure-only", action="store_true", help="measure without training")
    parser.add_argument("--json", type=Path, help="file for all figures (default: FOLDER/ablation.json)")
    arguments = parser.parse_args()
    study = Study(arguments.folder, arguments.scale)
    if not arguments.measure_only:
        prepare(study, arguments.workers)
        train_all(study, arguments.workers)
    result = Measurements(study).run()
    (arguments.json or arguments.folder / "ablation.json").write_text(json.dumps(result, indent=1))
    for claim, answer in result["claims"].items():
        print(f"{claim}: {answer}")


if __name__ == "__main__":
    main()
