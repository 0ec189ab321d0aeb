"""Similarity transforms and warps."""

import cv2
import numpy as np
import pytest
import torch

from mimaface_cli.errors import InputError
from mimaface_cli.face.alignment import (
    BOX_TEMPLATE_512,
    FACE_TEMPLATE_256,
    box_similarity,
    fit_similarity,
    invert,
    square_box,
    transform_points,
)
from mimaface_cli.face.warp import warp_image, warp_tensor

SIMILARITY = np.array([[1.2, -0.5, 14.0], [0.5, 1.2, -33.0]])


def test_a_similarity_is_recovered():
    points = transform_points(invert(SIMILARITY), FACE_TEMPLATE_256)
    np.testing.assert_allclose(fit_similarity(points), SIMILARITY, atol=1e-9)
    corners = transform_points(invert(SIMILARITY), BOX_TEMPLATE_512)
    np.testing.assert_allclose(box_similarity(corners), SIMILARITY, atol=1e-9)


def test_no_similarity_fits_noisy_points_better():
    rng = np.random.default_rng(3)
    points = FACE_TEMPLATE_256 * 1.7 + rng.normal(0, 6, (5, 2))
    best = fit_similarity(points)
    error = ((transform_points(best, points) - FACE_TEMPLATE_256) ** 2).sum()
    for _ in range(50):
        a, b, x, y = rng.normal(0, [1e-3, 1e-3, 0.3, 0.3])
        other = best + [[a, -b, x], [b, a, y]]
        assert ((transform_points(other, points) - FACE_TEMPLATE_256) ** 2).sum() > error


def test_a_box_is_the_square_about_the_points():
    corners = square_box(np.array([[10.0, 20.0], [30.0, 25.0], [12.0, 28.0]]))
    np.testing.assert_array_equal(corners, [[10, 14], [10, 34], [30, 34], [30, 14]])


@pytest.mark.parametrize(
    "points", [np.zeros((5, 2)), np.full((5, 2), np.nan), FACE_TEMPLATE_256[:4], FACE_TEMPLATE_256[:, :1]]
)
def test_useless_landmarks_are_refused(points):
    with pytest.raises(InputError, match="alignment"):
        fit_similarity(points)


def test_a_flattening_transform_has_no_inverse():
    with pytest.raises(InputError, match="no inverse"):
        invert(np.zeros((2, 3)))


def test_the_8_bit_warp_agrees_with_opencv():
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.integers(0, 256, (90, 120, 3), np.uint8), (0, 0), 2)
    image = image // 2 + 100
    matrix = 0.7 * SIMILARITY
    found = warp_image(image, matrix, (100, 80))
    expected = cv2.warpAffine(image, matrix, (100, 80), flags=cv2.INTER_LINEAR)
    assert found.shape == (80, 100, 3)
    inside = expected.min(-1) > 100
    assert 0.2 < inside.mean() < 0.95  # the border of the input is in the picture
    assert found[0, -1].max() == 0 == expected[0, -1].max()
    difference = np.abs(found.astype(int) - expected)[inside]
    # At the rim, where the picture meets black, 1/32 pixel of rounding shows most.
    assert difference.max() <= 255 / 32 and difference.mean() < 0.2
    with pytest.raises(InputError, match="uint8"):
        warp_image(image.astype(np.float32), SIMILARITY, 80)


def test_the_float_warp_moves_whole_pixels_exactly():
    image = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8)
    shift = np.array([[1.0, 0, 2], [0, 1, -1]])
    moved = warp_tensor(image, np.stack([shift, shift]), 8)
    torch.testing.assert_close(moved[:, :, :7, 2:], image[:, :, 1:, :6], atol=1e-3, rtol=0)
    assert moved[:, :, :, :2].abs().max() < 1e-3


def test_the_float_warp_follows_the_matrix():
    rows, columns = np.mgrid[:64, :64]
    ramp = torch.from_numpy(np.stack([columns, rows])[None].astype(np.float32))
    matrix = np.array([[0.8, -0.3, 10.0], [0.3, 0.8, 3.0]])
    sampled = warp_tensor(ramp, matrix[None], 40)[0].numpy()
    canvas = np.stack([columns, rows], -1)[:40, :40].reshape(-1, 2)
    origin = transform_points(invert(matrix), canvas).T.reshape(2, 40, 40)
    inside = (origin > 0).all(0) & (origin < 63).all(0)
    assert inside.mean() > 0.3
    assert np.abs(sampled - origin)[:, inside].max() < 1e-3
