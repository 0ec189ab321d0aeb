"""What a small model learns from: short clips with their condition renders and coefficients, one file each."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mimaface_cli.errors import InputError
from mimaface_cli.files import atomic_path

MOTION = {"pose": 6, "expression": 64, "gaze": 4}
_SHAPES = {"pictures": 4, "renders": 4, "source": 3, "motion": 2}


@dataclass(frozen=True)
class Clips:
    """C clips of N frames: pictures and renders C×N×S×S×3 uint8; source C×S×S×3 uint8, the photo that the renders were
    made from; motion C×N×74: pose, expression, gaze; person C, numbers of the people."""

    pictures: np.ndarray
    renders: np.ndarray
    source: np.ndarray
    motion: np.ndarray
    person: np.ndarray

    def __len__(self) -> int:
        return len(self.person)

    @property
    def size(self) -> int:
        return self.pictures.shape[2]

    @property
    def frames(self) -> int:
        return self.pictures.shape[1]


def write_clip(
    path: Path, person: str, pictures: np.ndarray, renders: np.ndarray, source: np.ndarray, motion: np.ndarray
) -> None:
    """One clip's file, written whole. Raises OutputError."""
    with atomic_path(path) as temporary, temporary.open("xb") as file:
        np.savez(file, person=np.array(person), pictures=pictures, renders=renders, source=source,
                 motion=motion.astype(np.float32))  # fmt: skip


def read_clips(paths: Iterable[Path], frames: int | None = None) -> Clips:
    """The clips of some files, in memory; frames: the first so many of each (default: as many as the shortest has).

    Raises InputError that names the file which is damaged or does not fit the others.
    """
    rows: list[dict[str, np.ndarray]] = []
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as file:
                row = {name: file[name] for name in (*_SHAPES, "person")}
        except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds
            raise InputError(f"{path}: is no clip of a training set ({error}); prepare it again") from error
        fits = all(row[name].ndim == count for name, count in _SHAPES.items())
        if not fits or (rows and row["source"].shape != rows[0]["source"].shape):
            raise InputError(f"{path}: does not fit the other clips; prepare them all with one size")
        rows.append(row)
    if not rows:
        raise InputError("the training set holds no clips; prepare it first")
    shortest = min(len(row["pictures"]) for row in rows)
    count = shortest if frames is None else frames
    if count > shortest:
        raise InputError(f"the training set has clips of {shortest} frames where {count} are asked for")
    names = {name: k for k, name in enumerate(sorted({str(row["person"]) for row in rows}))}
    stack = lambda name: np.stack([row[name][:count] for row in rows])  # noqa: E731
    person = np.array([names[str(row["person"])] for row in rows])
    sources = np.stack([row["source"] for row in rows])
    return Clips(stack("pictures"), stack("renders"), sources, stack("motion"), person)


def to_tensor(pictures: np.ndarray) -> Tensor:
    """…×S×S×3 uint8 -> (…, 3, S, S) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).movedim(-1, -3).float() / 127.5 - 1


def motion_groups(motion: Tensor) -> dict[str, Tensor]:
    """(…, 74) to the groups of MOTION."""
    return dict(zip(MOTION, motion.split(list(MOTION.values()), -1)))
