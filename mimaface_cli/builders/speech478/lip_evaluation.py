"""Measurements of the lip network on held-out clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mimaface_cli.builders.speech478.lip_training import correlate
from mimaface_cli.builders.speech478.talking_clips import MARGIN, TalkingClip
from mimaface_cli.speech.lip_network import CLOSED, FEATURES_PER_FRAME, FRAME_RATE, GAP, UNPAIRED_BLENDSHAPES
from mimaface_cli.speech.phones import BANDS

JAW = UNPAIRED_BLENDSHAPES.index("jawOpen")
_MAX_FALSE_CLOSURES = 0.06  # share of the open frames that may be closed by mistake


@dataclass(frozen=True)
class ClipFigures:
    """Correlations over time of predicted and observed channels of a clip.

    Attributes:
        name: Name of the clip.
        seconds: Duration.
        shift: Estimated seconds by which the video lags behind the audio.
        jaw: Correlation of jawOpen, with the file as it is.
        gap: Correlation of the lip gap, with the file as it is.
        jaw_in_step: Correlation of jawOpen after the shift is removed.
        gap_in_step: Correlation of the lip gap after the shift is removed.
        floor: Correlation of loudness with the lip gap after the shift is removed.
        language: Language of the clip, or "" if it is not known.
    """

    name: str
    seconds: float
    shift: float
    jaw: float
    gap: float
    jaw_in_step: float
    gap_in_step: float
    floor: float
    language: str = ""


def evaluate_clip(clip: TalkingClip, prediction: np.ndarray) -> ClipFigures:
    """Compare a prediction T×18 (see `predict_channels`) with a clip."""
    times = np.arange(len(prediction)) / FRAME_RATE
    in_step, as_is = clip.channels_at(times), clip.channels_at(times, shift=0.0)
    loudness = clip.versions[0].features[MARGIN:, -BANDS:].astype(np.float64).mean(1)
    smooth = np.convolve(loudness, np.hanning(23)[1:-1] / np.hanning(23).sum(), "same")
    smooth = smooth[: FEATURES_PER_FRAME * len(prediction) : FEATURES_PER_FRAME]
    return ClipFigures(
        name=clip.name,
        seconds=len(prediction) / FRAME_RATE,
        shift=clip.shift,
        jaw=correlate(prediction[:, JAW], as_is[:, JAW]),
        gap=correlate(prediction[:, GAP], as_is[:, GAP]),
        jaw_in_step=correlate(prediction[:, JAW], in_step[:, JAW]),
        gap_in_step=correlate(prediction[:, GAP], in_step[:, GAP]),
        floor=correlate(smooth, in_step[: len(smooth), GAP]),
        language=clip.language,
    )


def choose_close_threshold(clips: Sequence[TalkingClip], predictions: dict[str, np.ndarray]) -> float:
    """Return the lowest log odds above which the lips close with few false closures on held-out clips."""
    odds = np.concatenate([predictions[clip.name][:, CLOSED] for clip in clips])
    closed = np.concatenate(
        [clip.channels_at(np.arange(len(predictions[clip.name])) / FRAME_RATE)[:, CLOSED] for clip in clips]
    )
    return float(np.quantile(odds[closed < 0.5], 1 - _MAX_FALSE_CLOSURES))
