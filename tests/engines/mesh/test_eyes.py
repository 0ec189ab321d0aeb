"""Eyes: separation into layers, and rendering."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.engines.mesh.eyes import (
    build_eye_layers,
    measure_eye_opening,
    project_eye_anchors,
    project_iris_center,
    remove_lashes,
    render_eye,
    select_upper_lid,
)
from mimaface_cli.engines.mesh.fine_face import build_fine_face
from mimaface_cli.engines.mesh.image_patch import compute_polygon_depth
from mimaface_cli.engines.mesh.iris_completion import complete_iris, draw_iris
from mimaface_cli.face import camera, face478, topology
from mimaface_cli.face.gaze import IRIS_DISTANCE

BALL = np.array([0.3, 0.2, 0.1])


def test_complete_iris_mirrors_the_visible_half():
    rows, columns = np.mgrid[:61, :61] + 0.5
    distance = np.hypot(rows - 30.5, columns - 30.5)
    iris = np.where(distance < 8, 20.0, np.where(distance < 20, 110.0, 230.0))
    patch = np.repeat(iris[..., None], 3, 2).astype(np.float32)
    lid = patch.copy()
    lid[:26] = 170  # skin over the upper part
    visible = (rows > 27) & (distance < 24)
    completed = complete_iris(lid, visible, np.array([30.5, 30.5]), 20.0)
    hidden = (rows < 24) & (distance < 17)
    assert np.abs(completed[hidden] - patch[hidden]).mean() < 15
    assert np.abs(completed[visible & (distance < 17)] - patch[visible & (distance < 17)]).mean() < 10


def test_complete_iris_is_dark_when_nothing_is_visible():
    patch = np.full((40, 40, 3), 160, np.float32)
    completed = complete_iris(patch, np.zeros((40, 40), bool), np.array([20.0, 20.0]), 10.0)
    assert completed[20, 20].max() < 40 and completed[20, 28].max() < 80


def test_complete_iris_continues_the_light_on_its_visible_part():
    rows, columns = np.mgrid[:61, :61] + 0.5
    distance = np.hypot(rows - 30.5, columns - 30.5)
    shadow = np.clip(1.2 - (40 - rows) / 30, 0.4, 1.0)  # darker toward the upper lid
    patch = np.repeat((np.where(distance < 20, 110.0, 230.0) * shadow)[..., None], 3, 2).astype(np.float32)
    visible = (rows > 27) & (distance < 20)
    completed = complete_iris(patch, visible, np.array([30.5, 30.5]), 20.0)[..., 0]
    step = completed[29, 25:36] - completed[25, 25:36]  # across the edge of the visible part
    assert np.abs(step).max() < 18


def test_complete_iris_has_no_light_rim():
    rows, columns = np.mgrid[:61, :61] + 0.5
    distance = np.hypot(rows - 30.5, columns - 30.5)
    patch = np.repeat(np.where(distance < 15, 70.0, 230.0)[..., None], 3, 2).astype(np.float32)
    visible = (np.abs(rows - 30.5) < 6) & (distance < 24)  # landmarks place the edge too far outside
    completed = complete_iris(patch, visible, np.array([30.5, 30.5]), 20.0)[..., 0]
    assert completed[46:49, 28:33].max() < 130


def test_select_upper_lid_runs_above_the_eye_from_corner_to_corner():
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


def test_remove_lashes_leaves_only_skin_above_the_eye():
    ring = np.array([[60.0, 30], [50, 36], [40, 38], [30, 36], [20, 30], [30, 24], [40, 22], [50, 24]])
    patch = np.full((60, 80, 3), (200, 160, 140), np.float32)
    eye = compute_polygon_depth(ring, patch.shape[:2]) > 0
    lashes = np.zeros_like(eye)
    lashes[18:22, 25:56] = True  # above the upper rim
    patch[lashes], patch[eye] = 25, 240
    lid = remove_lashes(patch, ring, 40.0)
    rendered = patch + lid[..., 3:] * (lid[..., :3] - patch)
    assert np.abs(rendered[19:21, 34:47] - [200, 160, 140]).max() < 25
    assert np.abs(rendered[26:34, 34:47] - [200, 160, 140]).max() < 15
    assert np.array_equal(rendered[:8], patch[:8]) and np.array_equal(rendered[50:], patch[50:])  # brow and cheek stay


def test_remove_lashes_combs_single_lashes_out():
    ring = np.array([[60.0, 30], [50, 36], [40, 38], [30, 36], [20, 30], [30, 24], [40, 22], [50, 24]])
    patch = np.full((60, 80, 3), (200, 160, 140), np.float32)
    patch[14:22, 28:54:4] = (176, 140, 122)  # light lashes, one pixel wide, with skin between them
    lid = remove_lashes(patch, ring, 40.0)
    rendered = patch + lid[..., 3:] * (lid[..., :3] - patch)
    before, after = (np.ptp(image[17:20, 34:47], axis=1).max() for image in (patch, rendered))
    assert before == 24 and after < 10


RING = np.array([[70.0, 40], [60, 49], [50, 52], [40, 49], [30, 40], [40, 31], [50, 28], [60, 31]])
IRIS, RADIUS = np.array([50.0, 40.0]), 9.0


def make_eye(offset_error: float = 0.0):
    """Return an image of one eye on skin, the eye's layers and its anchors in the image.

    offset_error: horizontal error of the iris landmarks in pixels.
    """
    image = np.full((80, 100, 3), (205, 165, 145), np.uint8)
    image[compute_polygon_depth(RING, image.shape[:2]) > 0] = 235
    rows, columns = np.mgrid[:80, :100] + 0.5
    image[np.hypot(columns - IRIS[0], rows - IRIS[1]) < RADIUS] = (60, 40, 20)
    landmarks = np.zeros((478, 2))
    landmarks[topology.LEFT_IRIS] = (
        IRIS + [offset_error, 0] + RADIUS * np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]])
    )
    frame = np.tile([[50.0, 40], [62, 40], [50, 28]], (2, 1))
    return image, build_eye_layers(image, RING, landmarks, BALL, frame, "left"), frame


@pytest.fixture(scope="module")
def eye_sample():
    return make_eye()


def render(eye_sample, ring=RING, offset=(0.0, 0.0), shift=(0.0, 0.0), narrowing=1.0) -> np.ndarray:
    image, eye, frame = eye_sample
    anchors = frame + offset
    anchors[3:] += shift
    anchors[4] = anchors[3] + narrowing * (anchors[4] - anchors[3])
    canvas = image.astype(np.float32)
    photo_map = np.mgrid[:80, :100][::-1].transpose(1, 2, 0).astype(np.float32)
    render_eye(canvas, photo_map, eye, ring + offset, anchors)
    return canvas


def find_dark_center(canvas: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(canvas.max(2) < 120)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def test_render_eye_at_rest_reproduces_the_photo(eye_sample):
    difference = np.abs(render(eye_sample) - eye_sample[0])
    assert difference.mean() < 0.1 and difference[36:45, 36:65].max() < 4


def test_render_eye_moves_the_iris_with_gaze_and_the_eye_with_the_head(eye_sample):
    assert find_dark_center(render(eye_sample)) == pytest.approx(IRIS, abs=0.5)
    assert find_dark_center(render(eye_sample, shift=(6, 0))) == pytest.approx(IRIS + np.array([6, 0]), abs=0.7)
    moved = render((np.full_like(eye_sample[0], 200), *eye_sample[1:]), offset=(8, -5))
    assert find_dark_center(moved) == pytest.approx(IRIS + np.array([8, -5]), abs=0.5)


def test_render_eye_shows_sclera_where_the_iris_was(eye_sample):
    rendered = render(eye_sample, shift=(10, 0))
    assert rendered[37:44, 42:46].min() > 170


@pytest.mark.parametrize("offset_error", [-3.0, 3.0])
def test_render_eye_leaves_no_rim_of_an_iris_beside_its_landmarks(offset_error):
    eye = make_eye(offset_error)
    right, left = render(eye, shift=(10, 0)), render(eye, shift=(-10, 0))
    assert right[37:44, 39:46].min() > 200 and left[37:44, 55:62].min() > 200


def test_render_eye_moves_no_rim_of_sclera_with_the_iris(eye_sample):
    image, eye, frame = eye_sample
    rendered = render((0 * image, replace(eye, sclera=0 * eye.sclera), frame), shift=(5, 0))
    assert rendered.max() < 100 < image[36:45, 36:65].max()


def test_render_eye_narrows_a_turned_iris(eye_sample):
    widths = [np.ptp(np.nonzero(render(eye_sample, shift=(6, 0), narrowing=n).max(2) < 120)[1]) for n in (1.0, 0.7)]
    assert widths[1] == pytest.approx(0.7 * widths[0], abs=1.5)


def test_build_eye_layers_paints_sclera_as_bright_as_skin_where_the_iris_was():
    image, eye, _ = make_eye()
    image[(image == 235).all(-1)] = 110  # what is visible lies in the shadow of the lids
    landmarks = np.zeros((478, 2))
    landmarks[topology.LEFT_IRIS] = IRIS + RADIUS * np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]])
    shaded = build_eye_layers(image, RING, landmarks, BALL, eye.anchors, "left")
    row, column = (IRIS - shaded.origin).astype(int)[::-1]
    assert 150 < shaded.sclera[row, column].mean() < 190


@pytest.mark.parametrize("edge", [0.9, 1.15])
def test_draw_iris_ends_where_the_sclera_begins(edge):
    rows, columns = np.mgrid[:61, :61] + 0.5
    distance = np.hypot(rows - 30.5, columns - 30.5) / 20
    luma = np.where(distance < edge, 70.0, 200.0)
    disk = draw_iris(luma, np.abs(rows - 30) < 10, distance, np.full_like(luma, 205.0))
    assert disk[distance < edge - 0.12].min() > 0.9 and disk[distance > edge + 0.16].max() < 0.1


def test_render_eye_covers_a_closed_eye_with_skin(eye_sample):
    closed = RING.copy()
    closed[5:, 1] = closed[3:0:-1, 1] - 0.5  # the upper lid comes down on the lower one
    canvas = render(eye_sample, ring=closed)
    assert np.abs(canvas[33:42, 44:57] - [205, 165, 145]).max() < 45


def test_eye_anchors_and_iris_centers_move_with_the_head():
    rest, shifted = np.zeros(6), np.array([0, 0, 0, 0.1, 0, 0])
    unit = camera.FOCAL_PER_SIZE * camera.CROP_SIZE / (camera.CAMERA_DISTANCE - BALL[2] - IRIS_DISTANCE)
    ahead = np.zeros(2)
    at_rest = project_eye_anchors(BALL, rest, ahead)
    assert np.allclose(project_eye_anchors(BALL, shifted, ahead) - at_rest, [0.1 * unit, 0], atol=1e-9)
    middle, aside, above = at_rest[:3]
    assert np.allclose(at_rest[3:], at_rest[:3])
    assert aside[0] > middle[0] and above[1] < middle[1]
    assert np.allclose(project_iris_center(BALL, rest, np.zeros(2)), middle)
    # yaw goes to the subject's left, the image's right; pitch goes up
    reach = IRIS_DISTANCE * np.sin(0.3) * unit
    left, up = (project_iris_center(BALL, rest, np.array(gaze)) - middle for gaze in ([0.3, 0], [0, 0.3]))
    assert left == pytest.approx([reach, 0], abs=0.1 * reach) and up == pytest.approx([0, -reach], abs=0.1 * reach)


def test_project_eye_anchors_foreshortens_a_turned_iris():
    def width(yaw: float) -> float:
        anchors = project_eye_anchors(BALL, np.zeros(6), np.array([yaw, 0.0]))
        return float(anchors[4, 0] - anchors[3, 0])

    assert width(0.6) / width(0.0) == pytest.approx(np.cos(0.6), abs=0.03)
    assert width(1.4) / width(0.0) > 0.4  # an iris that is seen from the side keeps some width
    facing = project_eye_anchors(BALL, np.array([0, 0.5, 0, 0, 0, 0]), np.array([-0.5, 0.0]))
    assert facing[4, 0] - facing[3, 0] == pytest.approx(width(0.0), rel=0.03)  # it looks at the camera
