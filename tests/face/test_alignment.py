"""Similarity transforms between landmarks, boxes and templates."""

import numpy as np
import pytest

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

SIMILARITY = np.array([[1.2, -0.5, 14.0], [0.5, 1.2, -33.0]])


def test_similarity_fits_recover_a_known_transform():
    points = transform_points(invert(SIMILARITY), FACE_TEMPLATE_256)
    np.testing.assert_allclose(fit_similarity(points), SIMILARITY, atol=1e-9)
    corners = transform_points(invert(SIMILARITY), BOX_TEMPLATE_512)
    np.testing.assert_allclose(box_similarity(corners), SIMILARITY, atol=1e-9)


def test_fit_similarity_has_the_least_error_on_noisy_points():
    rng = np.random.default_rng(3)
    points = FACE_TEMPLATE_256 * 1.7 + rng.normal(0, 6, (5, 2))
    best = fit_similarity(points)
    error = ((transform_points(best, points) - FACE_TEMPLATE_256) ** 2).sum()
    for _ in range(50):
        a, b, x, y = rng.normal(0, [1e-3, 1e-3, 0.3, 0.3])
        changed = best + np.array([[a, -b, x], [b, a, y]])
        assert ((transform_points(changed, points) - FACE_TEMPLATE_256) ** 2).sum() > error


def test_square_box_is_centered_on_the_bounding_box_with_its_longer_side():
    corners = square_box(np.array([[10.0, 20.0], [30.0, 25.0], [12.0, 28.0]]))
    np.testing.assert_array_equal(corners, [[10, 14], [10, 34], [30, 34], [30, 14]])


@pytest.mark.parametrize(
    "points",
    [np.zeros((5, 2)), np.full((5, 2), np.nan), FACE_TEMPLATE_256[:4], FACE_TEMPLATE_256[:, :1]],
    ids=["identical", "nan", "four points", "one coordinate"],
)
def test_fit_similarity_rejects_degenerate_landmarks(points):
    with pytest.raises(InputError, match="alignment"):
        fit_similarity(points)


def test_invert_rejects_a_singular_transform():
    with pytest.raises(InputError, match="no inverse"):
        invert(np.zeros((2, 3)))
