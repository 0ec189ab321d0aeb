"""Measures of the mouth benchmark on synthetic mouths, and a run on a made clip and portrait."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mimaface_cli.apps.animate import animate
from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.face import topology
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.coefficients import BLENDSHAPES
from mimaface_cli.motion.track import MotionTrack
from tests.benchmarks import mouth_classifier
from tests.benchmarks.mouth_classifier import MouthCrops, area_under_curve, classify, crop_mouth, split_people
from tests.benchmarks.mouth_measures import (
    SKULL,
    SKULL_CROP,
    SKULL_CROP_EYES,
    SkullCrops,
    compare_mouths,
    crop_to_skull,
    inner_lip_mask,
    lip_gap,
    measure_flicker,
    measure_jitter_inside,
    mouth_box,
    sharpness_ratio,
    skull_affine,
    warp_crop,
)
from tests.benchmarks.mouth_portraits import SHAPES, add_noise, make_track, turn_head
from tests.benchmarks.mouth_rendering import list_clips, load_people
from tests.benchmarks.mouth_sheets import TALKING_FRAMES, find_talking_start
from tests.conftest import ROOT

SIDE = 240


def make_points(gap=20.0) -> np.ndarray:
    """Return landmarks (478, 2) of a face with eyes 100 apart and an elliptic opening of the mouth, 50 wide."""
    points = np.full((478, 2), 120.0)
    rng = np.random.default_rng(0)
    points[SKULL] = rng.uniform([70, 60], [170, 110], (len(SKULL), 2))
    points[33], points[263] = (70, 80), (170, 80)
    angles = np.pi + 2 * np.pi * np.arange(20) / 20  # from the right corner along the lower lip
    points[topology.INNER_LIPS] = np.column_stack([120 + 25 * np.cos(angles), 160 - gap / 2 * np.sin(angles)])
    points[topology.UPPER_LIP], points[topology.LOWER_LIP] = (120, 160 - gap / 2), (120, 160 + gap / 2)
    points[topology.OUTER_LIPS] = np.column_stack([120 + 30 * np.cos(angles), 160 - 20 * np.sin(angles)])
    points[[61, 291, 0, 17]] = (90, 160), (150, 160), (120, 140), (120, 180)
    return points


def make_texture(seed=0, side=SIDE, cell=8) -> np.ndarray:
    """Return a smooth random image (side, side, 3)."""
    noise = np.random.default_rng(seed).integers(0, 256, (side // cell, side // cell, 3), np.uint8)
    return cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)


def test_inner_lips_enclose_the_opening_and_an_inset_shrinks_it():
    points = make_points()
    mask = inner_lip_mask(points, (SIDE, SIDE))
    assert mask.sum() == pytest.approx(np.pi * 25 * 10, rel=0.08)
    assert mask[160, 120] and not mask[148, 120] and not mask[160, 93]
    inner = inner_lip_mask(points, (SIDE, SIDE), 0.03)
    assert inner[160, 120] and not inner[152, 120] and not (inner & ~mask).any()


def test_equal_mouths_have_no_error():
    truth = make_texture()
    values = compare_mouths(truth, truth, make_points())
    assert values["SSIM"] == 1 and values["sharpness"] == values["inner sharpness"] == 1 and values["inner error"] == 0
    assert values["PSNR"] > 100


def test_error_inside_the_lips_counts_alone():
    truth, points = make_texture(), make_points()
    inside = inner_lip_mask(points, truth.shape)
    changed, elsewhere = truth.copy(), truth.copy()
    changed[inside] ^= 8
    box = np.zeros(inside.shape, bool)
    box[mouth_box(points, truth.shape)] = True
    elsewhere[box & ~inside] ^= 8
    values = compare_mouths(changed, truth, points)
    assert values["inner error"] == pytest.approx(64)
    assert values["PSNR"] == pytest.approx(10 * np.log10(255**2 / (64 * inside.sum() / box.sum())), abs=0.01)
    assert compare_mouths(elsewhere, truth, points)["inner error"] == 0
    outside = truth.copy()
    outside[~box] ^= 8
    assert compare_mouths(outside, truth, points)["SSIM"] == 1


def test_closed_mouth_has_no_inner_figures():
    assert not [name for name in compare_mouths(make_texture(), make_texture(), make_points(3)) if "inner" in name]
    assert lip_gap(make_points(3)) == pytest.approx(0.03)


def test_mouth_smaller_than_the_window_is_not_compared():
    points = make_points() / 20
    assert compare_mouths(make_texture()[:12, :12], make_texture()[:12, :12], points) == {}


def test_sharpness_is_the_ratio_of_gradient_energy():
    truth = make_texture()
    half = (truth.astype(float) / 2).astype(np.uint8)
    assert sharpness_ratio(half, truth) == pytest.approx(0.25, rel=0.05)
    assert sharpness_ratio(cv2.GaussianBlur(truth, (0, 0), 4), truth) < 0.5
    mask = np.zeros(truth.shape[:2], bool)
    mask[:, :100] = True
    mixed = np.where(np.arange(SIDE)[None, :, None] < 104, truth, 0).astype(np.uint8)
    assert sharpness_ratio(mixed, truth, mask) == pytest.approx(1) and sharpness_ratio(mixed, truth) < 0.9


def test_flicker_is_the_deviation_over_time_inside_the_mask():
    base = make_texture()[None].clip(20, 230)
    frames = np.repeat(base, 8, 0)
    mask = inner_lip_mask(make_points(), base.shape[1:])
    assert measure_flicker(frames, mask) == (0, 0)
    frames[::2, mask] += 6
    frames[:, ~mask] = np.random.default_rng(1).integers(0, 256, frames[:, ~mask].shape)
    deviation, relative = measure_flicker(frames, mask)
    assert deviation == pytest.approx(3, abs=0.05)
    assert relative == pytest.approx(3 / (base[0][mask] @ [0.299, 0.587, 0.114]).std(), rel=0.05)


def test_skull_crop_follows_the_head_but_not_the_jaw():
    points = make_points()
    turned = cv2.getRotationMatrix2D((100, 100), 12, 0.7)
    turned[:, 2] += (15, -4)
    moved = points @ turned[:, :2].T + turned[:, 2]
    moved[topology.LOWER_LIP] += (0, 30)
    first, second = skull_affine(points, points), skull_affine(moved, points)
    np.testing.assert_allclose(second[:, :2] @ turned[:, :2], first[:, :2], atol=1e-6)
    eyes = (points[[33, 263]] @ first[:, :2].T) + first[:, 2]
    assert np.linalg.norm(eyes[1] - eyes[0]) == pytest.approx(SKULL_CROP_EYES)
    center = points[[61, 291, 0, 17, 13, 14]].mean(0) @ first[:, :2].T + first[:, 2]
    assert center == pytest.approx(np.array(SKULL_CROP) / 2)


def test_warped_crop_shows_pixels_at_their_place():
    image = np.zeros((60, 60, 3), np.uint8)
    image[20:30, 40:50] = 255
    crop = warp_crop(image, np.array([[2.0, 0, -70], [0, 2, -30]]), (40, 40))
    assert (crop[12:28, 12:28] > 250).all() and crop[10:30, 10:30].min() > 100 and not crop[:, :8].any()
    small = warp_crop(image, np.array([[0.5, 0, 0], [0, 0.5, 0]]), (30, 30))
    assert small[11:14, 21:24].min() > 200 and not small[:, :18].any()


INSIDE = np.pad(np.ones((64, 96), bool), ((32, 32), (48, 48)))
SKIN = np.pad(np.ones((24, 192), bool), ((0, 104), (0, 0)))


def slide(teeth: np.ndarray, head: np.ndarray, inside: list[np.ndarray] | None = None, noise=0.0) -> SkullCrops:
    """Return skull crops in which teeth and head are shifted to the right by offsets in pixels."""
    textures = [make_texture(seed, side=256, cell=16) for seed in (0, 1)]
    rng = np.random.default_rng(2)
    images = []
    for offsets in zip(teeth, head, strict=True):
        layers = [
            warp_crop(texture, np.array([[1.0, 0, offset - 30], [0, 1, -30]]), SKULL_CROP)
            for texture, offset in zip(textures, offsets, strict=True)
        ]
        image = np.where(INSIDE[..., None], *layers) + rng.normal(0, noise, layers[0].shape)
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    return SkullCrops(images, inside or [INSIDE] * len(images), [SKIN] * len(images))


def test_jitter_inside_ignores_motion_of_the_head_but_not_swimming_or_noise():
    still, steps = np.zeros(8), np.arange(8)
    turn = 0.8 * steps
    steady = measure_jitter_inside(slide(turn, turn))
    assert steady["residual"] < 0.1 and steady["wobble"] < 3
    shaking = turn + 1.5 * (steps % 2)  # as from noise of the landmarks
    assert measure_jitter_inside(slide(shaking, shaking))["wobble"] < 4
    swimming = measure_jitter_inside(slide(shaking, turn))
    assert swimming["wobble"] == pytest.approx(3.0 / SKULL_CROP_EYES * 1000, rel=0.25)
    noisy = measure_jitter_inside(slide(still, still, noise=25))
    assert noisy["residual"] > 2 * steady["residual"] and noisy["change"] > 8


def test_jitter_inside_needs_the_inside_in_consecutive_frames():
    empty, still = np.zeros_like(INSIDE), np.zeros(4)
    assert measure_jitter_inside(slide(still, still, [INSIDE, empty, INSIDE, empty])) == {}
    assert "wobble" not in measure_jitter_inside(slide(still, still, [INSIDE, INSIDE, empty, INSIDE]))


def test_skull_crops_have_no_inside_for_closed_and_undetected_mouths():
    points = make_points()
    crops = crop_to_skull([make_texture()] * 3, [points, None, make_points(3)], points)
    assert [mask.any() for mask in crops.inside] == [True, False, False]
    assert [mask.any() for mask in crops.skin] == [True, False, True]
    assert crops.images[0].shape == (*SKULL_CROP[::-1], 3) and not (crops.inside[0] & crops.skin[0]).any()
    assert crops.inside[0].sum() == pytest.approx(np.pi * 25 * 10 * (SKULL_CROP_EYES / 100) ** 2, rel=0.2)
    rows = np.flatnonzero(crops.skin[0].any(1))
    assert rows[-1] < SKULL_CROP[1] / 2  # above the corners of the mouth


def test_area_under_curve_is_the_chance_that_a_positive_ranks_higher():
    positive = np.array([True, True, False, False])
    assert area_under_curve(np.array([3.0, 2, 1, 0]), positive) == 1
    assert area_under_curve(np.array([0.0, 1, 2, 3]), positive) == 0
    assert area_under_curve(np.array([2.0, 1, 1, 0]), positive) == pytest.approx(7 / 8)


def test_people_are_tested_once_and_never_trained_on_in_that_fold():
    people = np.array(list("abcdefgabcd"))
    tested = []
    for train, test in split_people(people):
        assert not set(people[train]) & set(people[test])
        tested += list(test)
    assert sorted(tested) == list(range(len(people)))


def make_crops(difference: float) -> MouthCrops:
    """Return crops of eight people, half of them "rendered": darker in the middle by a difference."""
    rng = np.random.default_rng(5)
    images, is_real, people = [], [], []
    for k in range(96):
        image = make_texture(k, 96)[:64].astype(float) / 2 + 60 + rng.normal(0, 4, (64, 96, 3))
        image[24:40, 30:66] -= difference * (k % 2)
        images.append(np.clip(image, 0, 255).astype(np.uint8))
        is_real.append(k % 2 == 0)
        people.append(f"person {k // 12}")
    return MouthCrops(np.stack(images), np.array(is_real), np.array(people), np.arange(96) % 3 > 0)


def test_classifier_separates_different_sets_and_guesses_on_equal_ones(monkeypatch):
    monkeypatch.setattr(mouth_classifier, "STEPS", 60)
    different, alike = classify(make_crops(70)), classify(make_crops(0))
    assert different["AUC"] > 0.9 and different["open accuracy"] > 0.8 and different["people"] == 8
    assert 0.25 < alike["AUC"] < 0.75
    assert classify(make_crops(70)) == different  # a fixed seed


def test_classifier_needs_several_people():
    crops = make_crops(0)
    assert classify(MouthCrops(crops.images, crops.is_real, np.full(96, "one"), crops.is_open)) == {}


def test_mouth_crop_is_upright_and_scaled_by_the_eyes():
    points = make_points()
    image = make_texture()
    turned = cv2.getRotationMatrix2D((120, 120), 20, 0.8)
    moved = cv2.warpAffine(image, turned, (SIDE, SIDE))
    first, second = crop_mouth(image, points), crop_mouth(moved, points @ turned[:, :2].T + turned[:, 2])
    assert first.shape == (64, 96, 3) and np.abs(first.astype(float) - second).mean() < 12


def test_talking_frames_are_those_with_most_motion():
    gaps = np.zeros(60)
    gaps[30:46:2] = 0.3
    assert 20 < find_talking_start(gaps) <= 31
    gaps[50] = np.nan
    assert find_talking_start(gaps) + TALKING_FRAMES <= 50
    assert find_talking_start([0.1, np.nan, 0.4]) in (0, 2)


def test_people_come_from_the_table_of_the_pool_or_another_one(tmp_path):
    (tmp_path / "pool").mkdir()
    assert load_people(tmp_path, None) == {}
    (tmp_path / "pool" / "clips2.csv").write_text("repo,person,file\nx,anna,pool/clips2/a1.mp4\n")
    (tmp_path / "other.csv").write_text("file,person\na2.mp4,anna\n")
    assert load_people(tmp_path, None) == {"a1": "anna"}
    assert load_people(tmp_path, tmp_path / "other.csv") == {"a2": "anna"}


def test_clips_are_chosen_by_text_or_list(tmp_path):
    for name in ("driving/a.mp4", "pool/clips/ab.mp4", "pool/clips2/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listed = tmp_path / "people.txt"
    listed.write_text("c.mp4\na\n")
    assert [path.name for path in list_clips(tmp_path, "")] == ["a.mp4"]
    assert [path.name for path in list_clips(tmp_path, "b,c")] == ["ab.mp4", "c.mp4"]
    assert [path.name for path in list_clips(tmp_path, str(listed))] == ["a.mp4", "c.mp4"]


def make_portrait() -> Portrait:
    """Return a portrait whose jaw is a bit open."""
    expression = np.zeros(64)
    expression[BLENDSHAPES.index("jawOpen")] = 0.1
    image = np.zeros((8, 8, 3), np.uint8)
    return Portrait(image, None, make_points(), np.eye(2, 3), np.zeros(80), expression, np.ones(6), np.zeros(4))


def test_track_of_shapes_starts_with_the_photo_and_sets_values():
    track = make_track(make_portrait(), [shape for shape in SHAPES.values() if shape])
    jaw = track.expression[:, BLENDSHAPES.index("jawOpen")]
    assert jaw[:4] == pytest.approx([0.1, 0.3, 0.6, 1.0]) and jaw[4] == pytest.approx(0.1)
    assert (track.expression[4, [BLENDSHAPES.index(f"mouthSmile{side}") for side in ("Left", "Right")]] > 0.7).all()


def test_noise_and_turns_leave_the_reference_frame():
    track = make_track(make_portrait(), [{"jawOpen": 0.6}] * 48)
    noisy, turned = add_noise(track), turn_head(track)
    for changed in (noisy, turned):
        assert (changed.pose[0] == track.pose[0]).all() and (changed.expression[0] == track.expression[0]).all()
    jaw = noisy.expression[1:, BLENDSHAPES.index("jawOpen")]
    assert 0.002 < jaw.std() < 0.013 and jaw.mean() == pytest.approx(0.6, abs=0.01)
    assert np.degrees(np.abs(turned.pose[:, 1] - 1).max()) == pytest.approx(15, abs=0.1)


def test_benchmark_measures_a_clip_and_a_portrait(tmp_path):
    media, example = tmp_path / "media", ROOT / "examples" / "portrait.jpg"
    for name in ("driving", "portraits"):
        (media / name).mkdir(parents=True)
    shutil.copy(example, media / "portraits" / "someone.jpg")
    track = MotionTrack.load(ROOT / "examples" / "driver.npz").select_frames(slice(0, 60, 4))
    animate(example, track, media / "driving" / "talk.mp4", AnimateOptions(max_size=256, mouth="painted"))
    command = [sys.executable, "-m", "tests.benchmarks.mouth", media, "--frames", "14", "--sheets", tmp_path / "sheets"]
    command += ["--json", tmp_path / "figures.json", "--mouth", "painted"]
    subprocess.run([*map(str, command)], cwd=ROOT, check=True, timeout=300)
    figures = json.loads((tmp_path / "figures.json").read_text())
    means = figures["clips"]["means"]
    assert means["closed painted"]["PSNR"] > means["closed still"]["PSNR"] > 15
    assert means["closed painted"]["gap"] > 0.8
    assert figures["clips"]["classifier"] == {"painted": {}}  # one person
    assert 0 < figures["portraits"]["means"]["painted"]["still"] < 40
    names = {path.name for path in Path(tmp_path, "sheets").iterdir()}
    assert names == {"talk-talking.png", "someone-mouths.png", "someone-faces.png", "portraits.png"}
