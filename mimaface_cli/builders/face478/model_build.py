"""The steps of a build: observe a folder, build the model, measure it, write the model, its card and its overview."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mimaface_cli.builders.face478.column_effects import measure_columns
from mimaface_cli.builders.face478.held_out import (
    correlate_predicted_scores,
    measure_explained_variance,
    measure_readout,
    measure_reprojection,
    score_rendered_columns,
)
from mimaface_cli.builders.face478.model_arrays import CLIP_STEP, build_arrays
from mimaface_cli.builders.face478.model_card import BuildInfo, Measurements, write_card
from mimaface_cli.builders.face478.observation_file import ObservationFile, collect_observations, observe_folder
from mimaface_cli.builders.face478.observations import FaceData, split_subjects
from mimaface_cli.builders.face478.overview_image import render_overview
from mimaface_cli.builders.face478.person_fitting import fit_people
from mimaface_cli.face import face478
from mimaface_cli.face.face478 import Face478
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.media.image import write_image


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build.

    Attributes:
        folder: Images and clips.
        output: The model, .npz; the card and the overview image get the same name.
        observations: Cache of the landmarks; None for a file beside the output.
        held_out: Share of the people to measure on, above 0 and at most 0.5.
        seed: Random seed, at least 0.
        about: Origin and license of the data, for the card.
        overwrite: Whether existing outputs are replaced.
        command: The command, for the card.
    """

    folder: Path
    output: Path
    observations: Path | None
    held_out: float
    seed: int
    about: str
    overwrite: bool
    command: str


@dataclass(frozen=True)
class Build:
    """A finished build.

    Attributes:
        path: The model.
        version: Its version.
        measurements: The figures of its card.
    """

    path: Path
    version: str
    measurements: Measurements


def build_model(
    options: BuildOptions, file_progress: Callable[[int, int, str], None], log: Callable[[str], None]
) -> Build:
    """Build a model and write it, its card (.md) and its overview image (.png).

    Args:
        options: Options of the build.
        file_progress: Called with the observed files, all files and the name of the last one.
        log: Receives messages.

    Raises:
        MimafaceError: If an input cannot be used or an output cannot be written.
    """
    model_path, card_path, image_path = (options.output.with_suffix(suffix) for suffix in (".npz", ".md", ".png"))
    for path in (model_path, card_path, image_path):
        check_output(path, options.overwrite)
    with ObservationFile(options.observations or options.output.with_suffix(".observations")) as store:
        names = observe_folder(options.folder, store, file_progress)
        observations = collect_observations(store, names)
    for name, problem in observations.skipped.items():
        log(f"skipped {name}: {problem}")
    training, held_out = split_data(observations.data, options.held_out, options.seed)
    log(f"building from {len(training.stills.points)} stills and {len(training.clips.points)} frames of clips")
    photos = [options.folder / observations.photos[subject] for subject in np.unique(training.stills.subject)]
    arrays: dict[str, Any] = build_arrays(training, photos, options.seed)
    with atomic_path(model_path) as temporary:
        with temporary.open("xb") as file:
            np.savez_compressed(file, **arrays)
        model = face478.load(temporary)
        counts = len(held_out.stills.points), len(held_out.clips.points)
        log(f"measuring on {counts[0]} held-out stills and {counts[1]} frames of held-out clips")
        measurements = measure_model(model, training, held_out)
        write_image(image_path, render_overview(model))
        info = BuildInfo(options.about, options.command, len(observations.skipped), image_path.name)
        with atomic_path(card_path) as temporary_card:
            temporary_card.write_text(write_card(model, measurements, info), encoding="utf-8")
    return Build(model_path, model.version, measurements)


def split_data(data: FaceData, share: float, seed: int) -> tuple[FaceData, FaceData]:
    """Split stills and clips into training and held-out data."""
    stills, held_out_stills = split_subjects(data.stills, share, seed)
    clips, held_out_clips = split_subjects(data.clips, share, seed)
    return FaceData(stills, clips), FaceData(held_out_stills, held_out_clips)


def measure_model(model: Face478, training: FaceData, held_out: FaceData) -> Measurements:
    """Measure all figures of the card."""
    clip_fits = fit_people(model, held_out.clips, CLIP_STEP)
    return Measurements(
        training=training,
        held_out=held_out,
        reprojection=measure_reprojection(model, clip_fits),
        explained_training=measure_explained_variance(model, training),
        explained=measure_explained_variance(model, held_out),
        readout=measure_readout(model, held_out.clips),
        predicted=correlate_predicted_scores(model, held_out.clips, clip_fits),
        predicted_stills=correlate_predicted_scores(model, held_out.stills, fit_people(model, held_out.stills)),
        effects=measure_columns(model),
        column_scores=score_rendered_columns(model),
    )
