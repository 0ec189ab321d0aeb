"""The photometric view: what it must change, and what it must leave."""

import pytest
import torch

from mimaface_cli.training import augmentation


def photometric(pictures: torch.Tensor, seed: int) -> torch.Tensor:
    return augmentation.augment_photometric(pictures, torch.Generator().manual_seed(seed))


@pytest.fixture
def pictures():
    """(64, 3, 32, 32) in [-1, 1]: a ramp of colors with a white square at the upper left."""
    ramp = torch.linspace(-0.5, 0.5, 32)
    picture = torch.stack([ramp.expand(32, 32), ramp[:, None].expand(32, 32), torch.zeros(32, 32)])
    picture[:, 4:12, 4:12] = 1
    return picture.expand(64, -1, -1, -1).clone()


def test_views_differ_from_the_picture_and_from_each_other_within_range(pictures):
    before = pictures.clone()
    view = photometric(pictures, 3)
    assert torch.equal(pictures, before)
    assert view.shape == pictures.shape and view.dtype == pictures.dtype and view.min() >= -1 and view.max() <= 1
    change = (view - pictures).abs().mean((1, 2, 3))
    assert (change > 0.02).float().mean() > 0.8
    assert (view[1:] - view[:-1]).abs().mean((1, 2, 3)).min() > 0.001


def test_geometry_stays(pictures):
    """The square stays where it was: there, most views are brighter than around it."""
    view = photometric(pictures, 4).mean(1)
    inside, around = view[:, 6:10, 6:10].mean((1, 2)), view[:, 14:22, 14:22].mean((1, 2))
    assert (inside > around).float().mean() > 0.95


def test_some_views_are_gray_and_most_are_not(pictures):
    color = photometric(pictures, 5).std(1).mean((1, 2))
    gray = (color < 0.06).float().mean()  # the noise, drawn for each channel, leaves a little
    assert 0.05 < gray < 0.5


def test_a_seed_repeats_its_view_and_leaves_the_random_state(pictures):
    state = torch.get_rng_state()
    first, again, other = (photometric(pictures, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
