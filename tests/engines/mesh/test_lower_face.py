"""The warp of the lower face: it moves skin there, and no pixel anywhere else."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.engines.mesh.dub_plan import fit_similarity, plan_shape
from mimaface_cli.engines.mesh.lower_face import find_lower_face, lay_over, warp_lower_face
from mimaface_cli.face import topology
from mimaface_cli.face.portrait import portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import blendshape_index
from tests.conftest import ROOT

EYES = (33, 133, 362, 263)


@pytest.fixture(scope="module")
def portrait(model):
    photo = portrait_from_photo(read_image(ROOT / "examples" / "portrait.jpg").rgb, None, model)
    return photo.warped(np.array([[1.0, 0, -100], [0, 1, 0]]), 256, 256)


def open_mouth(portrait) -> np.ndarray:
    expression = portrait.expression.copy()
    expression[blendshape_index("jawOpen")] += 0.5
    return expression


def neutral_face(portrait, model) -> np.ndarray:
    return model.shape(portrait.identity, np.zeros(64))


def warp(portrait, model, movement):
    depth = np.full(478, 10.0)
    return warp_lower_face(portrait.image, find_lower_face(model), portrait.points, movement, depth)


def test_lower_face_ends_below_the_eyes_and_leaves_the_nose_out(model):
    face = find_lower_face(model)
    assert (face.weight[list(EYES)] == 0).all() and (face.weight[[1, 4, 168]] == 0).all()
    assert (face.weight[topology.INNER_LIPS] > 0.99).all() and face.weight[topology.CHIN] > 0.99
    assert (face.lip_share[topology.OUTER_LIPS] == 1).all() and face.lip_share[topology.OVAL[0]] == 0


def test_warp_without_movement_keeps_closed_lips_and_skin_nearly_as_they_are(portrait, model):
    movement = np.zeros((478, 2))
    frame = lay_over(portrait.image, warp(portrait, model, movement))
    changed = np.abs(frame.astype(int) - portrait.image).max(2) > 12
    assert changed.mean() < 0.01


def test_warp_changes_no_pixel_outside_the_lower_face(portrait, model):
    movement = np.tile([3.0, 6.0], (478, 1))
    frame = lay_over(portrait.image, warp(portrait, model, movement))
    changed = (frame != portrait.image).any(2)
    height = np.ptp(portrait.points[:, 1])
    right, left = portrait.points[33], portrait.points[263]
    rows, columns = np.nonzero(changed)
    below_eyes = rows - right[1] - (columns - right[0]) * (left[1] - right[1]) / (left[0] - right[0])
    assert len(rows) and below_eyes.min() > 0.02 * height
    low, high = portrait.points.min(0), portrait.points.max(0)
    margin = 0.37 * height + 8
    assert columns.min() > low[0] - margin and columns.max() < high[0] + margin and rows.max() < high[1] + margin


def test_warp_outside_the_image_is_none(portrait, model):
    depth = np.full(478, 10.0)
    points = portrait.points + np.array([1000, 0])
    assert warp_lower_face(portrait.image, find_lower_face(model), points, np.zeros((478, 2)), depth) is None


def test_planned_lips_go_where_the_expression_has_them_whatever_their_place_in_the_frame(portrait, model):
    face, neutral = find_lower_face(model), neutral_face(portrait, model)
    shape = plan_shape(portrait, model, face, neutral, open_mouth(portrait))
    moved = portrait.points + np.where(face.lip_share[:, None] == 1, 2.5, 0.0)  # the frame's own mouth is elsewhere
    other = plan_shape(replace(portrait, points=moved), model, face, neutral, open_mouth(portrait))
    lips = topology.INNER_LIPS
    first, second = portrait.points + shape.movement, moved + other.movement
    np.testing.assert_allclose(first[lips], second[lips], atol=1e-6)


def test_planned_lips_that_meet_meet_in_the_image(portrait, model):
    face, neutral = find_lower_face(model), neutral_face(portrait, model)
    closed = portrait.expression.copy()
    closed[blendshape_index("mouthClose")] += 1.0
    nodding = replace(portrait, pose=portrait.pose + np.array([0.4, 0, 0, 0, 0, 0]))
    shape = plan_shape(nodding, model, face, neutral, closed)
    points = nodding.points + shape.movement
    assert np.linalg.norm(points[topology.UPPER_LIP] - points[topology.LOWER_LIP]) < 0.3


def test_fit_similarity_recovers_scale_turn_and_shift():
    points = np.random.default_rng(0).normal(size=(9, 2))
    linear = 1.3 * np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    matrix = fit_similarity(points, points @ linear.T + [4, -2])
    np.testing.assert_allclose(matrix, np.column_stack([linear, [4, -2]]), atol=1e-9)
