"""What the lip network is worth on clips left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mimaface_cli.builders.speech478.lip_training import correlation
from mimaface_cli.builders.speech478.talking_clips import MARGIN, Clip
from mimaface_cli.speech.lip_network import CLOSED, FRAME_RATE, GAP, UNPAIRED_BLENDSHAPES
from mimaface_cli.speech.phones import BANDS

JAW = UNPAIRED_BLENDSHAPES.index("jawOpen")
_ALLOWED = 0.06  # share of the open frames that may be shut by mistake


@dataclass(frozen=True)
class Judged:
    """Correlations over time of jaw and gap with what was seen, as the file is and with its shift taken out; floor: of
    the gap in step with the sound's loudness.
    """

    name: str
    seconds: float
    shift: float
    jaw: float
    gap: float
    jaw_in_step: float
    gap_in_step: float
    floor: float


def judge(clip: Clip, said: np.ndarray) -> Judged:
    """The figures of one clip, `said` as of `predict`."""
    times = np.arange(len(said)) / FRAME_RATE
    in_step = clip.at(times)
    shift, clip.shift = clip.shift, 0.0
    seen = clip.at(times)
    clip.shift = shift
    loud = clip.versions[0].features[MARGIN:, -BANDS:].astype(np.float64).mean(1)
    smooth = np.convolve(loud, np.hanning(23)[1:-1] / np.hanning(23).sum(), "same")[: 4 * len(said) : 4]
    return Judged(
        clip.name,
        len(said) / FRAME_RATE,
        shift,
        correlation(said[:, JAW], seen[:, JAW]),
        correlation(said[:, GAP], seen[:, GAP]),
        correlation(said[:, JAW], in_step[:, JAW]),
        correlation(said[:, GAP], in_step[:, GAP]),
        correlation(smooth, in_step[: len(smooth), GAP]),
    )


def close_threshold(clips: Sequence[Clip], said: dict[str, np.ndarray]) -> float:
    """Log odds from which lips are shut: as low as may be while few of the frames seen open are shut."""
    odds = np.concatenate([said[clip.name][:, CLOSED] for clip in clips])
    seen = np.concatenate([clip.at(np.arange(len(said[clip.name])) / FRAME_RATE)[:, CLOSED] for clip in clips])
    return float(np.quantile(odds[seen < 0.5], 1 - _ALLOWED))
