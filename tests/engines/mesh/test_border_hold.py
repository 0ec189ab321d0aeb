"""Necks that the photo's border cuts."""

import numpy as np

from mimaface_cli.engines.mesh.border_hold import hold_at_border

SHAPE = (100, 100)
CENTER = np.array([50.0, 60.0])
RAYS = 20.0 * np.array([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]]).repeat(8, 0)
FACTOR = np.tile(np.linspace(0.8, 3.0, 45)[:, None], (1, len(RAYS)))
DOWN = np.arange(len(RAYS)) < 8
MIDDLE = 4  # of the rays down; the border is at a factor of 2


def hold(weight=1.0, is_cut=DOWN):
    return hold_at_border(CENTER, RAYS, FACTOR, np.full(FACTOR.shape, weight), is_cut, SHAPE)


def test_border_holds_the_neck_that_it_cuts_against_movement_away_from_it():
    upward = hold()[:, MIDDLE, 1, 1]
    assert np.all(upward[FACTOR[:, 0] <= 1] == 0)
    assert np.allclose(upward[FACTOR[:, 0] >= 2], 1, atol=0.01)
    assert np.all(np.diff(upward) >= 0)


def test_border_does_not_hold_movement_toward_it_or_along_it():
    values = hold()
    assert not values[:, :, 0].any() and not values[:, :, :, 0].any()


def test_border_holds_nothing_where_shoulders_are_still():
    assert not hold(weight=0.0).any()


def test_border_holds_nothing_that_it_does_not_cut():
    assert not hold(is_cut=np.zeros(len(RAYS), bool)).any()
    assert not hold()[:, 20].any()
