"""Occluders stay in front and in place; the face behind them is completed."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mimaface_cli.engines.mesh.layers import build_photo_layers, opaque_layers, separate_occluder
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.occluded_face import complete_occluded_face
from mimaface_cli.engines.mesh.occluder_layer import COVERED_MOUTH_SHARES, build_front_layer, lift_occluder
from mimaface_cli.engines.mesh.prepared_portrait import prepare_portrait
from mimaface_cli.engines.mesh.renderer import cut_out_person, render_photo
from mimaface_cli.face.face_outline import draw_face_hull
from mimaface_cli.face.occlusion import Occlusion
from mimaface_cli.face.portrait import portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import Coefficients, blendshape_index
from tests.conftest import ROOT
from tests.face.drawn_occluders import draw_microphone, draw_worn_mask


@pytest.fixture(scope="module")
def clean(model):
    photo = portrait_from_photo(read_image(ROOT / "examples" / "portrait.jpg").rgb, None, model)
    return photo.warped(np.array([[1.6, 0, -150], [0, 1.6, -20.0]]), 256, 256)


@pytest.fixture(scope="module")
def occluded(clean):
    """The portrait with a microphone, and the opacity of the microphone."""
    image, mask = draw_microphone(clean.image, clean.points)
    return replace(clean, image=image), cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)


@pytest.fixture(scope="module")
def layers(occluded, model):
    portrait, alpha = occluded
    occlusion = Occlusion(alpha, "object", False, (False, False), ("a note",))
    return separate_occluder(opaque_layers(portrait), portrait, model, occlusion)


def move(portrait, yaw=0.0, jaw=0.0) -> MeshMotion:
    expression, pose = portrait.expression.copy(), portrait.pose.copy()
    expression[blendshape_index("jawOpen")] += jaw
    pose[1] += yaw
    return MeshMotion(Coefficients(expression[None], pose[None], portrait.gaze[None]), np.ones((1, 2)))


def test_completed_face_has_nothing_in_front(clean, occluded, model):
    portrait, alpha = occluded
    completed = complete_occluded_face(portrait, model, alpha)
    inside = (alpha > 0.9) & draw_face_hull(clean.points, alpha.shape)
    before = np.abs(portrait.image.astype(int) - clean.image)[inside].mean()
    after = np.abs(completed.astype(int) - clean.image)[inside].mean()
    assert after < 0.5 * before
    assert np.array_equal(completed[alpha == 0][:100], portrait.image[alpha == 0][:100])


def test_half_hidden_face_is_completed_from_its_other_half(clean, model):
    alpha = np.zeros(clean.image.shape[:2], np.float32)
    left, right = int(clean.points[386, 0]) - 12, int(clean.points[386, 0]) + 12
    row = int(clean.points[386, 1])
    alpha[row - 10 : row + 10, left:right] = 1  # over one eye
    image = np.where(alpha[..., None] > 0, np.uint8(90), clean.image)
    completed = complete_occluded_face(replace(clean, image=image), model, alpha)
    box = np.s_[row - 6 : row + 6, left + 4 : right - 4]
    assert completed[box].std() > 0.5 * clean.image[box].std()  # an eye, not smooth skin


def test_occluder_over_the_completed_face_gives_the_photo(occluded, model):
    portrait, alpha = occluded
    lifted = lift_occluder(portrait, model, alpha)
    frame = lifted.completed.copy()
    front = build_front_layer(lifted.occluder)
    assert front is not None
    front.overlay(frame)
    difference = np.abs(frame.astype(int) - portrait.image)
    assert difference[alpha > 0.95].max() <= 4 and difference.mean() < 0.5


def test_occluder_stays_in_place_while_the_head_turns(occluded, layers, model):
    portrait, alpha = occluded
    prepared = prepare_portrait(portrait, model, layers)
    still = alpha > 0.99
    for yaw in (-0.3, 0.3):
        (frame,) = render_photo(prepared, model, move(portrait, yaw))
        assert np.abs(frame.astype(int) - portrait.image)[still].max() <= 3
        assert np.abs(frame.astype(int) - portrait.image)[~still].mean() > 2  # the head turned
    assert layers.notes == ("a note",)


def test_cutout_contains_the_occluder(occluded, layers, model):
    portrait, alpha = occluded
    frame = cut_out_person(prepare_portrait(portrait, model, layers), None)
    assert frame[..., 3][alpha > 0.99].min() == 255
    assert np.abs(frame[..., :3].astype(int) - portrait.image)[alpha > 0.99].max() <= 3


def test_covered_mouth_is_not_animated(clean, model):
    image, _ = draw_worn_mask(clean.image, clean.points)
    portrait = replace(clean, image=image)
    occlusion = Occlusion(np.zeros(image.shape[:2], np.float32), "mask", True, (False, False))
    covered = separate_occluder(opaque_layers(portrait), portrait, model, occlusion)
    assert covered.occluder is None and covered.covered.tolist() == [True, False, False]
    frames = []
    for layers in (covered, opaque_layers(portrait)):
        prepared = prepare_portrait(portrait, model, layers)
        frames.append(next(iter(render_photo(prepared, model, move(portrait, jaw=0.8)))).astype(int))
    low, high = portrait.points[[61, 0]].min(0).astype(int), portrait.points[[291, 152]].max(0).astype(int)
    mouth = np.s_[low[1] : high[1], low[0] : high[0]]
    assert (frames[1][mouth].max(2) < 110).mean() > 0.05  # the mouth opens where nothing is known of the mask
    assert (frames[0][mouth].max(2) < 110).mean() < 0.01


def test_covered_mouth_shares_leave_eyes_and_brows():
    assert COVERED_MOUTH_SHARES[blendshape_index("eyeBlinkLeft")] == 1
    assert COVERED_MOUTH_SHARES[blendshape_index("browInnerUp")] == 1
    assert COVERED_MOUTH_SHARES[blendshape_index("mouthSmileLeft")] == 0
    assert 0 < COVERED_MOUTH_SHARES[blendshape_index("jawOpen")] < 0.5


def test_photo_layers_find_and_lift_a_microphone(occluded, clean, model):
    layers = build_photo_layers(occluded[0], model)
    assert layers.occluder is not None and any("in front of the face" in note for note in layers.notes)
    assert build_photo_layers(clean, model).occluder is None
