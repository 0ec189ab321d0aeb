"""IrisTracker are where the picture has them, not where landmarks lag."""

import cv2
import numpy as np
import pytest

from mimaface_cli.face import topology
from mimaface_cli.face.iris_tracking import EyeImage, IrisTracker

SIZE, RADIUS, LEFT, RIGHT = 160, 9.0, np.array([112.0, 80.0]), np.array([48.0, 80.0])
UP = np.array([8.5, -2.5])  # a look


def landmarks(looks=(0.0, 0.0), shut: float = 0.0) -> np.ndarray:
    """478×2: two eyes with their irises moved by a look; shut: share of the opening that upper lids cover."""
    points = np.zeros((478, 2))
    for ring, iris, middle in (
        (topology.LEFT_EYE, topology.LEFT_IRIS, LEFT),
        (topology.RIGHT_EYE, topology.RIGHT_IRIS, RIGHT),
    ):
        angle = np.pi * np.arange(len(ring)) / (len(ring) // 2)
        height = np.where(np.sin(angle) < 0, 10 * (1 - 2 * shut), 10)  # the first half of a ring is the lower lid
        points[ring] = middle + np.column_stack([24 * np.cos(angle), height * np.sin(angle)])
        points[iris] = middle + looks + RADIUS * np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]])
    return points


def picture(points: np.ndarray) -> np.ndarray:
    """S×S uint8: skin, whites and irises with a pupil, drawn four times finer."""
    fine = np.full((4 * SIZE, 4 * SIZE), 150.0, np.float32)
    for ring, iris in ((topology.LEFT_EYE, topology.LEFT_IRIS), (topology.RIGHT_EYE, topology.RIGHT_IRIS)):
        lids, eye = np.zeros(fine.shape, np.uint8), np.full_like(fine, 225)
        cv2.fillPoly(lids, [(4 * points[ring]).round().astype(np.int32)], 1)
        for radius, gray in ((RADIUS, 90), (0.4 * RADIUS, 20)):
            cv2.circle(
                eye,
                tuple((16 * (4 * points[iris[0]] - 0.5)).round().astype(int).tolist()),
                int(64 * radius),
                gray,
                -1,
                shift=4,
            )
        fine = np.where(lids > 0, eye, fine)
    noise = np.random.default_rng(0).normal(0, 2, (SIZE, SIZE))
    return np.clip(cv2.resize(fine, (SIZE, SIZE), interpolation=cv2.INTER_AREA) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def irises():
    return IrisTracker.from_reference(picture(landmarks()), landmarks())


@pytest.mark.parametrize("look", [(0.0, 0.0), (5.3, 0.0), (-8.0, 1.5), UP])
@pytest.mark.parametrize("lag", [0.0, 0.5])
def test_irises_are_found_where_landmarks_lag(irises, look, lag):
    true, read = landmarks(look), landmarks((1 - lag) * np.array(look))
    found = irises.locate(EyeImage(picture(true), read, read))
    assert np.abs(found - true)[topology.IRIS].max() < 0.45
    assert np.array_equal(np.delete(found, topology.IRIS, 0), np.delete(read, topology.IRIS, 0))


def test_a_head_that_nears_and_rolls_takes_them_along(irises):
    turn = 1.15 * np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    affine = np.column_stack([turn, [80, 80] - turn @ [80, 80]])
    moved = cv2.warpAffine(picture(landmarks(UP)), affine, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderValue=150)
    true, read = (landmarks(look) @ turn.T + affine[:, 2] for look in (UP, 0.6 * UP))
    assert np.abs(irises.locate(EyeImage(moved, read, read)) - true)[topology.IRIS[[0, 5]]].max() < 0.8


@pytest.mark.parametrize("shown", ["shut", "flat", "noise"])
def test_what_shows_no_iris_is_left_to_the_landmarks(irises, shown):
    read = landmarks((3.0, 0.0), shut=0.95 if shown == "shut" else 0.0)
    gray = picture(read)
    if shown == "flat":
        gray[:] = 200
    elif shown == "noise":
        gray[:] = np.random.default_rng(1).integers(0, 255, gray.shape)
    assert np.array_equal(irises.locate(EyeImage(gray, read, read)), read)


def test_on_average_they_are_where_landmarks_put_them():
    """A reference whose irises are read aside does not put the gaze of the whole shot off."""
    aside = landmarks((1.5, 0.0))
    irises, looks = IrisTracker.from_reference(picture(landmarks()), aside), [(-5.0, 0.0), (0.0, 1.0), (5.0, -1.0)]
    frames = [EyeImage(picture(landmarks(look)), landmarks(look), landmarks(look)) for look in looks]
    centerd = irises.calibrated(frames)
    off = lambda by: np.mean([(by.locate(frame) - frame.points)[topology.IRIS, 0].mean() for frame in frames])  # noqa: E731
    assert off(irises) > 1.0 and abs(off(centerd)) < 0.2
