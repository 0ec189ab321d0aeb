"""Image patches: crops, soft masks, color diffusion."""

import cv2
import numpy as np
import pytest

from mimaface_cli.engines.mesh.image_patch import (
    blur_widely,
    compute_polygon_depth,
    crop_padded,
    diffuse_colors,
    feather_mask,
)

SQUARE = np.array([[10.0, 10.0], [50.0, 10.0], [50.0, 40.0], [10.0, 40.0]])


def test_polygon_depth_grows_from_the_edge_inward():
    depth = compute_polygon_depth(SQUARE, (60, 70))
    assert depth[5, 5] == 0 and depth[25, 30] == pytest.approx(15, abs=1.5)
    assert (depth[11:39, 11:49] > 0).all() and not depth[:, 52:].any()
    assert depth[12, 30] < depth[16, 30] < depth[22, 30]


def test_polygon_depth_clips_polygons_beyond_the_image():
    assert compute_polygon_depth(SQUARE - 30, (60, 70)).max() > 0
    assert not compute_polygon_depth(SQUARE + 500, (60, 70)).any()


def test_crop_padded_repeats_the_edge_beyond_the_image():
    image = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    crop = crop_padded(image, np.array([-2, 3]), np.array([4, 9]))
    assert crop.shape == (6, 6, 3)
    assert np.array_equal(crop[:3, 2:], image[3:6, :4])
    assert np.array_equal(crop[0, 0], image[3, 0]) and np.array_equal(crop[5, 5], image[5, 3])


def test_feather_mask_falls_off_inside_the_mask_only():
    mask = np.zeros((30, 30), bool)
    mask[5:25, 5:25] = True
    soft = feather_mask(mask, 4.0)
    assert not soft[~mask].any() and soft[15, 15] == 1 and 0 < soft[6, 15] < soft[8, 15] <= 1


def test_diffuse_colors_spreads_only_visible_colors():
    patch = np.zeros((40, 60, 3), np.float32)
    patch[:, :30], patch[:, 30:] = 200, 50
    visible = np.zeros((40, 60), bool)
    visible[14:26, 3:20] = visible[14:26, 40:57] = True  # the sclera on both sides of an iris
    patch[~visible] = 255, 0, 0  # lids, lashes: none of their color may spread
    filled = diffuse_colors(patch, visible, 40.0)
    assert np.abs(filled[16:24, 5:15] - 200).max() < 8 and np.abs(filled[16:24, 45:55] - 50).max() < 8
    assert filled[4, 10, 0] > 170 and filled[4, 50, 0] < 80  # the nearest side's color
    assert abs(filled[20, 30, 0] - 125) < 15
    assert np.ptp(filled, axis=2).max() < 1 and filled.min() > 49 and filled.max() < 201
    assert diffuse_colors(patch, np.zeros_like(visible), 40.0) is None


@pytest.mark.parametrize("sigma", [1.0, 6.0, 20.0])
def test_blur_widely_is_close_to_a_gaussian_blur(sigma):
    image = np.random.default_rng(0).uniform(0, 255, (90, 120, 3)).astype(np.float32)
    image[30:60, 40:80] += 200
    expected = cv2.GaussianBlur(image, (0, 0), sigma)
    assert np.abs(blur_widely(image, sigma) - expected).mean() < 0.05 * (expected.max() - expected.min())
    assert blur_widely(image[..., 0], sigma).shape == (90, 120)
