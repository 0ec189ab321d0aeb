"""Sampling of images at given positions."""

import cv2
import numpy as np

from mimaface_cli.face.sampling import sample_image

IMAGE = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_sample_image_at_pixel_centers_returns_the_pixels():
    rows, columns = np.mgrid[:3, :4].astype(np.float32)
    assert np.array_equal(sample_image(IMAGE, np.dstack([columns, rows])), IMAGE)


def test_sample_image_interpolates_between_pixels():
    assert sample_image(IMAGE, np.float32([[[0.5, 1.0]]])) == (IMAGE[1, 0] + IMAGE[1, 1]) / 2


def test_sample_image_with_transparent_border_keeps_the_output_outside():
    output = np.full((1, 2), 99, np.float32)
    positions = np.float32([[[1, 1], [50, 50]]])
    result = sample_image(IMAGE, positions, cv2.INTER_NEAREST, cv2.BORDER_TRANSPARENT, output)
    assert result.tolist() == [[IMAGE[1, 1], 99]]
