"""Scene cuts, and changes that are not cuts."""

import numpy as np
import pytest

from mimaface_cli.face.scene_cuts import CutDetector

SIZE = (180, 320)


def make_scene(seed: int) -> np.ndarray:
    """Return a float image of large colored patches."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (6, 8, 3))
    return np.kron(coarse, np.ones((SIZE[0] // 6, SIZE[1] // 8, 1)))


def make_shot(seed: int, frames: int) -> list[np.ndarray]:
    """Return a scene with camera noise and a slow pan."""
    rng, scene = np.random.default_rng(100 + seed), make_scene(seed)
    return [np.roll(scene, 2 * index, 1) + rng.normal(0, 6, (*SIZE, 3)) for index in range(frames)]


def detect_cuts(frames: list[np.ndarray]) -> list[int]:
    is_cut = CutDetector()
    return [index for index, frame in enumerate(frames) if is_cut(np.clip(frame, 0, 255).astype(np.uint8))]


@pytest.mark.parametrize("seed", range(4))
def test_detector_reports_the_first_frame_of_each_new_shot(seed):
    frames = make_shot(seed, 7) + make_shot(seed + 10, 4) + make_shot(seed + 20, 6)
    assert detect_cuts(frames) == [7, 11]


def test_detector_reports_no_cut_within_a_shot():
    assert detect_cuts(make_shot(3, 30)) == []


def test_detector_ignores_a_flash():
    frames = make_shot(1, 12)
    frames[5] = frames[5] * 0.4 + 140
    frames[6] = frames[6] * 0.7 + 70
    assert detect_cuts(frames) == []


@pytest.mark.parametrize("frames", [6, 12, 25])
def test_detector_ignores_a_fade_to_black_and_back(frames):
    levels = np.abs(np.linspace(-1, 1, 2 * frames))
    shot = make_shot(2, 2 * frames)
    assert detect_cuts([frame * level for frame, level in zip(shot, levels, strict=True)]) == []


def test_detector_ignores_a_large_moving_object():
    frames = make_shot(5, 20)
    for index, frame in enumerate(frames):
        left = 10 * index
        frame[40:, left : left + 110] = [200, 160, 140]  # a head that passes
    assert detect_cuts(frames) == []


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 1, 3), (1081, 1919, 3)])
def test_detector_accepts_images_of_any_size(shape):
    is_cut, image = CutDetector(), np.zeros(shape, np.uint8)
    assert not is_cut(image) and not is_cut(image)


@pytest.mark.parametrize("level", [0, 255])
def test_detector_treats_blank_frames_as_a_shot(level):
    blank = np.full((*SIZE, 3), float(level))
    assert detect_cuts([*make_shot(4, 4), blank, blank, *make_shot(4, 4)]) == [4, 6]
