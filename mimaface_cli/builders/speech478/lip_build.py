"""The steps of the training: load and align clips, cross-validate, train on all clips, write model and card."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np

from mimaface_cli.builders.clip_tracks import list_videos
from mimaface_cli.builders.speech478.build_cache import get_or_compute, hash_parts, load_arrays, save_arrays
from mimaface_cli.builders.speech478.lip_build_options import LipBuildOptions
from mimaface_cli.builders.speech478.lip_evaluation import ClipFigures, choose_close_threshold, evaluate_clip
from mimaface_cli.builders.speech478.lip_regression import align_clips, apply_shifts, fit_folds
from mimaface_cli.builders.speech478.lip_training import (
    NetworkArrays,
    assemble_model,
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
from mimaface_cli.speech.audio_features import SpeechEncoder, SpeechFrontEnd
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
        fold_of: Fold of each person.
    """

    clips: list[TalkingClip]
    predictions: dict[str, np.ndarray]
    figures: list[ClipFigures]
    used: list[TalkingClip]
    fold_of: dict[str, int]


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
    front_end = _load_front_end(options)
    clips = load_talking_clips(options, front_end, log)
    if len({clip.person for clip in clips}) < 2 * options.folds:
        raise InputError(f"{options.folder}: shows too few people who talk for {options.folds} folds. Add clips.")
    noises = make_noise_features(front_end, np.random.default_rng(options.seed))
    result = cross_validate(clips, noises, options, log)
    jobs = [(result.used, noises, options.seed + _FINAL_SEED_OFFSET + k, options.steps) for k in range(options.nets)]
    nets = list(_train_parallel(jobs, options))
    nets.append(fit_folds(result.used, noises, result.fold_of, options.folds)[1])
    close_at = choose_close_threshold(result.used, result.predictions)
    version = _fingerprint(nets)
    model = assemble_model(result.used, result.predictions, nets, front_end, close_at, version)
    with atomic_path(model_path) as temporary:
        save_lip_model(temporary, model)
    text = write_card(options, model, result.figures, {clip.name for clip in result.used})
    with atomic_path(card_path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    log(f"{model_path}: {model_path.stat().st_size} bytes, version {version}")


def _load_front_end(options: LipBuildOptions) -> SpeechFrontEnd:
    """Load the front end and fit its projection to the audio of the clips."""
    encoder, phones = load_encoder(), load_phones()
    files = [(path.name, path.stat().st_size) for path in list_videos(options.folder)]

    def fit() -> dict[str, np.ndarray]:
        fitted = fit_projection(encoder, phones, iterate_audio(options.folder)).encoder
        return {"mean": fitted.mean, "basis": fitted.basis}

    arrays = get_or_compute(options.cache_folder / f"projection-{hash_parts(files)}.npz", fit)
    return SpeechFrontEnd(phones, SpeechEncoder(encoder.arrays, encoder.level, arrays["mean"], arrays["basis"]))


def cross_validate(
    clips: list[TalkingClip], noises: list[SpeechFeatures], options: LipBuildOptions, log: Callable[[str], None]
) -> CrossValidation:
    """Align the clips, predict each without its person, and find out whether its audio belongs to the mouth."""
    fold_of = assign_folds(clips, options)
    clips = _align_clips(clips, noises, fold_of, options)
    log("the clips are aligned")
    members, _ = fit_folds(clips, noises, fold_of, options.folds, is_quick=True)
    linear = {clip.name: predict_channels([members[fold_of[clip.person]]], clip) for clip in clips}
    used = _select_used(clips, [evaluate_clip(clip, linear[clip.name]) for clip in clips])
    members, _ = fit_folds(used, noises, fold_of, options.folds)
    predictions = _predict_held_out(clips, used, noises, members, fold_of, options, log)
    clips = apply_shifts(clips, predictions)
    figures = [evaluate_clip(clip, predictions[clip.name]) for clip in clips]
    used = _select_used(clips, figures)
    fields = "jaw_in_step", "gap_in_step", "gap"
    jaw, gap, as_is = (np.mean([getattr(row, field) for row in figures]) for field in fields)
    log(
        f"the audio of {len(used)} of {len(clips)} clips belongs to the visible mouth; correlation in step: jaw "
        f"{jaw:.3f}, gap {gap:.3f}; files as they are: gap {as_is:.3f}"
    )
    return CrossValidation(clips, predictions, figures, used, fold_of)


def _align_clips(
    clips: list[TalkingClip], noises: list[SpeechFeatures], fold_of: dict[str, int], options: LipBuildOptions
) -> list[TalkingClip]:
    """Align the clips, or load their shifts from the cache."""
    key = hash_parts(*((clip.name, clip.person) for clip in clips), options.seed, options.folds, options.rounds)

    def align() -> dict[str, np.ndarray]:
        aligned = align_clips(clips, noises, fold_of, options.folds, options.rounds)
        return {"shifts": np.array([clip.shift for clip in aligned])}

    shifts = get_or_compute(options.cache_folder / f"shifts-{key}.npz", align)["shifts"]
    return [replace(clip, shift=float(shift)) for clip, shift in zip(clips, shifts, strict=True)]


def assign_folds(clips: Sequence[TalkingClip], options: LipBuildOptions) -> dict[str, int]:
    """Assign each person to a fold at random."""
    people = sorted({clip.person for clip in clips})
    order = np.random.default_rng(options.seed).permutation(len(people))
    return {person: int(place) % options.folds for person, place in zip(people, order, strict=True)}


def _select_used(clips: Sequence[TalkingClip], figures: Sequence[ClipFigures]) -> list[TalkingClip]:
    return [clip for clip, row in zip(clips, figures, strict=True) if row.gap_in_step >= MIN_CORRELATION]


def _predict_held_out(
    clips: Sequence[TalkingClip],
    used: Sequence[TalkingClip],
    noises: list[SpeechFeatures],
    members: Sequence[NetworkArrays],
    fold_of: dict[str, int],
    options: LipBuildOptions,
    log: Callable[[str], None],
) -> dict[str, np.ndarray]:
    """Predict each fold by networks and the linear member that were trained on the other folds."""
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
    trained = _train_parallel(jobs, options)
    predictions: dict[str, np.ndarray] = {}
    for fold in range(options.folds):
        nets = [*(next(trained) for _ in range(options.nets)), members[fold]]
        predictions |= {clip.name: predict_channels(nets, clip) for clip in clips if fold_of[clip.person] == fold}
        log(f"fold {fold + 1} of {options.folds} finished")
    return predictions


def _train_parallel(jobs: list[TrainingJob], options: LipBuildOptions) -> Iterator[NetworkArrays]:
    """Train networks in worker processes, or load them from the cache; yield them in order."""
    paths = [options.cache_folder / f"network-{_job_key(job)}.npz" for job in jobs]
    missing = [(job, path) for job, path in zip(jobs, paths, strict=True) if not path.exists()]
    if missing:
        with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
            trained = pool.map(train_network, *zip(*(job for job, _ in missing), strict=True))
            for path in paths:
                if not path.exists():
                    save_arrays(path, next(trained))
                yield load_arrays(path)
        return
    yield from map(load_arrays, paths)


def _job_key(job: TrainingJob) -> str:
    """Return a hash of what a training depends on."""
    clips, noises, seed, steps = job
    parts = [(clip.name, round(clip.shift, 4), clip.versions[0].features) for clip in clips]
    return hash_parts(
        *(part for triple in parts for part in triple), *(noise.features for noise in noises), seed, steps
    )


def _fingerprint(nets: Sequence[NetworkArrays]) -> str:
    """Return twelve hex digits that identify networks as they are stored."""
    content = b"".join(array.astype(np.float16).tobytes() for net in nets for array in net.values())
    return hashlib.sha256(content).hexdigest()[:12]
