"""Bounding boxes of masks."""

import numpy as np

from mimaface_cli.face.mask_box import find_mask_box


def test_find_mask_box_encloses_the_mask_with_a_margin():
    mask = np.zeros((20, 30), bool)
    mask[5, 7] = mask[9, 12] = True
    assert find_mask_box(mask) == np.s_[5:10, 7:13]
    assert find_mask_box(mask, 3) == np.s_[2:13, 4:16]


def test_find_mask_box_ends_at_the_image_border():
    mask = np.zeros((20, 30), bool)
    mask[0, 29] = True
    assert find_mask_box(mask, 4) == np.s_[0:5, 25:30]


def test_find_mask_box_of_an_empty_mask_is_none():
    assert find_mask_box(np.zeros((4, 4), bool)) is None
