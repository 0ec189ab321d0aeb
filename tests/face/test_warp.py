"""Affine image warps, in 8 bits and in float."""

import cv2
import numpy as np
import pytest
import torch

from mimaface_cli.errors import InputError
from mimaface_cli.face.alignment import invert, transform_points
from mimaface_cli.face.warp import warp_image, warp_tensor

SIMILARITY = np.array([[1.2, -0.5, 14.0], [0.5, 1.2, -33.0]])


def test_warp_image_agrees_with_opencv():
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.integers(0, 256, (90, 120, 3), np.uint8), (0, 0), 2)
    image = image // 2 + 100
    matrix = 0.7 * SIMILARITY
    warped = warp_image(image, matrix, (100, 80))
    expected = cv2.warpAffine(image, matrix, (100, 80), flags=cv2.INTER_LINEAR)
    assert warped.shape == (80, 100, 3)
    inside = expected.min(-1) > 100
    assert 0.2 < inside.mean() < 0.95  # the border of the input is on the canvas
    assert warped[0, -1].max() == 0 == expected[0, -1].max()
    difference = np.abs(warped.astype(int) - expected)[inside]
    # At the rim, where the image borders on black, rounding by 1/32 pixel has the largest effect.
    assert difference.max() <= 255 / 32 and difference.mean() < 0.2


def test_warp_image_rejects_float_images():
    with pytest.raises(InputError, match="uint8"):
        warp_image(np.zeros((9, 9, 3), np.float32), SIMILARITY, 80)


def test_warp_tensor_shifts_whole_pixels_exactly():
    images = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8)
    shift = np.array([[1.0, 0, 2], [0, 1, -1]])
    shifted = warp_tensor(images, np.stack([shift, shift]), 8)
    torch.testing.assert_close(shifted[:, :, :7, 2:], images[:, :, 1:, :6], atol=1e-3, rtol=0)
    assert shifted[:, :, :, :2].abs().max() < 1e-3


def test_warp_tensor_samples_at_the_inverse_transform():
    rows, columns = np.mgrid[:64, :64]
    ramp = torch.from_numpy(np.stack([columns, rows])[None].astype(np.float32))
    matrix = np.array([[0.8, -0.3, 10.0], [0.3, 0.8, 3.0]])
    sampled = warp_tensor(ramp, matrix[None], 40)[0].numpy()
    canvas = np.stack([columns, rows], -1)[:40, :40].reshape(-1, 2)
    sources = transform_points(invert(matrix), canvas).T.reshape(2, 40, 40)
    inside = (sources > 0).all(0) & (sources < 63).all(0)
    assert inside.mean() > 0.3
    assert np.abs(sampled - sources)[:, inside].max() < 1e-3
