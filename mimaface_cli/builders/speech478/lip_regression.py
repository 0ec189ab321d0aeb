"""Linear regression of the mouth from audio features.

It is solved in closed form, so that it is quick and does not overfit. It aligns the clips before the networks are
trained, and it is a member of the model's ensemble.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mimaface_cli.builders.speech478.lip_training import (
    NetworkArrays,
    compute_channel_statistics,
    estimate_shift,
    measure_rest,
    predict_channels,
)
from mimaface_cli.builders.speech478.talking_clips import MARGIN, SpeechFeatures, TalkingClip
from mimaface_cli.speech.lip_network import CHANNELS, CLOSED, CONTEXT, FRAME_RATE, LINEAR_REACH, SPEECH, pool_frames

_PENALTY = 0.007  # ridge penalty relative to the sum of the weights
_ODDS = 2.0  # target of "closed" and "speech" where they are true; its negative elsewhere
_NOISE_SHARE = 0.15  # share of the weight of noise, for which the mouth shall rest
_ORIGINAL_SHARE = 0.5  # share of a clip's weight of the original audio
_MAX_WEIGHT_FRAMES = 300  # longer clips count as clips of this length


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Sums of a weighted least-squares problem. They can be added and subtracted.

    Attributes:
        gram: P × P.
        product: P × 18.
        weight: Sum of the weights of all frames.
    """

    gram: np.ndarray
    product: np.ndarray
    weight: float

    def __add__(self, other: "NormalEquations") -> "NormalEquations":
        return NormalEquations(self.gram + other.gram, self.product + other.product, self.weight + other.weight)

    def __sub__(self, other: "NormalEquations") -> "NormalEquations":
        return NormalEquations(self.gram - other.gram, self.product - other.product, self.weight - other.weight)

    def solve(self) -> NetworkArrays:
        """Return the weights as `lip_network.run_network` takes them."""
        size = len(self.gram)
        solution = np.linalg.solve(self.gram + _PENALTY * self.weight * np.eye(size), self.product)
        taps = 2 * LINEAR_REACH + 1
        weight = solution[:-1].reshape(taps, (size - 1) // taps, len(CHANNELS)).transpose(2, 1, 0)
        return {"linear.weight": weight.astype(np.float32), "linear.bias": solution[-1].astype(np.float32)}


def fit_folds(
    clips: Sequence[TalkingClip],
    noises: Sequence[SpeechFeatures],
    fold_of: dict[str, int],
    folds: int,
    is_quick: bool = False,
) -> tuple[list[NetworkArrays], NetworkArrays]:
    """Fit regressions to all clips outside each fold, and to all clips.

    Args:
        clips: Clips with their shifts.
        noises: Recordings without speech.
        fold_of: Fold of each person.
        folds: Number of folds.
        is_quick: Whether only the original audio is used.

    Returns:
        Weights for each fold, and for all clips.
    """
    parts = [
        _sum_all(sum_clip(clip, is_quick) for clip in clips if fold_of[clip.person] == fold) for fold in range(folds)
    ]
    total = _sum_all(part for part in parts if part is not None)
    if total is None:
        raise ValueError("there are no clips")
    noise = _sum_noises(noises, measure_rest(clips), total.weight * _NOISE_SHARE / (1 - _NOISE_SHARE))
    total = total if noise is None else total + noise
    return [(total if part is None else total - part).solve() for part in parts], total.solve()


def align_clips(
    clips: Sequence[TalkingClip],
    noises: Sequence[SpeechFeatures],
    fold_of: dict[str, int],
    folds: int,
    rounds: int,
) -> list[TalkingClip]:
    """Estimate the shifts of clips by regressions that were fitted without their person.

    Only relative shifts can be estimated: the median clip counts as in sync.

    Args:
        clips: Clips.
        noises: Recordings without speech.
        fold_of: Fold of each person.
        folds: Number of folds.
        rounds: Rounds; each fits to the shifts of the round before.

    Returns:
        The clips with their shifts.
    """
    clips = list(clips)
    for _ in range(rounds):
        members, _ = fit_folds(clips, noises, fold_of, folds, is_quick=True)
        predictions = {clip.name: predict_channels([members[fold_of[clip.person]]], clip) for clip in clips}
        clips = apply_shifts(clips, predictions)
    return clips


def apply_shifts(clips: Sequence[TalkingClip], predictions: dict[str, np.ndarray]) -> list[TalkingClip]:
    """Return the clips with the shifts that held-out predictions (by name) show, relative to the median clip."""
    shifts = [estimate_shift(clip, predictions[clip.name]) for clip in clips]
    return [replace(clip, shift=shift - float(np.median(shifts))) for clip, shift in zip(clips, shifts, strict=True)]


def sum_clip(clip: TalkingClip, is_quick: bool = False) -> NormalEquations:
    """Return the normal equations of a clip. A clip counts by its duration to the power of 0.75."""
    mean, scale = compute_channel_statistics(clip)
    total = min(clip.frame_count, _MAX_WEIGHT_FRAMES) ** 0.75
    versions = clip.versions[:1] if is_quick else clip.versions
    sums = []
    for k, version in enumerate(versions):
        share = (
            1.0 if len(versions) == 1 else _ORIGINAL_SHARE if k == 0 else (1 - _ORIGINAL_SHARE) / (len(versions) - 1)
        )
        frames = max(int(clip.frame_count * version.stretch), 1)
        target = (clip.targets_at(np.arange(frames) / FRAME_RATE / version.stretch) - mean) / scale
        target[:, [CLOSED, SPEECH]] = _ODDS * (2 * target[:, [CLOSED, SPEECH]] - 1)
        sums.append(_equations(version.features, target, share * total))
    return sum(sums[1:], sums[0])


def _sum_noises(noises: Sequence[SpeechFeatures], rest: np.ndarray, weight: float) -> NormalEquations | None:
    target = rest.copy()
    target[CLOSED], target[SPEECH] = _ODDS, -_ODDS
    sums = []
    for noise in noises:
        frames = (len(noise.features) - 2 * MARGIN) // 4
        sums.append(_equations(noise.features, np.tile(target, (frames, 1)), weight / len(noises)))
    return _sum_all(sums)


def _sum_all(parts: Iterable[NormalEquations]) -> NormalEquations | None:
    total = None
    for part in parts:
        total = part if total is None else total + part
    return total


def _equations(features: np.ndarray, target: np.ndarray, weight: float) -> NormalEquations:
    """Return the normal equations of features with margins and targets T × 18."""
    pooled = pool_frames(features.astype(np.float32))
    frames = min(len(target), len(pooled) - 2 * CONTEXT)
    starts = range(CONTEXT - LINEAR_REACH, CONTEXT + LINEAR_REACH + 1)
    columns = [*(pooled[start : start + frames] for start in starts), np.ones((frames, 1), np.float32)]
    x = np.concatenate(columns, 1)
    factor = weight / frames
    return NormalEquations(factor * (x.T @ x).astype(np.float64), factor * (x.T @ target[:frames]), weight)
