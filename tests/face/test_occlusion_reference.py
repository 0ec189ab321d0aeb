"""The usual look of a face in a shot: occluders in the colors of skin are detected, expressions and turns are not."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.engines.mesh.renderer import render_frame
from mimaface_cli.face import topology
from mimaface_cli.face.face_outline import face_axes
from mimaface_cli.face.occlusion import OBJECT
from mimaface_cli.face.occlusion_reference import LookSampler, measure_look, project_face, sample_look, unroll_face
from mimaface_cli.face.occlusion_tracking import OcclusionTracker
from mimaface_cli.motion.coefficients import blendshape_index

COUNT, COVERED = 24, range(9, 16)


@pytest.fixture(scope="module")
def talking(square_portrait, model):
    """A shot of a head that turns, talks and blinks: its frames as portraits."""
    photo = square_portrait.warped(np.array([[0.5, 0, 0], [0, 0.5, 0]]), 256, 256)
    prepared, shot = prepare_photo(photo, model), []
    for k in range(COUNT):
        expression, pose = photo.expression.copy(), photo.pose.copy()
        expression[blendshape_index("jawOpen")] = 0.35 * abs(np.sin(0.9 * k))
        expression[blendshape_index("mouthPucker")] = 0.6 * (k % 7 == 3)
        pose[1] += 0.35 * np.sin(0.4 * k)
        lids = np.full(2, float(k % 9 > 0))
        image = render_frame(prepared, model, expression, pose, photo.gaze, lids)
        portrait = replace(photo, image=image, expression=expression, pose=pose)
        shot.append(replace(portrait, points=project_face(portrait, model)))
    return shot


def cover_mouth(portrait, shift: float):
    """Draw four fingers in the color of the cheeks, a little redder, over the mouth; shift: in heights of the face."""
    image, points = portrait.image.copy(), portrait.points
    height = face_axes(points)[2]
    x, y = points[topology.UPPER_LIP] + np.array([shift * height, 0])
    cheeks = points[[50, 280, 205, 425]].astype(int)
    skin = np.median(image[cheeks[:, 1], cheeks[:, 0]], axis=0) + np.array([12, -12, -18])
    mask = np.zeros(image.shape[:2], np.uint8)
    left, right = int(x - 0.3 * height), int(x + 0.3 * height)
    top, bottom = int(y - 0.2 * height), int(y + 0.2 * height)
    cv2.rectangle(mask, (left, top), (right, bottom), (1,), -1)
    image[mask > 0] = np.clip(skin, 0, 255)
    for line in np.linspace(top, bottom, 5)[1:-1]:
        cv2.line(image, (left, int(line)), (right, int(line)), (skin * 0.7).tolist(), 1)
    return replace(portrait, image=image), mask > 0


@pytest.fixture(scope="module")
def covered(talking):
    """The shot with fingers that pass over the mouth, and their masks by frame."""
    shot, masks = list(talking), {}
    for k in COVERED:
        shot[k], masks[k] = cover_mouth(talking[k], 0.12 * (k - COVERED[len(COVERED) // 2]))
    return shot, masks


def find(look, portrait):
    return look.find_foreign(unroll_face(portrait.image, portrait.points))


def test_expressions_and_turns_look_as_usual(talking, model):
    look = sample_look(iter(talking), COUNT, model)
    assert look is not None
    assert not any(find(look, portrait).any() for portrait in talking)


def test_changed_light_looks_as_usual(talking, model):
    look = sample_look(iter(talking), COUNT, model)
    shade = np.linspace(0.7, 1.1, 256)[None, :, None] * np.array([1.0, 0.95, 0.9])
    for portrait in talking[::5]:
        lit = replace(portrait, image=np.clip(portrait.image * shade, 0, 255).astype(np.uint8))
        assert not find(look, lit).any()


def test_fingers_over_the_mouth_do_not_look_as_usual(covered, model):
    shot, masks = covered
    look = sample_look(iter(shot), COUNT, model)
    assert look is not None
    assert [k for k, portrait in enumerate(shot) if find(look, portrait).any()] == list(masks)


@pytest.mark.parametrize("level", [0.0, 0.15], ids=["black", "nearly black"])
def test_frame_that_fades_is_not_compared(talking, model, level):
    look = sample_look(iter(talking), COUNT, model)
    faded = replace(talking[2], image=(talking[2].image * level).astype(np.uint8))
    assert not find(look, faded).any()


def test_look_needs_frames(talking, model):
    assert measure_look([]) is None
    assert sample_look(iter(talking[:4]), 4, model) is None


@pytest.mark.parametrize("clean", [2, 3, 4], ids=["half", "a third", "a quarter"])
def test_frames_without_an_occluder_are_usual_however_few_they_are(talking, model, clean):
    shot = [portrait if k % clean == 0 else cover_mouth(portrait, 0.0)[0] for k, portrait in enumerate(talking)]
    sampler = LookSampler(COUNT, model)
    for portrait in shot:
        sampler.add_frame(portrait)
    look = sampler.finish()
    assert look is None or not any(find(look, portrait).any() for portrait in shot[::clean])


def test_tracker_keeps_fingers_in_front_and_the_mouth_still(covered, model):
    shot, masks = covered
    tracker, blind = OcclusionTracker(), OcclusionTracker()
    tracker.start_shot(sample_look(iter(shot), COUNT, model))
    missed, precision = 0, []
    for k, portrait in enumerate(shot):
        image, points = portrait.image, portrait.points
        occlusion, without = tracker(image, points, points), blind(image, points)
        assert (occlusion is not None) == (k in masks)
        if occlusion is None:
            continue
        missed += without is None or not without.covers_mouth
        assert occlusion.kind == OBJECT
        drawn, found = masks[k], occlusion.alpha > 0.5
        assert (drawn & found).sum() > 0.85 * drawn.sum()
        precision.append((drawn & found).sum() / found.sum())
        if abs(k - COVERED[len(COVERED) // 2]) <= 1:
            assert occlusion.covers_mouth
    assert np.mean(precision) > 0.7
    assert missed  # the network alone does not see all of them
    assert f"{len(masks)} of {COUNT} frames; it stays in front" in tracker.notes[0]
