"""Measures of the quality benchmark on synthetic heads, landmarks and images."""

import cv2
import numpy as np
import pytest

from mimaface_cli.face.landmarks import Face
from mimaface_cli.motion.rotation import rotation_matrix
from tests.benchmarks.quality import compare_faces
from tests.benchmarks.quality_measures import (
    INNER_LIPS,
    IRISES,
    LIDS,
    MOUTH_OUTLINE,
    OUTER_EYE_CORNERS,
    compare_geometry,
    compare_images,
    measure_background,
    measure_geometry,
    measure_jitter,
    rotation_error,
    sharpness,
)
from tests.benchmarks.quality_table import Table


def make_points(gap=0.0, lid=0.0, iris=0.5, eye_width=20.0) -> np.ndarray:
    """Return landmarks (478, 2) of a face whose eyes are 100 apart, with a gap, a lid gap and an iris place."""
    points = np.zeros((478, 2))
    points[OUTER_EYE_CORNERS[1]] = 100, 0
    points[133], points[362] = (eye_width, 0), (100 - eye_width, 0)
    points[INNER_LIPS[0]], points[INNER_LIPS[1]] = (50, 60), (50, 60 + gap)
    points[list(MOUTH_OUTLINE[:4])] = (40, 60), (60, 60), (50, 55), (50, 65 + gap)
    for upper, lower in LIDS:
        points[upper], points[lower] = (0, -lid), (0, 0)
    for first, second, center in IRISES:
        points[center] = points[first] + iris * (points[second] - points[first]) + [0, 3]
    return points


def test_geometry_is_relative_to_the_eye_distance():
    points = np.stack([make_points(10, 4, 0.3)])
    for scale in (1, 7):
        values = measure_geometry(scale * points + 5)
        assert values["gap"][0] == pytest.approx(0.1) and values["lid"][0] == pytest.approx(0.08)
        assert values["iris"][0] == pytest.approx(0.3)


def test_geometry_gain_is_the_slope_of_the_result_on_the_driver():
    gaps = np.array([0, 5, 10, 5, 0, 2])
    driver = np.stack([make_points(gap) for gap in gaps])
    values = compare_geometry(driver, np.stack([make_points(3 + 0.5 * gap) for gap in gaps]))
    assert values == pytest.approx({"gap": 1, "gap gain": 0.5})  # lids and irises rest, and are not compared


def test_rotation_error_counts_turns_from_the_reference_frame():
    angles = np.zeros((5, 3))
    angles[:, 1] = np.radians([0, 10, 20, 10, 0])
    driver = rotation_matrix(angles)
    offset = rotation_matrix(np.radians([4.0, 0, 0]))  # another start is no error
    error, driver_turn = rotation_error(driver, 1.1 * driver @ offset, 0)
    assert error == pytest.approx(0, abs=1e-4) and driver_turn == pytest.approx(20, abs=1e-4)
    still = np.broadcast_to(np.eye(3), driver.shape)
    assert rotation_error(driver, still, 0)[0] == pytest.approx(8, abs=1e-4)


def test_jitter_ignores_steady_motion_and_frames_without_a_face():
    points = make_points(10)
    steady = [Face(points + k, np.zeros(52), np.eye(3)) for k in range(5)]
    assert measure_jitter(steady) == pytest.approx(0, abs=1e-9)
    shaking = [Face(points + k % 2, np.zeros(52), np.eye(3)) for k in range(5)]
    assert measure_jitter(shaking) == pytest.approx(2 / 100)
    assert measure_jitter([*shaking, None, *shaking]) == pytest.approx(2 / 100)
    assert np.isnan(measure_jitter([*shaking[:2], None, *shaking[:2]]))


def test_background_counts_changed_pixels_outside_both_masks():
    photo = np.zeros((100, 100, 3), np.uint8)
    before, after, result = np.zeros((100, 100)), np.zeros((100, 100)), photo.copy()
    before[:, :30], after[:, 20:46] = 1, 0.9  # both grow by 2 pixels: columns from 48 are background
    result[:, :48] = 255
    assert measure_background(photo, result, [before, after]) == 0
    result[:, 99, 1] = 1
    assert measure_background(photo, result, [before, after]) == pytest.approx(1 / 52)
    assert np.isnan(measure_background(photo, result, [np.ones((100, 100))]))


def test_images_are_compared_by_area():
    points = make_points(20) + 100
    truth = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    result = truth.copy()
    result[160:180, 140:160] ^= 8  # the mouth
    values = compare_images(result, truth, points)
    assert values["whole"][0] > values["face"][0] > values["mouth"][0] > 20
    assert compare_images(truth, truth, points)["mouth"] == (100, 1)


def test_sharpness_falls_with_blur_but_not_with_size():
    sharp = cv2.resize(np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8), (512, 512))
    box = np.array([0, 0, 512, 512])
    assert sharpness(cv2.GaussianBlur(sharp, (0, 0), 12), box) < 0.5 * sharpness(sharp, box)
    assert sharpness(cv2.resize(sharp, (1024, 1024)), 2 * box) == pytest.approx(sharpness(sharp, box), rel=0.25)


def test_table_summarizes_the_finite_values_of_a_column(capsys, tmp_path):
    table = Table(("gap", "rotation"), tmp_path / "rows.json")
    table.add({"driver": "a"}, {"gap": 1.0, "rotation": 2.0, "driver turn": 10.0})
    table.add({"driver": "b"}, {"gap": np.nan, "rotation": 6.0, "driver turn": 40.0})
    table.print_summary()
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("mean of 2")).split()[-2:] == ["1.000", "4.000"]
    assert "1 pairs whose driver turns from 30 degrees: mean 6.00" in lines[-1]


def test_settled_rotation_ignores_a_misread_first_frame():
    angles = np.zeros((8, 3))
    angles[:, 1] = np.radians(np.arange(8))
    misread = np.array(angles)
    misread[0, 0] = np.radians(4)
    points = [make_points(k**2) for k in range(8)]
    driver, result = (
        [Face(p, np.zeros(52), r) for p, r in zip(points, rotation_matrix(a), strict=True)] for a in (angles, misread)
    )
    figures = compare_faces(driver, result)
    assert figures["rotation"] > 3 and figures["settled"] < 0.6
