"""The steps of the training: load clips, cross-validate and align them, train on all of them, write model and card."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np

from mimaface_cli.builders.clip_tracks import read_people
from mimaface_cli.builders.speech478.lip_build_options import LipBuildOptions
from mimaface_cli.builders.speech478.lip_evaluation import ClipFigures, choose_close_threshold, evaluate_clip
from mimaface_cli.builders.speech478.lip_training import (
    NetworkArrays,
    assemble_model,
    estimate_shift,
    predict_channels,
    train_network,
)
from mimaface_cli.builders.speech478.moonshine import fit_projection, load_encoder
from mimaface_cli.builders.speech478.speech_card import write_card
from mimaface_cli.builders.speech478.sphinx import load_phones
from mimaface_cli.builders.speech478.talking_clips import (
    SpeechFeatures,
    TalkingClip,
    iterate_audio,
    load_talking_clips,
    make_noise_features,
)
from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.speech.lip_model_file import save_lip_model

MIN_CORRELATION = 0.15  # of the lip gap, in step; below, the audio does not belong to the visible mouth
_FINAL_SEED_OFFSET = 1000

TrainingJob = tuple[list[TalkingClip], list[SpeechFeatures], int, int]
"""Arguments of `train_network`."""


@dataclass(frozen=True)
class CrossValidation:
    """Result of the cross-validation.

    Attributes:
        clips: All clips with their estimated shift.
        predictions: Held-out prediction for each clip, by name.
        figures: Held-out figures of each clip.
        used: Clips with audio that belongs to the visible mouth.
    """

    clips: list[TalkingClip]
    predictions: dict[str, np.ndarray]
    figures: list[ClipFigures]
    used: list[TalkingClip]


def build_lip_model(options: LipBuildOptions, log: Callable[[str], None]) -> None:
    """Train the lip network and write the model and its card.

    Args:
        options: Options of the build.
        log: Receives messages.

    Raises:
        MimafaceError: If an input cannot be used or an output cannot be written.
    """
    model_path, card_path = options.output, options.output.with_suffix(".md")
    for path in (model_path, card_path):
        check_output(path, options.overwrite)
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder. Name a folder of clips in which people talk.")
    front_end = fit_projection(load_encoder(), load_phones(), iterate_audio(options.folder))
    tracks = options.tracks or options.output.with_suffix(".tracks")
    clips = load_talking_clips(options.folder, tracks, read_people(options.people), front_end, log)
    if len({clip.person for clip in clips}) < 2 * options.folds:
        raise InputError(f"{options.folder}: shows too few people who talk for {options.folds} folds. Add clips.")
    noises = make_noise_features(front_end, np.random.default_rng(options.seed))
    result = cross_validate(clips, noises, options, log)
    jobs = [(result.used, noises, options.seed + _FINAL_SEED_OFFSET + k, options.steps) for k in range(options.nets)]
    nets = list(_train_parallel(jobs, options.jobs))
    close_at = choose_close_threshold(result.used, result.predictions)
    version = _fingerprint(nets)
    model = assemble_model(result.used, result.predictions, nets, front_end, close_at, version)
    with atomic_path(model_path) as temporary:
        save_lip_model(temporary, model)
    text = write_card(options, model, result.figures, {clip.name for clip in result.used})
    with atomic_path(card_path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    log(f"{model_path}: {model_path.stat().st_size} bytes, version {version}")


def cross_validate(
    clips: list[TalkingClip], noises: list[SpeechFeatures], options: LipBuildOptions, log: Callable[[str], None]
) -> CrossValidation:
    """Predict every clip without its person; estimate its shift and whether its audio belongs to the mouth.

    Each round trains on the clips and shifts of the round before. The last round averages `options.nets` networks.
    """
    used, predictions, figures = clips, {}, []
    for k in range(options.rounds):
        nets = options.nets if k == options.rounds - 1 else 1
        predictions = _predict_held_out(clips, used, noises, replace(options, nets=nets), log)
        shifts = [estimate_shift(clip, predictions[clip.name]) for clip in clips]
        # Only relative shifts can be estimated: the median clip counts as in sync.
        clips = [
            replace(clip, shift=shift - float(np.median(shifts))) for clip, shift in zip(clips, shifts, strict=True)
        ]
        figures = [evaluate_clip(clip, predictions[clip.name]) for clip in clips]
        used = [clip for clip, row in zip(clips, figures, strict=True) if row.gap_in_step >= MIN_CORRELATION]
        jaw, gap = (np.mean([getattr(row, field) for row in figures]) for field in ("jaw_in_step", "gap_in_step"))
        log(
            f"round {k + 1}: the audio of {len(used)} of {len(clips)} clips belongs to the visible mouth; correlation "
            f"in step: jaw {jaw:.3f}, gap {gap:.3f}"
        )
    return CrossValidation(clips, predictions, figures, used)


def _predict_held_out(
    clips: Sequence[TalkingClip],
    used: Sequence[TalkingClip],
    noises: list[SpeechFeatures],
    options: LipBuildOptions,
    log: Callable[[str], None],
) -> dict[str, np.ndarray]:
    """Split the people into folds and predict each fold by networks trained on the others."""
    people = sorted({clip.person for clip in clips})
    order = np.random.default_rng(options.seed).permutation(len(people))
    fold_of = {person: int(place) % options.folds for person, place in zip(people, order, strict=True)}
    jobs: list[TrainingJob] = [
        (
            [clip for clip in used if fold_of[clip.person] != fold],
            noises,
            options.seed + fold + options.folds * k,
            options.steps,
        )
        for fold in range(options.folds)
        for k in range(options.nets)
    ]
    trained = _train_parallel(jobs, options.jobs)
    predictions: dict[str, np.ndarray] = {}
    for fold in range(options.folds):
        nets = [next(trained) for _ in range(options.nets)]
        predictions |= {clip.name: predict_channels(nets, clip) for clip in clips if fold_of[clip.person] == fold}
        log(f"fold {fold + 1} of {options.folds} finished")
    return predictions


def _train_parallel(jobs: list[TrainingJob], workers: int) -> Iterator[NetworkArrays]:
    """Train networks in worker processes; yield them in order."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(train_network, *zip(*jobs, strict=True))


def _fingerprint(nets: Sequence[NetworkArrays]) -> str:
    """Return twelve hex digits that identify networks as they are stored."""
    content = b"".join(array.astype(np.float16).tobytes() for net in nets for array in net.values())
    return hashlib.sha256(content).hexdigest()[:12]
