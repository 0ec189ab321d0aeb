"""Occluders of a face: detected in photos and videos, and no false detections."""

import cv2
import numpy as np
import pytest

from mimaface_cli.errors import WeightsError
from mimaface_cli.face.face_outline import draw_face_hull, face_axes
from mimaface_cli.face.hands import Hand, draw_hand
from mimaface_cli.face.occlusion import COVERED_MOUTH_NOTE, HAND, MASK, OBJECT, find_occluders
from mimaface_cli.face.occlusion_network import SIDE, crop_face, crop_matrix, load_occlusion_network
from mimaface_cli.face.occlusion_tracking import OcclusionTracker
from tests.conftest import ROOT
from tests.face.drawn_occluders import draw_microphone, draw_worn_mask


@pytest.fixture(scope="module")
def photo(square_portrait):
    return square_portrait.image, square_portrait.points


@pytest.fixture(scope="module")
def microphone(photo):
    """The example portrait with a microphone in front of the mouth, and the microphone's mask."""
    return draw_microphone(*photo)


def hand_at(place: np.ndarray, size: float) -> Hand:
    """An upright open hand whose middle knuckle is at a place."""
    fingers = [np.array([[x, -0.1 - 0.3 * k] for k in range(4)]) for x in (-0.3, -0.1, 0.1, 0.3)]
    thumb = np.array([[-0.4, 0.6], [-0.55, 0.4], [-0.6, 0.2], [-0.65, 0.0]])
    points = np.concatenate([[[0, 1.0]], thumb, *fingers])
    return Hand(place + size * points, 0.99)


def test_find_occluders_returns_none_for_the_example_portrait(photo):
    assert find_occluders(*photo) is None


def test_gray_and_dark_portraits_have_no_occluder(photo):
    image, points = photo
    gray = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    assert find_occluders(gray, points, hands=()) is None
    assert find_occluders((image * 0.4).astype(np.uint8), points, hands=()) is None


def test_find_occluders_locates_a_microphone(photo, microphone):
    image, mask = microphone
    occlusion = find_occluders(image, photo[1], hands=())
    assert occlusion is not None and occlusion.kind == OBJECT and not occlusion.is_worn
    face = draw_face_hull(photo[1], mask.shape)
    detected, drawn = (occlusion.alpha > 0.5) & face, mask & face
    assert (detected & drawn).sum() > 0.7 * (detected | drawn).sum()
    assert any("stays where it is" in note for note in occlusion.notes)


def test_worn_mask_covers_the_mouth_and_moves_with_the_face(photo):
    image, _ = draw_worn_mask(*photo)
    occlusion = find_occluders(image, photo[1], hands=())
    assert occlusion is not None and occlusion.kind == MASK and occlusion.is_worn
    assert occlusion.covers_mouth and occlusion.covers_eyes == (False, False)
    assert occlusion.notes == (COVERED_MOUTH_NOTE,)


def test_hand_across_the_cheek_is_in_front(photo):
    image, points = photo
    height = face_axes(points)[2]
    occlusion = find_occluders(image, points, hands=[hand_at(points[454] + [0.15 * height, 0], 0.45 * height)])
    assert occlusion is not None and occlusion.kind == HAND
    assert occlusion.alpha.max() > 0.9 and not occlusion.covers_mouth
    assert len(occlusion.notes) == 1


def test_hand_within_the_face_needs_confirmation(photo):
    image, points = photo
    hand = hand_at(points[152] - [0, 0.2 * face_axes(points)[2]], 0.2 * face_axes(points)[2])
    outline = draw_hand(hand, image.shape[:2]) > 0
    assert draw_face_hull(points, image.shape[:2])[outline].mean() > 0.6
    assert find_occluders(image, points, hands=[hand]) is None


def test_hand_far_from_the_face_does_not_matter(photo):
    image, points = photo
    height = face_axes(points)[2]
    assert find_occluders(image, points, hands=[hand_at(points[152] + [0, 1.6 * height], 0.3 * height)]) is None


def test_tracker_detects_a_passing_occluder_and_counts_its_frames(photo, microphone):
    image, points = photo
    tracker = OcclusionTracker()
    detections = [tracker(frame, points) is not None for frame in [image] * 3 + [microphone[0]] * 5 + [image] * 4]
    assert detections[:3] == [False] * 3 and detections[3:8] == [True] * 5 and not any(detections[-2:])
    assert tracker.frames == 12 and tracker.front_frames == sum(detections)
    assert f"{sum(detections)} of 12 frames" in tracker.notes[0]


def test_tracker_treats_a_worn_mask_as_part_of_the_face(photo):
    image, _ = draw_worn_mask(*photo)
    tracker = OcclusionTracker()
    occlusions = [tracker(image, photo[1]) for _ in range(3)]
    assert occlusions[-1] is not None and occlusions[-1].is_worn and not occlusions[-1].alpha.any()
    assert "not animated" in tracker.notes[0]


def test_occluder_that_enters_a_shot_is_no_worn_mask(photo):
    image, points = photo
    masked, _ = draw_worn_mask(image, points)
    tracker = OcclusionTracker()
    occlusions = [tracker(frame, points) for frame in [image] * 3 + [masked] * 3]
    assert occlusions[-1] is not None and occlusions[-1].kind == OBJECT
    tracker.start_shot()
    occlusion = tracker(masked, points)
    assert occlusion is not None and occlusion.kind == MASK


def test_crop_is_upright_and_holds_the_face(photo):
    image, points = photo
    planes, matrix = crop_face(image, points)
    assert planes.shape == (6, SIDE, SIDE) and np.allclose(matrix, crop_matrix(points))
    placed = points @ matrix[:, :2].T + matrix[:, 2]
    assert placed.min() > 0 and placed.max() < SIDE
    assert placed[10, 1] < placed[152, 1] and abs(placed[10, 0] - placed[152, 0]) < 1


@pytest.mark.parametrize("damage", ["shape", "value", "missing", "bytes"])
def test_damaged_network_is_rejected(damage, tmp_path):
    path = tmp_path / "occlusion.npz"
    with np.load(ROOT / "weights" / "occlusion.npz") as file:
        arrays = {name: file[name] for name in file.files}
    if damage == "shape":
        arrays["down0.weight"] = arrays["down0.weight"][:, :3]
    elif damage == "value":
        arrays["head.bias"] = arrays["head.bias"] * np.nan
    elif damage == "missing":
        del arrays["up0.bias"]
    np.savez(path, **arrays)
    if damage == "bytes":
        path.write_bytes(path.read_bytes()[:999])
    with pytest.raises(WeightsError, match="not an occlusion network"):
        load_occlusion_network(path)


def test_card_belongs_to_the_shipped_network():
    card = (ROOT / "weights" / "occlusion.md").read_text("utf-8")
    assert f"(version {load_occlusion_network().version})" in card
