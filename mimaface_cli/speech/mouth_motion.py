"""Mouth motion: the lip network's prediction, refined by phones, closed lips and silence."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from mimaface_cli.media.waveform import Waveform
from mimaface_cli.motion.coefficients import EXPRESSION_DIM, blendshape_index
from mimaface_cli.motion.easing import smoothstep
from mimaface_cli.speech.audio_features import FeatureExtractor
from mimaface_cli.speech.lip_network import (
    CLOSED,
    CONTEXT,
    FEATURES_PER_FRAME,
    GAP,
    PAIRED_BLENDSHAPES,
    UNPAIRED_BLENDSHAPES,
    LipModel,
    count_video_frames,
)
from mimaface_cli.speech.phones import BANDS, SPEECH_LEVEL, measure_levels

SILENCE = -2.0  # loudness of silence
_BLOCK = 250  # video frames computed at once: ten seconds
_PHONE_GROUPS = {
    "lips": ("P", "B", "M"),
    "teeth": ("F", "V"),
    "round": ("UW", "W", "OW", "UH"),
    "spread": ("IY", "EY", "Y"),
    "hiss": ("SH", "CH", "JH", "ZH"),
}
"""Phones with a clearly visible mouth shape."""
_MIN_PROBABILITY = np.array([0.13, 0.1, 0.15, 0.2, 0.15])  # of each group; below it the group has no effect
_PROBABILITY_RANGE = np.array([0.06, 0.12, 0.3, 0.4, 0.25])  # above the minimum, until the group has its full effect
_PEAK_GROUPS = 2  # the first groups, whose phones are brief: they act only in the frame of their highest probability
_PEAK_WIDTH = 5  # frames in which a peak is the highest
_PHONE_SMOOTHING = 0.4  # frames, standard deviation
_SILENT_LEVEL, _AUDIBLE_LEVEL = -48.0, -38.0  # dB relative to the louder frames
_AUDIBILITY_SMOOTHING = 1.2  # frames, standard deviation
_MIN_BLENDSHAPE, _MAX_BLENDSHAPE = -0.25, 1.0


def predict_mouth(waveform: Waveform, model: LipModel) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Predict the mouth motion of a recording, a block at a time.

    The block size does not change the result.

    Args:
        waveform: The recording.
        model: The lip network.

    Yields:
        Expression coefficients of the mouth in face478, N × 64, and loudness, N (1 per 35 dB above the recording's
        mean). Together the blocks have `count_video_frames(len(waveform))` frames.
    """
    total = count_video_frames(len(waveform))
    extractor = FeatureExtractor(waveform, model.front_end)
    statistics = extractor.statistics
    for start in range(0, total, _BLOCK):
        stop = min(start + _BLOCK, total)
        if statistics.is_silent:
            yield np.zeros((stop - start, EXPRESSION_DIM)), np.full(stop - start, SILENCE)
            continue
        first, last = (start - CONTEXT) * FEATURES_PER_FRAME, (stop + CONTEXT) * FEATURES_PER_FRAME
        features, phones = extractor.extract(first, last)
        loudness = np.maximum(features[:, -BANDS:].mean(1).reshape(-1, FEATURES_PER_FRAME).mean(1), SILENCE)
        groups = gaussian_filter1d(_group_phones(model, phones), _PHONE_SMOOTHING, axis=0)
        inner = slice(CONTEXT, -CONTEXT)
        expression = _build_expression(model, model.predict(features)[inner], groups[inner])
        peak_levels = measure_levels(waveform, first, last).reshape(-1, FEATURES_PER_FRAME).max(1)
        relative_levels = peak_levels + 20 * np.log10(statistics.gain) - SPEECH_LEVEL
        yield expression * _audibility(relative_levels)[inner, None], loudness[inner]


def _audibility(levels: np.ndarray) -> np.ndarray:
    """Return a factor of the mouth motion: 0 in silence, 1 elsewhere.

    Args:
        levels: T, in dB relative to the louder frames.

    Returns:
        T, from 0 to 1.
    """
    audible = np.clip((maximum_filter1d(levels, 5) - _SILENT_LEVEL) / (_AUDIBLE_LEVEL - _SILENT_LEVEL), 0, 1)
    return gaussian_filter1d(audible, _AUDIBILITY_SMOOTHING)


def _group_phones(model: LipModel, probabilities: np.ndarray) -> np.ndarray:
    """Sum the phone probabilities (4 T × P) to probabilities of the phone groups (T × 5)."""
    names = model.front_end.phones.names
    groups = [probabilities[:, [names.index(name) for name in group]].sum(1) for group in _PHONE_GROUPS.values()]
    return np.stack(groups, 1).reshape(-1, FEATURES_PER_FRAME, len(_PHONE_GROUPS)).max(1)


def _build_expression(model: LipModel, channels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Combine the network's output and the phone groups.

    The network predicts reliably how far the mouth opens, but underestimates its shape, such as rounding. Therefore a
    phone with a high probability adds its visible shape.

    Args:
        model: The lip network.
        channels: T × 17, output of the network.
        groups: T × 5, probabilities of the phone groups.

    Returns:
        Expression coefficients T × 64 of face478.
    """
    scaled = (channels[:, :CLOSED] - model.rest) * model.scale * model.gain
    strength = np.clip((groups - _MIN_PROBABILITY) / _PROBABILITY_RANGE, 0, 1)
    _, teeth, rounded, spread, hiss = strength.T
    is_peak = groups >= maximum_filter1d(groups, _PEAK_WIDTH, axis=0)
    lips_meet, teeth_meet = (strength * is_peak)[:, :_PEAK_GROUPS].T
    expression = np.zeros((len(channels), EXPRESSION_DIM))
    for k, name in enumerate(UNPAIRED_BLENDSHAPES):
        expression[:, blendshape_index(name)] = scaled[:, k]
    for k, name in enumerate(PAIRED_BLENDSHAPES, len(UNPAIRED_BLENDSHAPES)):
        expression[:, blendshape_index(name + "Left")] = scaled[:, k]
        expression[:, blendshape_index(name + "Right")] = scaled[:, k]
    for name, increment in (
        ("mouthPucker", 0.5 * rounded + 0.15 * hiss),
        ("mouthFunnel", 0.15 * rounded + 0.25 * hiss),
        ("mouthRollLower", 0.45 * teeth),
        ("mouthUpperUpLeft", 0.15 * teeth),
        ("mouthUpperUpRight", 0.15 * teeth),
        ("mouthStretchLeft", 0.15 * spread),
        ("mouthStretchRight", 0.15 * spread),
        ("mouthSmileLeft", 0.12 * spread - 0.15 * rounded),
        ("mouthSmileRight", 0.12 * spread - 0.15 * rounded),
    ):
        expression[:, blendshape_index(name)] += increment
    expression = np.clip(expression, _MIN_BLENDSHAPE, _MAX_BLENDSHAPE)
    openness = (
        _openness(channels[:, CLOSED] - model.closing_threshold)
        * (1 - lips_meet)
        * (1 - 0.6 * teeth_meet)
        * (1 - 0.35 * np.maximum(rounded, hiss))
    )
    set_lip_gap(expression, np.maximum(scaled[:, GAP], 0) * openness)
    return expression


def set_lip_gap(expression: np.ndarray, gap: np.ndarray) -> None:
    """Move jaw and lips (in place) so that the lip gap has given values.

    Args:
        expression: T × 64, expression coefficients.
        gap: T, model units.
    """
    gradient = lip_gap_gradient()
    excess = expression @ gradient - gap
    for name, difference in (("mouthClose", np.maximum(excess, 0)), ("jawOpen", np.minimum(excess, 0))):
        column = blendshape_index(name)
        expression[:, column] = np.minimum(expression[:, column] - difference / gradient[column], _MAX_BLENDSHAPE)


def _openness(log_odds: np.ndarray) -> np.ndarray:
    """Return a factor of the lip gap: 1 for open lips, 0 for closed lips, smooth in between.

    Args:
        log_odds: T, log odds of closed lips minus the closing threshold.
    """
    return smoothstep(-log_odds / 1.5)


@lru_cache(maxsize=1)
def lip_gap_gradient() -> np.ndarray:
    """Return how far each expression coefficient moves the inner lips apart (64, model units)."""
    from mimaface_cli.face import face478

    basis = face478.load().expression_basis
    return (basis[[13, 82, 312], 1] - basis[[14, 87, 317], 1]).mean(0)
