"""Flicker, clip borders, jitter and drift of known size."""

from itertools import pairwise

import numpy as np
import pytest

from mimaface_cli.evaluation.functional.temporal import (
    drift,
    find_clip_borders,
    flicker,
    jitter,
    luma_cells,
    luma_change,
    sample_luma,
)


def make_video(frames: int, still: bool = False) -> list[np.ndarray]:
    """Return frames of a gray wall over which a bright square moves unevenly."""
    rng = np.random.default_rng(0)
    wall = rng.integers(90, 130, (160, 200, 3), np.uint8)
    video, position = [], 20.0
    for k in range(frames):
        frame = wall.copy()
        position += 0 if still else 1.5 + np.sin(k / 3) + rng.normal(0, 0.3)
        left = int(position) % 140
        frame[50:110, left : left + 60] = 200
        video.append(frame)
    return video


def measure_changes(video: list[np.ndarray]) -> np.ndarray:
    cells = [luma_cells(sample_luma(frame)) for frame in video]
    return np.array([np.nan, *(luma_change(first, second) for first, second in pairwise(cells))])


def measure_flicker(video: list[np.ndarray]) -> np.ndarray:
    cells = [luma_cells(sample_luma(frame)) for frame in video]
    return np.array([flicker(*cells[k : k + 3]) for k in range(len(cells) - 2)])


@pytest.mark.parametrize("amplitude", [1, 4])
def test_flicker_equals_known_amplitude_in_a_moving_scene(amplitude):
    assert measure_flicker(make_video(30)).max() < 0.05
    flickering = [
        (frame.astype(int) + amplitude * (-1) ** k).astype(np.uint8) for k, frame in enumerate(make_video(30))
    ]
    assert measure_flicker(flickering).mean() == pytest.approx(amplitude, abs=0.1)


def test_flicker_of_a_fade_is_zero():
    faded = [(frame.astype(int) + k).astype(np.uint8) for k, frame in enumerate(make_video(30))]
    assert measure_flicker(faded).max() < 0.1


def test_luma_cells_use_standard_weights_and_do_not_depend_on_size():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    assert luma_cells(sample_luma(red)) == pytest.approx(0.299 * 200, abs=0.5)
    frame = make_video(1)[0]
    large = np.repeat(np.repeat(frame, 8, 0), 8, 1)
    assert np.abs(luma_cells(sample_luma(large)) - luma_cells(sample_luma(frame))).mean() < 2


@pytest.mark.parametrize(("period", "first", "jump"), [(9, 9, 3), (12, 4, 2), (16, 16, 6)])
def test_find_clip_borders_returns_known_period_phase_and_size(period, first, jump):
    video = []
    for k, frame in enumerate(make_video(140)):  # every clip is lit differently
        offset = -jump if k < first else jump * (1 - 2 * ((k - first) // period % 2))
        video.append((frame.astype(int) + offset).astype(np.uint8))
    changes = measure_changes(video)
    borders = find_clip_borders(changes)
    assert borders is not None and borders.period == period and borders.first % period == first % period
    assert borders.excess == pytest.approx(2 * jump, rel=0.3)
    assert find_clip_borders(changes, period).period == period
    assert find_clip_borders(changes, period + 1) is None


def test_find_clip_borders_returns_none_for_videos_without_borders():
    assert find_clip_borders(measure_changes(make_video(140))) is None
    assert find_clip_borders(measure_changes(make_video(60, still=True))) is None
    assert find_clip_borders(np.array([np.nan])) is None
    for seed in range(20):  # heavy tails, as of blinks and gestures
        noise = np.random.default_rng(seed).gamma(0.7, 1.0, 300)
        assert find_clip_borders(noise) is None


def test_jitter_is_the_second_difference_relative_to_the_size_of_the_face():
    points = np.cumsum(np.ones((20, 5, 2)), axis=0)  # steady motion
    assert jitter(points, 10.0) == pytest.approx(0)
    points[::2, :, 0] += 1.0  # every other frame is off by one pixel: second differences of 2
    assert jitter(points, 10.0) == pytest.approx(0.2)


def test_drift_is_the_last_fifth_minus_the_first():
    times = np.arange(0, 10, 0.5)
    assert drift(0.3 + 0.02 * times, times) == pytest.approx(0.02 * 7.75, abs=0.011)
    assert drift(np.ones(20), times) == 0
    assert drift(np.ones(4), times[:4]) is None
