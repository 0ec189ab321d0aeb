"""The build of the network of a face part: data, training, evaluation, model file and card."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch

from mimaface_cli.builders.clip_samples import PeopleData, SampleMaker, load_people, make_samples
from mimaface_cli.builders.part_build_options import PartBuildOptions
from mimaface_cli.builders.part_torch import PartUNet
from mimaface_cli.builders.part_training import PartTask, PartTrainer, TrainingOptions
from mimaface_cli.engines.mesh.face_part import FacePart
from mimaface_cli.engines.mesh.part_network import content_version, load_network
from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.media.image import write_image

_CONDITION_QUANTILES = 0.002, 0.998  # of the training data: the range to which conditions are limited
_LOG_EVERY = 50  # steps


class ConditionedSamples(Protocol):
    """Samples with conditions."""

    @property
    def conditions(self) -> np.ndarray:
        """(N, 2, K) float32."""
        ...


class PartClip(Protocol):
    """A clip with samples."""

    @property
    def samples(self) -> ConditionedSamples:
        """The samples."""
        ...


C = TypeVar("C", bound=PartClip)


@dataclass(frozen=True)
class PartBuild(Generic[C]):
    """What differs between the builds of parts.

    Attributes:
        part: The part.
        make_samples: Makes the samples of a clip.
        load_clip: Loads a clip from its name, its person and the file of its samples.
        build_task: Returns what the network learns from the clips of each person.
        evaluate: Measures a network on the clips of held-out people; returns a table for the card, and a summary.
        draw_sheet: Draws a sheet (H, W, 3) uint8 of held-out people.
        write_card: Returns the text of the card, from options, data, table and version.
    """

    part: FacePart
    make_samples: SampleMaker
    load_clip: Callable[[str, str, Path], C]
    build_task: Callable[[list[list[C]]], PartTask]
    evaluate: Callable[[PartUNet, list[list[C]]], tuple[str, str]]
    draw_sheet: Callable[[PartUNet, list[list[C]]], np.ndarray]
    write_card: Callable[[PartBuildOptions, PeopleData[C], str, str], str]


def build_part_model(build: PartBuild[C], options: PartBuildOptions, log: Callable[[str], None]) -> None:
    """Build the model and write it with its card and a sheet of held-out people.

    Raises:
        InputError: If the folder is missing or shows no usable face.
        OutputError: If an output exists already or cannot be written.
        WeightsError: If the model to start from is none of this part, or of another size.
    """
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder. Name a folder of videos of faces.")
    card = options.output.with_suffix(".md")
    for path in (options.output, card):
        check_output(path, options.overwrite)
    work = options.work or options.output.with_suffix(".work")
    make_samples(options.folder, work, options.jobs, build.make_samples, log)
    data = load_people(options.folder, work, options.people, options.held_out_every, build.load_clip)
    log(f"{len(data.training)} people to learn from, {len(data.held_out)} held out")
    torch.set_num_threads(options.jobs)
    task = build.build_task(data.training)
    start = _load_start(task, options.init)
    trainer = PartTrainer(task, TrainingOptions(options.steps, options.seed, work / "training.pt"), start)
    trainer.run(_progress(log))
    arrays = _export_arrays(trainer.average, data)
    with atomic_path(options.output) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    table = summary = "No person was held out."
    if data.held_out:
        table, summary = build.evaluate(trainer.average, data.held_out)
        write_image(work / "held-out.png", build.draw_sheet(trainer.average, data.held_out))
    card.write_text(build.write_card(options, data, table, str(arrays["version"])), "utf-8")
    log(f"{options.output}: {summary}")


def _progress(log: Callable[[str], None]) -> Callable[[int, int, dict[str, float]], None]:
    def report(step: int, steps: int, losses: dict[str, float]) -> None:
        if step % _LOG_EVERY == 0 or step == steps:
            log(f"step {step} of {steps}: " + ", ".join(f"{name} {value:.4f}" for name, value in losses.items()))

    return report


def _load_start(task: PartTask, init: str | None) -> PartUNet | None:
    """Load the network to start from, "shipped" or a file; None for random weights."""
    if init is None:
        return None
    network = PartUNet(task.part, task.widths)
    network.copy_weights(load_network(task.part, None if init == "shipped" else Path(init)))
    return network


def _export_arrays(network: PartUNet, data: PeopleData[C]) -> dict[str, np.ndarray]:
    """Return the arrays of the model file: weights in half precision, and the range of the conditions."""
    arrays = network.export_weights()
    parts = [clip.samples.conditions for clips in data.training for clip in clips]
    conditions = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])
    low, high = np.quantile(conditions, _CONDITION_QUANTILES, axis=0).astype(np.float32)
    arrays |= {"condition_low": low, "condition_high": high}
    return {**arrays, "version": np.array(content_version(arrays))}
