"""The prepared clips of a run, and conversions of images and motion to tensors."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mimaface_cli.errors import InputError
from mimaface_cli.face.d3dfr import mix_coefficients, pack_coefficients
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.shard_index import read_shard_index
from mimaface_cli.training.shard_reader import PREPARE_AGAIN, StoredClip, open_shards

CACHED_CLIPS = 4096
"""Clips with cached motion tensors. A track is slower to read than an image, and its tensor takes a few kilobytes."""


@dataclass(frozen=True)
class TrainingData:
    """Prepared clips with their people.

    Attributes:
        clips: The clips.
        person: (C,) int, the number of each clip's person.
        condition: Kind of the condition renders, "textured" or "render".
        identity_features: Identity features per photo, for the release's condition tokens; 0 for the paper's.
    """

    clips: list[StoredClip]
    person: np.ndarray
    condition: str = "render"
    identity_features: int = 0

    @property
    def people(self) -> int:
        """Number of people."""
        return len(np.unique(self.person))

    def select(self, mask: np.ndarray) -> "TrainingData":
        """Return the clips for which a mask (C,) is true; people keep their numbers."""
        clips = [clip for clip, is_selected in zip(self.clips, mask, strict=True) if is_selected]
        return replace(self, clips=clips, person=self.person[mask])


def load_training_data(config: TrainingConfig) -> TrainingData:
    """Open all clips of a run's data.

    Raises:
        InputError: They are missing or damaged, or do not match the configuration.
    """
    folder = Path(config.data)
    index = read_shard_index(folder)
    for name in ("space", "size"):
        prepared = index.settings.get(name)
        if prepared != getattr(config, name):
            raise InputError(
                f"{folder}: was prepared with {name} {prepared!r}. Set {name} = {prepared!r}, or prepare it again."
            )
    clips = open_shards(folder)
    if len({str(clip.shard) for clip in clips}) != index.shards:
        raise InputError(f"{folder}: lacks shards that are in its index. {PREPARE_AGAIN}")
    for clip in clips:
        if (clip.space, clip.size, clip.has_renders) != (config.space, config.size, True):
            raise InputError(f"{clip.shard}: clip {clip.key} has another size or space, or no renders. {PREPARE_AGAIN}")
    identity_features = _count_identity_features(clips) if config.model.tokens == "release" else 0
    names = sorted({clip.identity for clip in clips})
    numbers = {name: number for number, name in enumerate(names)}
    person = np.array([numbers[clip.identity] for clip in clips])
    return TrainingData(clips, person, index.settings.get("condition", "render"), identity_features)


def _count_identity_features(clips: list[StoredClip]) -> int:
    """Return the number of identity features per photo.

    Raises:
        InputError: A clip lacks them.
    """
    incomplete = next((clip for clip in clips if not clip.has_features), None)
    if incomplete is not None:
        raise InputError(
            f"{incomplete.shard}: clip {incomplete.key} lacks the photo's coefficients and identity features. The "
            'release\'s condition tokens need them. Set [model] tokens = "paper", or install the identity network (run '
            "mimaface weights pull mimaface, or mimaface weights import) and prepare into another folder."
        )
    return len(clips[0].photo_features())


def to_signed(images: Tensor) -> Tensor:
    """Convert uint8 images to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def image_tensor(image: np.ndarray) -> Tensor:
    """Convert an image (S, S, 3) to a tensor (3, S, S) of the same type."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


@lru_cache(maxsize=CACHED_CLIPS)
def clip_motion(clip: StoredClip) -> Tensor:
    """Return pose, expression and gaze of all frames, (F, 74).

    The tensor is cached; do not change it.
    """
    track = clip.track()
    return torch.from_numpy(np.concatenate([track.pose, track.expression, track.gaze], 1))


@lru_cache(maxsize=CACHED_CLIPS)
def clip_mixed_coefficients(clip: StoredClip) -> Tensor:
    """Return the mixed coefficients of all frames, (F, 261) in the order of `d3dfr.FIELDS`.

    As in the release, identity, texture and illumination are those of the photo, and the motion is that of the frames.
    The tensor is cached; do not change it.
    """
    track = clip.track()
    names = ("identity", "texture", "illumination", "expression", "pose", "gaze")
    return torch.from_numpy(
        mix_coefficients(clip.photo_coefficients(), pack_coefficients({name: getattr(track, name) for name in names}))
    )


def token_inputs(clip: StoredClip, frames: slice | list[int], identity_features: int) -> dict[str, Tensor]:
    """Return the inputs of the condition tokens of some frames, except the photo.

    Args:
        clip: The clip.
        frames: The frames.
        identity_features: As for `TrainingData`.

    Returns:
        For the paper's tokens, motion (F, 74). For the release's tokens, motion (mixed coefficients, (F, 261)) and
        identity (identity_features,).
    """
    if not identity_features:
        return {"motion": clip_motion(clip)[frames].clone()}
    identity = torch.from_numpy(clip.photo_features(identity_features))
    return {"motion": clip_mixed_coefficients(clip)[frames].clone(), "identity": identity}
