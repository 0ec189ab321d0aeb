"""Rendered people: the same for a seed, unlike each other, and true to their coefficients."""

import numpy as np
import pytest

from mimaface_cli.builders.rendered_people.appearance import make_person
from mimaface_cli.builders.rendered_people.random_motion import GLANCE, TURN, make_moves
from mimaface_cli.builders.rendered_people.rendered_clips import make_clip, plain_condition, textured_condition
from mimaface_cli.builders.rendered_people.scene import draw, make_scene
from mimaface_cli.face import camera, face478, topology

SIZE = 64


@pytest.fixture(scope="module")
def model():
    return face478.load()


@pytest.fixture(scope="module")
def person(model):
    return make_person(model, 3)


def picture(model, person, expression=None, pose=None, gaze=None, scene=5):
    values = np.zeros(64) if expression is None else expression, np.zeros(6) if pose is None else pose
    return draw(model, person, make_scene(scene), *values, np.zeros(4) if gaze is None else np.array(gaze), SIZE)


def test_a_seed_gives_the_same_person_and_clip(model):
    first, second = (make_clip(model, 7, 1, 3, SIZE) for _ in range(2))
    assert (first.pictures == second.pictures).all()
    assert first.track.meta.space == "face478" and len(first.track) == 3
    other = make_clip(model, 7, 2, 3, SIZE)
    assert (other.track.identity == first.track.identity).all()
    assert not np.allclose(other.track.pose, first.track.pose)


def test_people_differ_more_than_one_person_in_two_poses(model):
    turned = np.array([0, 0.1, 0, 0, 0, 0.0])
    faces = [picture(model, make_person(model, seed)).picture.astype(float) for seed in range(8)]
    again = [picture(model, make_person(model, seed), pose=turned).picture.astype(float) for seed in range(8)]
    inner = np.s_[20:46, 20:44]
    own = [np.abs(a[inner] - b[inner]).mean() for a, b in zip(faces, again)]
    others = [np.abs(faces[i][inner] - again[j][inner]).mean() for i in range(8) for j in range(8) if i != j]
    assert np.mean(own) < 0.6 * np.mean(others)


def test_the_landmarks_lie_where_the_camera_puts_them(model, person):
    pose = np.array([0.1, -0.3, 0.05, 0.05, -0.02, 0.1])
    drawn = picture(model, person, pose=pose)
    placed = camera.apply_pose(model.shape(person.identity, np.zeros(64)), pose)
    expected = camera.project(placed, SIZE)[0]
    still = np.setdiff1d(np.arange(478), np.concatenate([topology.IRIS, topology.INNER_LIPS]))
    np.testing.assert_allclose(drawn.points[still], expected[still], atol=1e-6)


def test_the_irises_follow_the_gaze(model, person):
    left, right = (picture(model, person, gaze=[yaw, 0, yaw, 0]) for yaw in (-0.4, 0.4))
    shift = right.points[topology.IRIS] - left.points[topology.IRIS]
    assert (shift[:, 0] > 1.5).all() and np.abs(shift[:, 1]).max() < 0.3
    changed = np.abs(left.picture.astype(float) - right.picture).sum(2)
    rows, columns = np.nonzero(changed > 60)
    eyes = left.points[np.concatenate([topology.LEFT_EYE, topology.RIGHT_EYE])]
    assert len(rows) and rows.min() > eyes[:, 1].min() - 2 and rows.max() < eyes[:, 1].max() + 2


def test_moves_are_smooth_and_within_their_reach():
    moves = make_moves(4, 50)
    assert moves.expression.shape == (50, 64) and moves.pose.shape == (50, 6) and moves.gaze.shape == (50, 4)
    assert (np.abs(moves.pose[:, :3]) <= TURN + 1e-9).all() and (np.abs(moves.gaze[:, :2]) <= GLANCE + 1e-9).all()
    assert np.abs(np.diff(moves.pose[:, :3], axis=0)).max() < 0.12


def test_the_mesh_engines_condition_is_nearer_to_the_truth_than_the_source_unmoved(model):
    clip = make_clip(model, 1, 0, 20, SIZE)
    textured = np.stack(list(textured_condition(model, clip, 0, clip.track, SIZE))).astype(float)
    far = slice(8, 20)
    warped = np.abs(textured[far] - clip.pictures[far]).mean()
    assert warped < 0.75 * np.abs(clip.pictures[:1].astype(float) - clip.pictures[far]).mean()


def test_the_plain_render_shows_neither_gaze_nor_hair(model):
    clip = make_clip(model, 1, 0, 1, SIZE)
    plain = next(plain_condition(model, clip.track, clip.track, SIZE))
    assert plain.shape == (SIZE, SIZE, 3) and not plain[:3].any() and plain[25:40, 25:40].any()
