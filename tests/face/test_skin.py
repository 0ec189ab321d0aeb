"""Following the skin: what moves in a picture is read, what covers a face is not."""

from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest

from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.edit_gain import get_portrait_coefficients
from mimaface_cli.engines.mesh.motion_plan import plan_edited_motion
from mimaface_cli.face import camera, face478, topology
from mimaface_cli.face import fitting as fit
from mimaface_cli.face.alignment import compose, invert, transform_points
from mimaface_cli.face.extract_face478 import extract_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.portrait import portrait_from_photo
from mimaface_cli.face.reference_frame import build_skin_tracker, select_reference
from mimaface_cli.face.skin_tracking import PATCH_SIZE, FacePatch, ShotFrame
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import Frame
from mimaface_cli.motion.coefficients import BLENDSHAPES, Coefficients, blendshape_index
from mimaface_cli.motion.rotation import rotation_matrix
from tests.conftest import ROOT

NAMES = ("browInnerUp", "browDownLeft", "jawLeft", "mouthStretchRight", "jawOpen")
PULSE = 8
BROWS = [46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336]


@pytest.fixture(scope="module")
def model():
    return face478.load()


class Drawn(NamedTuple):
    asked: Coefficients
    pictures: list[np.ndarray]
    crop: np.ndarray
    faces: list[Face]
    fitter: fit.Fitter


@pytest.fixture(scope="module")
def drawn(model):
    """A photo whose expressions come and go one by one while the head turns: coefficients, pictures, their crop and
    what a landmark model without a fault would see in them.
    """
    photo = read_image(ROOT / "examples" / "portrait.jpg").rgb
    portrait = portrait_from_photo(photo, None, model, name="portrait").square()
    own = get_portrait_coefficients(portrait)
    count = 1 + PULSE * len(NAMES)
    expression, pose = np.repeat(own.expression, count, 0), np.repeat(own.pose, count, 0)
    for k, name in enumerate(NAMES):
        rows = slice(1 + k * PULSE, 1 + (k + 1) * PULSE)
        expression[rows, blendshape_index(name)] += 0.6 * np.sin(np.pi * np.arange(PULSE) / PULSE) ** 2
    pose[:, 1] += 0.15 * np.sin(np.arange(count) / 6)
    motion = plan_edited_motion(
        model, portrait.identity, own, Coefficients(expression, pose, np.repeat(own.gaze, count, 0))
    )
    pictures = [np.ascontiguousarray(picture[..., :3]) for picture in renderer.render_photo(portrait, model, motion)]
    asked, faces = motion.coefficients, []
    for one, seen_from in zip(asked.expression, asked.pose):
        points = camera.project(camera.apply_pose(model.shape(portrait.identity, one), seen_from))[0]
        points = transform_points(invert(portrait.to_crop), points)
        faces.append(Face(points, one[: len(BLENDSHAPES)], rotation_matrix(seen_from[:3])))
    return Drawn(asked, pictures, portrait.to_crop, faces, fit.Fitter(model, portrait.identity))


def read(model, pictures):
    frames = (Frame(picture, k / 25, k) for k, picture in enumerate(pictures))
    return extract_video(frames, Fraction(25), model, ExtractOptions(smooth=0.0, skin=True))


def test_expressions_are_read_at_their_height(model, drawn):
    """From landmarks alone the four below jawOpen correlate by 0.2 to 0.8, at a fifth to a half of their height."""
    asked, pictures, *_ = drawn
    track = read(model, pictures)
    for name in NAMES:
        one, other = asked.expression[:, blendshape_index(name)], track.expression[:, blendshape_index(name)]
        assert np.corrcoef(one, other)[0, 1] > 0.85, name
        assert 0.5 < np.polyfit(one, other, 1)[0] < 1.3, name
    turns = rotation_matrix(track.pose[:, :3]) @ np.swapaxes(rotation_matrix(asked.pose[:, :3]), -1, -2)
    assert np.degrees(np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1) / 2, -1, 1))).mean() < 2


def test_looks_are_read_at_their_width(model):
    """From landmarks alone a look aside comes to a half, one upwards to a tenth."""
    photo = read_image(ROOT / "examples" / "portrait.jpg").rgb
    portrait = portrait_from_photo(photo, None, model, name="portrait").square()
    own, phase = get_portrait_coefficients(portrait), np.linspace(0, 4 * np.pi, 24)
    look = own.gaze + np.radians(np.column_stack([14 * np.sin(phase), 6 * np.cos(phase)] * 2))
    expression, pose = (np.repeat(part, len(look), 0) for part in (own.expression, own.pose))
    motion = plan_edited_motion(model, portrait.identity, own, Coefficients(expression, pose, look))
    pictures = [np.ascontiguousarray(picture[..., :3]) for picture in renderer.render_photo(portrait, model, motion)]
    gaze, asked = read(model, pictures).gaze, motion.coefficients.gaze
    for column in range(4):
        assert 0.75 < np.polyfit(asked[:, column], gaze[:, column], 1)[0] < 1.2
        assert np.corrcoef(asked[:, column], gaze[:, column])[0, 1] > 0.95


def test_the_same_pictures_give_the_same_numbers(model, drawn):
    pictures = drawn.pictures[:12]
    first, second = (read(model, pictures) for _ in range(2))
    assert np.array_equal(first.expression, second.expression) and np.array_equal(first.pose, second.pose)


def test_one_frame_is_read_by_its_landmarks_alone(model, drawn):
    """So that a photo and a clip of one frame are the same."""
    picture = drawn.pictures[0]
    alone, beside = read(model, [picture]), read(model, [picture, 0 * picture])
    assert beside.valid.tolist() == [True, False]
    assert np.array_equal(alone.expression, beside.expression[:1])


def test_what_covers_a_face_is_left_to_the_landmarks(drawn):
    asked, pictures, crop, faces, fitter = drawn
    shown = [ShotFrame(FacePatch.cut(picture, face.points), face) for picture, face in zip(pictures[:3], faces)]
    skin = build_skin_tracker(fitter, crop, shown)
    rng = np.random.default_rng(0)
    for k in (4, 12, 20):
        covered = np.array(pictures[k])
        top, bottom = faces[k].points[:, 1].min().astype(int), faces[k].points[:, 1].mean().astype(int)
        covered[top:bottom] = rng.integers(0, 255, covered[top:bottom].shape, np.uint8)  # the upper half of the face
        found = skin.fit_frame(ShotFrame(FacePatch.cut(covered, faces[k].points), faces[k]))
        named = found.expression[: len(BLENDSHAPES)]
        assert np.abs(named - asked.expression[k, : len(BLENDSHAPES)]).max() < 0.3
        assert np.degrees(np.abs(found.pose[:3] - asked.pose[k, :3])).max() < 3


def test_a_square_at_the_edge_of_the_picture():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (60, 80, 3), np.uint8)
    for middle in ((2, 3), (79, 59), (40, 30), (-50, 30), (300, 500)):
        points = np.array(middle) + rng.uniform(-20, 20, (478, 2))
        square = FacePatch.cut(image, points)
        assert square.gray.shape == (PATCH_SIZE, PATCH_SIZE) and square.gray.dtype == np.uint8
        assert np.isfinite(square.affine).all() and square.affine[0, 0] > 1
    inside = FacePatch.cut(image, np.array([40, 30]) + rng.uniform(-20, 20, (478, 2)))
    at = transform_points(inside.affine, np.array([[40.5, 30.5]]))[0]  # the middle of a pixel
    red, green, blue = image[30, 40].astype(float)
    gray = inside.gray[int(at[1]), int(at[0])]
    assert abs(gray - (0.299 * red + 0.587 * green + 0.114 * blue)) < 12


def test_the_person_lies_under_the_points_of_the_reference(drawn):
    fitter, face = drawn.fitter, drawn.faces[0]
    rng = np.random.default_rng(1)
    points = transform_points(drawn.crop, face.points) + rng.normal(0, 1, face.points.shape)
    found = fitter.fit_frame(points, face.scores, fitter.initial_pose(points, face.rotation), steps=8)
    through = fitter.anchored(points, face.scores, found)
    assert np.abs(through.project_fit(found)[0] - points).max() < 1e-6
    again = through.fit_frame(points, face.scores, through.initial_pose(points, face.rotation), steps=8)
    assert np.allclose(again.expression, found.expression, atol=1e-3) and again.error < 1e-2
    assert np.abs(fitter.project_fit(found)[0] - points).max() > 0.5  # the fitter itself is as it was


def test_the_reference_is_like_the_others(drawn):
    odd = replace(drawn.faces[0], scores=np.ones(52))
    usual = select_reference([odd, *drawn.faces, odd])
    assert 0 < usual <= len(drawn.faces)
    assert np.abs(drawn.faces[usual - 1].scores - drawn.faces[0].scores).max() < 0.3


def test_landmarks_that_are_off_in_every_frame_are_put_right(drawn):
    """Brows that are read two pixels too high in all frames: other skin moves as brows do. What is right stays."""
    high = np.zeros((478, 2))
    high[BROWS, 1] = -2.0
    to_picture = invert(drawn.crop)
    points = [transform_points(to_picture, transform_points(drawn.crop, face.points) + high) for face in drawn.faces]
    misread = [replace(face, points=one) for face, one in zip(drawn.faces, points)]

    def off(faces: list[Face]) -> np.ndarray:
        shown = [ShotFrame(FacePatch.cut(picture, face.points), face) for picture, face in zip(drawn.pictures, faces)]
        skin, reference = build_skin_tracker(drawn.fitter, drawn.crop, shown), drawn.faces[select_reference(faces)]
        points = transform_points(compose(drawn.crop, invert(skin.patch.affine)), skin.points)
        return np.linalg.norm(points - transform_points(drawn.crop, reference.points), axis=1)[: topology.IRIS.min()]

    assert off(misread)[BROWS].mean() < 1.4
    assert np.median(off(misread)) < 0.5 and np.median(off(drawn.faces)) < 0.4


def test_a_still_picture_stays_still(drawn):
    """Landmarks that shiver on a still picture do not move a face whose skin does not."""
    _, pictures, crop, (own, *_), fitter = drawn
    rng = np.random.default_rng(2)
    skin = build_skin_tracker(fitter, crop, [ShotFrame(FacePatch.cut(pictures[0], own.points), own)] * 2)
    followed, plain = [], []
    for _ in range(6):
        face = replace(own, points=own.points + rng.normal(0, 2.0, own.points.shape))
        followed.append(skin.fit_frame(ShotFrame(FacePatch.cut(pictures[0], face.points), face)).expression)
        points = transform_points(crop, face.points)
        plain.append(fitter.fit_frame(points, face.scores, fitter.initial_pose(points, face.rotation), 3).expression)
    assert np.std(followed, 0).mean() < 0.3 * np.std(plain, 0).mean()
