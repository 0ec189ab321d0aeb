"""Drivers and source videos of different durations."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.duration_fit import choose_fit, fit_driver, fit_notes, fit_source
from mimaface_cli.drivers.base import Driver
from mimaface_cli.engines.sources import VideoSource
from mimaface_cli.errors import InputError
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.track import MotionTrack

JAW = blendshape_index("jawOpen")


def make_track(seconds: float, *, is_speech: bool = False) -> MotionTrack:
    track = MotionTrack.neutral(round(25 * seconds), "face478", Fraction(25))
    expression = track.expression.copy()
    expression[:, JAW] = np.linspace(0.1, 0.6, len(track))
    meta = replace(track.meta, audio_hash="0" * 64 if is_speech else None)
    return replace(track, expression=expression, meta=meta)


def make_source(seconds: float) -> VideoSource:
    return VideoSource(Path("shot.mp4"), make_track(seconds))


def make_driver(seconds: float, *, is_speech: bool = True) -> Driver:
    return Driver(make_track(seconds, is_speech=is_speech), Path("voice.wav"), "speech", has_audio=True)


@pytest.mark.parametrize(
    ("fit", "is_speech", "expected"),
    [("auto", True, "video"), ("auto", False, "shorter"), ("audio", True, "audio"), ("loop", False, "loop")],
)
def test_choose_fit_keeps_the_video_if_audio_drives_it(fit, is_speech, expected):
    assert choose_fit(AnimateOptions(fit=fit), is_speech) == expected


def test_repeated_driver_cannot_decide_the_duration():
    with pytest.raises(InputError) as error:
        AnimateOptions(loop="driver", fit="audio")
    assert error.value.field == "fit"


def test_video_that_is_longer_than_its_audio_closes_the_mouth_afterwards():
    track = fit_driver(make_track(1, is_speech=True), make_source(2), AnimateOptions())
    assert track.duration == pytest.approx(2)
    jaw = track.expression[:, JAW]
    assert jaw[24] == pytest.approx(0.6) and (np.diff(jaw[24:]) < 0).all() and jaw[-1] < 0.01


@pytest.mark.parametrize(("fit", "frames"), [("audio", [*range(50), *[49] * 25]), ("loop", [*range(50), *range(25)])])
def test_source_lasts_as_long_as_its_audio_if_requested(fit, frames):
    source = fit_source(make_source(2), make_driver(3), fit)
    assert source.track.duration == pytest.approx(3)
    np.testing.assert_array_equal(source.track.expression[:, JAW], make_source(2).track.expression[frames, JAW])
    assert source.file_frames == 50 and source.is_repeated == (fit == "loop")
    assert (np.diff(source.track.pts) > 0).all()


@pytest.mark.parametrize("fit", ["video", "shorter", "audio", "loop"])
def test_source_that_is_longer_than_its_audio_is_not_extended(fit):
    source = make_source(2)
    assert fit_source(source, make_driver(1), fit) is source


@pytest.mark.parametrize(
    ("source", "driver", "fit", "message"),
    [
        (2, 1, "auto", "the audio lasts 1.00 s, the source 2.00 s; after the audio the mouth stays closed"),
        (2, 1, "audio", "; the result ends with the audio; `fit=video` keeps"),
        (1, 2, "auto", "the source 1.00 s; the result ends with the source; `fit=loop` repeats the source"),
        (1, 2, "audio", "the last frame of the source is held"),
        (1, 2, "loop", "the source is repeated from its start"),
    ],
)
def test_different_durations_are_always_noted(source, driver, fit, message):
    (note,) = fit_notes(make_driver(driver), make_source(source), AnimateOptions(fit=fit))
    assert message in note


def test_equal_durations_are_not_noted():
    assert fit_notes(make_driver(2), make_source(2.02), AnimateOptions()) == []
