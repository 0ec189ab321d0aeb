"""Smooth skin for the parts of a face that turn into view."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.face_symmetry import measure_visibility
from mimaface_cli.engines.mesh.fine_face import build_fine_face
from mimaface_cli.engines.mesh.stretched_skin import paint_smooth_skin
from mimaface_cli.face import camera

SKIN, HAIR = np.array([200, 160, 140]), np.array([40, 30, 25])


@pytest.fixture(scope="module")
def scene(model):
    """A face of plain skin whose rim is covered by hair: texture, visibility and painted skin."""
    fine = build_fine_face(model.face.tobytes())
    placed = fine.matrix @ camera.apply_pose(model.mean, np.array([0, 0, 0, 0, 0, 0.0]))
    texture, visibility = camera.project(placed)[0], measure_visibility(placed, fine.triangles)
    columns = np.arange(256) + 0.5
    middle, half = texture[:, 0].mean(), np.ptp(texture[:, 0]) / 2
    image = np.where((np.abs(columns - middle) < 0.86 * half)[None, :, None], SKIN, HAIR)
    image = np.ascontiguousarray(np.broadcast_to(image, (256, 256, 3))).astype(np.uint8)
    oval = fine.rings["oval"]
    smooth = paint_smooth_skin(image, texture, visibility, fine.matrix @ model.mean, fine.triangles, oval)
    return texture, visibility, oval, image, smooth


def colors_at(smooth, vertices):
    columns, rows = smooth.texture[vertices].astype(int).T
    return smooth.image[rows, columns].astype(int)


def test_skin_continues_under_the_hair_at_the_rim(scene):
    texture, visibility, oval, image, smooth = scene
    middle, half = texture[:, 0].mean(), np.ptp(texture[:, 0]) / 2
    aside = np.abs(texture[:, 0] - middle) / half
    hidden = (aside > 0.9) & (visibility > 0.05) & ~np.isin(np.arange(len(texture)), oval)
    columns, rows = texture[hidden].astype(int).T
    assert hidden.sum() > 20 and np.abs(image[rows, columns] - HAIR).max() == 0
    assert np.median(np.abs(colors_at(smooth, hidden) - SKIN).max(1)) < 25


def test_inner_face_is_smoothed_only(scene):
    _, visibility, _, _, smooth = scene
    assert np.abs(colors_at(smooth, visibility > 0.85) - SKIN).max() < 6


def test_colors_continue_beyond_the_rim(scene):
    *_, oval, _, smooth = scene
    edge = np.argmin(smooth.texture[oval][:, 0])
    column, row = smooth.texture[oval][edge].astype(int)
    assert smooth.image[row, column - 2].min() > 10


def test_hair_gives_way_earlier_than_skin(scene):
    texture, _, _, _, smooth = scene
    aside = np.abs(texture[:, 0] - texture[:, 0].mean()) / (np.ptp(texture[:, 0]) / 2)
    share = smooth.measure_share(np.full(len(texture), 2.0))
    assert share[aside < 0.6].max() == 0 and share[aside > 0.95].mean() > 0.4
    assert not smooth.measure_share(np.ones(len(texture))).any()
