"""Mouth motion: the lip network's prediction, refined by phones, closed lips, silence and audio without speech."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

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
    SPEECH,
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
_MIN_PROBABILITY = np.array([0.105, 0.1, 0.15, 0.2, 0.15])  # of each group; below it the group has no effect
_PROBABILITY_RANGE = np.array([0.04, 0.12, 0.3, 0.4, 0.25])  # above the minimum, until the group has its full effect
_CLOSED_EVIDENCE = 0.02  # of a unit of the log odds of closed lips, as a probability of the group "lips"
_LIKELY_CLOSED, _SURELY_OPEN = -3.0, -6.5  # log odds minus the closing threshold: no evidence, and no closing below
_PEAK_GROUPS = 2  # the first groups, whose phones are brief: they act only in the frame of their highest probability
_PEAK_WIDTH = 5  # frames in which a peak is the highest
_PHONE_SMOOTHING = 0.4  # frames, standard deviation
_SILENT_LEVEL, _AUDIBLE_LEVEL = -48.0, -38.0  # dB relative to the louder frames
_AUDIBILITY_SMOOTHING = 1.0  # frames, standard deviation
_NO_SPEECH, _CLEAR_SPEECH = -1.5, 0.5  # log odds of speech: at rest up to the first, full motion from the second on
_SPEECH_HOLD, _SPEECH_SMOOTHING, _SPEECH_RADIUS = 3, 2.0, 5  # frames; the last is where the smoothing is cut off
_REACH = CONTEXT + _SPEECH_HOLD + _SPEECH_RADIUS  # frames before and after a frame on which its motion depends
_MIN_BLENDSHAPE, _MAX_BLENDSHAPE = -0.25, 1.0


class MouthBlock(NamedTuple):
    """Mouth motion of N frames.

    Attributes:
        expression: N × 64, expression coefficients of the mouth in face478.
        loudness: N (1 per 35 dB above the recording's mean).
        is_nonspeech: N, whether a frame has audible audio that is not speech.
    """

    expression: np.ndarray
    loudness: np.ndarray
    is_nonspeech: np.ndarray


def predict_mouth(waveform: Waveform, model: LipModel) -> Iterator[MouthBlock]:
    """Predict the mouth motion of a recording, a block at a time.

    The block size does not change the result.

    Args:
        waveform: The recording.
        model: The lip network.

    Yields:
        Blocks that together have `count_video_frames(len(waveform))` frames.
    """
    total = count_video_frames(len(waveform))
    extractor = FeatureExtractor(waveform, model.front_end)
    statistics = extractor.statistics
    for start in range(0, total, _BLOCK):
        stop = min(start + _BLOCK, total)
        if statistics.is_silent:
            count = stop - start
            yield MouthBlock(np.zeros((count, EXPRESSION_DIM)), np.full(count, SILENCE), np.zeros(count, bool))
            continue
        first, last = (start - _REACH) * FEATURES_PER_FRAME, (stop + _REACH) * FEATURES_PER_FRAME
        features, phones = extractor.extract(first, last)
        loudness = np.maximum(features[:, -BANDS:].mean(1).reshape(-1, FEATURES_PER_FRAME).mean(1), SILENCE)
        groups = gaussian_filter1d(_group_phones(model, phones), _PHONE_SMOOTHING, axis=0)
        inner = slice(_REACH, -_REACH)
        channels = model.predict(features)
        expression = _build_expression(model, channels, groups)[inner]
        peak_levels = measure_levels(waveform, first, last).reshape(-1, FEATURES_PER_FRAME).max(1)
        relative_levels = peak_levels + 20 * np.log10(statistics.gain) - SPEECH_LEVEL
        audibility, presence = _audibility(relative_levels)[inner], _speech_presence(channels[:, SPEECH])[inner]
        motion = expression * (audibility * presence)[:, None]
        yield MouthBlock(motion, loudness[inner], (audibility > 0.5) & (presence < 0.5))


def _audibility(levels: np.ndarray) -> np.ndarray:
    """Return a factor of the mouth motion: 0 in silence, 1 elsewhere.

    Args:
        levels: T, in dB relative to the louder frames.

    Returns:
        T, from 0 to 1.
    """
    audible = np.clip((maximum_filter1d(levels, 3) - _SILENT_LEVEL) / (_AUDIBLE_LEVEL - _SILENT_LEVEL), 0, 1)
    return gaussian_filter1d(audible, _AUDIBILITY_SMOOTHING)


def _speech_presence(log_odds: np.ndarray) -> np.ndarray:
    """Return a factor of the mouth motion: 0 in noise and music without voice, 1 in speech.

    Doubtful frames near speech count as speech, and the factor changes slowly, so that lips ease closed.

    Args:
        log_odds: T, log odds of speech.

    Returns:
        T, from 0 to 1.
    """
    held = maximum_filter1d(log_odds, 2 * _SPEECH_HOLD + 1)
    factor = smoothstep((held - _NO_SPEECH) / (_CLEAR_SPEECH - _NO_SPEECH))
    return gaussian_filter1d(factor, _SPEECH_SMOOTHING, radius=_SPEECH_RADIUS)


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
    closing = channels[:, CLOSED] - model.closing_threshold
    groups = groups.copy()
    groups[:, 0] += _CLOSED_EVIDENCE * np.clip(closing - _LIKELY_CLOSED, -2, 3)
    strength = np.clip((groups - _MIN_PROBABILITY) / _PROBABILITY_RANGE, 0, 1)
    strength[:, 0] *= smoothstep(closing - _SURELY_OPEN)
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
    openness = _openness(closing) * (1 - lips_meet) * (1 - 0.4 * teeth_meet) * (1 - 0.15 * np.maximum(rounded, hiss))
    set_lip_gap(expression, model.lip_gap(channels[:, GAP]) * openness)
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
    return smoothstep(-log_odds / 2.5)


@lru_cache(maxsize=1)
def lip_gap_gradient() -> np.ndarray:
    """Return how far each expression coefficient moves the inner lips apart (64, model units)."""
    from mimaface_cli.face import face478

    basis = face478.load().expression_basis
    return (basis[[13, 82, 312], 1] - basis[[14, 87, 317], 1]).mean(0)
