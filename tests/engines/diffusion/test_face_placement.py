"""Placement of the face: the crops of driver and portrait combined."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.engines.diffusion.face_placement import place_faces
from mimaface_cli.face import alignment as align
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack

PORTRAIT_PLACE = np.array([[1.9, -0.1, 12.0], [0.1, 1.9, -9.0]])


def similarity(scale: float, degrees: float, x: float, y: float) -> np.ndarray:
    turn = np.radians(degrees)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.column_stack([linear, [x, y]])


def make_track(faces: list[np.ndarray], cuts: tuple[int, ...] = (), visible: list[bool] | None = None) -> MotionTrack:
    """Return a track with the given transforms of its 256 crops to the image (pixel centers at integers)."""
    track = MotionTrack.neutral(len(faces), "bfm09")
    crops = np.stack([align.to_corner_origin(align.invert(face)) for face in faces])
    return replace(track, crop=crops, valid=visible or track.valid, meta=replace(track.meta, cuts=cuts))


def compute_box(place: np.ndarray) -> np.ndarray:
    half, center = align.FACE_HALF_256, align.FACE_CENTER_256
    return align.transform_points(place, np.stack([center - half, center + half]))


def test_absolute_motion_frames_the_driver_on_its_first_face():
    moved = [similarity(3, 0, 500, 300), similarity(3, 0, 530, 300), similarity(6, 0, 500, 300)]
    places = place_faces(make_track(moved), PORTRAIT_PLACE, RetargetOptions("absolute"))
    assert compute_box(places[0]) == pytest.approx(np.array([[80, 80], [432, 432]]), abs=1e-2)
    growth = 352 / (2 * align.FACE_HALF_256 * 3)  # pixels of the square for a pixel of the driver's image
    assert compute_box(places[1]) - compute_box(places[0]) == pytest.approx(
        np.array([[30, 0], [30, 0]]) * growth, abs=1e-2
    )
    assert np.ptp(compute_box(places[2])[:, 0]) == pytest.approx(704, abs=1e-1)


def test_absolute_motion_frames_each_shot_separately():
    shots = [similarity(3, 0, 500, 300)] * 2 + [similarity(1, 0, 20, 30)] * 2
    places = place_faces(make_track(shots, cuts=(2,)), PORTRAIT_PLACE, RetargetOptions("absolute"))
    assert places[2] == pytest.approx(places[0], abs=1e-3)
    uncut = place_faces(make_track(shots), PORTRAIT_PLACE, RetargetOptions("absolute"))
    assert np.ptp(compute_box(uncut[2])[:, 0]) == pytest.approx(352 / 3, abs=0.1)


def test_absolute_motion_frames_on_the_first_visible_face():
    faces = [similarity(9, 0, 0, 0), similarity(3, 0, 500, 300)]
    places = place_faces(make_track(faces, visible=[False, True]), PORTRAIT_PLACE, RetargetOptions("absolute"))
    assert compute_box(places[1]) == pytest.approx(np.array([[80, 80], [432, 432]]), abs=1e-2)


def test_relative_motion_moves_the_portraits_place():
    moved = [similarity(3, 10, 500, 300), similarity(3, 25, 500, 300), similarity(3.3, 10, 500, 300)]
    track = make_track(moved)
    places = place_faces(track, PORTRAIT_PLACE, RetargetOptions("relative", reference=0))
    assert places[0] == pytest.approx(PORTRAIT_PLACE, abs=1e-4)
    turned = places[1][:, :2] @ np.linalg.inv(PORTRAIT_PLACE[:, :2])
    assert np.degrees(np.arctan2(turned[1, 0], turned[0, 0])) == pytest.approx(15, abs=1e-2)
    assert np.linalg.det(places[2][:, :2]) / np.linalg.det(PORTRAIT_PLACE[:, :2]) == pytest.approx(1.21, abs=1e-3)
    half = place_faces(track, PORTRAIT_PLACE, RetargetOptions("relative", reference=0, strength=0.5))
    turned = half[1][:, :2] @ np.linalg.inv(PORTRAIT_PLACE[:, :2])
    assert np.degrees(np.arctan2(turned[1, 0], turned[0, 0])) == pytest.approx(7.5, abs=1e-2)
    assert np.linalg.det(half[2][:, :2]) / np.linalg.det(PORTRAIT_PLACE[:, :2]) == pytest.approx(1.1, abs=1e-3)


def test_relative_motion_of_a_single_image_applies_its_roll():
    places = place_faces(make_track([similarity(3, 20, 500, 300)]), PORTRAIT_PLACE, RetargetOptions())
    turned = places[0][:, :2] @ np.linalg.inv(PORTRAIT_PLACE[:, :2])
    assert np.degrees(np.arctan2(turned[1, 0], turned[0, 0])) == pytest.approx(20, abs=1e-2)
    assert np.linalg.det(turned) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("region", ["face", "eyes", "lips"])
def test_regions_without_head_pose_keep_the_portraits_place(region):
    moved = [similarity(3, 10, 500, 300), similarity(4, 25, 600, 300)]
    for motion in ("absolute", "relative"):
        assert (
            place_faces(make_track(moved), PORTRAIT_PLACE, RetargetOptions(motion, region=region)) == PORTRAIT_PLACE
        ).all()
