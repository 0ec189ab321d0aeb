"""Editing a track: pure functions from MotionTrack to MotionTrack.

Values are read and written through `mimaface_cli.motion.channels`; notes for the user come back beside the track.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.motion import smoothing
from mimaface_cli.motion.channels import (
    PRESETS,
    Channel,
    ExpressionMap,
    find_channel,
    parse_number,
)
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.keyframes import Keyframe, group_keyframes, interpolate_keyframes
from mimaface_cli.motion.mix_regions import check_regions
from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.retarget import reference_coefficients
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.track import MotionTrack

SLOWEST, FASTEST = 0.05, 20.0
SCALE_LIMIT = 10.0
MAX_SMOOTH, MAX_STRENGTH = 10.0, 3.0
_REACH = 0.06  # seconds of smoothing strength 1
_PER_FRAME = ("expression", "illumination", "pose", "gaze", "crop", "valid")


@dataclass(frozen=True)
class Term:
    """One change of a named curve: scale, set or add by a value in the curve's own units."""

    how: Literal["set", "add", "scale"]
    name: str
    value: float


def parse_term(how: Literal["set", "add", "scale"], text: str, space: str, named: ExpressionMap | None = None) -> Term:
    """`jawOpen=0.4` to a term. Raises InputError for an unknown name or a value out of the curve's range."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--{how} {text[:60]}: write NAME=VALUE, as in jawOpen=0.4")
    channel = find_channel(name, space, named)
    low, high = channel.low, channel.high
    if how == "scale":
        low, high = -SCALE_LIMIT, SCALE_LIMIT
    elif how == "add":
        low, high = low - high, high - low
    return Term(how, name, parse_number(value, f"--{how} {text[:60]}", low, high))


def preset_terms(name: str, share: float) -> list[Term]:
    """What a preset adds at a share of its full strength."""
    return [Term("add", part, value * share) for part, value in PRESETS[name].items()]


def change(
    track: MotionTrack, terms: Iterable[Term], keys: Iterable[Keyframe] = (), named: ExpressionMap | None = None
) -> tuple[MotionTrack, list[str]]:
    """Scale recorded curves, then set, then key (times from the track's start), then add. Values that leave a curve's
    range are clamped, and the notes say how many frames of which.
    """
    terms, keys, space = list(terms), list(keys), track.meta.space
    arrays = {name: getattr(track, name).astype(np.float64) for name in ("expression", "pose", "gaze")}
    arrays["pose"][:, :3] = np.unwrap(arrays["pose"][:, :3], axis=0)
    before = {name: array.copy() for name, array in arrays.items()}
    times = track.pts - track.pts[0]

    def each(how: str) -> Iterator[tuple[Channel, np.ndarray, float]]:
        """The terms of one kind: channel, its curve now, value."""
        for term in terms:
            if term.how == how:
                channel = find_channel(term.name, space, named)
                yield channel, channel.read(arrays[channel.array]), term.value

    for channel, now, value in each("scale"):
        channel.write(arrays[channel.array], now * value)
    for channel, now, value in each("set"):
        channel.write(arrays[channel.array], np.full_like(now, value))
    for name, (moments, values) in group_keyframes(keys).items():
        channel = find_channel(name, space, named)
        now = channel.read(arrays[channel.array])
        channel.write(
            arrays[channel.array], np.broadcast_to(interpolate_keyframes(moments, values, times)[:, None], now.shape)
        )
    for channel, now, value in each("add"):
        channel.write(arrays[channel.array], now + value)

    notes = []
    for channel in edited_channels(terms, keys, space, named):
        wanted = channel.read(arrays[channel.array])
        # What was recorded beyond the range may stay there; only a change is held within it.
        kept = np.where(
            wanted == channel.read(before[channel.array]), wanted, np.clip(wanted, channel.low, channel.high)
        )
        outside = int((np.abs(kept - wanted) > 1e-9).any(axis=1).sum())
        if outside:
            channel.write(arrays[channel.array], kept)
            limits = f"{channel.low:g} to {channel.high:g}"
            notes.append(f"{channel.name}: {outside} of {len(track)} frames held within {limits}")
    return replace(track, **arrays), notes


def edited_channels(
    terms: Iterable[Term], keys: Iterable[Keyframe], space: str, named: ExpressionMap | None
) -> list[Channel]:
    """The curves that terms and keys touch, each once."""
    names = dict.fromkeys([*(term.name for term in terms), *(key.name for key in keys)])
    return [find_channel(name, space, named) for name in names]


def strengthen(track: MotionTrack, strength: float) -> MotionTrack:
    """Motion about its own rest (`mimaface_cli.motion.retarget.reference_coefficients`) scaled by 0..3."""
    if not 0 <= strength <= MAX_STRENGTH:
        raise InputError(f"--strength {strength:g}: must lie between 0 and {MAX_STRENGTH:g}")
    if strength == 1 or len(track) == 1:
        return track
    rest = reference_coefficients(track, RetargetOptions())
    turn = rotation_matrix(track.pose[:, :3]) @ np.swapaxes(rotation_matrix(rest.pose[:, :3]), -1, -2)
    angles = euler_angles(rotation_matrix(strength * euler_angles(turn)) @ rotation_matrix(rest.pose[:, :3]))
    place = rest.pose[:, 3:] + strength * (track.pose[:, 3:] - rest.pose[:, 3:])
    return replace(
        track,
        expression=rest.expression + strength * (track.expression - rest.expression),
        pose=np.concatenate([angles, place], 1),
        gaze=rest.gaze + strength * (track.gaze - rest.gaze),
    )


def smooth(track: MotionTrack, strength: float) -> MotionTrack:
    """Movement smoothed over time without delay, each shot by itself; 0 leaves it, 1 takes out jitter, 10 is slow."""
    if not 0 <= strength <= MAX_SMOOTH:
        raise InputError(f"--smooth {strength:g}: must lie between 0 and {MAX_SMOOTH:g}")
    if strength == 0 or len(track) < 3:
        return track
    reach = _REACH * strength / max(float(np.median(np.diff(track.pts))), 1e-3)
    arrays = {name: getattr(track, name).astype(np.float64) for name in ("expression", "pose", "gaze")}
    arrays["pose"][:, :3] = np.unwrap(arrays["pose"][:, :3], axis=0)
    edges = [0, *track.meta.cuts, len(track)]
    for values in arrays.values():
        for start, stop in zip(edges, edges[1:]):
            values[start:stop] = smoothing.gaussian(values[start:stop], reach)
    return replace(track, **arrays)


def cut(track: MotionTrack, start: float = 0.0, duration: float | None = None) -> MotionTrack:
    """The frames from `start` (s from the track's first) on, for `duration` seconds. Raises InputError for none."""
    if not 0 <= start < track.duration:
        raise InputError(f"--start {start:g}: the track lasts {track.duration:.2f} s")
    if duration is not None and not duration > 0:
        raise InputError(f"--duration {duration:g}: must be more than 0 s")
    times = track.pts - track.pts[0]
    first = min(int(np.searchsorted(times, start - 1e-6)), len(track) - 1)
    last = len(track) if duration is None else max(int(np.searchsorted(times, start + duration - 1e-6)), first + 1)
    return track.select_frames(slice(first, last))


def stretch(track: MotionTrack, speed: float) -> MotionTrack:
    """The track played `speed` times as fast at its own frame rate: 2 halves its length, 0.5 doubles it."""
    if not SLOWEST <= speed <= FASTEST:
        raise InputError(f"--speed {speed:g}: must lie between {SLOWEST:g} and {FASTEST:g}")
    if speed == 1 or len(track) == 1:
        return track
    step = float(1 / track.frame_rate)
    count = max(1, round(track.duration / speed / step))
    times = np.arange(count) * step
    fast = resample_track(track, times * speed)
    return replace(fast, pts=times)


def mix(
    track: MotionTrack, other: MotionTrack, regions: Iterable[str], parts: Mapping[str, np.ndarray] | None = None
) -> tuple[MotionTrack, list[str]]:
    """The track with regions of another one's motion, matched by time from the start of both; past the other's end its
    last frame holds. A head taken over turns as the other's does and moves about the place of the track's own. parts:
    for mouth, eyes and brows in bfm09, each one's part of an expression, 64×64 (`face.bfm_regions`). Raises
    InputError, and WeightsError where parts are needed and not given.
    """
    regions = tuple(regions)
    check_regions(regions)
    if other.meta.space != track.meta.space:
        raise InputError(
            f"--mix: its track is in the {other.meta.space} space and the first in {track.meta.space}; "
            f"re-run mimaface extract --space {track.meta.space} on what it was made from"
        )
    of_face = [region for region in regions if region in ("mouth", "eyes", "brows")]
    named = track.meta.space == "face478"
    if of_face and not named and parts is None:
        raise WeightsError(
            f"--region {of_face[0]}: in the {track.meta.space} space regions need its face model, BFM09_model_info.mat; "
            "give it with --bfm FILE, install it with the released weights, or choose head or gaze"
        )
    notes = []
    times = track.pts - track.pts[0]
    if other.duration < track.duration - float(1 / other.frame_rate):
        notes.append(f"the mixed-in track ends after {other.duration:.2f} of {track.duration:.2f} s; its end is held")
    if other.frame_rate != track.frame_rate:
        notes.append(
            f"rates of {float(track.frame_rate):.3f} and {float(other.frame_rate):.3f} frames a second matched by time"
        )
    taken = resample_track(other, times)
    expression, pose, gaze = (getattr(track, name).astype(np.float64) for name in ("expression", "pose", "gaze"))
    if named:
        columns = region_columns(regions)
        expression[:, columns] = taken.expression[:, columns]
    elif of_face:
        expression += (taken.expression - expression) @ sum(parts[region] for region in of_face).T
    if "head" in regions:
        place = np.median(track.pose[:, 3:], axis=0) - np.median(taken.pose[:, 3:], axis=0)
        pose = taken.pose.astype(np.float64)
        pose[:, 3:] += place
    if "gaze" in regions:
        gaze = taken.gaze
    return replace(track, expression=expression, pose=pose, gaze=gaze), notes


def region_columns(regions: Iterable[str]) -> list[int]:
    """The face478 expression columns of regions: mouth (with jaw, cheeks, nose and what has no name), eyes, brows."""
    starts = {"brow": "brows", "eyeLook": "gaze", "eye": "eyes"}
    columns = []
    for index in range(1, 64):
        name = BLENDSHAPES[index] if index < len(BLENDSHAPES) else "mouth"
        region = next((region for start, region in starts.items() if name.startswith(start)), "mouth")
        if region in regions:
            columns.append(index)
    return columns


def single(track: MotionTrack, seconds: float, rate: Fraction) -> MotionTrack:
    """The track's first frame held for some seconds."""
    count = max(1, round(seconds * float(rate)))
    first = track.select_frames(slice(1))
    held = {name: np.repeat(getattr(first, name), count, axis=0) for name in _PER_FRAME}
    pts = np.arange(count) * rate.denominator / rate.numerator
    return replace(first, **held, pts=pts, meta=replace(first.meta, frame_rate=rate))
