"""Training samples of clips: their files, made once and kept in a folder, and their split by person."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Generic, Self, TypeVar
from zlib import crc32

import numpy as np

from mimaface_cli.builders.clip_tracks import list_videos, load_track, read_people
from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path
from mimaface_cli.motion.track import MotionTrack

_TRACKS, _SAMPLES = "tracks", "samples"

C = TypeVar("C")  # a clip: its samples, and the person in it


@dataclass(frozen=True, eq=False)
class ClipSamples:
    """Arrays of a clip, stored under the names of the fields.

    The fields after `photo` are those with an entry for each photo, then those with an entry for each sample.

    Attributes:
        photo: (N,) index of each sample's photo.
    """

    photo: np.ndarray

    def __len__(self) -> int:
        return len(self.photo)

    @classmethod
    def stack(cls, samples: Iterable[tuple[Any, ...]], photos: Iterable[tuple[Any, ...]]) -> Self:
        """Stack the values of the fields of each sample, `photo` first, and of each photo."""
        photo, *sample_columns = (np.stack(column) for column in zip(*samples, strict=True))
        photo_columns = (np.stack(column) for column in zip(*photos, strict=True))
        names = [field.name for field in fields(cls)]
        return cls(**dict(zip(names, [photo, *photo_columns, *sample_columns], strict=True)))

    def save(self, path: Path) -> None:
        """Write the samples to a file, which appears when it is complete."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the samples from a file."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{field.name: file[field.name] for field in fields(cls)})


# Makes the samples of a clip from its path, its track and random numbers; None for a clip that yields none.
SampleMaker = Callable[[Path, MotionTrack, np.random.Generator], ClipSamples | None]


def make_samples(folder: Path, work: Path, jobs: int, make: SampleMaker, log: Callable[[str], None]) -> None:
    """Make the samples of all clips that have none yet.

    Args:
        folder: Clips, in subfolders too.
        work: Folder for tracks and samples.
        jobs: Processes in parallel.
        make: Makes the samples of a clip, a function of a module.
        log: Receives a message for each clip.
    """
    for name in (_TRACKS, _SAMPLES):
        (work / name).mkdir(parents=True, exist_ok=True)
    missing = [path for path in list_videos(folder) if not sample_path(path, work).exists()]
    with ProcessPoolExecutor(jobs) as pool:
        for number, message in enumerate(pool.map(partial(_make_clip_samples, work, make), missing)):
            log(f"samples {number + 1} of {len(missing)}: {message}")


def sample_path(path: Path, work: Path) -> Path:
    """Return the file of a clip's samples; an empty file marks a clip without any."""
    return work / _SAMPLES / f"{path.stem}.npz"


def _make_clip_samples(work: Path, make: SampleMaker, path: Path) -> str:
    """Make the samples of a clip; return a message."""
    output = sample_path(path, work)
    try:
        track = load_track(path, work / _TRACKS)
        samples = make(path, track, np.random.default_rng(crc32(path.stem.encode())))
    except InputError as error:
        output.touch()
        return f"skipped: {error}"
    if samples is None:
        output.touch()
        return f"{path.name}: no samples"
    samples.save(output)
    return f"{path.name}: {len(samples)} pairs"


@dataclass(frozen=True)
class PeopleData(Generic[C]):
    """Samples to learn from and samples to measure on.

    Attributes:
        training: The clips of each person.
        held_out: The clips of each person that the network never sees.
    """

    training: list[list[C]]
    held_out: list[list[C]]


def load_people(
    folder: Path, work: Path, people: Path | None, held_out_every: int, load: Callable[[str, str, Path], C]
) -> PeopleData[C]:
    """Load the samples of all clips and split them by person.

    Args:
        folder: Clips, in subfolders too.
        work: Folder of the samples.
        people: CSV file with the columns `file` and `person`, or None if every clip shows another person.
        held_out_every: Every N-th person is held out; 0 for none.
        load: Loads a clip from its name, its person and the file of its samples.

    Raises:
        InputError: If there are too few people.
    """
    names = read_people(people)
    by_person: dict[str, list[C]] = {}
    for path in list_videos(folder):
        file = sample_path(path, work)
        if file.exists() and os.path.getsize(file):
            person = names.get(path.stem, path.stem)
            by_person.setdefault(person, []).append(load(path.stem, person, file))
    ordered = [by_person[person] for person in sorted(by_person, key=lambda person: crc32(person.encode()))]
    held_out = ordered[::held_out_every] if held_out_every else []
    training = [clips for k, clips in enumerate(ordered) if not held_out_every or k % held_out_every]
    if not training:
        raise InputError(f"{folder}: shows no usable face. Add videos of at least a second with a face that talks.")
    return PeopleData(training, held_out)
