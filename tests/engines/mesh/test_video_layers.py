"""Layers of source videos: frames whose head moves are separated, others are not."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.engines.mesh.renderer import render_photo, render_video
from mimaface_cli.engines.mesh.video_layers import moves_heads, prepare_moving_heads, prepare_still_heads
from mimaface_cli.face.portrait import portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import Coefficients
from tests.conftest import ROOT

COUNT = 6
ALL = np.ones(COUNT, bool)


@pytest.fixture(scope="module")
def portrait(model):
    photo = portrait_from_photo(read_image(ROOT / "examples" / "portrait.jpg").rgb, None, model)
    return photo.warped(np.array([[0.5, 0, 0], [0, 0.5, 0]]), 256, 256)


def turn(portrait, yaws) -> MeshMotion:
    """Turn the portrait's head by some angles in radians."""
    count = len(yaws)
    pose = np.repeat(portrait.pose[None], count, 0)
    pose[:, 1] += yaws
    still = (np.repeat(part[None], count, 0) for part in (portrait.expression, portrait.gaze))
    expression, gaze = still
    return MeshMotion(Coefficients(expression, pose, gaze), np.ones((count, 2)))


@pytest.fixture(scope="module")
def source(portrait, model):
    """A video of a head that turns in front of a still background: its frames as portraits, and their poses."""
    motion = turn(portrait, np.linspace(-0.3, 0.3, COUNT))
    images = list(render_photo(prepare_photo(portrait, model), model, motion))
    poses = motion.coefficients.pose
    return [replace(portrait, image=image, pose=pose) for image, pose in zip(images, poses, strict=True)], poses


def generate(portraits):
    yield from portraits


def test_moves_heads_compares_poses(portrait):
    motion = turn(portrait, [0.0, 0.0])
    assert not moves_heads(motion, motion.coefficients.pose)
    assert moves_heads(turn(portrait, [0.0, 0.01]), motion.coefficients.pose)


def test_still_heads_are_not_separated(source, model):
    portraits, _ = source
    prepared = [frame.prepare() for frame in prepare_still_heads(generate(portraits), [range(COUNT)], ALL, model, [])]
    assert len(prepared) == COUNT
    assert all(one.layers.alpha.min() == 1 for one in prepared)


@pytest.mark.parametrize("shots", [[range(COUNT)], [range(2), range(2, COUNT)]], ids=["one shot", "two shots"])
def test_background_of_moved_heads_stays_still(source, portrait, model, shots):
    portraits, poses = source
    motion = turn(portrait, np.zeros(COUNT))
    assert moves_heads(motion, poses)
    notes: list[str] = []
    prepared = prepare_moving_heads(generate(portraits), generate(portraits), shots, ALL, model, notes)
    frames = list(render_video(prepared, model, motion, np.ones(COUNT)))
    assert len(frames) == COUNT
    corner = np.s_[: 256 // 8, : 256 // 8]
    for frame, one in zip(frames, portraits, strict=True):
        assert frame.shape == one.image.shape
        assert np.array_equal(frame[corner], one.image[corner])
    spread = np.std([frame.astype(float) for frame in frames], axis=0).mean()
    before = np.std([one.image.astype(float) for one in portraits], axis=0).mean()
    assert spread < 0.7 * before  # the heads of all frames now look the same way


def test_prepare_moving_heads_closes_its_inputs_when_stopped(source, model):
    portraits, _ = source
    closed = []

    def watched(name):
        try:
            yield from portraits
        finally:
            closed.append(name)

    preparations = prepare_moving_heads(watched("frames"), watched("samples"), [range(COUNT)], ALL, model, [])
    next(preparations)
    preparations.close()
    assert sorted(closed) == ["frames", "samples"]
