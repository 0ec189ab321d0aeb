"""Samples of the mouth network, rendered from a real clip."""

from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.builders.clip_tracks import load_track
from mimaface_cli.builders.mouth478.mouth_clips import MouthSamples, make_mouth_samples
from mimaface_cli.engines.mesh.mouth_crop import CONDITION_DIM

CLIP = Path(__file__).parents[3] / "examples" / "driver.mp4"


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> MouthSamples:
    track = load_track(CLIP, tmp_path_factory.mktemp("tracks"))
    made = make_mouth_samples(CLIP, track.select_frames(slice(0, 60)), np.random.default_rng(0))
    assert made is not None
    return made


def test_renders_resemble_the_truth(samples):
    assert samples.conditions.shape == (len(samples), 2, CONDITION_DIM)
    error = np.abs(samples.renders.astype(float) - samples.truths).mean((1, 2, 3, 4))
    other = np.abs(np.roll(samples.photos[samples.photo], 40, 2)[:, None] - samples.truths.astype(float))
    assert np.median(error) < 0.5 * np.median(other.mean((1, 2, 3, 4)))


def test_the_first_photo_is_the_most_closed_mouth(samples):
    assert samples.closed[0]
    openings = samples.photo_openings.mean((1, 2))
    assert openings[0] == openings.min()


def test_a_short_clip_has_no_samples(tmp_path):
    track = load_track(CLIP, tmp_path)
    assert make_mouth_samples(CLIP, track.select_frames(slice(0, 8)), np.random.default_rng(0)) is None
