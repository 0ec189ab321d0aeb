"""Tracks of turned videos, turned upright."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.face import shading
from mimaface_cli.face.extract_face478 import extract_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face_view import turn_rotation
from mimaface_cli.face.track_turns import make_upright, shot_turns, turn_track, upright_turns
from mimaface_cli.motion.track import MotionTrack

HASH = "0" * 64


@dataclass(frozen=True)
class Frame:
    image: np.ndarray
    pts: float


@pytest.fixture(scope="module")
def extract(portrait_image, model):
    """A function that extracts the motion of the portrait, moved and turned by some quarter turns."""

    def extract(turns: int) -> MotionTrack:
        images = [np.roll(portrait_image[:, 60:440], 4 * k, 1) for k in range(4)]
        frames = [Frame(np.ascontiguousarray(np.rot90(image, turns)), k / 25) for k, image in enumerate(images)]
        return extract_video(frames, Fraction(25), model, ExtractOptions(skin=False), source_hash=HASH)

    return extract


@pytest.fixture(scope="module")
def upright(extract):
    return extract(0)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_video_is_followed_as_the_upright_one(extract, upright, turns):
    track = extract(turns)
    roll = np.degrees(track.pose[0, 2] - upright.pose[0, 2])
    assert abs((roll - 90 * turns + 180) % 360 - 180) < 3
    needed = upright_turns(track)
    assert needed == 4 - turns and upright_turns(upright) == 0
    turned = turn_track(track, needed)
    assert (turned.meta.width, turned.meta.height) == (upright.meta.width, upright.meta.height)
    assert np.abs(turned.pose - upright.pose).max() < 0.02
    for name, limit in (("expression", 0.05), ("gaze", 0.02), ("illumination", 0.02), ("identity", 0.05)):
        assert np.abs(getattr(turned, name) - getattr(upright, name)).max() < limit, name
    corners = np.array([[0, 0, 1], [380, 512, 1]]).T
    assert np.abs((turned.crop - upright.crop) @ corners).max() < 1


def test_each_shot_is_turned_by_itself(upright):
    upside_down = turn_track(upright, 2)
    arrays = {
        name: np.concatenate([getattr(upright, name), getattr(upside_down, name)])
        for name in ("expression", "illumination", "pose", "gaze", "crop", "valid")
    }
    pts, meta = np.arange(8) / 25, replace(upright.meta, cuts=(4,))
    joined = replace(upright, **arrays, pts=pts, meta=meta)
    assert shot_turns(joined) == [0, 2]
    turned = make_upright(joined)
    for name in ("pose", "illumination", "crop"):
        halves = np.split(getattr(turned, name), 2)
        assert np.allclose(halves[0], getattr(upright, name)) and np.allclose(halves[0], halves[1], atol=1e-3), name


def test_four_quarter_turns_change_nothing(upright):
    track = upright
    for _ in range(4):
        track = turn_track(track, 1)
    for name in ("pose", "illumination", "crop"):
        assert np.allclose(getattr(track, name), getattr(upright, name), atol=1e-3)
    assert np.allclose(turn_track(turn_track(upright, 1), -1).crop, upright.crop, atol=1e-3)


def test_light_turns_with_the_image(upright):
    rng = np.random.default_rng(2)
    normals = rng.normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    track = replace(upright, illumination=rng.normal(size=upright.illumination.shape))
    before = shading.shade(np.ones((50, 3)), normals, track.illumination[0])
    for turns in (1, 2, 3):
        light = turn_track(track, turns).illumination[0]
        assert np.allclose(shading.shade(np.ones((50, 3)), normals @ turn_rotation(turns).T, light), before, atol=1e-4)


def test_tracks_without_an_image_are_not_turned():
    track = MotionTrack.neutral(3, "face478")
    rolled = replace(track, pose=np.tile([0, 0, np.pi / 2, 0, 0, 0], (3, 1)))
    assert upright_turns(rolled) == 0
    assert upright_turns(replace(rolled, meta=replace(rolled.meta, source_hash=HASH))) == 3
    nothing = replace(rolled, valid=np.zeros(3, bool), meta=replace(rolled.meta, source_hash=HASH))
    assert upright_turns(nothing) == 0
