"""Portraits on other canvases."""

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.portrait import SQUARE, limited_size, portrait_from_photo


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((800, 600), 0, (800, 600)),
        ((800, 600), 800, (800, 600)),
        ((800, 600), 400, (400, 300)),
        ((600, 801), 400, (300, 400)),
        ((10_000, 3), 100, (100, 2)),
    ],
)
def test_limited_size_keeps_the_aspect_ratio_and_a_side_of_two_pixels(size, max_side, expected):
    assert limited_size(*size, max_side) == expected


def test_square_moves_image_landmarks_and_crop_together(square_portrait, portrait_image, model):
    portrait = portrait_from_photo(portrait_image, None, model)
    assert square_portrait.image.shape == (SQUARE, SQUARE, 3)
    (detected,) = detect_faces(square_portrait.image)
    assert np.abs(detected.points - square_portrait.points).max() < 6
    in_crop = transform_points(portrait.to_crop, portrait.points)
    assert np.allclose(in_crop, transform_points(square_portrait.to_crop, square_portrait.points))


def test_limited_scales_a_portrait_down_with_its_alpha(portrait_image, model):
    alpha = np.full(portrait_image.shape[:2], 255, np.uint8)
    portrait = portrait_from_photo(portrait_image, alpha, model)
    small = portrait.limited(256)
    assert small.image.shape == (256, 256, 3) and small.alpha.shape == (256, 256)
    assert np.allclose(small.points, portrait.points / 2)
    assert portrait.limited(0) is portrait


def test_portrait_from_photo_names_a_photo_without_a_face(model):
    with pytest.raises(InputError, match=r"blank\.png: shows no face"):
        portrait_from_photo(np.full((64, 64, 3), 90, np.uint8), None, model, name="blank.png")


def test_portrait_from_photo_names_the_selected_face_that_is_missing(portrait_image, model):
    with pytest.raises(InputError, match=r"group\.png: shows 1 face, .* number 2 "):
        portrait_from_photo(portrait_image, None, model, "2", name="group.png")
