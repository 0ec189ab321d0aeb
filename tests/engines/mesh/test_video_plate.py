"""Background plates of videos: what other frames show, what no frame shows, and moving cameras."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from mimaface_cli.engines.mesh.camera_motion import estimate_motion, make_view
from mimaface_cli.engines.mesh.video_plate import MOVING_CAMERA_NOTE, VideoPlate, person_hole

HEIGHT, WIDTH = 120, 160


def background(height: int = HEIGHT, width: int = WIDTH, seed: int = 2) -> np.ndarray:
    """Random blots with corners to track."""
    coarse = np.random.default_rng(seed).integers(40, 210, (height // 8, width // 8, 3)).astype(np.uint8)
    return cv2.GaussianBlur(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), (0, 0), 1.0)


def person_at(column: float) -> np.ndarray:
    """Confidence of a round person that touches the lower border."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return (np.hypot((rows - 80) / 1.6, columns - column) < 22).astype(np.float32)


def with_person(scene: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    return np.where(confidence[..., None] > 0.5, np.uint8([200, 30, 120]), scene).astype(np.uint8)


def build_plate(frame: Callable[[int], tuple[np.ndarray, np.ndarray]], count: int) -> VideoPlate:
    plate = VideoPlate()
    for index in range(count):
        if plate.wants_frame():
            plate.add_frame(*frame(index))
        else:
            plate.add_frame()
    plate.finish()
    return plate


def error(result: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    return float(np.abs(result.astype(int) - truth)[where].mean())


def test_plate_of_a_still_camera_shows_what_other_frames_show():
    scene = background()
    masks = [person_at(30 + 3 * index) for index in range(30)]
    plate = build_plate(lambda index: (with_person(scene, masks[index]), masks[index]), 30)
    assert not plate.notes
    hole = person_hole(masks[7])
    result = plate.plate_for(7, with_person(scene, masks[7]), hole)
    assert error(result, scene, hole) < 2
    assert np.array_equal(result[~hole], scene[~hole])


def test_plate_of_a_still_camera_ignores_a_mask_that_fails_for_a_few_frames():
    scene = background()
    masks = [person_at(30 + 3 * index) for index in range(30)]
    detected = [np.zeros_like(mask) if index in (4, 11) else mask for index, mask in enumerate(masks)]
    plate = build_plate(lambda index: (with_person(scene, masks[index]), detected[index]), 30)
    hole = person_hole(masks[20])
    assert error(plate.plate_for(20, with_person(scene, masks[20]), hole), scene, hole) < 3


def test_plate_has_the_brightness_of_the_frame():
    scene = background()
    masks = [person_at(30 + 3 * index) for index in range(30)]
    gains = 1 + 0.06 * np.sin(np.arange(30))

    def frame(index: int) -> tuple[np.ndarray, np.ndarray]:
        lit = np.clip(scene * gains[index], 0, 255).astype(np.uint8)
        return with_person(lit, masks[index]), masks[index]

    plate = build_plate(frame, 30)
    hole = person_hole(masks[2])
    expected = np.clip(scene * gains[2], 0, 255)
    result = plate.plate_for(2, frame(2)[0], hole)
    assert abs(result[hole].mean() - expected[hole].mean()) < 1.5
    assert abs(scene[hole].mean() - expected[hole].mean()) > 4


def test_plate_fills_what_no_frame_shows():
    columns = np.broadcast_to(np.where(np.arange(HEIGHT) // 10 % 2 == 0, 60, 170)[:, None, None], (HEIGHT, WIDTH, 3))
    scene = columns.astype(np.uint8)
    mask = person_at(80)
    plate = build_plate(lambda index: (with_person(scene, mask), mask), 4)
    hole = person_hole(mask)
    result = plate.plate_for(0, with_person(scene, mask), hole)
    rim = hole & (cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5) < 12)
    assert error(result, scene, rim) < 5


def test_plate_of_a_moving_camera_moves_with_it():
    wide = background(HEIGHT, 2 * WIDTH)
    mask = person_at(80)
    scenes = [wide[:, 2 * index : 2 * index + WIDTH] for index in range(20)]
    plate = build_plate(lambda index: (with_person(scenes[index], mask), mask), 20)
    assert plate.notes == [MOVING_CAMERA_NOTE]
    hole = person_hole(mask)
    results = [plate.plate_for(index, with_person(scenes[index], mask), hole) for index in range(20)]
    inner = cv2.erode(hole.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    moved = np.roll(results[4], -10, axis=1)  # five frames later, the camera has moved by 10 pixels
    both = inner & np.roll(hole, -10, axis=1)
    assert error(results[9], moved, both) < 8
    assert error(results[9], results[4], both) > 15


def test_plate_samples_fewer_frames_of_a_long_shot():
    scene, mask = background(), person_at(80)
    plate, count = VideoPlate(), 0
    for _ in range(400):
        if plate.wants_frame():
            count += 1
            plate.add_frame(scene, mask)
        else:
            plate.add_frame()
    assert 32 <= count <= 120


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_plate_of_a_frame_without_person_or_without_background(confidence):
    scene = background()
    mask = np.full((HEIGHT, WIDTH), confidence, np.float32)
    plate = build_plate(lambda index: (scene, mask), 3)
    result = plate.plate_for(1, scene, person_hole(mask))
    assert result.shape == scene.shape
    assert (confidence == 1) != np.array_equal(result, scene)


def test_estimate_motion_of_a_turned_and_shifted_view():
    scene = background(240, 320)
    motion = np.vstack([cv2.getRotationMatrix2D((160, 120), 2.0, 1.03), [0, 0, 1]])
    motion[0, 2] += 6
    moved = cv2.warpPerspective(scene, motion, (320, 240), borderMode=cv2.BORDER_REFLECT)
    empty = np.zeros((240, 320), bool)
    estimate = estimate_motion(make_view(scene, empty), make_view(moved, empty))
    corners = np.array([[20, 20, 1], [300, 20, 1], [20, 220, 1], [300, 220, 1]], float)
    assert estimate is not None
    assert np.abs(corners @ estimate.T - corners @ motion.T).max() < 0.5


def test_motion_between_unrelated_views_is_not_reliable():
    empty = np.zeros((240, 320), bool)
    views = [make_view(background(240, 320, seed), empty) for seed in (2, 9)]
    assert estimate_motion(*views) is None
