"""Views of an image: parts of it, turned by quarter turns, and faces of the view in pixels of the image."""

import numpy as np
import pytest

from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.face_view import FaceView, turn_matrix, turn_rotation
from mimaface_cli.face.landmarks import Face

WIDTH, HEIGHT = 40, 25


def make_image() -> np.ndarray:
    """Return an image whose pixels differ."""
    return np.arange(WIDTH * HEIGHT, dtype=np.int32).reshape(HEIGHT, WIDTH)[..., None]


def points_of(values: list[int], image: np.ndarray) -> np.ndarray:
    """Return the centers of the pixels with some values."""
    return np.array([np.argwhere(image[..., 0] == value)[0][::-1] + 0.5 for value in values])


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turn_matrix_maps_pixels_as_rot90_does(turns):
    image = make_image()
    values = [0, 17, 333, WIDTH * HEIGHT - 1]
    turned = transform_points(turn_matrix(turns, WIDTH, HEIGHT), points_of(values, image))
    assert np.allclose(turned, points_of(values, np.rot90(image, turns)))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("region", [None, (3, 2, 20, 18)])
def test_restored_faces_lie_where_the_view_shows_them(turns, region):
    image, view = make_image(), FaceView(turns, region)
    part = view.apply(image)
    assert part.flags.c_contiguous
    values = [int(part[1, 2, 0]), int(part[9, 7, 0])]
    face = Face(points_of(values, part), np.zeros(52), turn_rotation(turns))
    restored = view.restore(face, WIDTH, HEIGHT)
    assert np.allclose(restored.points, points_of(values, image))
    assert np.allclose(restored.rotation, np.eye(3))


def test_region_follows_a_face_step_by_step():
    face = Face(np.array([[70.0, 60.0], [80.0, 70.0]]), np.zeros(52), np.eye(3))
    view = FaceView().around(np.array([10, 10, 20, 20]), 100, 90, 30)
    assert view.region == (0, 0, 30, 30)
    once = view.following(face, 0.5, 100, 90)
    assert once.region == (7, 7, 37, 37)
    for _ in range(20):
        once = once.following(face, 0.5, 100, 90)
    assert once.region == (60, 50, 90, 80)
    assert FaceView(1).following(face, 0.5, 100, 90) == FaceView(1)


def test_region_is_cut_by_the_borders_of_the_turned_image():
    assert FaceView(1).around(np.array([0, 0, 10, 10]), 100, 20, 50).region == (0, 50, 20, 100)
