"""Backdrops: exact colors, images and videos that cover the frame, and composition over them."""

from fractions import Fraction
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimaface_cli.apps.backdrop import (
    Backdrop,
    clear_hidden_colors,
    compose,
    compose_frames,
    cover,
    inspect_backdrop,
)
from mimaface_cli.errors import InputError
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.writer import open_writer

WIDTH, HEIGHT = 48, 32


def transparent_frames(count: int):
    return (frame for frame in repeat(np.zeros((HEIGHT, WIDTH, 4), np.uint8), count))


def gray_video(path: Path, levels: list[int], size=(WIDTH, HEIGHT)) -> Path:
    """Write a lossless video at 10 frames per second; each frame has one gray level."""
    with open_writer(path, *size, Fraction(10), options=EncodeOptions("ffv1", lossless=True)) as writer:
        for number, level in enumerate(levels):
            writer.write(np.full((size[1], size[0], 3), level, np.uint8), number / 10)
    return path


def shown_levels(backdrop: Backdrop, times: list[float]) -> list[int]:
    frames = list(compose_frames(transparent_frames(len(times)), backdrop, np.array(times)))
    assert all(frame.shape == (HEIGHT, WIDTH, 3) and np.ptp(frame) == 0 for frame in frames)
    return [int(frame[0, 0, 0]) for frame in frames]


def test_compose_is_exact_at_both_ends_of_alpha_and_rounds_between():
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    frame[:8, :, 3], frame[8:16, :, 3] = 0, 255
    background = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    result = compose(frame, background)
    assert np.array_equal(result[:8], background[:8]) and np.array_equal(result[8:16], frame[8:16, :, :3])
    share = frame[..., 3:] / 255
    exact = frame[..., :3] * share + background * (1 - share)
    assert np.abs(result - exact).max() <= 0.5 + 1e-9


def test_color_fills_the_frame_behind_the_person():
    frame = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    frame[8:16, 8:16] = (10, 20, 30, 255)
    backdrop = inspect_backdrop("#00b140")
    assert backdrop is not None and backdrop.path is None
    (result,) = compose_frames((f for f in [frame]), backdrop, np.zeros(1))
    assert (result[8:16, 8:16] == (10, 20, 30)).all()
    result[8:16, 8:16] = (0, 177, 64)
    assert (result == (0, 177, 64)).all()


def test_keep_and_transparent_have_no_backdrop():
    assert inspect_backdrop("keep") is None and inspect_backdrop("transparent") is None


@pytest.mark.parametrize("size", [(96, 32), (48, 64), (480, 320), (60, 30), (48, 32)])
def test_cover_fills_the_size_from_the_center(size):
    columns, rows = size
    x = np.tile(np.linspace(0, 255, columns), (rows, 1))
    image = np.repeat(x[..., None].round().astype(np.uint8), 3, axis=2)
    covered = cover(image, WIDTH, HEIGHT)
    assert covered.shape == (HEIGHT, WIDTH, 3)
    left, right = covered[HEIGHT // 2, [0, -1], 0].astype(int)
    assert left + right == pytest.approx(255, abs=5)  # as much is cut on the left as on the right
    kept = min(1.0, WIDTH / columns / max(WIDTH / columns, HEIGHT / rows))
    assert right - left == pytest.approx(255 * kept, abs=255 * kept / 4)


def test_image_backdrop_is_flattened_on_black_and_scaled(tmp_path):
    image = np.full((4 * HEIGHT, 4 * WIDTH, 4), 200, np.uint8)
    image[..., 3] = 255
    image[: 2 * HEIGHT, :, 3] = 0
    Image.fromarray(image).save(tmp_path / "half.png")
    backdrop = inspect_backdrop(str(tmp_path / "half.png"))
    assert backdrop is not None and backdrop.path == tmp_path / "half.png"
    (result,) = compose_frames(transparent_frames(1), backdrop, np.zeros(1))
    assert (result[: HEIGHT // 2 - 1] == 0).all() and (result[HEIGHT // 2 + 1 :] == 200).all()


def test_video_backdrop_plays_by_time_and_loops(tmp_path):
    backdrop = inspect_backdrop(str(gray_video(tmp_path / "b.mkv", [10, 20, 30])))
    assert backdrop is not None
    times = [5.0, 5.05, 5.1, 5.22, 5.3, 5.41, 5.5, 5.6]  # counted from the first frame
    assert shown_levels(backdrop, times) == [10, 10, 20, 30, 10, 20, 30, 10]
    assert shown_levels(backdrop, [0.0, 1.05, 1.3]) == [10, 20, 20]  # frames that no time shows are skipped


def test_folder_of_images_is_a_backdrop_at_25_frames_per_second(tmp_path):
    for number, level in enumerate((40, 80)):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), level, np.uint8)).save(tmp_path / f"{number}.png")
    backdrop = inspect_backdrop(str(tmp_path))
    assert backdrop is not None and shown_levels(backdrop, [0.0, 0.04, 0.08]) == [40, 80, 40]


def test_video_of_one_frame_holds(tmp_path):
    backdrop = inspect_backdrop(str(gray_video(tmp_path / "b.mkv", [10])))
    assert backdrop is not None and shown_levels(backdrop, [0.0, 0.1, 7.0]) == [10, 10, 10]


def test_clear_hidden_colors_blackens_what_is_far_from_the_person():
    frame = np.full((100, 100, 4), 90, np.uint8)
    frame[..., 3] = 0
    frame[40:60, 40:60, 3] = 1
    original = frame.copy()
    (result,) = clear_hidden_colors(f for f in [frame])
    assert np.array_equal(result[..., 3], original[..., 3]) and np.array_equal(frame, original)
    assert (result[24:76, 24:76, :3] == 90).all()
    result[24:76, 24:76] = 0
    assert (result == 0).all()


@pytest.mark.parametrize(
    ("content", "message"), [(None, "is neither a color nor an existing file"), (b"", "the file is empty")]
)
def test_unreadable_backdrops_are_refused(tmp_path, content, message):
    path = tmp_path / "beach.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        inspect_backdrop(str(path))


def test_damaged_video_backdrop_is_refused(tmp_path):
    path = gray_video(tmp_path / "b.mkv", [10, 20])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"b\.mkv: "):
        inspect_backdrop(str(path))
