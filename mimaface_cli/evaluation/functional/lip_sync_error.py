"""LSE-C and LSE-D from the embeddings of SyncNet."""

from dataclasses import dataclass

import numpy as np

SHIFT = 15  # largest shift of the audio in frames
_EPSILON = 1e-6  # added to differences, as PyTorch's pairwise_distance does


@dataclass(frozen=True)
class LipSyncError:
    """Lip-sync errors of one result.

    Attributes:
        distance: Mean distance at the best shift (LSE-D).
        confidence: Median over the shifts minus the distance (LSE-C).
        offset: Frames by which the audio is late at the best shift.
    """

    distance: float
    confidence: float
    offset: int


def lip_sync_error(lips: np.ndarray, audio: np.ndarray, frames: np.ndarray) -> LipSyncError:
    """Compare the mouth with the audio at all shifts.

    Args:
        lips: (N, D) embeddings of windows of the mouth.
        audio: (T, D) embeddings of windows of the audio; row k starts at frame k. Beyond its ends it counts as zero.
        frames: (N) frame at which each window of the mouth starts, 0 to T - 1.

    Source: Prajwal et al. 2020, "A Lip Sync Expert Is All You Need", with the code of SyncNet's evaluation.
    """
    padded = np.pad(np.asarray(audio, np.float64), ((SHIFT, SHIFT), (0, 0)))
    means = [np.linalg.norm(lips - padded[frames + shift] + _EPSILON, axis=1).mean() for shift in range(2 * SHIFT + 1)]
    best = int(np.argmin(means))
    return LipSyncError(float(means[best]), float(np.median(means) - means[best]), best - SHIFT)
