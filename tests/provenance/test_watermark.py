"""The watermark in synthetic frames: invisible, deterministic, detected after compression, scaling and cropping."""

import io
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import open_writer
from mimaface_cli.provenance.mark_detection import MarkDetector
from mimaface_cli.provenance.watermark import (
    MIN_SIDE,
    TILE_CELLS,
    Marker,
    can_mark,
    count_cells,
    interpolation_weights,
    make_tile,
)
from tests.benchmarks.marked_clips import crop_and_stretch, crop_frame, detect_mark, halve_and_restore, make_clip

IDENTIFIER = 0xC0FFEE123456


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((first.astype(float) - second) ** 2))


def encode_and_decode(frames: list[np.ndarray], crf: int, path) -> list[np.ndarray]:
    height, width = frames[0].shape[:2]
    with open_writer(path, width, height, Fraction(25), options=EncodeOptions(crf=crf)) as writer:
        for k, frame in enumerate(frames):
            writer.write(frame, k / 25)
    return [frame.image for frame in read_frames(path)]


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    return list(make_clip(2, 76))


@pytest.fixture(scope="module")
def marked_clip(clip, tmp_path_factory) -> list[np.ndarray]:
    """The clip with a watermark, encoded as results are."""
    marker = Marker(480, 360, IDENTIFIER)
    return encode_and_decode(
        [marker.mark_frame(frame) for frame in clip], 17, tmp_path_factory.mktemp("clip") / "a.mp4"
    )


@pytest.mark.parametrize(
    ("change", "crf"), [(None, 28), (halve_and_restore, 20), (crop_frame, 20), (crop_and_stretch, 20)]
)
def test_watermark_survives_compression_scaling_and_cropping(marked_clip, tmp_path, change, crf):
    frames = [frame if change is None else change(frame) for frame in marked_clip]
    mark = detect_mark(encode_and_decode(frames, crf, tmp_path / "b.mp4")[::2])
    assert mark is not None and mark.identifier == IDENTIFIER and mark.frames == 38
    if change in (crop_frame, crop_and_stretch):
        assert mark.scale == pytest.approx((1 / 0.95,) * 2, abs=0.01)
    else:
        assert mark.scale == (1.0, 1.0)


def test_watermark_too_weak_in_single_frames_is_detected_in_many(clip):
    marker, rng = Marker(480, 360, IDENTIFIER), np.random.default_rng(3)
    noisy = []
    for frame in clip:
        values = marker.mark_frame(frame) + rng.normal(0, 110, frame.shape)
        noisy.append(np.clip(values, 0, 255).astype(np.uint8))
    assert all(detect_mark([frame]) is None for frame in noisy[:2])
    assert detect_mark(noisy).identifier == IDENTIFIER


@pytest.mark.parametrize("size", [(128, 128), (129, 301), (481, 270), (1921, 1079)])
def test_watermark_is_detected_in_single_images_of_any_size(size):
    frame = next(make_clip(1, 1, *size))
    marked = Marker(*size, IDENTIFIER).mark_frame(frame)
    assert marked.shape == frame.shape and psnr(frame, marked) >= 40
    assert detect_mark([marked]).identifier == IDENTIFIER
    if min(size) >= 256:
        file = io.BytesIO()
        Image.fromarray(marked).save(file, "JPEG", quality=90)
        assert detect_mark([np.asarray(Image.open(file))]).identifier == IDENTIFIER


def test_watermark_is_weak_in_flat_dark_and_bright_images():
    rng = np.random.default_rng(4)
    marker = Marker(512, 512, IDENTIFIER)
    slope = np.repeat(np.tile(np.linspace(30, 220, 512), (512, 1))[..., None], 3, 2).astype(np.uint8)
    # Image, largest change in gray levels, lowest PSNR in dB.
    cases = {
        "flat": (np.full((512, 512, 3), 128, np.uint8), 1, 54),
        "dark": (np.full((512, 512, 3), 20, np.uint8), 1, 56),
        "slope": (slope, 1, 54),
        "black": (np.zeros((512, 512, 3), np.uint8), 1, 56),
        "white": (np.full((512, 512, 3), 255, np.uint8), 1, 54),
        "noise": (rng.integers(0, 256, (512, 512, 3), dtype=np.uint8), 9, 40),
    }
    for name, (image, max_change, min_psnr) in cases.items():
        marked = marker.mark_frame(image)
        change = np.abs(marked.astype(int) - image).max()
        assert change <= max_change and psnr(image, marked) >= min_psnr, (name, change, psnr(image, marked))


def make_portrait_on_a_backdrop() -> tuple[np.ndarray, np.ndarray]:
    """Return an image with a textured ellipse on a smooth backdrop with an edge, and a mask of its flat parts."""
    rng = np.random.default_rng(8)
    rows, columns = np.mgrid[:480, :640]
    image = np.repeat((150 + columns / 40 + rows / 60)[..., None], 3, 2)  # a soft gradient
    image[:, 540:] = (0, 177, 64)  # a green screen beside it
    texture = cv2.GaussianBlur(rng.normal(0, 1, (480, 640, 1)).astype(np.float32), (0, 0), 1.5)[..., None] * 60
    is_face = np.hypot((columns - 300) / 110, (rows - 240) / 150) < 1
    image[is_face] = (170 + texture)[is_face]
    is_flat = cv2.erode((~is_face).astype(np.uint8), np.ones((49, 49), np.uint8)) > 0
    is_flat[:, 516:565] = False
    return np.clip(image, 0, 255).astype(np.uint8), is_flat


@pytest.mark.parametrize("size", [(640, 480), (1920, 1440), (256, 192)])
def test_flat_parts_stay_flat(size):
    image, is_flat = (
        cv2.resize(array.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        for array in make_portrait_on_a_backdrop()
    )
    if size == (256, 192):  # the texture reaches as many pixels as in a large frame
        is_flat = cv2.erode(is_flat, np.ones((25, 25), np.uint8))
    change = Marker(*size, IDENTIFIER).mark_frame(image).astype(int) - image
    on_flat = change[is_flat > 0]
    assert len(on_flat) > 1000
    assert np.abs(on_flat).max() <= 1 and on_flat.std() < 0.5
    assert np.abs(change).max() >= 2  # in the texture


def test_watermark_on_a_flat_backdrop_survives_compression(tmp_path):
    image, _ = make_portrait_on_a_backdrop()
    frames = [np.roll(image, round(6 * np.sin(k / 5)), axis=1) for k in range(50)]
    marker = Marker(640, 480, IDENTIFIER)
    marked = encode_and_decode(list(marker.mark_frames(frame for frame in frames)), 17, tmp_path / "a.mp4")
    for change in (None, halve_and_restore):
        changed = [frame if change is None else change(frame) for frame in marked]
        assert detect_mark(encode_and_decode(changed, 28, tmp_path / "b.mp4")).identifier == IDENTIFIER


def test_watermark_keeps_gray_images_gray():
    marked = Marker(512, 512, IDENTIFIER).mark_frame(np.full((512, 512, 3), 128, np.uint8))
    assert (marked == marked[..., :1]).all()


def test_two_watermarks_are_both_detected():
    """A result that is generated from a marked image has two; the stronger one comes first."""
    image = next(make_clip(3, 1, 512, 512))
    marked_once = Marker(512, 512, 77).mark_frame(image)
    mark = detect_mark([Marker(512, 512, IDENTIFIER).mark_frame(marked_once)])
    assert {mark.identifier, mark.weaker_identifier} == {IDENTIFIER, 77}
    assert detect_mark([marked_once]).weaker_identifier is None


def test_mark_frame_keeps_alpha():
    frame = np.random.default_rng(5).integers(0, 256, (200, 300, 4), dtype=np.uint8)
    marked = Marker(300, 200, 1).mark_frame(frame)
    assert (marked[..., 3] == frame[..., 3]).all() and (marked[..., :3] != frame[..., :3]).any()


def test_mark_frame_depends_on_the_identifier_alone():
    frame = next(make_clip(6, 1))
    assert (Marker(480, 360, 5).mark_frame(frame) == Marker(480, 360, 5).mark_frame(frame)).all()
    assert (Marker(480, 360, 5).mark_frame(frame) != Marker(480, 360, 6).mark_frame(frame)).any()


def test_nothing_is_detected_in_unmarked_frames(clip):
    rng = np.random.default_rng(7)
    assert detect_mark(clip[::4]) is None
    for k in range(6):
        noise = rng.normal(128, 40, (200, 260, 3))
        image = np.clip(cv2.GaussianBlur(noise, (0, 0), 0.5 + k % 4), 0, 255).astype(np.uint8)
        assert detect_mark([image]) is None
    stripes = np.tile((np.arange(480) % 10 < 5)[None, :, None] * np.uint8(200), (360, 1, 3))
    for image in (stripes, np.zeros((200, 200, 3), np.uint8), np.full((20, 900, 3), 9, np.uint8)):
        assert detect_mark([np.ascontiguousarray(image)]) is None
    assert MarkDetector().detect() is None


def test_marker_refuses_frames_that_are_too_small():
    assert can_mark(MIN_SIDE, MIN_SIDE) and not can_mark(MIN_SIDE - 1, 5000)
    with pytest.raises(ValueError, match="too small"):
        Marker(127, 400, 1)


def test_detector_refuses_frames_of_another_size():
    detector = MarkDetector()
    detector.add(np.zeros((200, 300, 3), np.uint8))
    with pytest.raises(ValueError, match="after frames of"):
        detector.add(np.zeros((200, 301, 3), np.uint8))


def test_pattern_scales_with_the_frame():
    assert count_cells(1000, 1000) == count_cells(1500, 700)
    weights = interpolation_weights(300, 2.5)
    assert weights.shape == (300, TILE_CELLS) and np.allclose(weights.sum(1), 1)
    assert (np.abs(make_tile(None)) <= np.abs(make_tile(1))).all() and (make_tile(1) != 0).all()
