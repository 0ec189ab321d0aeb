"""Flicker, jumps, jitter and drift of known size."""

import numpy as np
import pytest

from mimaface_cli.evaluation.functional import temporal


def moving(frames: int, still: bool = False) -> list[np.ndarray]:
    """Pictures of a gray wall on which a bright square wanders unevenly."""
    draw = np.random.default_rng(0)
    wall = draw.integers(90, 130, (160, 200, 3), np.uint8)
    out, place = [], 20.0
    for k in range(frames):
        picture = wall.copy()
        place += 0 if still else 1.5 + np.sin(k / 3) + draw.normal(0, 0.3)
        left = int(place) % 140
        picture[50:110, left : left + 60] = 200
        out.append(picture)
    return out


def changes(pictures: list[np.ndarray]) -> np.ndarray:
    cells = [temporal.luma_cells(p) for p in pictures]
    return np.array([np.nan, *(temporal.change(a, b) for a, b in zip(cells, cells[1:]))])


def flickers(pictures: list[np.ndarray]) -> np.ndarray:
    cells = [temporal.luma_cells(p) for p in pictures]
    return np.array([temporal.flicker(*three) for three in zip(cells, cells[1:], cells[2:])])


@pytest.mark.parametrize("amplitude", [1, 4])
def test_flicker_of_known_amplitude_is_found_while_things_move(amplitude):
    still = flickers(moving(30))
    assert still.max() < 0.05
    lit = [(p.astype(int) + amplitude * (-1) ** k).astype(np.uint8) for k, p in enumerate(moving(30))]
    assert flickers(lit).mean() == pytest.approx(amplitude, abs=0.1)


def test_a_fade_is_no_flicker():
    faded = [(p.astype(int) + k).astype(np.uint8) for k, p in enumerate(moving(30))]
    assert flickers(faded).max() < 0.1


def test_luma_is_that_of_the_standard_and_large_pictures_agree_with_small_ones():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    assert temporal.luma_cells(red) == pytest.approx(0.299 * 200, abs=1e-3)
    large = np.repeat(np.repeat(moving(1)[0], 8, 0), 8, 1)
    assert np.abs(temporal.luma_cells(large) - temporal.luma_cells(moving(1)[0])).mean() < 2


@pytest.mark.parametrize(("period", "first", "jump"), [(9, 9, 3), (12, 4, 2), (16, 16, 6)])
def test_a_jump_every_so_many_frames_is_found_there(period, first, jump):
    pictures = moving(140)
    for k in range(first, 140):  # the light of each clip is its own
        pictures[k] = (pictures[k].astype(int) + jump * (1 - 2 * ((k - first) // period % 2))).astype(np.uint8)
    pictures = [p if k >= first else (p.astype(int) - jump).astype(np.uint8) for k, p in enumerate(pictures)]
    found = temporal.clip_borders(changes(pictures))
    assert found is not None and found.period == period and found.first % period == first % period
    assert found.excess == pytest.approx(2 * jump, rel=0.3)
    assert temporal.clip_borders(changes(pictures), period).period == period
    assert temporal.clip_borders(changes(pictures), period + 1) is None


def test_no_jumps_are_found_where_there_are_none():
    assert temporal.clip_borders(changes(moving(140))) is None
    assert temporal.clip_borders(changes(moving(60, still=True))) is None
    assert temporal.clip_borders(np.array([np.nan])) is None
    for seed in range(20):  # heavy tails, as blinks and gestures have
        noise = np.random.default_rng(seed).gamma(0.7, 1.0, 300)
        assert temporal.clip_borders(noise) is None


def test_jitter_is_the_second_difference_in_faces():
    points = np.cumsum(np.ones((20, 5, 2)), axis=0)  # steady motion
    assert temporal.jitter(points, 10.0) == pytest.approx(0)
    points[::2, :, 0] += 1.0  # every other frame off by one pixel: second differences of 2
    assert temporal.jitter(points, 10.0) == pytest.approx(0.2)


def test_drift_is_late_less_early():
    times = np.arange(0, 10, 0.5)
    assert temporal.drift(0.3 + 0.02 * times, times) == pytest.approx(0.02 * 7.75, abs=0.011)
    assert temporal.drift(np.ones(20), times) == 0
    assert temporal.drift(np.ones(4), times[:4]) is None
