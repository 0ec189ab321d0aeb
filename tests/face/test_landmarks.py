"""Who is followed: choosing among faces, through gaps and company; on a real (public-domain) portrait."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.face.extract_options import MAX_FACES, check_face_selector
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.landmarks import Face, find_faces, native_silence, resize_for_network, select_face
from mimaface_cli.media.image import read_image

PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.jpg"


@pytest.fixture(scope="module")
def portrait():
    return read_image(PORTRAIT).rgb


@pytest.fixture(scope="module")
def face(portrait):
    (only,) = find_faces(portrait)
    return only


def made(left: float, size: float) -> Face:
    """A face of that size (its box is square) whose box starts at x = left."""
    points = np.random.default_rng(0).random((478, 2))
    points[:2] = [[0, 0], [1, 1]]
    return Face(points * size / np.sqrt(2) + [left, 10], np.zeros(52), np.eye(3))


def test_box_and_size_are_those_of_the_points():
    one = made(20, 100)
    assert one.size == pytest.approx(100)
    assert np.allclose(one.box, [20, 10, 20 + 100 / np.sqrt(2), 10 + 100 / np.sqrt(2)])


def test_faces_are_chosen_by_size_or_place():
    middle, small, large = made(400, 90), made(700, 50), made(100, 120)
    faces = [middle, small, large]
    assert select_face(faces, "largest") is large
    assert select_face(faces, "left") is large and select_face(faces, "right") is small
    assert [select_face(faces, str(k)) for k in (1, 2, 3)] == [large, middle, small]
    assert select_face(faces, "4") is None
    assert select_face([], "largest") is None and select_face([], "1") is None


@pytest.mark.parametrize("choice", ["largest", "left", "right", "1", str(MAX_FACES)])
def test_good_choices_are_taken(choice):
    assert check_face_selector(choice) == choice


@pytest.mark.parametrize("choice", ["", "0", str(MAX_FACES + 1), "-1", "1.5", "biggest", "Left"])
def test_other_choices_are_refused(choice):
    with pytest.raises(InputError, match="^face: .* Choose largest, left, right"):
        check_face_selector(choice)


def test_a_portrait_is_read_in_its_own_pixels(portrait, face):
    height, width = portrait.shape[:2]
    assert face.points.shape == (478, 2) and face.scores.shape == (52,) and face.depth.shape == (478,)
    assert (face.points > 0).all() and (face.points < [width, height]).all()
    assert ((face.scores >= 0) & (face.scores <= 1)).all()
    assert np.allclose(face.rotation @ face.rotation.T, np.eye(3), atol=1e-3)
    assert np.linalg.det(face.rotation) == pytest.approx(1, abs=1e-3)
    tip, chin, forehead = face.points[[4, 152, 10]]
    assert forehead[1] < tip[1] < chin[1]
    assert face.points[263, 0] > face.points[33, 0]  # the subject's left eye is on the picture's right
    assert face.depth[4] > face.depth[[234, 454]].max()  # the nose is nearer than the ears


def test_a_mirrored_picture_gives_a_mirrored_face(portrait, face):
    (other,) = find_faces(portrait[:, ::-1])  # not contiguous, too
    assert abs(other.points[4, 0] - (portrait.shape[1] - face.points[4, 0])) < 3
    assert other.rotation[0, 2] * face.rotation[0, 2] < 0 or abs(face.rotation[0, 2]) < 0.02
    assert other.rotation[1, 0] * face.rotation[1, 0] < 0 or abs(face.rotation[1, 0]) < 0.02


def test_large_pictures_are_shrunk_for_the_network_only(portrait, face):
    large = cv2.resize(portrait, None, fx=5, fy=5, interpolation=cv2.INTER_LINEAR)
    assert max(resize_for_network(large).shape) == 1280
    (found,) = find_faces(large)
    assert np.abs(found.points / 5 - face.points).max() < 4
    assert found.depth[4] / 5 == pytest.approx(face.depth[4], rel=0.15)


def test_frames_for_the_network_are_contiguous():
    strided = np.zeros((40, 60, 3), np.uint8)[:, ::2]
    assert not strided.flags.c_contiguous and resize_for_network(strided).flags.c_contiguous


def test_a_face_that_fills_the_picture_is_found(portrait, face):
    left, top, right, bottom = face.box.astype(int)
    inset = int(0.12 * (bottom - top))
    tight = np.ascontiguousarray(portrait[top + inset : bottom - inset, left : right + 1])
    found = find_faces(tight)
    assert len(found) == 1
    assert np.linalg.norm(found[0].points[4] + [left, top + inset] - face.points[4]) < 0.1 * face.size


def test_a_small_face_in_a_large_picture_is_found(portrait, face):
    canvas = np.full((1600, 1600, 3), 90, np.uint8)
    canvas[800:1400, 780:1380] = cv2.resize(portrait, (600, 600), interpolation=cv2.INTER_AREA)
    found = select_face(find_faces(canvas), "largest")
    assert found is not None and np.ptp(found.points[:, 0]) < 0.08 * 1600
    expected = face.points[4] * 600 / portrait.shape[0] + [780, 800]
    assert np.linalg.norm(found.points[4] - expected) < 6


def test_a_picture_without_a_face_has_none():
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    assert find_faces(noise) == []


def follow(frames: list[np.ndarray], choice: str = "largest") -> tuple[list[Face | None], FaceTracker]:
    follower = FaceTracker(choice)
    try:
        return [follower(frame, k / 25) for k, frame in enumerate(frames)], follower
    finally:
        follower.close()


def test_frames_without_a_face_are_passed_over(portrait, face):
    blank = np.full_like(portrait, 120)
    found, follower = follow([blank] * 2 + [portrait] * 3 + [blank] * 4 + [portrait] * 8)
    seen = [one is not None for one in found]
    assert seen[:2] == [False] * 2 and seen[2:5] == [True] * 3 and seen[5:9] == [False] * 4
    assert all(seen[-2:])  # found again, if not at once
    assert follower.max_face_count == 1
    for one in found:
        assert one is None or np.abs(one.points - face.points).max() < 6


@pytest.fixture(scope="module")
def two(portrait):
    """Two people side by side, the one on the right smaller: frames in which both sway."""
    close, frames = np.ascontiguousarray(portrait[:280, 130:410]), []
    small = cv2.resize(close[:, ::-1], (240, 240), interpolation=cv2.INTER_AREA)
    for k in range(8):
        canvas = np.full((300, 640, 3), 110, np.uint8)
        canvas[10:290, 10:290] = close
        canvas[30:270, 340 + 3 * k : 580 + 3 * k] = small
        frames.append(canvas)
    return frames


@pytest.mark.parametrize(("choice", "on_the_left"), [("largest", True), ("left", True), ("right", False), ("2", False)])
def test_one_of_two_people_is_followed(two, choice, on_the_left):
    found, follower = follow(two, choice)
    assert follower.max_face_count == 2
    assert all(one is not None and (one.points[4, 0] < 300) == on_the_left for one in found)
    moved = found[-1].points[4, 0] - found[0].points[4, 0]
    assert abs(moved - (0 if on_the_left else 21)) < 4


def test_a_third_person_who_is_not_there_is_not_invented(two):
    found, follower = follow(two[:3], "3")
    assert found == [None] * 3 and follower.max_face_count == 2


def test_a_new_shot_is_looked_at_anew(portrait, two):
    follower = FaceTracker("right")
    try:
        assert follower(portrait, 0.0).points[4, 0] < 300
        follower.start_shot()
        assert follower(two[0], 0.04).points[4, 0] > 340
    finally:
        follower.close()


def test_times_that_stand_still_or_go_back_do_no_harm(portrait):
    follower = FaceTracker()
    try:
        assert all(follower(portrait, time) is not None for time in (0.0, 0.0, 5.0, 1.0))
    finally:
        follower.close()


def test_native_lines_do_not_reach_the_user(capfd, portrait):
    find_faces(portrait)
    with native_silence():
        os.write(2, b"a native line\n")
    assert capfd.readouterr().err == ""
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_scaled_copies_keep_what_does_not_scale(face):
    half = replace(face, points=face.points / 2)
    assert half.size == pytest.approx(face.size / 2) and half.scores is face.scores


_LOADED = """
import sys
from mimaface_cli.face.landmarks import load_mediapipe
mediapipe, _, vision = load_mediapipe()
assert not [name for name in sys.modules if name.partition(".")[0] == "matplotlib"], "loaded all the same"
from mediapipe.tasks.python.vision import drawing_utils
import matplotlib.pyplot
assert drawing_utils.plt.figure is matplotlib.pyplot.figure and matplotlib.pyplot.__spec__ is not None
"""


def test_matplotlib_is_loaded_when_it_is_used_and_not_before():
    subprocess.run([sys.executable, "-c", _LOADED], check=True)
