"""Extraction in the face478 space from the example portrait, moved by known affine transforms."""

from collections.abc import Iterable
from fractions import Fraction
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.face import camera
from mimaface_cli.face.alignment import transform_points, upright_crop
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.extract_face478 import bridge_blinks, extract_photo, extract_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.motion.coefficients import EXPRESSION_DIM, blendshape_index
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack

RATE = Fraction(25)
STEPS = 20
ROLL = 14 * np.sin(np.linspace(0, 2 * np.pi, STEPS))  # degrees
SHIFT = np.stack([np.linspace(-25, 25, STEPS), 12 * np.cos(np.linspace(0, 3, STEPS))], 1)  # pixels


def move(image: np.ndarray, roll: float, shift: tuple[float, float] = (0.0, 0.0), zoom: float = 1.0) -> np.ndarray:
    """Rotate an image counterclockwise around the face by `roll` degrees, then shift it by pixels (right, down)."""
    matrix = cv2.getRotationMatrix2D((225, 125), roll, zoom)
    matrix[:, 2] += np.array([30.0, 60.0]) + shift
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def extract(images: Iterable[np.ndarray], model, name: str = "video", progress=None, **options) -> MotionTrack:
    """Extract a track at 25 frames per second; without smoothing unless `options` sets it."""
    frames = [SimpleNamespace(image=image, pts=float(index / RATE)) for index, image in enumerate(images)]
    callbacks = {} if progress is None else {"progress": progress}
    return extract_video(frames, RATE, model, ExtractOptions(**{"smooth": 0.0, **options}), name, **callbacks)


@pytest.fixture(scope="module")
def moving_images(portrait_image):
    return [move(portrait_image, roll, shift) for roll, shift in zip(ROLL, SHIFT, strict=True)]


@pytest.fixture(scope="module")
def track(moving_images, model):
    return extract(moving_images, model)


def test_track_has_every_frame_of_the_video(track):
    assert len(track) == STEPS and track.valid.all()
    assert np.allclose(track.pts, np.arange(STEPS) / 25)
    assert track.meta.cuts == () and track.meta.frame_rate == RATE
    assert (track.meta.width, track.meta.height) == (512, 512)


def view_rotation(pose: np.ndarray) -> np.ndarray:
    """Return the rotation of a head relative to its line of sight, which a shift of the image does not change."""
    sight = np.append(pose[3:5], pose[5] - camera.CAMERA_DISTANCE)
    x, y, z = sight / np.linalg.norm(sight)
    return rotation_matrix([np.arcsin(y), np.arctan2(-x, -z), 0]).T @ rotation_matrix(pose[:3])


def test_pose_follows_the_roll_of_the_image(track):
    rolled = np.degrees(track.pose[:, 2] - track.pose[0, 2])
    assert np.abs(rolled - (ROLL - ROLL[0])).max() < 1.5
    start, errors = view_rotation(track.pose[0].astype(float)), []
    for index in range(1, STEPS):
        expected = rotation_matrix([0, 0, np.radians(ROLL[index] - ROLL[0])])
        error = view_rotation(track.pose[index].astype(float)) @ start.T @ expected.T
        errors.append(np.degrees(np.arccos(np.clip((np.trace(error) - 1) / 2, -1, 1))))
    assert np.mean(errors) < 2.0 and max(errors) < 3.5  # the landmarks nod a little as the image rolls


def test_head_origin_follows_the_motion_of_the_image_in_pixels(track):
    scale = track.crop[0, 0, 0]
    focal = camera.FOCAL_PER_SIZE * camera.CROP_SIZE
    depth = camera.CAMERA_DISTANCE - track.pose[:, 5]
    crop_origin = track.pose[:, 3:5] * [1, -1] * focal / depth[:, None] + camera.CROP_SIZE / 2
    origin = (crop_origin - track.crop[:, :, 2]) / scale
    pivot = np.array([225 + 30, 125 + 60.0])
    for index in range(1, STEPS):
        angle = np.radians(ROLL[index] - ROLL[0])
        rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        expected = rotation @ (origin[0] - pivot - SHIFT[0]) + pivot + SHIFT[index]
        assert np.linalg.norm(origin[index] - expected) < 2.0


def test_expression_of_a_still_face_is_constant(track):
    assert track.expression[:, :52].std(0).max() < 0.12
    assert np.abs(np.diff(track.gaze, axis=0)).max() < np.radians(8)


def test_fitted_model_projects_onto_the_face(track, model, moving_images):
    identity = track.identity.astype(float)
    for index in (0, 7, 13):
        (face,) = detect_faces(moving_images[index])
        shape = model.shape(identity, track.expression[index].astype(float))
        pixels = camera.project(camera.apply_pose(shape, track.pose[index].astype(float)))[0]
        expected = transform_points(track.crop[index].astype(float), face.points)
        assert np.sqrt(((pixels - expected)[:468] ** 2).sum(1).mean()) < 2.0


def test_depth_follows_a_face_that_approaches(portrait_image, model):
    track = extract([move(portrait_image, 0.0, zoom=zoom) for zoom in np.linspace(1.0, 1.25, 6)], model)
    distance = camera.CAMERA_DISTANCE - track.pose[:, 5]
    assert distance[0] / distance[-1] == pytest.approx(1.25, abs=0.03)
    assert (np.diff(distance) < 0).all()


def test_frames_without_the_face_are_invalid_and_interpolated(portrait_image, model):
    images = [move(portrait_image, roll) for roll in np.linspace(-8, 8, 10)]
    gray = np.full_like(portrait_image, 60)
    is_shoulder = np.indices(gray.shape[:2])[0][..., None] > 300  # unchanged, so that there is no cut
    for index in (0, 4, 5):
        images[index] = np.where(is_shoulder, images[index], gray)
    track = extract(images, model, skin=False)
    missing = np.flatnonzero(~track.valid)
    assert {0, 4, 5} <= set(missing.tolist()) and track.valid[[1, 2, 3]].all() and track.valid[-1]
    assert np.allclose(track.pose[0], track.pose[1])  # constant before the first valid frame
    after = int(np.flatnonzero(track.valid & (np.arange(10) > 5))[0])
    share = (track.pts[4] - track.pts[3]) / (track.pts[after] - track.pts[3])
    expected = (1 - share) * track.pose[3] + share * track.pose[after]
    assert np.allclose(track.pose[4], expected, atol=1e-5)
    assert np.isfinite(track.expression).all() and (np.abs(track.crop[:, 0, 0]) > 0).all()


def test_each_shot_has_a_separate_crop_and_smoothing(portrait_image, model):
    rolling = [move(portrait_image, roll) for roll in np.linspace(-5, 5, 6)]
    other_scene = np.ascontiguousarray(255 - portrait_image[::-1])
    other_scene[200:400, 40:240] = move(portrait_image, 0.0)[100:300, 160:360]
    track = extract(rolling + [other_scene] * 6, model, smooth=2.0)
    assert track.meta.cuts == (6,)
    assert np.allclose(track.crop[:6], track.crop[0]) and np.allclose(track.crop[6:], track.crop[6])
    assert not np.allclose(track.crop[0], track.crop[6])
    # The first shot rolls until its end and the second is still: nothing is smoothed across the cut.
    assert np.degrees(track.pose[5, 2] - track.pose[0, 2]) == pytest.approx(10, abs=1.5)
    assert np.abs(np.diff(track.pose[6:, :3], axis=0)).max() < 0.015


def test_smoothing_removes_jitter_and_keeps_the_motion(moving_images, model):
    raw, smooth = (extract(moving_images, model, skin=False, smooth=strength) for strength in (0.0, 1.0))
    raw_jitter, smooth_jitter = (np.abs(np.diff(track.pose[:, :2], 2, axis=0)).mean() for track in (raw, smooth))
    assert smooth_jitter < 0.7 * raw_jitter
    assert np.degrees(np.ptp(smooth.pose[:, 2])) > 0.85 * np.ptp(ROLL)


def test_photo_gives_a_track_of_one_frame(portrait_image, portrait_face, model):
    track = extract_photo(portrait_image, portrait_face, model, ExtractOptions(), source_hash="0" * 64)
    assert len(track) == 1 and track.valid.all() and track.meta.space == "face478"
    assert np.allclose(track.pose[0, 3:5], 0, atol=0.15)  # the crop is centered on the face
    smile = [blendshape_index("mouthSmileLeft"), blendshape_index("mouthSmileRight")]
    assert np.abs(track.expression[0, smile] - portrait_face.scores[smile]).max() < 0.35


def test_video_without_a_face_raises_an_input_error(model):
    with pytest.raises(InputError, match=r"film\.mp4: shows no face"):
        extract([np.full((64, 64, 3), level, np.uint8) for level in range(3)], model, "film.mp4")


def test_video_without_frames_raises_an_input_error(model):
    with pytest.raises(InputError, match=r"film\.mp4: contains no frames"):
        extract([], model, "film.mp4")


def test_error_names_the_selected_face_that_is_missing(portrait_image, model):
    with pytest.raises(InputError, match=r"film\.mp4: shows 1 face, .* number 2 "):
        extract([portrait_image] * 2, model, "film.mp4", face="2")


def test_progress_reports_each_frame(portrait_image, model):
    reports = []
    extract([portrait_image] * 3, model, progress=lambda *report: reports.append(report), skin=False)
    assert reports == [("extracting motion", count, None) for count in (1, 2, 3)]


@pytest.mark.parametrize("options", [{"face": "nobody"}, {"smooth": -0.1}, {"smooth": 3.5}, {"smooth": float("nan")}])
def test_extract_options_reject_values_out_of_range(options):
    with pytest.raises(InputError):
        ExtractOptions(**options)


def test_upright_crop_places_a_neutral_face_as_the_camera_does(model):
    pixels = camera.project(model.mean)[0]
    points = np.stack([pixels * 2.5 + [300 + index, 100] for index in range(5)])
    crop = upright_crop(points)
    assert crop[0, 0] == crop[1, 1] and crop[0, 1] == crop[1, 0] == 0
    in_crop = transform_points(crop, points[2])
    assert np.abs(in_crop - in_crop.mean(0) - (pixels - pixels.mean(0))).max() < 3.0
    assert np.allclose(in_crop.mean(0), camera.CROP_SIZE / 2)


def test_bridge_blinks_interpolates_the_gaze_of_the_closed_eye_only():
    gaze, expression = np.zeros((9, 4)), np.zeros((9, EXPRESSION_DIM))
    gaze[:, 0] = np.linspace(0, 0.8, 9)
    gaze[4] = -0.6
    expression[4, blendshape_index("eyeBlinkLeft")] = 0.9
    bridged = bridge_blinks(gaze, expression, np.arange(9) / 25)
    assert bridged[4, 0] == pytest.approx(0.4) and bridged[4, 2] == -0.6


def test_bridge_blinks_keeps_the_gaze_of_an_eye_that_is_always_narrow():
    gaze, expression = np.random.default_rng(0).normal(size=(9, 4)), np.zeros((9, EXPRESSION_DIM))
    expression[:, blendshape_index("eyeBlinkLeft")] = 0.9
    assert np.array_equal(bridge_blinks(gaze, expression, np.arange(9) / 25), gaze)
