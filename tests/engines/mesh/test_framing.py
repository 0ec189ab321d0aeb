"""Framing: a driven face stays in the frame, whatever the driver does."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.framing import Viewport, frame_head
from mimaface_cli.face import face478
from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.camera import apply_pose, project
from mimaface_cli.face.topology import OVAL

SIZE = 512
REST = np.array([0.02, -0.1, 0.05, 0.04, -0.06, 0.1])


@pytest.fixture(scope="module")
def shape() -> np.ndarray:
    return face478.load().mean


def make_viewport(scale: float, x: float, y: float) -> Viewport:
    """Return a viewport of SIZE pixels whose 256 crop is `scale` pixels per crop pixel large, from (x, y) on."""
    return Viewport(SIZE, SIZE, np.array([[1 / scale, 0, -x / scale], [0, 1 / scale, -y / scale]]))


def face_boxes(shape: np.ndarray, poses: np.ndarray, viewport: Viewport) -> np.ndarray:
    """Return left, top, right, bottom (N, 4) of the face's outline in pixels."""
    boxes = []
    for pose in poses:
        crop, _ = project(apply_pose(shape[OVAL], pose))
        pixels = (crop - viewport.to_crop[:, 2]) / viewport.to_crop[0, 0]
        boxes.append(np.concatenate([pixels.min(0), pixels.max(0)]))
    return np.array(boxes)


def random_poses(seed: int, frames: int = 200) -> np.ndarray:
    """Return poses of a driver that turns, moves far away and comes near."""
    random = np.random.default_rng(seed)
    angles = random.uniform([-0.4, -0.7, -0.5], [0.4, 0.7, 0.5], (frames, 3))
    return np.concatenate([angles, REST[3:] + random.normal(0, [1.5, 1.5, 2.5], (frames, 3))], 1)


@pytest.mark.parametrize("framing", ["keep", "follow"])
@pytest.mark.parametrize(
    "viewport",
    [
        make_viewport(1.2, 100, 80),
        make_viewport(1.2, 10, 170),
        make_viewport(2.4, -40, -60),
        make_viewport(0.4, 380, 20),
    ],
    ids=["middle", "left and low", "close-up", "small in a corner"],
)
def test_face_stays_in_the_frame(shape, viewport, framing):
    assert face_boxes(shape, REST[None], viewport)[0, :2].min() > 0  # the photo shows the whole face
    for seed in range(3):
        boxes = face_boxes(shape, frame_head(shape, random_poses(seed), REST, viewport, framing), viewport)
        assert boxes[:, :2].min() >= 0 and boxes[:, 2:].max() <= SIZE


def test_face_that_the_photo_cuts_leaves_only_a_little_further(shape):
    viewport = make_viewport(1.6, -110, 60)
    rest = face_boxes(shape, REST[None], viewport)[0]
    assert rest[0] < -10
    still_turned = random_poses(1)
    still_turned[:, :3] = REST[:3]
    boxes = face_boxes(shape, frame_head(shape, still_turned, REST, viewport, "follow"), viewport)
    assert boxes[:, 0].min() > rest[0] - 0.15 * (rest[2] - rest[0])


@pytest.mark.parametrize("framing", ["keep", "follow"])
def test_photo_and_small_movements_do_not_change(shape, framing):
    for viewport in (make_viewport(1.2, 100, 80), make_viewport(1.6, -110, 60)):
        assert np.allclose(frame_head(shape, REST[None], REST, viewport, framing), REST)
    near = REST + np.random.default_rng(0).uniform(-0.25, 0.25, (50, 6)) * np.array([1, 1, 1, 1, 1, 2])
    assert np.allclose(frame_head(shape, near, REST, make_viewport(0.8, 150, 150), framing), near)


def test_keep_limits_what_follow_takes_over(shape):
    viewport = make_viewport(0.4, 200, 200)
    far = REST + np.array([[0, 0, 0, 1.2, 0, 0], [0, 0, 0, 0, 0, 3.2]])
    follow, keep = (frame_head(shape, far, REST, viewport, framing) for framing in ("follow", "keep"))
    assert np.allclose(follow, far, atol=1e-6)
    assert 0.35 < keep[0, 3] - REST[3] < 0.7
    width = np.diff(face_boxes(shape, np.stack([REST, keep[1]]), viewport)[:, ::2], axis=1)[:, 0]
    assert 1.1 * width[0] < width[1] < 1.45 * width[0]


@pytest.mark.parametrize("framing", ["keep", "follow"])
@pytest.mark.parametrize("axis", [3, 4, 5])
def test_position_slows_down_without_a_kink(shape, framing, axis):
    poses = np.repeat(REST[None], 8001, axis=0)
    poses[:, axis] += np.linspace(-4, 4, 8001)
    for viewport in (make_viewport(1.2, 60, 80), make_viewport(2.4, -40, -60)):
        moved = frame_head(shape, poses, REST, viewport, framing)[:, axis]
        speed = np.diff(moved) / 0.001
        assert speed.min() >= -1e-9 and speed.max() <= 1 + 1e-6
        assert np.abs(np.diff(speed)).max() < 0.03


def test_video_source_has_a_place_for_each_frame(shape):
    poses = np.repeat(REST[None], 2, axis=0) + np.array([0, 0, 0, 5.0, 0, 0])
    crops = np.stack([make_viewport(1.2, 0, 80).to_crop, make_viewport(1.2, 150, 80).to_crop])
    both = frame_head(shape, poses, REST, Viewport(SIZE, SIZE, crops), "follow")
    single = [frame_head(shape, poses[:1], REST, Viewport(SIZE, SIZE, crop), "follow")[0] for crop in crops]
    assert np.allclose(both[:, 3], np.array(single)[:, 3])
    assert transform_points(crops[0], np.zeros(2))[0] > transform_points(crops[1], np.zeros(2))[0]
