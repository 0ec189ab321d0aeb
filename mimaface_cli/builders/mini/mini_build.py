"""The build: data, autoencoder, both stages, and the comparison with the mesh engine. Every part resumes."""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mimaface_cli.builders.mini.mini_comparison import compare_with_mesh
from mimaface_cli.builders.mini.mini_options import MiniOptions
from mimaface_cli.builders.mini.mini_people import PeopleSplit, record_split, split_people
from mimaface_cli.builders.mini.mini_schedule import (
    PieceEndedError,
    StepPlan,
    limit_time,
    measure_step,
    run_until,
)
from mimaface_cli.errors import InputError
from mimaface_cli.progress import ProgressCallback
from mimaface_cli.training.autoencoder import SAVE_EVERY
from mimaface_cli.training.clip_options import ClipOptions
from mimaface_cli.training.config import OptimizerConfig, TrainingConfig
from mimaface_cli.training.config_reader import load_config
from mimaface_cli.training.held_out_people import PEOPLE
from mimaface_cli.training.preparation import prepare_shards
from mimaface_cli.training.stages import train_image, train_video

LOG_SECONDS = 10.0
"""Seconds between lines about one stage."""
WARM_UP_SHARE = 0.1
"""Largest share of a stage's steps in which the learning rate rises."""

Log = Callable[[str], None]


def build_mini(options: MiniOptions, log: Log) -> None:
    """Build the model, or resume the build.

    Raises:
        InputError: The videos, the table of people or the configuration cannot be used.
        OutputError: The work folder cannot be written.
    """
    config = replace(
        load_config(options.config), data=str(options.work / "data"), output=str(options.work / "run"), space="face478"
    )
    if config.model.start != "scratch":
        raise InputError(f'{options.config}: is not of a small model. Set [model] start = "scratch".')
    deadline = time.monotonic() + 60 * options.piece if options.piece else math.inf
    split = None
    if set(options.parts) & {"data", "comparison"}:
        split = split_people(options.folder, options.people, options.held_out_every)
    try:
        if split is not None and "data" in options.parts:
            _prepare_data(options, config, split, deadline, log)
        if "training" in options.parts:
            _train(options, config, deadline, log)
    except PieceEndedError:
        log("the time of this call is over. Run the same command to resume.")
        return
    if split is not None and "comparison" in options.parts:
        compare_with_mesh(options, split, Path(config.output) / "model", log)


def _prepare_data(options: MiniOptions, config: TrainingConfig, split: PeopleSplit, deadline: float, log: Log) -> None:
    """Cut the videos into clips, and record who is held out."""
    record_split(Path(config.output), split.held_out)
    clips = ClipOptions(config.size, options.frames, options.per_video)
    progress = limit_time(_log_progress(log), deadline, {"preparing": 1})
    index = prepare_shards(
        options.folder, Path(config.data), "face478", clips, split.identities, options.jobs, progress=progress
    )
    log(
        f"{sum(index.videos.values())} clips of {len(index.videos)} videos in {index.shards} shards, "
        f"{len(index.skipped)} videos skipped, {len(split.held_out)} people held out"
    )


def _train(options: MiniOptions, config: TrainingConfig, deadline: float, log: Log) -> None:
    """Train autoencoder and both stages; with a limit of minutes, as many steps as fit."""
    output, probe = Path(config.output), options.work / "probe"
    if not (output / PEOPLE).exists():
        raise InputError(f"{output}: has no list of held-out people. Prepare the data first.")
    plan = StepPlan(options.work / "plan.json", options.minutes)
    intervals = {"autoencoder": SAVE_EVERY, "image": config.save_every, "video": config.save_every}
    progress = limit_time(_log_progress(log), deadline, intervals)

    def measure(stage: str, train: Callable[[TrainingConfig, ProgressCallback], Path]) -> float | None:
        """Measure a stage in a copy of the output, which is removed."""
        shutil.rmtree(probe, ignore_errors=True)
        shutil.copytree(output, probe)
        try:
            probed = replace(config, output=str(probe), validation=replace(config.validation, every=0))
            return measure_step(lambda report: train(probed, report), stage)
        finally:
            shutil.rmtree(probe, ignore_errors=True)

    autoencoder = config.model.autoencoder
    steps = plan.plan("autoencoder", lambda: measure("autoencoder", train_image), autoencoder.steps)
    config = replace(config, model=replace(config.model, autoencoder=replace(autoencoder, steps=steps)))
    run_until(lambda report: train_image(config, report), "image", progress)
    steps = plan.plan("image", lambda: measure("image", train_image), config.image.optimizer.steps)
    config = replace(config, image=replace(config.image, optimizer=_with_steps(config.image.optimizer, steps)))
    train_image(config, progress)
    steps = plan.plan("video", lambda: measure("video", train_video), config.video.optimizer.steps)
    config = replace(config, video=replace(config.video, optimizer=_with_steps(config.video.optimizer, steps)))
    log(f"{train_video(config, progress)}: the model is complete")


def _with_steps(optimizer: OptimizerConfig, steps: int) -> OptimizerConfig:
    return replace(optimizer, steps=steps, warm_up=min(optimizer.warm_up, int(WARM_UP_SHARE * steps)))


def _log_progress(log: Log) -> ProgressCallback:
    """Return a callback that logs each stage's begin and end, and lines between them."""
    last: dict[str, float] = {}

    def progress(stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if done == total or now - last.get(stage, -math.inf) >= LOG_SECONDS:
            last[stage] = now
            log(f"{stage}: {done}{f' of {total}' if total else ''}")

    return progress
