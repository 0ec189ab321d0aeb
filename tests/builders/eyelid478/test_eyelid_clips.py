"""Samples of the eyelid network, rendered from a real clip."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.builders.clip_tracks import load_track
from mimaface_cli.builders.eyelid478.eyelid_clips import (
    EyelidSamples,
    make_eyelid_samples,
    plan_shot,
    shows_closing,
)
from mimaface_cli.engines.mesh.eyelid_crop import EYELID
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.track import MotionTrack

CLIP = Path(__file__).parents[3] / "examples" / "driver.mp4"
BLINK = [blendshape_index("eyeBlinkLeft"), blendshape_index("eyeBlinkRight")]


@pytest.fixture(scope="module")
def blinking(tmp_path_factory) -> MotionTrack:
    """The track of the example, whose eyes are said to close in frames 20 to 23."""
    track = load_track(CLIP, tmp_path_factory.mktemp("tracks")).select_frames(slice(0, 40))
    expression = track.expression.copy()
    expression[:, BLINK] = 0
    expression[20:24, BLINK] = 1
    return replace(track, expression=expression)


@pytest.fixture(scope="module")
def samples(blinking) -> EyelidSamples:
    made = make_eyelid_samples(CLIP, blinking, np.random.default_rng(1))
    assert made is not None
    return made


def test_samples_show_both_eyes_of_each_pair(samples):
    assert samples.renders.shape[2:] == (EYELID.height, EYELID.width, 3)
    assert samples.conditions.shape == (len(samples), 2, EYELID.condition_dim)
    assert set(samples.photo.tolist()) == set(range(len(samples.photos)))
    assert (np.bincount(samples.photo)[::2] == np.bincount(samples.photo)[1::2]).all()


def test_most_pairs_close_the_eye_and_photos_are_open(samples):
    assert (samples.openness.min(1) < 0.5).mean() > 0.6
    openings = samples.openings.mean((2, 3)).min(1)
    assert (openings <= samples.photo_openings.mean((1, 2))[samples.photo] + 1).all()


def test_renders_resemble_the_truth_around_the_eye(samples):
    border = np.s_[..., :14, :, :]
    error = np.abs(samples.renders.astype(float) - samples.truths)[border].mean()
    other = np.abs(np.roll(samples.truths, 30, 3).astype(float) - samples.truths)[border].mean()
    assert error < 0.6 * other


def test_pairs_keep_their_distance_from_the_photo(blinking):
    openness = np.ones((40, 2))
    openness[20:24] = 0.1
    plans = plan_shot(blinking, openness, 0, 40, np.random.default_rng(1))
    assert len(plans) == 2
    for photo, firsts in plans:
        assert openness[photo].min() == 1
        assert len(firsts) == len(set(firsts)) > 0 and all(abs(first - photo) > 3 for first in firsts)


def test_clip_whose_eyes_never_close_has_no_samples(blinking):
    expression = blinking.expression.copy()
    expression[:, BLINK] = 0
    assert make_eyelid_samples(CLIP, replace(blinking, expression=expression), np.random.default_rng(0)) is None
    assert not shows_closing(np.ones(50)) and not shows_closing(np.zeros(0))
    assert shows_closing(np.repeat([1.0, 0.2], [50, 3]))


def test_a_short_clip_has_no_samples(blinking):
    assert make_eyelid_samples(CLIP, blinking.select_frames(slice(16, 24)), np.random.default_rng(0)) is None
