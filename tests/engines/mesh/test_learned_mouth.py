"""The learned mouth in rendered frames: where and when the network's correction appears."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mimaface_cli.engines.mesh.contact import LIP_PAIRS
from mimaface_cli.engines.mesh.face_networks import FaceNetworks
from mimaface_cli.engines.mesh.face_part import change_window
from mimaface_cli.engines.mesh.layers import opaque_layers
from mimaface_cli.engines.mesh.learned_mouth import MouthCrop, find_teeth, measure_missing_detail
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.mouth_crop import CROP_HEIGHT, CROP_WIDTH, MOUTH, mouth_crop_matrix
from mimaface_cli.engines.mesh.part_network import load_network
from mimaface_cli.engines.mesh.prepared_portrait import (
    PAINTED_MOUTH_NOTE,
    prepare_photo,
    prepare_still_head,
    select_known_networks,
)
from mimaface_cli.engines.mesh.renderer import render_frame, render_photo, render_video
from mimaface_cli.engines.mesh.video_layers import prepare_moving_heads, prepare_still_heads
from mimaface_cli.face.portrait import Portrait, portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import Coefficients, blendshape_index
from tests.conftest import ROOT
from tests.engines.mesh.mouth_models import make_arrays, write_model

JAW = blendshape_index("jawOpen")


@pytest.fixture(scope="module")
def portrait(model):
    """The example, with a mouth about 80 pixels wide."""
    photo = portrait_from_photo(read_image(ROOT / "examples" / "portrait.jpg").rgb, None, model)
    corner = 256 - 2 * photo.points.mean(0)
    return zoom(photo, 2.0, (corner[0], corner[1]), 512)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A network that adds few gray levels, and one that adds many."""
    folder = tmp_path_factory.mktemp("models")
    return [load_mouth(write_model(folder / f"{k}.npz", strength)) for k, strength in enumerate((0.01, 0.3))]


def load_mouth(path):
    return FaceNetworks(load_network(MOUTH, path))


def knows_style(prepared):
    return not select_known_networks(prepared)[1]


@pytest.fixture(scope="module")
def network(networks):
    return networks[0]


@pytest.fixture(scope="module")
def pair(portrait, model, networks):
    """The portrait prepared with the painted and with the learned mouth."""
    return prepare_still_head(portrait, model), prepare_still_head(portrait, model, networks[1])


def render(prepared, model, jaw=0.0, turn=0.0):
    portrait = prepared.portrait
    expression, pose = portrait.expression.copy(), portrait.pose.copy()
    expression[JAW] += jaw
    pose[1] += turn
    return render_frame(prepared, model, expression, pose, portrait.gaze, np.ones(2)).astype(int)


def difference(pair, model, **motion):
    painted, learned = (render(one, model, **motion) for one in pair)
    return np.abs(painted - learned)


def zoom(portrait: Portrait, scale: float, shift: tuple[float, float] = (0, 0), size: int = 256) -> Portrait:
    return portrait.warped(np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), size, size)


@pytest.mark.parametrize("turn", [0.0, 0.25])
def test_mouth_of_the_photo_does_not_change(pair, model, turn):
    assert not difference(pair, model, turn=turn).any()


def test_correction_appears_smoothly_as_the_lips_move(pair, model):
    jaws = np.linspace(0, 0.1, 31)
    changes = np.array([difference(pair, model, jaw=jaw).mean() for jaw in jaws])
    assert changes[0] == 0 and changes[-1] > 0.1
    assert np.diff(changes).max() < 0.25 * changes.max()  # no jump
    assert changes[1] < 0.05 * changes.max()  # and no sudden start


def test_correction_stays_in_the_crop_and_fades_to_its_border(pair, model):
    prepared = pair[1]
    matrix = mouth_crop_matrix(prepared.mouth.anchor, prepared.portrait.pose, prepared.to_image)
    changed = difference(pair, model, jaw=0.5).max(2)
    rows, columns = np.nonzero(changed > 1)  # a tiny change can round a color up or down
    places = (np.stack([columns, rows], 1) + 0.5) @ matrix[:, :2].T + matrix[:, 2]
    assert len(places) > 1000
    assert (places > 0).all() and (places < [CROP_WIDTH, CROP_HEIGHT]).all()
    near = (places < 2).any(1) | (places > [CROP_WIDTH - 2, CROP_HEIGHT - 2]).any(1)
    assert changed[rows, columns][near].max(initial=0) < 0.1 * changed.max()


def test_border_weight_falls_to_zero():
    weight = change_window(MOUTH)
    assert max(weight[[0, -1]].max(), weight[:, [0, -1]].max()) < 0.01
    assert weight[CROP_HEIGHT // 2, CROP_WIDTH // 2] == 1
    assert max(np.abs(np.diff(weight, axis=axis)).max() for axis in (0, 1)) < 0.15


def test_gray_photo_stays_gray(portrait, model, networks):
    gray = portrait.image.mean(2, keepdims=True).astype(np.uint8).repeat(3, 2)
    prepared = prepare_still_head(replace(portrait, image=gray), model, networks[1])
    frame = render(prepared, model, jaw=0.5)
    assert np.ptp(frame, axis=2).max() <= 1
    assert np.abs(frame - render(replace(prepared, learned=None), model, jaw=0.5)).max() > 20


def test_small_mouth_is_painted_alone(portrait, model, network):
    changes = []
    for scale in (0.2, 0.5):
        small = zoom(portrait, scale)
        both = prepare_still_head(small, model), prepare_still_head(small, model, network)
        changes.append(difference(both, model, jaw=0.5).max())
    assert changes[0] == 0 and changes[1] > 1


def test_covered_mouth_has_no_network(portrait, model, network):
    from mimaface_cli.engines.mesh.prepared_portrait import prepare_portrait

    covered = replace(opaque_layers(portrait), covered=np.array([True, False, False]))
    assert prepare_portrait(portrait, model, covered, network).learned is None


@pytest.mark.parametrize("place", [(0, 150), (150, 290), (290, 290)], ids=["left", "bottom", "corner"])
def test_mouth_at_the_border_of_the_image(portrait, model, network, place):
    x, y = np.array(place) - portrait.points[14]
    cut = zoom(portrait, 1.0, (x, y), 300)
    for prepared in (prepare_still_head(cut, model), prepare_still_head(cut, model, network)):
        assert render(prepared, model, jaw=0.5).shape == cut.image.shape


@pytest.mark.parametrize("jaw", [-1.0, 1.6, 4.0])
def test_extreme_expressions_render(pair, model, jaw):
    frame = render(pair[1], model, jaw=jaw)
    assert np.abs(frame - render(pair[0], model, jaw=jaw)).mean() < 5


def test_painted_note_for_an_image_in_a_foreign_style(portrait, model, networks):
    small = zoom(portrait, 0.5)
    known, foreign = (prepare_photo(small, model, networks=network) for network in networks)
    assert known.networks == networks[0] and PAINTED_MOUTH_NOTE not in known.layers.notes
    assert foreign.networks.mouth is None and foreign.layers.notes.count(PAINTED_MOUTH_NOTE) == 1
    plain = prepare_photo(small, model)
    assert np.array_equal(render(foreign, model, jaw=0.5), render(plain, model, jaw=0.5))


def test_style_is_judged_by_what_changes_in_the_photo_itself(portrait, model, networks):
    assert knows_style(prepare_still_head(portrait, model))
    assert knows_style(prepare_still_head(portrait, model, networks[0]))
    assert not knows_style(prepare_still_head(portrait, model, networks[1]))


@pytest.mark.filterwarnings("error")
def test_huge_weights_neither_crash_nor_warn(portrait, model, tmp_path):
    arrays = make_arrays()
    weights = {name: array * np.float32(1e15) for name, array in arrays.items() if name.endswith("weight")}
    prepared = prepare_still_head(portrait, model, load_mouth(write_model(tmp_path / "huge.npz", **weights)))
    assert not knows_style(prepared)
    assert render(prepared, model, jaw=0.5).shape == portrait.image.shape


def draw_with_ink(image: np.ndarray) -> np.ndarray:
    """Turn a photo (H, W, 3) into black lines on white."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    ink = cv2.adaptiveThreshold(gray, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 15, 4)
    return ink[..., None].repeat(3, 2)


@pytest.mark.skipif(not (ROOT / "weights" / "mouth478.npz").exists(), reason="the mouth network is not there yet")
def test_shipped_network_knows_photos_and_refuses_line_drawings(portrait, model):
    shipped = FaceNetworks(load_network(MOUTH))
    gray = portrait.image.mean(2, keepdims=True).astype(np.uint8).repeat(3, 2)
    for image in (portrait.image, gray):
        assert knows_style(prepare_still_head(replace(portrait, image=image), model, shipped))
    assert not knows_style(prepare_still_head(replace(portrait, image=draw_with_ink(portrait.image)), model, shipped))


@pytest.mark.parametrize("is_moving", [False, True], ids=["still heads", "moving heads"])
def test_each_frame_of_a_video_is_the_reference_of_its_own_mouth(portrait, model, network, is_moving):
    """The second frame shows a darker face with other lips; both get the same expression."""
    small = zoom(portrait, 0.5)
    darker = replace(small, image=small.image // 2)
    frames, notes = [small, darker], []

    def generate():
        yield from frames

    if is_moving:
        prepared = prepare_moving_heads(generate(), generate(), [range(2)], np.ones(2, bool), model, notes, network)
    else:
        prepared = prepare_still_heads(generate(), [range(2)], np.ones(2, bool), model, notes, network)
    expression = np.repeat(small.expression[None], 2, 0)
    expression[:, JAW] += 0.5
    poses, gaze = (np.repeat(part[None], 2, 0) for part in (small.pose, small.gaze))
    motion = MeshMotion(Coefficients(expression, poses, gaze), np.ones((2, 2)))
    made = list(prepared)
    own = [one.prepare() for one in made]
    assert not np.array_equal(own[0].learned.photo, own[1].learned.photo)
    rendered = list(render_video(made, model, motion, np.ones(2)))
    for frame, one in zip(rendered, own, strict=True):
        single = MeshMotion(Coefficients(expression[:1], poses[:1], gaze[:1]), np.ones((1, 2)))
        assert np.array_equal(frame, next(iter(render_photo(one, model, single))))


def test_bright_teeth_of_the_photo_are_detected_and_lips_are_not():
    colors = np.full((CROP_HEIGHT, CROP_WIDTH, 3), (190, 150, 130), np.float32)
    opening = np.zeros((CROP_HEIGHT, CROP_WIDTH), np.float32)
    opening[40:70, 60:130] = 1
    colors[40:70, 60:130] = 30, 15, 15
    colors[40:52, 70:120] = 200, 195, 180
    colors[60:70, 70:120] = 190, 110, 110  # tongue
    teeth = find_teeth(MouthCrop(colors, opening, np.eye(2, 3)))
    assert teeth[46, 90] > 0.9
    assert teeth[56, 90] < 0.1
    assert teeth[65, 90] < 0.1
    assert teeth[30, 90] == 0, "skin is as bright as teeth"


def test_the_photos_own_open_mouth_stays_while_the_opening_hardly_grows(portrait, model, network):
    """The mouth of a photo that shows all of the opening is the painted one inside; around it, the network corrects."""
    plain = prepare_still_head(portrait, model)
    prepared = prepare_still_head(portrait, model, network)
    assert prepared.learned is not None
    painted = render(plain, model, jaw=0.3).astype(int)

    def change(opening: float) -> float:
        shown = replace(prepared, learned=replace(prepared.learned, opening=opening, teeth=np.zeros_like(teeth)))
        return float(np.abs(render(shown, model, jaw=0.3) - painted).sum())

    teeth = prepared.learned.teeth
    assert 0 < change(1e6) < 0.9 * change(0.0)


def test_painted_teeth_do_not_count_as_the_photos_own_mouth(portrait, model, networks):
    """Lips that the photo shows hardly parted hide teeth: the painted ones must not stay as the photo's."""
    prepared = prepare_still_head(portrait, model, networks[1])
    closed = prepare_still_head(close_lips(portrait), model, networks[1])
    assert prepared.mouth.photo is not None and prepared.learned.opening > 0
    assert closed.mouth.photo is None and closed.learned.opening == 0 and not closed.learned.teeth.any()


def close_lips(portrait: Portrait) -> Portrait:
    """Move the landmarks of the inner lips together, but for a narrow slit."""
    points = portrait.points.copy()
    for upper, lower in LIP_PAIRS:
        middle = points[[upper, lower]].mean(0)
        points[[upper, lower]] += 0.95 * (middle - points[[upper, lower]])
    return replace(portrait, points=points)


def test_missing_detail_raises_contrast_between_the_lips_alone():
    opening = np.zeros((CROP_HEIGHT, CROP_WIDTH), np.float32)
    opening[40:80, 60:130] = 1
    colors = np.full((CROP_HEIGHT, CROP_WIDTH, 3), 100.0, np.float32)
    colors[40:80, 60:130] += 10 * np.sin(np.arange(70, dtype=np.float32))[None, :, None]
    missing = measure_missing_detail(colors, opening)
    assert not missing[opening == 0].any()
    inside = np.s_[50:70, 70:120]
    assert (colors + missing)[inside].std() > 1.3 * colors[inside].std()
    assert abs(float(missing[inside].mean())) < 0.5, "the mean color stays"
    assert not measure_missing_detail(np.full_like(colors, 90), opening).round(3).any()
