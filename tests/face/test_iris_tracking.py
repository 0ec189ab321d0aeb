"""Iris tracking in synthetic images of two eyes."""

import cv2
import numpy as np
import pytest

from mimaface_cli.face import topology
from mimaface_cli.face.iris_tracking import EyeImage, IrisTracker

SIZE, RADIUS = 160, 9.0
LEFT_CENTER, RIGHT_CENTER = np.array([112.0, 80.0]), np.array([48.0, 80.0])
LOOK_UP_LEFT = np.array([8.5, -2.5])  # shift of the irises in pixels


def make_landmarks(iris_shift=(0.0, 0.0), closed: float = 0.0) -> np.ndarray:
    """Return landmarks (478, 2) of two eyes.

    Args:
        iris_shift: Shift of the irises in pixels.
        closed: Share of the eye opening that the upper lids cover.
    """
    points = np.zeros((478, 2))
    eyes = (
        (topology.LEFT_EYE, topology.LEFT_IRIS, LEFT_CENTER),
        (topology.RIGHT_EYE, topology.RIGHT_IRIS, RIGHT_CENTER),
    )
    for ring, iris, center in eyes:
        angle = np.pi * np.arange(len(ring)) / (len(ring) // 2)
        height = np.where(np.sin(angle) < 0, 10 * (1 - 2 * closed), 10)  # the first half of a ring is the lower lid
        points[ring] = center + np.column_stack([24 * np.cos(angle), height * np.sin(angle)])
        points[iris] = center + iris_shift + RADIUS * np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]])
    return points


def render_eyes(points: np.ndarray) -> np.ndarray:
    """Render skin, whites and irises with pupils at four times the resolution; returns (SIZE, SIZE) uint8."""
    fine = np.full((4 * SIZE, 4 * SIZE), 150.0, np.float32)
    for ring, iris in ((topology.LEFT_EYE, topology.LEFT_IRIS), (topology.RIGHT_EYE, topology.RIGHT_IRIS)):
        lids, eye = np.zeros(fine.shape, np.uint8), np.full_like(fine, 225)
        cv2.fillPoly(lids, [(4 * points[ring]).round().astype(np.int32)], 1)
        center = (16 * (4 * points[iris[0]] - 0.5)).round().astype(int).tolist()
        for radius, gray in ((RADIUS, 90), (0.4 * RADIUS, 20)):
            cv2.circle(eye, tuple(center), int(64 * radius), gray, -1, shift=4)
        fine = np.where(lids > 0, eye, fine)
    noise = np.random.default_rng(0).normal(0, 2, (SIZE, SIZE))
    return np.clip(cv2.resize(fine, (SIZE, SIZE), interpolation=cv2.INTER_AREA) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def tracker():
    return IrisTracker.from_reference(render_eyes(make_landmarks()), make_landmarks())


@pytest.mark.parametrize("iris_shift", [(0.0, 0.0), (5.3, 0.0), (-8.0, 1.5), LOOK_UP_LEFT])
@pytest.mark.parametrize("lag", [0.0, 0.5])
def test_locate_finds_the_irises_where_landmarks_lag(tracker, iris_shift, lag):
    true_points, lagging_points = make_landmarks(iris_shift), make_landmarks((1 - lag) * np.array(iris_shift))
    located = tracker.locate(EyeImage(render_eyes(true_points), lagging_points, lagging_points))
    assert np.abs(located - true_points)[topology.IRIS].max() < 0.45
    assert np.array_equal(np.delete(located, topology.IRIS, 0), np.delete(lagging_points, topology.IRIS, 0))


def test_locate_follows_a_head_that_approaches_and_rolls(tracker):
    linear = 1.15 * np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    affine = np.column_stack([linear, [80, 80] - linear @ [80, 80]])
    image = render_eyes(make_landmarks(LOOK_UP_LEFT))
    image = cv2.warpAffine(image, affine, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderValue=150)
    true_points, points = (
        make_landmarks(iris_shift) @ linear.T + affine[:, 2] for iris_shift in (LOOK_UP_LEFT, 0.6 * LOOK_UP_LEFT)
    )
    located = tracker.locate(EyeImage(image, points, points))
    assert np.abs(located - true_points)[topology.IRIS[[0, 5]]].max() < 0.8


@pytest.mark.parametrize("content", ["closed", "flat", "noise"])
def test_locate_returns_the_landmarks_where_no_iris_is_visible(tracker, content):
    points = make_landmarks((3.0, 0.0), closed=0.95 if content == "closed" else 0.0)
    image = render_eyes(points)
    if content == "flat":
        image[:] = 200
    elif content == "noise":
        image[:] = np.random.default_rng(1).integers(0, 255, image.shape)
    assert np.array_equal(tracker.locate(EyeImage(image, points, points)), points)


def test_calibrated_tracker_agrees_with_the_landmarks_on_average():
    """A reference with misplaced irises does not bias the gaze of the whole shot."""
    biased = IrisTracker.from_reference(render_eyes(make_landmarks()), make_landmarks((1.5, 0.0)))
    landmarks = [make_landmarks(iris_shift) for iris_shift in ((-5.0, 0.0), (0.0, 1.0), (5.0, -1.0))]
    images = [EyeImage(render_eyes(points), points, points) for points in landmarks]

    def mean_offset(tracker: IrisTracker) -> float:
        return np.mean([(tracker.locate(image) - image.points)[topology.IRIS, 0].mean() for image in images])

    assert mean_offset(biased) > 1.0
    assert abs(mean_offset(biased.calibrated(images))) < 0.2
