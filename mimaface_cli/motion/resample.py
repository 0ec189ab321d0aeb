"""A track at other times than its own frames'."""

from dataclasses import replace

import numpy as np

from mimaface_cli.motion.track import MotionTrack


def resample_track(track: MotionTrack, times: np.ndarray) -> MotionTrack:
    """The track at given times (N, s, strictly increasing), interpolated linearly, held beyond its ends; never across
    a cut, where the nearer side is taken.
    """
    first = track.pts - track.pts[0]
    position = np.interp(times, first, np.arange(len(track)))
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, len(track) - 1)
    share = position - low
    shot = np.searchsorted(np.asarray(track.meta.cuts, int), np.arange(len(track)), side="right")
    share = np.where(shot[low] != shot[high], np.round(share), share)

    def blend(values: np.ndarray) -> np.ndarray:
        weight = share.reshape(-1, *[1] * (values.ndim - 1))
        return (1 - weight) * values[low] + weight * values[high]

    pose = np.array(track.pose, np.float64)
    pose[:, :3] = np.unwrap(pose[:, :3], axis=0)
    nearest = np.where(share < 0.5, low, high)
    cuts = tuple(int(k) for k in np.flatnonzero(np.diff(shot[nearest]) > 0) + 1)
    return replace(
        track,
        expression=blend(track.expression),
        illumination=blend(track.illumination),
        pose=blend(pose),
        gaze=blend(track.gaze),
        crop=blend(track.crop),
        pts=np.asarray(times, np.float64),
        valid=track.valid[nearest],
        meta=replace(track.meta, cuts=cuts),
    )
