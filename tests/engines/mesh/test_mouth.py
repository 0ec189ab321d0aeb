"""The mouth: synthetic teeth, and how the photo's mouth is split between skull and jaw."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.eyes import compute_polygon_depth
from mimaface_cli.engines.mesh.fine_face import build_fine_face
from mimaface_cli.engines.mesh.mouth import (
    PIXELS_PER_UNIT,
    TEETH_PLATE_SIZE,
    UNITS_PER_MM,
    build_mouth_layers,
    extend_opening,
    find_jaw_split,
    project_mouth_anchors,
    render_mouth,
    render_teeth,
)
from mimaface_cli.face import camera
from mimaface_cli.motion.coefficients import blendshape_index

EDGE = TEETH_PLATE_SIZE[1] // 2  # the biting edge is at the middle row


@pytest.mark.parametrize("upper", [True, False])
def test_render_teeth_are_bright_whole_and_end_at_the_bite(upper):
    plate = render_teeth(upper)
    assert plate.shape == (TEETH_PLATE_SIZE[1], TEETH_PLATE_SIZE[0], 4) and plate.dtype == np.float32
    assert plate[..., 3].min() >= 0 and plate[..., 3].max() <= 1
    assert plate[..., :3].min() >= 0 and plate[..., :3].max() <= 255
    middle = slice(TEETH_PLATE_SIZE[0] // 2 - 20, TEETH_PLATE_SIZE[0] // 2 + 20)
    rows = np.arange(TEETH_PLATE_SIZE[1])
    root = rows < EDGE - 12 if upper else rows > EDGE + 12
    beyond = rows > EDGE + 4 if upper else rows < EDGE - 4
    assert plate[root][:, middle, 3].min() > 0.99
    assert plate[beyond][..., 3].max() < 0.01
    near = rows[root][-12:] if upper else rows[root][:12]
    assert plate[near][:, middle, :3].mean() > 150
    red, _, blue = plate[near][:, middle, :3].mean((0, 1))
    assert red > blue + 5  # ivory, not gray


@pytest.mark.parametrize("upper", [True, False])
def test_render_teeth_are_symmetric(upper):
    plate = render_teeth(upper)
    assert np.allclose(plate, plate[:, ::-1], atol=0.5)


@pytest.mark.parametrize("upper", [True, False])
def test_render_teeth_have_seams_between_the_front_teeth(upper):
    plate = render_teeth(upper)
    row = EDGE - 20 if upper else EDGE + 20
    level = plate[row, :, :3].mean(1)
    tooth_width = (8.4 if upper else 5.3) * UNITS_PER_MM * PIXELS_PER_UNIT
    middle = TEETH_PLATE_SIZE[0] / 2
    seams = [middle, middle + tooth_width, middle - tooth_width]
    for seam in seams:
        column = round(seam)
        body = level[int(seam + tooth_width * 0.4) - 2 : int(seam + tooth_width * 0.4) + 3].mean()
        assert level[column - 2 : column + 3].min() < 0.9 * body


def make_mouth(rows: dict[range, float], height: int = 60, width: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of an open mouth with bands of brightness, and the mask of its opening."""
    patch = np.full((height, width, 3), 150.0, np.float32)
    inside = np.zeros((height, width), bool)
    inside[10:50, 15:105] = True
    for band, level in rows.items():
        patch[band.start : band.stop, 15:105] = level
    return patch, inside


def test_jaw_split_lies_in_the_gap_between_the_teeth():
    patch, inside = make_mouth({range(10, 24): 200, range(24, 34): 30, range(34, 50): 180})
    split, has_lower_part = find_jaw_split(patch, inside)
    assert has_lower_part and split.shape == (120,)
    assert (split[15:105] >= 24).all() and (split[15:105] <= 34).all()


def test_jaw_split_ignores_the_shadow_of_the_upper_lip():
    patch, inside = make_mouth({range(10, 16): 20, range(16, 50): 200})
    split, has_lower_part = find_jaw_split(patch, inside)
    assert not has_lower_part and (split[15:105] == 50).all()


def test_jaw_split_is_the_lower_rim_when_teeth_fill_the_mouth():
    patch, inside = make_mouth({range(10, 50): 200})
    inside[40:, :40] = False  # the lower lip stands higher there
    split, has_lower_part = find_jaw_split(patch, inside)
    assert not has_lower_part
    assert (split[15:40] == 40).all() and (split[40:105] == 50).all()


def test_jaw_split_of_an_empty_opening_is_the_patch_height():
    patch, inside = make_mouth({})
    split, has_lower_part = find_jaw_split(patch, np.zeros_like(inside))
    assert not has_lower_part and (split == len(patch)).all()


def test_extend_opening_continues_the_mouth_under_the_lips():
    patch, inside = make_mouth({range(10, 30): 200, range(30, 50): 40})
    depth = np.where(inside, 6.0, 0.0)
    layer = extend_opening(patch, depth, 2.0, 90.0)
    assert layer.shape == (*patch.shape[:2], 4)
    assert np.allclose(layer[20:40, 40:80, :3], patch[20:40, 40:80], atol=1)
    assert layer[4, 60, 0] > 120 and layer[56, 60, 0] < 120  # the colors next to the rim, not the lips
    assert layer[30, 60, 3] > 0.99 and layer[30, 2, 3] < 0.05


PHOTO_JAW_OPEN = 0.4
SCALE = 4.0  # canvas pixels of a crop pixel


def render_middle(model, jaw_open: float, photo: tuple[int, int] | None = None) -> tuple[np.ndarray, float, float]:
    """Render the mouth of the mean face: brightness down its middle, and the rows of its lips.

    photo: brightness of the upper and lower teeth in a photo with the jaw open by PHOTO_JAW_OPEN; without it, the
    photo's lips are closed.
    """

    def face(amount: float) -> np.ndarray:
        expression = np.zeros(64)
        expression[blendshape_index("jawOpen")] = amount
        expression[blendshape_index("mouthClose")] = 0.15 * (amount == 0)
        return model.mean + model.expression_basis @ expression

    fine, low = build_fine_face(model.face.tobytes()), np.array([80.0, 140.0])

    def to_canvas(pixels):
        return SCALE * (pixels - low)

    def lips(head):
        return to_canvas(camera.project(fine.matrix @ head)[0][fine.rings["mouth"]])

    image, photo_face = np.full((400, 400, 3), 150, np.uint8), face(PHOTO_JAW_OPEN if photo else 0.0)
    if photo is not None:
        ring = lips(photo_face)
        inside = compute_polygon_depth(ring, (400, 400)) > 0
        rows = np.arange(400)[:, None]
        middle, gap = ring[:, 1].mean(), 0.05 * np.ptp(ring[:, 0])
        image[inside & (rows < middle)], image[inside & (rows >= middle)] = photo
        image[inside & (abs(rows - middle) < gap)] = 10
    mouth = build_mouth_layers(
        image, lips(photo_face), photo_face, model.mean,
        lambda anchor: to_canvas(project_mouth_anchors(anchor, np.zeros(6))), np.array([200.0, 160, 140]),
    )  # fmt: skip
    assert (mouth.photo is not None) == (photo is not None)
    canvas, ring = np.full((400, 400, 3), 77.0, np.float32), lips(face(jaw_open))
    render_mouth(canvas, mouth, ring, face(jaw_open), np.zeros(6), to_canvas)
    outside = compute_polygon_depth(ring, (400, 400)) == 0
    assert (canvas[outside] == 77).all()
    column = int(ring[:, 0].mean())
    return canvas[:, column - 2 : column + 3].mean((1, 2)), ring[:, 1].min(), ring[:, 1].max()


def find_gap(brightness: np.ndarray, top: float, bottom: float, dark: float) -> tuple[int, int]:
    """Find the rows at which the upper teeth end and the lower teeth begin; between them it is dark."""
    rows = np.arange(int(top) + 4, int(bottom) - 3)
    hidden = rows[brightness[rows] < dark]
    return int(hidden.min()), int(hidden.max()) + 1


def test_render_mouth_keeps_synthetic_upper_teeth_and_lowers_the_rest(model):
    (half, top, low), (open_wide, top_wide, low_wide) = render_middle(model, 0.5), render_middle(model, 0.8)
    upper, lower = find_gap(half, top, low, 35)
    upper_wide, lower_wide = find_gap(open_wide, top_wide, low_wide, 35)
    assert half[int(top) + 5 : upper - 2].min() > 60 and abs(upper_wide - upper) <= 2
    assert 0.6 < (lower_wide - lower) / (low_wide - low) < 1.1


def test_render_mouth_keeps_the_photos_upper_teeth_and_lowers_the_rest(model):
    (photo, top, low), (open_wide, top_wide, low_wide) = (
        render_middle(model, PHOTO_JAW_OPEN, (220, 120)),
        render_middle(model, 0.7, (220, 120)),
    )
    upper, lower = find_gap(photo, top, low, 60)
    upper_wide, lower_wide = find_gap(open_wide, top_wide, low_wide, 60)
    assert abs(upper_wide - upper) <= 2 and 0.6 < (lower_wide - lower) / (low_wide - low) < 1.1
    assert open_wide[int(top_wide) + 6 : upper_wide - 3].min() > 200
    assert np.abs(open_wide[lower_wide + 3 : int(low_wide) - 3] - 120).max() < 10
