"""The photometric augmentation changes appearance and keeps geometry."""

import pytest
import torch

from mimaface_cli.training.augmentation import augment_photometric


def augment(images: torch.Tensor, seed: int) -> torch.Tensor:
    return augment_photometric(images, torch.Generator().manual_seed(seed))


@pytest.fixture
def images():
    """(64, 3, 32, 32) in [-1, 1]: a color ramp with a white square at the upper left."""
    ramp = torch.linspace(-0.5, 0.5, 32)
    image = torch.stack([ramp.expand(32, 32), ramp[:, None].expand(32, 32), torch.zeros(32, 32)])
    image[:, 4:12, 4:12] = 1
    return image.expand(64, -1, -1, -1).clone()


def test_views_differ_from_the_image_and_from_each_other_within_range(images):
    before = images.clone()
    views = augment(images, 3)
    assert torch.equal(images, before)
    assert views.shape == images.shape
    assert views.dtype == images.dtype
    assert views.min() >= -1
    assert views.max() <= 1
    change = (views - images).abs().mean((1, 2, 3))
    assert (change > 0.02).float().mean() > 0.8
    assert (views[1:] - views[:-1]).abs().mean((1, 2, 3)).min() > 0.001


def test_views_keep_geometry(images):
    """The square stays in place: in most views it is brighter than its surroundings."""
    views = augment(images, 4).mean(1)
    inside, outside = views[:, 6:10, 6:10].mean((1, 2)), views[:, 14:22, 14:22].mean((1, 2))
    assert (inside > outside).float().mean() > 0.95


def test_some_views_are_gray_and_most_are_not(images):
    color = augment(images, 5).std(1).mean((1, 2))
    gray = (color < 0.06).float().mean()  # The noise differs between channels and leaves a little color.
    assert 0.05 < gray < 0.5


def test_seed_determines_views_and_global_random_state_is_unchanged(images):
    state = torch.get_rng_state()
    first, repeated, other = (augment(images, seed) for seed in (1, 1, 2))
    assert torch.equal(first, repeated)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
