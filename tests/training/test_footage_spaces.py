"""Clips of a video in the Basel space."""

import numpy as np

from mimaface_cli.training.clip_extraction import extract_clips
from mimaface_cli.training.clip_options import ClipOptions
from mimaface_cli.training.footage_spaces import BaselSpace
from tests.conftest import weights_at

SIZE = 64


def test_basel_space_crops_and_renders_the_face_in_the_same_place(training_weights, sample):
    with weights_at(training_weights):
        clips = list(extract_clips(sample.driver, BaselSpace(), "k", "p", ClipOptions(SIZE, 4, 1)))
    assert len(clips) == 1
    clip = clips[0]
    assert clip.track.meta.space == "bfm09"
    assert clip.source == "driver.mp4"
    center = (clip.landmarks[0].min(0) + clip.landmarks[0].max(0)) / 2
    assert (np.abs(center - SIZE / 2) < 12).all()
    lit = np.argwhere(clip.renders[0].max(2) > 20)
    assert len(lit) > 0.1 * SIZE**2
    assert (np.abs(lit.mean(0)[::-1] - center) < 10).all()
