"""Transforms of a whole track: strength, smoothing, range, speed. Pure functions from MotionTrack to MotionTrack."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import ceil

import numpy as np

from mimaface_cli.errors import InputError
from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.retarget import reference_coefficients
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.smoothing import filter_gaussian
from mimaface_cli.motion.track import MotionTrack

MIN_SPEED, MAX_SPEED = 0.05, 20.0
MAX_SMOOTH, MAX_STRENGTH = 10.0, 3.0
_SMOOTH_SIGMA = 0.06  # seconds, at strength 1
_REPEATED_ARRAYS = ("expression", "illumination", "pose", "gaze", "crop", "valid")


def scale_motion(track: MotionTrack, strength: float) -> MotionTrack:
    """Scale motion relative to its resting frame (`mimaface_cli.motion.retarget.reference_coefficients`).

    Args:
        track: The track.
        strength: Factor, 0 to 3.

    Raises:
        InputError: If the strength is out of range.
    """
    _check_range("strength", strength, 0, MAX_STRENGTH)
    if strength == 1 or len(track) == 1:
        return track
    rest = reference_coefficients(track, RetargetOptions())
    rest_rotation = rotation_matrix(rest.pose[:, :3])
    turn = euler_angles(rotation_matrix(track.pose[:, :3]) @ np.swapaxes(rest_rotation, -1, -2))
    angles = euler_angles(rotation_matrix(strength * turn) @ rest_rotation)
    position = rest.pose[:, 3:] + strength * (track.pose[:, 3:] - rest.pose[:, 3:])
    return replace(
        track,
        expression=rest.expression + strength * (track.expression - rest.expression),
        pose=np.concatenate([angles, position], 1),
        gaze=rest.gaze + strength * (track.gaze - rest.gaze),
    )


def smooth_track(track: MotionTrack, strength: float) -> MotionTrack:
    """Smooth motion over time without delay, every shot separately.

    Args:
        track: The track.
        strength: 0 to 10. 0 changes nothing, 1 removes jitter, 10 leaves slow motion only.

    Raises:
        InputError: If the strength is out of range.
    """
    _check_range("smooth", strength, 0, MAX_SMOOTH)
    if strength == 0 or len(track) < 3:
        return track
    sigma = _SMOOTH_SIGMA * strength / max(float(np.median(np.diff(track.pts))), 1e-3)
    arrays = track.motion_arrays(unwrap=True)
    edges = [0, *track.meta.cuts, len(track)]
    for values in (arrays["expression"], arrays["pose"], arrays["gaze"]):
        for start, stop in pairwise(edges):
            values[start:stop] = filter_gaussian(values[start:stop], sigma)
    return replace(track, **arrays)


def trim_track(track: MotionTrack, start: float = 0.0, duration: float | None = None) -> MotionTrack:
    """Select a range of time; the selected frames keep their times.

    Args:
        track: The track.
        start: Seconds from the track's first frame.
        duration: Seconds, or None for the rest of the track.

    Raises:
        InputError: If the range contains no frame.
    """
    if not 0 <= start < track.duration:
        raise InputError(
            f"{start:g} s is outside the track, which is {track.duration:.2f} s long. Give a time within it.",
            field="start",
        )
    if duration is not None and not duration > 0:
        raise InputError(f"{duration:g} s is out of range. Give more than 0 s.", field="duration")
    times = track.pts - track.pts[0]
    first = min(int(np.searchsorted(times, start - 1e-6)), len(track) - 1)
    if duration is None:
        return track.select_frames(slice(first, len(track)))
    last = max(int(np.searchsorted(times, start + duration - 1e-6)), first + 1)
    selected = track.select_frames(slice(first, last))
    # A long last frame is cut at the end, but it is not shorter than a nominal one.
    longest = max(start + duration - float(times[last - 1]), float(1 / track.frame_rate))
    if selected.last_duration <= longest + 1e-6:
        return selected
    return replace(selected, meta=replace(selected.meta, last_duration=longest))


def change_speed(track: MotionTrack, speed: float) -> MotionTrack:
    """Play a track faster or slower at an unchanged frame rate.

    Args:
        track: The track.
        speed: Factor, 0.05 to 20: 2 halves the duration, 0.5 doubles it.

    Raises:
        InputError: If the speed is out of range.
    """
    _check_range("speed", speed, MIN_SPEED, MAX_SPEED)
    if speed == 1 or len(track) == 1:
        return track
    interval = float(1 / track.frame_rate)
    count = max(1, round(track.duration / speed / interval))
    times = np.arange(count) * interval
    return replace(resample_track(track, times * speed), pts=times)


def loop_track(track: MotionTrack, duration: float) -> MotionTrack:
    """Repeat a track from its start, with a cut at every repetition.

    Args:
        track: The track.
        duration: Seconds to fill; a longer track is trimmed.
    """
    count = max(1, ceil(duration / track.duration - 1e-6))
    arrays = {name: np.concatenate([getattr(track, name)] * count) for name in _REPEATED_ARRAYS}
    pts = np.concatenate([track.pts + number * track.duration for number in range(count)])
    starts = range(0, count * len(track), len(track))
    cuts = sorted({start + cut for start in starts for cut in (0, *track.meta.cuts)} - {0})
    looped = replace(track, **arrays, pts=pts, meta=replace(track.meta, cuts=tuple(cuts)))
    return trim_track(looped, 0.0, duration)


def extend_track(track: MotionTrack, duration: float) -> MotionTrack:
    """Hold the last frame of a track, at its nominal frame rate.

    Args:
        track: The track.
        duration: Seconds to fill; a longer track is trimmed.
    """
    interval = float(1 / track.frame_rate)
    start = track.duration
    count = max(0, ceil((duration - start) / interval - 1e-6))
    pts = np.append(track.pts, track.pts[0] + start + interval * np.arange(count))
    held = {name: np.concatenate([a, np.repeat(a[-1:], count, 0)]) for name, a in _per_frame(track).items()}
    return trim_track(replace(track, **held, pts=pts, meta=replace(track.meta, last_duration=None)), 0.0, duration)


def _per_frame(track: MotionTrack) -> dict[str, np.ndarray]:
    return {name: getattr(track, name) for name in _REPEATED_ARRAYS}


def hold_first_frame(track: MotionTrack, duration: float, frame_rate: Fraction) -> MotionTrack:
    """Return a track that repeats the first frame of another one.

    Args:
        track: The track.
        duration: Seconds; at least one frame results.
        frame_rate: Frames per second of the result.
    """
    count = max(1, round(duration * float(frame_rate)))
    first = track.select_frames(slice(1))
    repeated = {name: np.repeat(getattr(first, name), count, axis=0) for name in _REPEATED_ARRAYS}
    pts = np.arange(count) * frame_rate.denominator / frame_rate.numerator
    return replace(first, **repeated, pts=pts, meta=replace(first.meta, frame_rate=frame_rate, last_duration=None))


def _check_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"{value:g} is out of range. Give a number from {low:g} to {high:g}.", field=field)
