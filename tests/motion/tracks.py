"""Tracks with random values, for the tests of motion."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from mimaface_cli.motion.channels import find_channel
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_layout import ARRAY_NAMES

RATE = Fraction(25)
NTSC = Fraction(30000, 1001)


def random_motion(frames: int = 50, seed: int = 0, rate: Fraction = RATE) -> MotionTrack:
    """Return a face478 track with expressions within 0 to 0.8 and small pose and gaze."""
    random = np.random.default_rng(seed)
    track = MotionTrack.neutral(frames, "face478", rate)
    return replace(
        track,
        expression=random.uniform(0, 0.8, (frames, 64)),
        pose=random.normal(0, 0.1, (frames, 6)),
        gaze=random.normal(0, 0.1, (frames, 4)),
    )


def random_track(space: str = "face478", rate: Fraction = NTSC, frames: int = 40) -> MotionTrack:
    """Return a track with random motion, identity and validity, cuts and options."""
    random = np.random.default_rng(4)
    track = MotionTrack.neutral(frames, space, rate)
    return replace(
        track,
        identity=random.normal(size=80),
        expression=random.uniform(0, 1, (frames, 64)),
        pose=random.normal(0, 0.4, (frames, 6)),
        gaze=random.normal(0, 0.2, (frames, 4)),
        valid=random.random(frames) > 0.2,
        meta=replace(track.meta, cuts=(1, frames - 1), options={"a": [1, None]}),
    )


def read_channel(track: MotionTrack, name: str) -> np.ndarray:
    """Return the (N, K) values of a channel of a track."""
    channel = find_channel(name, track.meta.space)
    return channel.read(getattr(track, channel.array))


def assert_same_track(track: MotionTrack, expected: MotionTrack) -> None:
    """Assert that two tracks have equal metadata and equal arrays (values, shapes and dtypes)."""
    assert track.meta == expected.meta
    for name in ARRAY_NAMES:
        np.testing.assert_array_equal(getattr(track, name), getattr(expected, name), strict=True)
