"""The build of the mouth network: data, training, evaluation, model file and card."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mimaface_cli.builders.mouth478.mouth_build_options import MouthBuildOptions
from mimaface_cli.builders.mouth478.mouth_card import write_card
from mimaface_cli.builders.mouth478.mouth_data import MouthData, load_data, make_samples
from mimaface_cli.builders.mouth478.mouth_evaluation import MouthFigures, draw_sheet, evaluate_network
from mimaface_cli.builders.mouth478.mouth_torch import MouthUNet
from mimaface_cli.builders.mouth478.mouth_training import MouthTrainer, TrainingOptions
from mimaface_cli.engines.mesh.mouth_network import content_version, load_mouth_network
from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path
from mimaface_cli.media.image import write_image

_CONDITION_QUANTILES = 0.002, 0.998  # of the training data: the range within which conditions are believed
_LOG_EVERY = 50  # steps


def build_mouth_model(options: MouthBuildOptions, log: Callable[[str], None]) -> None:
    """Build the model and write it with its card and a sheet of held-out people.

    Raises:
        InputError: If the folder is missing or shows no usable face, or an output exists.
    """
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder. Name a folder of videos of faces.")
    card = options.output.with_suffix(".md")
    for path in (options.output, card):
        if path.exists() and not options.overwrite:
            raise InputError(f"{path}: exists. Name another file, or allow overwriting.")
    work = options.work or options.output.with_suffix(".work")
    make_samples(options.folder, work, options.jobs, log)
    data = load_data(options.folder, work, options.people, options.held_out_every)
    log(f"{len(data.training)} people to learn from, {len(data.held_out)} held out")
    torch.set_num_threads(options.jobs)
    training = TrainingOptions(options.steps, options.seed, work / "training.pt")
    trainer = MouthTrainer(data.training, training, _load_start(options.init))
    trainer.run(_progress(log))
    arrays = export_arrays(trainer.average, data)
    with atomic_path(options.output) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    figures: tuple[MouthFigures, MouthFigures] | None = None
    if data.held_out:
        figures = evaluate_network(trainer.average, data.held_out)
        write_image(work / "held-out.png", draw_sheet(trainer.average, data.held_out))
    card.write_text(write_card(options, data, figures, str(arrays["version"])), "utf-8")
    log(f"{options.output}: {figures[0] if figures else 'no person held out'}")


def _progress(log: Callable[[str], None]) -> Callable[[int, int, dict[str, float]], None]:
    def report(step: int, steps: int, losses: dict[str, float]) -> None:
        if step % _LOG_EVERY == 0 or step == steps:
            log(f"step {step} of {steps}: " + ", ".join(f"{name} {value:.4f}" for name, value in losses.items()))

    return report


def _load_start(init: str | None) -> MouthUNet | None:
    """Load the network to start from.

    Raises:
        WeightsError: If the file is not a mouth network.
    """
    if init is None:
        return None
    start = load_mouth_network(None if init == "shipped" else Path(init))
    network = MouthUNet()
    network.load_state_dict(
        {
            name: torch.from_numpy((start.weights if name.endswith("weight") else start.biases)[name.rsplit(".", 1)[0]])
            for name in network.state_dict()
        }
    )
    return network


def export_arrays(network: MouthUNet, data: MouthData) -> dict[str, np.ndarray]:
    """Return the arrays of the model file: weights in half precision, and the range of the conditions."""
    arrays = {name: value.numpy().astype(np.float16) for name, value in network.state_dict().items()}
    clips = [clip for clips in data.training for clip in clips]
    conditions = np.concatenate(
        [clip.samples.conditions.reshape(-1, clip.samples.conditions.shape[-1]) for clip in clips]
    )
    low, high = np.quantile(conditions, _CONDITION_QUANTILES, axis=0).astype(np.float32)
    arrays |= {"condition_low": low, "condition_high": high}
    return {**arrays, "version": np.array(content_version(arrays))}
