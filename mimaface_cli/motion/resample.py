"""Resampling of a track at other times than those of its frames."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mimaface_cli.motion.track import MotionTrack


def resample_track(track: MotionTrack, times: npt.ArrayLike) -> MotionTrack:
    """Interpolate a track linearly at other times.

    The first and the last frame are held beyond the ends. Values are never interpolated across a cut: the nearer shot
    is used.

    Args:
        track: The track.
        times: (N,), seconds from the track's first frame, strictly increasing; they become the `pts` of the result.

    Returns:
        The track at these times, with its cuts at the corresponding frames. Its last frame lasts one nominal frame.
    """
    position = np.interp(np.asarray(times, np.float64), track.pts - track.pts[0], np.arange(len(track)))
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, len(track) - 1)
    weight = position - low
    shot = np.searchsorted(np.asarray(track.meta.cuts, int), np.arange(len(track)), side="right")
    weight = np.where(shot[low] != shot[high], np.round(weight), weight)

    def interpolate(values: np.ndarray) -> np.ndarray:
        weights = weight.reshape(-1, *[1] * (values.ndim - 1))
        return (1 - weights) * values[low] + weights * values[high]

    pose = np.array(track.pose, np.float64)
    pose[:, :3] = np.unwrap(pose[:, :3], axis=0)
    nearest = np.where(weight < 0.5, low, high)
    cuts = tuple(int(cut) for cut in np.flatnonzero(np.diff(shot[nearest]) > 0) + 1)
    return replace(
        track,
        expression=interpolate(track.expression),
        illumination=interpolate(track.illumination),
        pose=interpolate(pose),
        gaze=interpolate(track.gaze),
        crop=interpolate(track.crop),
        pts=np.asarray(times, np.float64),
        valid=track.valid[nearest],
        meta=replace(track.meta, cuts=cuts, last_duration=None),
    )
