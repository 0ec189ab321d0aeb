"""Scene cuts, and what only looks like one."""

import numpy as np
import pytest

from mimaface_cli.face.scene_cuts import CutDetector

SIZE = (180, 320)


def scene(seed: int) -> np.ndarray:
    """A picture of large colored patches, float."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (6, 8, 3))
    return np.kron(coarse, np.ones((SIZE[0] // 6, SIZE[1] // 8, 1)))


def shot(seed: int, frames: int) -> list[np.ndarray]:
    """A scene with camera noise and a slow pan."""
    rng, picture = np.random.default_rng(100 + seed), scene(seed)
    return [np.roll(picture, 2 * k, 1) + rng.normal(0, 6, (*SIZE, 3)) for k in range(frames)]


def cuts_in(frames: list[np.ndarray]) -> list[int]:
    detector = CutDetector()
    return [k for k, frame in enumerate(frames) if detector(np.clip(frame, 0, 255).astype(np.uint8))]


@pytest.mark.parametrize("seed", range(4))
def test_shots_are_told_apart_at_their_first_frame(seed):
    frames = shot(seed, 7) + shot(seed + 10, 4) + shot(seed + 20, 6)
    assert cuts_in(frames) == [7, 11]


def test_one_shot_has_no_cut():
    assert cuts_in(shot(3, 30)) == []


def test_a_flash_is_no_cut():
    frames = shot(1, 12)
    frames[5] = frames[5] * 0.4 + 140
    frames[6] = frames[6] * 0.7 + 70
    assert cuts_in(frames) == []


@pytest.mark.parametrize("frames", [6, 12, 25])
def test_a_fade_to_black_and_back_is_no_cut(frames):
    level = np.abs(np.linspace(-1, 1, 2 * frames))
    assert cuts_in([frame * share for frame, share in zip(shot(2, 2 * frames), level)]) == []


def test_something_large_that_moves_is_no_cut():
    frames = shot(5, 20)
    for k, frame in enumerate(frames):
        left = 10 * k
        frame[40:, left : left + 110] = [200, 160, 140]  # a head that passes
    assert cuts_in(frames) == []


def test_pictures_of_any_size_are_taken():
    for shape in ((8, 8, 3), (1, 1, 3), (1081, 1919, 3)):
        detector, image = CutDetector(), np.zeros(shape, np.uint8)
        assert not detector(image) and not detector(image)


@pytest.mark.parametrize("level", [0, 255])
def test_a_blank_frame_is_a_shot_of_its_own(level):
    blank = np.full((*SIZE, 3), float(level))
    assert cuts_in([*shot(4, 4), blank, blank, *shot(4, 4)]) == [4, 6]
