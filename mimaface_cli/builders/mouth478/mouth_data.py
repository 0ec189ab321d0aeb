"""The samples of all clips, made once and kept in a folder, and their split by person."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from mimaface_cli.builders.clip_tracks import list_videos, load_track, read_people
from mimaface_cli.builders.mouth478.mouth_batches import MouthClip
from mimaface_cli.builders.mouth478.mouth_clips import MouthSamples, make_mouth_samples
from mimaface_cli.errors import InputError

_TRACKS, _SAMPLES = "tracks", "samples"


@dataclass(frozen=True)
class MouthData:
    """Samples to learn from and samples to measure on.

    Attributes:
        training: The clips of each person.
        held_out: The clips of each person that the network never sees.
    """

    training: list[list[MouthClip]]
    held_out: list[list[MouthClip]]


def make_samples(folder: Path, work: Path, jobs: int, log: Callable[[str], None]) -> None:
    """Render the samples of all clips that have none yet.

    Args:
        folder: Clips, in subfolders too.
        work: Folder for tracks and samples.
        jobs: Processes in parallel.
        log: Receives a message for each clip.
    """
    for name in (_TRACKS, _SAMPLES):
        (work / name).mkdir(parents=True, exist_ok=True)
    missing = [path for path in list_videos(folder) if not _has_samples(path, work)]
    with ProcessPoolExecutor(jobs) as pool:
        for number, message in enumerate(pool.map(_make_clip_samples, missing, [work] * len(missing))):
            log(f"samples {number + 1} of {len(missing)}: {message}")


def _sample_path(path: Path, work: Path) -> Path:
    return work / _SAMPLES / f"{path.stem}.npz"


def _has_samples(path: Path, work: Path) -> bool:
    """Whether the samples of a clip were made; an empty file marks a clip without any."""
    return _sample_path(path, work).exists()


def _make_clip_samples(path: Path, work: Path) -> str:
    """Make the samples of a clip; return a message."""
    output = _sample_path(path, work)
    try:
        track = load_track(path, work / _TRACKS)
        samples = make_mouth_samples(path, track, np.random.default_rng(crc32(path.stem.encode())))
    except InputError as error:
        output.touch()
        return f"skipped: {error}"
    if samples is None:
        output.touch()
        return f"{path.name}: too short"
    samples.save(output)
    return f"{path.name}: {len(samples)} pairs"


def load_data(folder: Path, work: Path, people: Path | None, held_out_every: int) -> MouthData:
    """Load the samples of all clips and split them by person.

    Args:
        folder: Clips, in subfolders too.
        work: Folder of the samples.
        people: CSV file with the columns `file` and `person`, or None if every clip shows another person.
        held_out_every: Every N-th person is held out.

    Raises:
        InputError: If there are too few people.
    """
    names = read_people(people)
    by_person: dict[str, list[MouthClip]] = {}
    for path in list_videos(folder):
        file = _sample_path(path, work)
        if not file.exists() or not os.path.getsize(file):
            continue
        person = names.get(path.stem, path.stem)
        by_person.setdefault(person, []).append(MouthClip(path.stem, person, MouthSamples.load(file)))
    ordered = sorted(by_person, key=lambda person: crc32(person.encode()))
    held_out = ordered[::held_out_every] if held_out_every else []
    training = [by_person[person] for person in ordered if person not in held_out]
    if not training:
        raise InputError(f"{folder}: shows no usable face. Add videos of at least a second with a face that talks.")
    return MouthData(training, [by_person[person] for person in held_out])
