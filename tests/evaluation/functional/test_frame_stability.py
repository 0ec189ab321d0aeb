"""Warping error and background deviation of videos whose changes are known."""

import cv2
import numpy as np
import pytest

from mimaface_cli.evaluation.functional.frame_stability import (
    CellDeviation,
    WarpingError,
    background_cells,
    small_luma,
)

RNG = np.random.default_rng(0)
NOISE = cv2.GaussianBlur(RNG.normal(size=(200, 200)), (0, 0), 4)
TEXTURE = cv2.normalize(NOISE, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
BEFORE = TEXTURE[30:158, 30:158].copy()


def test_warping_error_of_a_shift_is_near_zero():
    shifted = TEXTURE[28:156, 33:161]
    plain = float(((shifted.astype(float) - BEFORE) ** 2).mean()) / 255**2
    error = WarpingError()(BEFORE, shifted)
    assert plain > 0.004 and error < plain / 20


def test_warping_error_of_a_change_of_brightness_is_its_square():
    dim = np.clip(BEFORE, 20, 235)
    error = WarpingError()(dim, dim + 10)
    assert error == pytest.approx((10 / 255) ** 2, rel=0.1)


def test_warping_error_agrees_with_an_independent_warp():
    shifted = TEXTURE[29:157, 31:159].copy()
    flow = cv2.DISOpticalFlow_create(0)
    backward, forward = flow.calc(shifted, BEFORE, None), flow.calc(BEFORE, shifted, None)
    values = []
    for y in range(0, 128, 3):
        for x in range(0, 128, 3):
            dx, dy = backward[y, x]
            px, py = x + dx, y + dy
            if not (0 <= px <= 126.99 and 0 <= py <= 126.99):
                continue
            left, top = int(px), int(py)
            a, b = px - left, py - top
            weights = np.array([[(1 - b) * (1 - a), (1 - b) * a], [b * (1 - a), b * a]])
            patch, flows = BEFORE[top : top + 2, left : left + 2], forward[top : top + 2, left : left + 2]
            returned = (weights[..., None] * flows).sum((0, 1))
            trip = np.array([dx, dy]) + returned
            if trip @ trip < 0.01 * (dx**2 + dy**2 + returned @ returned) + 0.5:
                values.append((float((weights * patch).sum()) - float(shifted[y, x])) ** 2 / 255**2)
    assert WarpingError()(BEFORE, shifted) == pytest.approx(np.mean(values), rel=0.15)


def test_warping_error_refuses_unrelated_frames():
    noise = RNG.integers(0, 256, (2, 128, 128), np.uint8)
    error = WarpingError()(noise[0], noise[1])
    assert error is None or error > 0.02


def test_warping_error_is_the_same_in_every_run():
    shifted = TEXTURE[28:156, 33:161]
    assert WarpingError()(BEFORE, shifted) == WarpingError()(BEFORE, shifted)


def test_small_luma_keeps_the_aspect_ratio():
    assert small_luma(np.zeros((360, 640), np.uint8)).shape == (72, 128)
    assert small_luma(np.zeros((20, 30), np.uint8)).shape == (20, 30)


def test_background_cells_exclude_head_and_shoulders():
    mask = background_cells(np.array([240.0, 120.0, 400.0, 320.0]), 640, 480)
    cells = mask.shape[0]
    assert mask[0, 0] and mask[0, cells // 2] and not mask[cells // 2, cells // 2]  # the middle is the face
    assert not mask[-1].any()  # below the chin
    assert 0.1 < mask.mean() < 0.6


def test_cell_deviation_of_alternating_brightness_is_its_amplitude():
    deviation, mask = CellDeviation(), np.zeros((32, 32), bool)
    mask[:8] = True
    for index in range(400):
        cells = np.full((32, 32), 100.0 + (3.0 if index % 2 else -3.0))
        cells[8:] = 10.0 * index  # not background
        deviation.add(cells, mask)
    assert deviation.result() == pytest.approx(3.0, rel=0.01)


def test_cell_deviation_agrees_with_numpy_over_shots():
    deviation, mask = CellDeviation(), np.ones((32, 32), bool)
    shots = [RNG.normal(50, 4, (20, 32, 32)), RNG.normal(200, 2, (30, 32, 32))]
    for shot in shots:
        deviation.start_shot()
        for cells in shot:
            deviation.add(cells, mask)
    pooled = sum(((shot - shot.mean(0)) ** 2).sum() for shot in shots) / ((19 + 29) * 1024)
    assert deviation.result() == pytest.approx(np.sqrt(pooled), rel=1e-9)


def test_cell_deviation_needs_a_background():
    deviation = CellDeviation()
    deviation.add(np.zeros((32, 32)), np.zeros((32, 32), bool))
    assert deviation.result() is None
