"""Eyes taken apart and put together again."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.engines.mesh.eyes import (
    build_eye_layers,
    complete_iris,
    compute_polygon_depth,
    crop_padded,
    diffuse_colors,
    feather_mask,
    measure_eye_opening,
    project_eye_anchors,
    project_iris_center,
    remove_lashes,
    render_eye,
    select_upper_lid,
)
from mimaface_cli.engines.mesh.surface import build_fine_face
from mimaface_cli.face import camera, face478, topology
from mimaface_cli.face.gaze import IRIS_DISTANCE

SQUARE = np.array([[10.0, 10.0], [50.0, 10.0], [50.0, 40.0], [10.0, 40.0]])
BALL = np.array([0.3, 0.2, 0.1])


def test_depth_inside_a_polygon_grows_from_its_rim():
    depth = compute_polygon_depth(SQUARE, (60, 70))
    assert depth[5, 5] == 0 and depth[25, 30] == pytest.approx(15, abs=1.5)
    assert (depth[11:39, 11:49] > 0).all() and not depth[:, 52:].any()
    assert depth[12, 30] < depth[16, 30] < depth[22, 30]


def test_a_polygon_beyond_the_picture_is_cut_at_its_edge():
    assert compute_polygon_depth(SQUARE - 30, (60, 70)).max() > 0
    assert not compute_polygon_depth(SQUARE + 500, (60, 70)).any()


def test_crops_beyond_a_picture_repeat_its_edge():
    image = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    crop = crop_padded(image, np.array([-2, 3]), np.array([4, 9]))
    assert crop.shape == (6, 6, 3)
    assert np.array_equal(crop[:3, 2:], image[3:6, :4])
    assert np.array_equal(crop[0, 0], image[3, 0]) and np.array_equal(crop[5, 5], image[5, 3])


def test_feathering_falls_off_inside_the_mask_only():
    mask = np.zeros((30, 30), bool)
    mask[5:25, 5:25] = True
    soft = feather_mask(mask, 4.0)
    assert not soft[~mask].any() and soft[15, 15] == 1 and 0 < soft[6, 15] < soft[8, 15] <= 1


def test_what_is_seen_spreads_over_the_rest():
    patch = np.zeros((40, 60, 3), np.float32)
    patch[:, :30], patch[:, 30:] = 200, 50
    seen = np.zeros((40, 60), bool)
    seen[14:26, 3:20] = seen[14:26, 40:57] = True  # the white on both sides of an iris
    patch[~seen] = 255, 0, 0  # lids, lashes: nothing of them may come through
    filled = diffuse_colors(patch, seen, 40.0)
    assert np.abs(filled[16:24, 5:15] - 200).max() < 8 and np.abs(filled[16:24, 45:55] - 50).max() < 8
    assert filled[4, 10, 0] > 170 and filled[4, 50, 0] < 80  # what lies next to a side takes that side's color
    assert abs(filled[20, 30, 0] - 125) < 15
    assert np.ptp(filled, axis=2).max() < 1 and filled.min() > 49 and filled.max() < 201
    assert diffuse_colors(patch, np.zeros_like(seen), 40.0) is None


def test_a_hidden_half_of_an_iris_is_completed_from_the_other():
    rows, columns = np.mgrid[:61, :61] + 0.5
    distance = np.hypot(rows - 30.5, columns - 30.5)
    iris = np.where(distance < 8, 20.0, np.where(distance < 20, 110.0, 230.0))
    patch = np.repeat(iris[..., None], 3, 2).astype(np.float32)
    lid = patch.copy()
    lid[:26] = 170  # skin over the upper part
    seen = (rows > 27) & (distance < 24)
    made = complete_iris(lid, seen, np.array([30.5, 30.5]), 20.0)
    hidden = (rows < 24) & (distance < 17)
    assert np.abs(made[hidden] - patch[hidden]).mean() < 15
    assert np.abs(made[seen & (distance < 17)] - patch[seen & (distance < 17)]).mean() < 10


def test_an_iris_that_is_not_seen_is_dark():
    patch = np.full((40, 40, 3), 160, np.float32)
    made = complete_iris(patch, np.zeros((40, 40), bool), np.array([20.0, 20.0]), 10.0)
    assert made[20, 20].max() < 40 and made[20, 28].max() < 80


def test_lids_close_from_above_on_both_sides():
    model = face478.load()
    fine = build_fine_face(model.face.tobytes())
    pixels = camera.project(fine.matrix @ model.mean)[0]
    for name in ("left_eye", "right_eye"):
        ring = pixels[fine.rings[name]]
        upper = select_upper_lid(ring)
        corners = np.sort(ring[:, 0])[[0, -1]]
        assert np.allclose(np.sort(upper[[0, -1], 0]), corners, atol=1.0)  # from corner to corner
        assert upper[1:-1, 1].max() < ring[len(ring) // 4, 1]  # above the middle of the lower lid
        assert measure_eye_opening(ring) == pytest.approx(np.ptp(ring[:, 1]), rel=0.1)


def test_a_stretched_lid_has_neither_lashes_nor_eyeball_in_it():
    ring = np.array([[60.0, 30], [50, 36], [40, 38], [30, 36], [20, 30], [30, 24], [40, 22], [50, 24]])
    patch = np.full((60, 80, 3), (200, 160, 140), np.float32)
    eye = compute_polygon_depth(ring, patch.shape[:2]) > 0
    lashes = np.zeros_like(eye)
    lashes[18:22, 25:56] = True  # above the upper rim
    patch[lashes], patch[eye] = 25, 240
    lid = remove_lashes(patch, ring, 40.0)
    bare = patch + lid[..., 3:] * (lid[..., :3] - patch)
    assert np.abs(bare[19:21, 34:47] - [200, 160, 140]).max() < 25
    assert np.abs(bare[26:34, 34:47] - [200, 160, 140]).max() < 15
    assert np.array_equal(bare[:8], patch[:8]) and np.array_equal(bare[50:], patch[50:])  # brow and cheek stay


RING = np.array([[70.0, 40], [60, 49], [50, 52], [40, 49], [30, 40], [40, 31], [50, 28], [60, 31]])
IRIS, RADIUS = np.array([50.0, 40.0]), 9.0


def eye_of(off: float = 0.0):
    """A picture of one eye, skin-colored around, and the eye taken out of it: with its anchors in the picture. off:
    how far aside landmarks put the iris, in pixels.
    """
    image = np.full((80, 100, 3), (205, 165, 145), np.uint8)
    image[compute_polygon_depth(RING, image.shape[:2]) > 0] = 235
    rows, columns = np.mgrid[:80, :100] + 0.5
    image[np.hypot(columns - IRIS[0], rows - IRIS[1]) < RADIUS] = (60, 40, 20)
    landmarks = np.zeros((478, 2))
    landmarks[topology.LEFT_IRIS] = IRIS + [off, 0] + RADIUS * np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]])
    frame = np.array([[50.0, 40], [62, 40], [50, 28]])
    return image, build_eye_layers(image, RING, landmarks, BALL, frame, np.zeros(2), "left"), frame


@pytest.fixture(scope="module")
def drawn():
    return eye_of()


def paint(drawn, ring=RING, offset=(0.0, 0.0), shift=(0.0, 0.0)) -> np.ndarray:
    image, eye, frame = drawn
    canvas = image.astype(np.float32)
    where = np.mgrid[:80, :100][::-1].transpose(1, 2, 0).astype(np.float32)
    render_eye(canvas, where, eye, ring + offset, frame + offset, np.array(shift))
    return canvas


def dark_middle(canvas: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(canvas.max(2) < 120)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def test_an_eye_that_has_not_moved_looks_as_in_the_photo(drawn):
    difference = np.abs(paint(drawn) - drawn[0])
    assert difference.mean() < 0.1 and difference[36:45, 36:65].max() < 4


def test_irises_go_where_the_gaze_shifts_and_eyes_where_the_head_does(drawn):
    assert dark_middle(paint(drawn)) == pytest.approx(IRIS, abs=0.5)
    assert dark_middle(paint(drawn, shift=(6, 0))) == pytest.approx(IRIS + [6, 0], abs=0.7)
    moved = paint((np.full_like(drawn[0], 200), *drawn[1:]), offset=(8, -5))
    assert dark_middle(moved) == pytest.approx(IRIS + [8, -5], abs=0.5)


def test_a_looking_eye_leaves_white_behind_the_iris(drawn):
    looks = paint(drawn, shift=(10, 0))
    assert looks[37:44, 42:46].min() > 170


@pytest.mark.parametrize("off", [-3.0, 3.0])
def test_an_iris_beside_its_landmarks_leaves_no_rim_behind(off):
    eye = eye_of(off)
    right, left = paint(eye, shift=(10, 0)), paint(eye, shift=(-10, 0))
    assert right[37:44, 39:46].min() > 200 and left[37:44, 55:62].min() > 200


def test_an_iris_takes_no_rim_of_white_along(drawn):
    image, eye, frame = drawn
    looks = paint((0 * image, replace(eye, white=0 * eye.white), frame), shift=(5, 0))
    assert looks.max() < 100 < image[36:45, 36:65].max()


def test_shut_lids_cover_the_eye_with_skin(drawn):
    shut = RING.copy()
    shut[5:, 1] = shut[3:0:-1, 1] - 0.5  # the upper lid comes down on the lower one
    canvas = paint(drawn, ring=shut)
    assert np.abs(canvas[33:42, 44:57] - [205, 165, 145]).max() < 45


def test_anchors_and_irises_move_with_the_head():
    still, shifted = np.zeros(6), np.array([0, 0, 0, 0.1, 0, 0])
    unit = camera.FOCAL_PER_SIZE * camera.CROP_SIZE / (camera.CAMERA_DISTANCE - BALL[2] - IRIS_DISTANCE)
    assert np.allclose(
        project_eye_anchors(BALL, shifted) - project_eye_anchors(BALL, still), [0.1 * unit, 0], atol=1e-9
    )
    middle, aside, above = project_eye_anchors(BALL, still)
    assert aside[0] > middle[0] and above[1] < middle[1]
    assert np.allclose(project_iris_center(BALL, still, np.zeros(2)), middle)
    # yaw goes to the subject's left, the picture's right; pitch goes up
    reach = IRIS_DISTANCE * np.sin(0.3) * unit
    left, up = (project_iris_center(BALL, still, np.array(gaze)) - middle for gaze in ([0.3, 0], [0, 0.3]))
    assert left == pytest.approx([reach, 0], abs=0.1 * reach) and up == pytest.approx([0, -reach], abs=0.1 * reach)
