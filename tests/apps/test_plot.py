"""Plots of tracks."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mimaface_cli.apps.plot import plot_track
from mimaface_cli.errors import OutputError
from tests.motion.tracks import random_motion


def test_plot_track_writes_an_image(tmp_path):
    track = random_motion(10)
    track = replace(track, valid=np.arange(10) > 3, meta=replace(track.meta, cuts=(5,)))
    plot_track(track, tmp_path / "curves.png", "talk.npz")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > 800


def test_plot_track_refuses_other_suffixes_and_existing_files(tmp_path):
    with pytest.raises(OutputError, match=r"curves.jpg: a plot cannot have this suffix. Choose .png"):
        plot_track(random_motion(2), tmp_path / "curves.jpg", "talk.npz")
    (tmp_path / "curves.png").touch()
    with pytest.raises(OutputError, match=r"curves.png"):
        plot_track(random_motion(2), tmp_path / "curves.png", "talk.npz")
