"""Skin tracking on rendered clips: accurate expressions and gaze, robust to occlusion and landmark noise."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.extract_face478 import extract_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.reference_frame import build_skin_tracker
from mimaface_cli.face.skin_tracking import PATCH_SIZE, FacePatch, FittedFrame, ShotFrame
from mimaface_cli.media.reader import Frame
from mimaface_cli.motion.coefficients import BLENDSHAPES, Coefficients, blendshape_index
from mimaface_cli.motion.rotation import rotation_matrix


def extract(model, images):
    frames = (Frame(image, index / 25, index) for index, image in enumerate(images))
    return extract_video(frames, Fraction(25), model, ExtractOptions(smooth=0.0, skin=True))


def test_extraction_recovers_the_amplitude_of_expressions_and_the_pose(model, expression_clip, rendered_expressions):
    """With landmarks alone, the first four correlate by 0.2 to 0.8 and have a fifth to a half of their amplitude."""
    expected, track = expression_clip.coefficients, extract(model, expression_clip.images)
    for name in rendered_expressions:
        column = blendshape_index(name)
        true_values, values = expected.expression[:, column], track.expression[:, column]
        assert np.corrcoef(true_values, values)[0, 1] > 0.85, name
        assert 0.5 < np.polyfit(true_values, values, 1)[0] < 1.3, name
    rotations = rotation_matrix(track.pose[:, :3]) @ np.swapaxes(rotation_matrix(expected.pose[:, :3]), -1, -2)
    cosines = (np.trace(rotations, axis1=1, axis2=2) - 1) / 2
    assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean() < 2


def test_extraction_recovers_the_amplitude_of_the_gaze(model, render_motion):
    """With landmarks alone, a look to the side has half of its amplitude, and a look up has a tenth."""

    def look_around(at_rest: Coefficients) -> Coefficients:
        phase = np.linspace(0, 4 * np.pi, 16)
        gaze = at_rest.gaze + np.radians(np.column_stack([14 * np.sin(phase), 6 * np.cos(phase)] * 2))
        return Coefficients(*(np.repeat(part, len(gaze), 0) for part in (at_rest.expression, at_rest.pose)), gaze)

    clip = render_motion(look_around)
    gaze, expected = extract(model, clip.images).gaze, clip.coefficients.gaze
    for column in range(4):
        assert 0.75 < np.polyfit(expected[:, column], gaze[:, column], 1)[0] < 1.2
        assert np.corrcoef(expected[:, column], gaze[:, column])[0, 1] > 0.95


def test_extraction_is_deterministic(model, expression_clip):
    first, second = (extract(model, expression_clip.images[:6]) for _ in range(2))
    assert np.array_equal(first.expression, second.expression) and np.array_equal(first.pose, second.pose)


def test_single_visible_frame_is_fitted_to_its_landmarks_alone(model, expression_clip):
    """A photo and a clip of one frame therefore give the same coefficients."""
    image = expression_clip.images[0]
    single, with_blank = extract(model, [image]), extract(model, [image, 0 * image])
    assert with_blank.valid.tolist() == [True, False]
    assert np.array_equal(single.expression, with_blank.expression[:1])


def test_occluded_half_of_a_face_follows_the_landmarks(expression_clip):
    clip = expression_clip
    frames = [
        ShotFrame(FacePatch.cut(image, face.points), face)
        for image, face in zip(clip.images[:3], clip.faces[:3], strict=True)
    ]
    tracker = build_skin_tracker(clip.fitter, clip.crop, frames)
    rng = np.random.default_rng(0)
    for index in (3, 9, 15):
        image, face = np.array(clip.images[index]), clip.faces[index]
        top, bottom = face.points[:, 1].min().astype(int), face.points[:, 1].mean().astype(int)
        image[top:bottom] = rng.integers(0, 255, image[top:bottom].shape, np.uint8)  # the upper half of the face
        fit = tracker.fit_frame(ShotFrame(FacePatch.cut(image, face.points), face))
        named = slice(0, len(BLENDSHAPES))
        assert np.abs(fit.expression[named] - clip.coefficients.expression[index, named]).max() < 0.3
        assert np.degrees(np.abs(fit.pose[:3] - clip.coefficients.pose[index, :3])).max() < 3


def test_fit_from_the_previous_frame_equals_a_fit_from_scratch(expression_clip):
    clip = expression_clip
    frames = [
        ShotFrame(FacePatch.cut(image, face.points), face) for image, face in zip(clip.images, clip.faces, strict=True)
    ]
    tracker = build_skin_tracker(clip.fitter, clip.crop, frames)
    previous = FittedFrame(frames[0], tracker.fit_frame(frames[0]))
    for frame in frames[1:8]:
        fit, anew = tracker.fit_frame(frame, previous), tracker.fit_frame(frame)
        assert np.sqrt(np.mean((fit.expression - anew.expression)[: len(BLENDSHAPES)] ** 2)) < 0.05
        assert np.degrees(np.abs(fit.pose[:3] - anew.pose[:3])).max() < 0.5
        previous = FittedFrame(frame, fit)


def test_landmark_noise_on_a_still_image_hardly_moves_the_face(expression_clip):
    fitter, crop, image, still = (
        expression_clip.fitter,
        expression_clip.crop,
        expression_clip.images[0],
        expression_clip.faces[0],
    )
    rng = np.random.default_rng(2)
    tracker = build_skin_tracker(fitter, crop, [ShotFrame(FacePatch.cut(image, still.points), still)] * 2)
    tracked, from_landmarks = [], []
    for _ in range(6):
        face = replace(still, points=still.points + rng.normal(0, 2.0, still.points.shape))
        tracked.append(tracker.fit_frame(ShotFrame(FacePatch.cut(image, face.points), face)).expression)
        points = transform_points(crop, face.points)
        pose = fitter.initial_pose(points, face.rotation)
        from_landmarks.append(fitter.fit_frame(points, face.scores, pose, 3).expression)
    assert np.std(tracked, 0).mean() < 0.3 * np.std(from_landmarks, 0).mean()


@pytest.mark.parametrize("center", [(2, 3), (79, 59), (40, 30), (-50, 30), (300, 500)])
def test_patch_has_its_full_size_at_and_beyond_the_border_of_the_image(center):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (60, 80, 3), np.uint8)
    patch = FacePatch.cut(image, np.array(center) + rng.uniform(-20, 20, (478, 2)))
    assert patch.gray.shape == (PATCH_SIZE, PATCH_SIZE) and patch.gray.dtype == np.uint8
    assert np.isfinite(patch.affine).all() and patch.affine[0, 0] > 1


def test_patch_pixels_are_at_the_places_that_its_transform_describes():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (60, 80, 3), np.uint8)
    patch = FacePatch.cut(image, np.array([40, 30]) + rng.uniform(-20, 20, (478, 2)))
    column, row = transform_points(patch.affine, np.array([[40.5, 30.5]]))[0].astype(int)  # the center of a pixel
    red, green, blue = image[30, 40].astype(float)
    assert abs(patch.gray[row, column] - (0.299 * red + 0.587 * green + 0.114 * blue)) < 12
