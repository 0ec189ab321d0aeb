"""Tracking of one person through gaps, among several people and across shots, with the example portrait."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from mimaface_cli.face import face_tracker
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.landmarks import Face, FaceLandmarker


@pytest.fixture
def tracker(request) -> Iterator[FaceTracker]:
    """A tracker, by default of the largest face; parametrize indirectly with another selector."""
    tracker = FaceTracker(getattr(request, "param", "largest"))
    yield tracker
    tracker.close()


def track(tracker: FaceTracker, frames: list[np.ndarray]) -> list[Face | None]:
    return [tracker(frame, index / 25) for index, frame in enumerate(frames)]


@pytest.fixture(scope="module")
def two_people(portrait_image):
    """Frames of two people side by side; the one on the right is smaller and moves to the right."""
    face = np.ascontiguousarray(portrait_image[:280, 130:410])
    small = cv2.resize(face[:, ::-1], (240, 240), interpolation=cv2.INTER_AREA)
    frames = []
    for index in range(8):
        canvas = np.full((300, 640, 3), 110, np.uint8)
        canvas[10:290, 10:290] = face
        canvas[30:270, 340 + 3 * index : 580 + 3 * index] = small
        frames.append(canvas)
    return frames


def test_tracker_returns_none_without_a_face_and_finds_the_person_again(tracker, portrait_image, portrait_face):
    blank = np.full_like(portrait_image, 120)
    faces = track(tracker, [blank] * 2 + [portrait_image] * 3 + [blank] * 4 + [portrait_image] * 8)
    is_tracked = [face is not None for face in faces]
    assert is_tracked[:2] == [False] * 2 and is_tracked[2:5] == [True] * 3 and is_tracked[5:9] == [False] * 4
    assert all(is_tracked[-2:])  # not necessarily at once
    assert tracker.max_face_count == 1
    for face in faces:
        assert face is None or np.abs(face.points - portrait_face.points).max() < 6


@pytest.mark.parametrize(
    ("tracker", "is_left"),
    [("largest", True), ("left", True), ("right", False), ("2", False)],
    indirect=["tracker"],
)
def test_tracker_follows_the_selected_one_of_two_people(tracker, is_left, two_people):
    faces = track(tracker, two_people)
    assert tracker.max_face_count == 2
    assert all(face is not None and (face.points[4, 0] < 300) == is_left for face in faces)
    movement = faces[-1].points[4, 0] - faces[0].points[4, 0]
    assert abs(movement - (0 if is_left else 21)) < 4


def test_tracker_stops_to_search_for_a_person_who_left(tracker, two_people, monkeypatch):
    """A search in each frame takes as long as everything else."""
    capacities = []

    class CountingLandmarker(FaceLandmarker):
        def __init__(self, asset, *, is_video, max_faces):
            super().__init__(asset, is_video=is_video, max_faces=max_faces)
            if is_video:
                capacities.append(max_faces)

    monkeypatch.setattr(face_tracker, "FaceLandmarker", CountingLandmarker)
    alone = np.array(two_people[0])
    alone[:, 320:] = 110
    frames = two_people[:2] + [alone] * (face_tracker.CENSUS_INTERVAL + face_tracker.RETRY_INTERVAL)
    faces = track(tracker, frames)
    assert capacities == [2, 1]
    assert all(face is not None and face.points[4, 0] < 300 for face in faces)


@pytest.mark.parametrize("tracker", ["3"], indirect=True)
def test_tracker_returns_none_for_a_missing_person(tracker, two_people):
    assert track(tracker, two_people[:3]) == [None] * 3 and tracker.max_face_count == 2


@pytest.mark.parametrize("tracker", ["right"], indirect=True)
def test_start_shot_selects_the_person_again(tracker, portrait_image, two_people):
    assert tracker(portrait_image, 0.0).points[4, 0] < 300
    tracker.start_shot()
    assert tracker(two_people[0], 0.04).points[4, 0] > 340


def test_tracker_accepts_times_that_repeat_or_go_back(tracker, portrait_image):
    assert all(tracker(portrait_image, time) is not None for time in (0.0, 0.0, 5.0, 1.0))
