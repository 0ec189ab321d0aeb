"""Mixing of tracks by region."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.motion.coefficients import BLENDSHAPES, blendshape_index
from mimaface_cli.motion.mix_regions import MIX_REGIONS
from mimaface_cli.motion.mixing import mix_tracks, region_columns
from mimaface_cli.motion.track import MotionTrack
from tests.motion.tracks import random_motion


def test_mix_tracks_copies_regions_matched_by_time():
    track, other = random_motion(50), random_motion(120, seed=1, rate=Fraction(60))
    mixed, notes = mix_tracks(track, other, ["mouth", "head"])
    assert any("matched by time" in note for note in notes)
    jaw, brow = blendshape_index("jawOpen"), blendshape_index("browInnerUp")
    positions = np.arange(50) / 25 * 60
    expected = np.interp(positions, np.arange(120), other.expression[:, jaw])
    np.testing.assert_allclose(mixed.expression[:, jaw], expected, atol=1e-5)
    np.testing.assert_array_equal(mixed.expression[:, brow], track.expression[:, brow])
    np.testing.assert_array_equal(mixed.gaze, track.gaze)


def test_mixed_head_has_the_rotation_of_the_other_track_and_keeps_its_median_position():
    track, other = random_motion(50), random_motion(120, seed=1, rate=Fraction(60))
    mixed, _ = mix_tracks(track, other, ["head"])
    expected = np.interp(np.arange(50) / 25 * 60, np.arange(120), other.pose[:, 1])
    np.testing.assert_allclose(np.diff(mixed.pose[:, 1]), np.diff(expected), atol=1e-5)
    np.testing.assert_allclose(np.median(mixed.pose[:, 3:], 0), np.median(track.pose[:, 3:], 0), atol=1e-5)


def test_mix_tracks_holds_the_last_frame_of_a_shorter_track():
    other = random_motion(120, seed=1, rate=Fraction(60)).select_frames(slice(0, 60))
    mixed, notes = mix_tracks(random_motion(50), other, ["gaze"])
    assert any("its last frame is held" in note for note in notes)
    assert np.ptp(mixed.gaze[26:], 0).max() == 0


def test_mix_tracks_in_bfm09_adds_the_regions_parts_of_the_difference():
    random = np.random.default_rng(3)
    neutral = MotionTrack.neutral(4, "bfm09")
    track, other = (replace(neutral, expression=random.normal(size=(4, 64)).astype(np.float32)) for _ in range(2))
    region_maps = {name: random.normal(size=(64, 64)) for name in ("mouth", "eyes", "brows")}
    mixed, _ = mix_tracks(track, other, ["mouth", "brows"], region_maps)
    change = (region_maps["mouth"] + region_maps["brows"]) @ (other.expression - track.expression).T
    np.testing.assert_allclose(mixed.expression, track.expression + change.T, atol=1e-4)
    unchanged, _ = mix_tracks(track, other, ["gaze"], region_maps)
    np.testing.assert_array_equal(unchanged.expression, track.expression)


def test_regions_partition_the_expression_columns():
    columns = [region_columns([region]) for region in MIX_REGIONS]
    assert sorted(column for part in columns for column in part) == list(range(1, 64))
    assert {BLENDSHAPES[index] for index in region_columns(["brows"])} >= {"browDownLeft", "browInnerUp"}
    assert all(BLENDSHAPES[index].startswith("eyeLook") for index in region_columns(["gaze"]))


def test_mix_tracks_refuses_unknown_regions_and_other_spaces():
    track, other = random_motion(), MotionTrack.neutral(5, "bfm09")
    with pytest.raises(InputError, match=r"^regions: unknown region 'chin'. Choose mouth"):
        mix_tracks(track, track, ["chin"])
    with pytest.raises(InputError, match=r"^mix: .*bfm09 space, but the edited track is in face478"):
        mix_tracks(track, other, ["head"])


def test_mix_tracks_in_bfm09_needs_region_maps_for_the_face_only():
    track = MotionTrack.neutral(5, "bfm09")
    with pytest.raises(WeightsError, match=r"^regions: mouth: .*Set `bfm` to the file BFM09_model_info.mat"):
        mix_tracks(track, track, ["mouth"])
    assert len(mix_tracks(track, track, ["head"])[0]) == 5
