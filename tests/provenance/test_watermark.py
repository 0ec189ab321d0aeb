"""The mark in the frames, on made pictures: unseen, read back after what happens to videos, never seen where it is not."""

import io
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import open_writer
from mimaface_cli.provenance.mark_detection import Detector, find_mark
from mimaface_cli.provenance.watermark import LEAST, TILE, Marker, can_mark, level, spread, tile
from tests.benchmarks.provenance import cropped, cropped_back, halved, made_clip

NAME = 0xC0FFEE123456


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


def coded(frames: list[np.ndarray], crf: int, path) -> list[np.ndarray]:
    with open_writer(
        path, frames[0].shape[1], frames[0].shape[0], Fraction(25), options=EncodeOptions(crf=crf)
    ) as writer:
        for k, frame in enumerate(frames):
            writer.write(frame, k / 25)
    return [frame.image for frame in read_frames(path)]


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    return list(made_clip(2, 76))


@pytest.fixture(scope="module")
def written(clip, tmp_path_factory) -> list[np.ndarray]:
    """The clip marked and written as results are."""
    marker = Marker(480, 360, NAME)
    return coded([marker.mark(frame) for frame in clip], 17, tmp_path_factory.mktemp("clip") / "a.mp4")


@pytest.mark.parametrize("change, crf", [(None, 28), (halved, 20), (cropped, 20), (cropped_back, 20)])
def test_a_clip_of_three_seconds_is_read_back(written, tmp_path, change, crf):
    frames = [frame if change is None else change(frame) for frame in written]
    mark = find_mark(coded(frames, crf, tmp_path / "b.mp4")[::2])
    assert mark is not None and mark.identifier == NAME and mark.frames == 38
    if change in (cropped, cropped_back):
        assert mark.scale == pytest.approx((1 / 0.95,) * 2, abs=0.01)
    else:
        assert mark.scale == (1.0, 1.0)


def test_frames_vote(clip):
    """What no frame tells alone, all together do."""
    marker, rng = Marker(480, 360, NAME), np.random.default_rng(3)
    noisy = [np.clip(marker.mark(frame) + rng.normal(0, 110, frame.shape), 0, 255).astype(np.uint8) for frame in clip]
    assert sum(find_mark([frame]) is not None for frame in noisy[:2]) == 0
    assert find_mark(noisy).identifier == NAME


@pytest.mark.parametrize("size", [(128, 128), (129, 301), (481, 270), (1921, 1079)])
def test_odd_and_small_sizes_and_stills(size):
    picture = next(made_clip(1, 1, *size))
    marked = Marker(*size, NAME).mark(picture)
    assert marked.shape == picture.shape and psnr(picture, marked) >= 42
    assert find_mark([marked]).identifier == NAME
    if min(size) >= 256:
        file = io.BytesIO()
        Image.fromarray(marked).save(file, "JPEG", quality=90)
        assert find_mark([np.asarray(Image.open(file))]).identifier == NAME


def test_flat_dark_bright_and_rough_pictures_change_little():
    rng = np.random.default_rng(4)
    marker = Marker(512, 512, NAME)
    ramp = np.repeat(np.tile(np.linspace(30, 220, 512), (512, 1))[..., None], 3, 2).astype(np.uint8)
    worst = {
        "flat": (np.full((512, 512, 3), 128, np.uint8), 2, 47),
        "dark": (np.full((512, 512, 3), 20, np.uint8), 2, 49),
        "slope": (ramp, 3, 46),
        "black": (np.zeros((512, 512, 3), np.uint8), 2, 49),
        "white": (np.full((512, 512, 3), 255, np.uint8), 2, 47),
        "noise": (rng.integers(0, 256, (512, 512, 3), dtype=np.uint8), 8, 42),
    }
    for name, (picture, most, least) in worst.items():
        marked = marker.mark(picture)
        change = np.abs(marked.astype(int) - picture)
        assert change.max() <= most and psnr(picture, marked) >= least, (name, change.max(), psnr(picture, marked))
    gray = marker.mark(worst["flat"][0])
    assert (gray == gray[..., :1]).all()  # no color


def test_two_marks_are_both_read():
    """A result made of a marked picture: whichever is stronger comes first."""
    picture = next(made_clip(3, 1, 512, 512))
    both = Marker(512, 512, NAME).mark(Marker(512, 512, 77).mark(picture))
    mark = find_mark([both])
    assert {mark.identifier, mark.beneath} == {NAME, 77}
    assert find_mark([Marker(512, 512, 77).mark(picture)]).beneath is None


def test_alpha_stays():
    frame = np.random.default_rng(5).integers(0, 256, (200, 300, 4), dtype=np.uint8)
    marked = Marker(300, 200, 1).mark(frame)
    assert (marked[..., 3] == frame[..., 3]).all() and (marked[..., :3] != frame[..., :3]).any()


def test_marking_is_the_same_each_time():
    frame = next(made_clip(6, 1))
    assert (Marker(480, 360, 5).mark(frame) == Marker(480, 360, 5).mark(frame)).all()
    assert (Marker(480, 360, 5).mark(frame) != Marker(480, 360, 6).mark(frame)).any()


def test_nothing_is_found_where_nothing_is(clip):
    rng = np.random.default_rng(7)
    assert find_mark(clip[::4]) is None
    for k in range(6):
        noise = rng.normal(128, 40, (200, 260, 3))
        picture = np.clip(cv2.GaussianBlur(noise, (0, 0), 0.5 + k % 4), 0, 255).astype(np.uint8)
        assert find_mark([picture]) is None
    stripes = np.tile((np.arange(480) % 10 < 5)[None, :, None] * np.uint8(200), (360, 1, 3))
    for picture in (stripes, np.zeros((200, 200, 3), np.uint8), np.full((20, 900, 3), 9, np.uint8)):
        assert find_mark([np.ascontiguousarray(picture)]) is None
    assert Detector().find() is None


def test_what_is_too_small_is_said():
    assert can_mark(LEAST, LEAST) and not can_mark(LEAST - 1, 5000)
    with pytest.raises(ValueError, match="too small"):
        Marker(127, 400, 1)
    detector = Detector()
    detector.add(np.zeros((200, 300, 3), np.uint8))
    with pytest.raises(ValueError, match="after frames of"):
        detector.add(np.zeros((200, 301, 3), np.uint8))


def test_the_pattern_is_scaled_with_the_frame():
    """Half the size has the same cells in the same places, and a picture keeps its mean."""
    assert level(1000, 1000) == level(1500, 700)
    rows = spread(300, 2.5)
    assert rows.shape == (300, TILE) and np.allclose(rows.sum(1), 1)
    assert (np.abs(tile(None)) <= np.abs(tile(1))).all() and (tile(1) != 0).all()
