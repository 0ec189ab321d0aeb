"""Extraction from end to end on a real (public-domain) portrait that is moved by known affine motion."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.face import camera, face478
from mimaface_cli.face.alignment import transform_points
from mimaface_cli.face.extract_face478 import (
    bridge_blinks,
    extract_photo,
    extract_video,
    sample_colors,
    upright_crop,
)
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.landmarks import find_faces
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import EXPRESSION_DIM, blendshape_index
from mimaface_cli.motion.rotation import rotation_matrix

PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.jpg"
RATE = Fraction(25)
STEPS = 20


@pytest.fixture(scope="module")
def model():
    return face478.load()


@pytest.fixture(scope="module")
def portrait():
    return read_image(PORTRAIT).rgb


def moved(image: np.ndarray, roll: float, shift: tuple[float, float] = (0.0, 0.0), zoom: float = 1.0) -> np.ndarray:
    """A picture turned counter-clockwise about the face by degrees, then shifted by pixels (right, down)."""
    matrix = cv2.getRotationMatrix2D((225, 125), roll, zoom)
    matrix[:, 2] += np.array([30.0, 60.0]) + shift
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def frames_of(images) -> list[SimpleNamespace]:
    return [SimpleNamespace(image=image, pts=float(k / RATE)) for k, image in enumerate(images)]


ROLL = 14 * np.sin(np.linspace(0, 2 * np.pi, STEPS))
SHIFT = np.stack([np.linspace(-25, 25, STEPS), 12 * np.cos(np.linspace(0, 3, STEPS))], 1)


@pytest.fixture(scope="module")
def track(portrait, model):
    images = [moved(portrait, roll, shift) for roll, shift in zip(ROLL, SHIFT)]
    return extract_video(frames_of(images), RATE, model, ExtractOptions(smooth=0.0))


def test_every_frame_is_there_and_seen(track):
    assert len(track) == STEPS and track.valid.all()
    assert np.allclose(track.pts, np.arange(STEPS) / 25)
    assert track.meta.cuts == () and track.meta.frame_rate == RATE
    assert (track.meta.width, track.meta.height) == (512, 512)


def as_seen(pose: np.ndarray) -> np.ndarray:
    """Rotation of a head against its own line of sight: what a picture's shift does not change."""
    sight = np.append(pose[3:5], pose[5] - camera.CAMERA_DISTANCE)
    x, y, z = sight / np.linalg.norm(sight)
    return rotation_matrix([np.arcsin(y), np.arctan2(-x, -z), 0]).T @ rotation_matrix(pose[:3])


def test_in_plane_rotation_is_recovered(track):
    rolled = np.degrees(track.pose[:, 2] - track.pose[0, 2])
    assert np.abs(rolled - (ROLL - ROLL[0])).max() < 1.5
    start, wrong = as_seen(track.pose[0].astype(float)), []
    for k in range(1, STEPS):
        wanted = rotation_matrix([0, 0, np.radians(ROLL[k] - ROLL[0])])
        left_over = as_seen(track.pose[k].astype(float)) @ start.T @ wanted.T
        wrong.append(np.degrees(np.arccos(np.clip((np.trace(left_over) - 1) / 2, -1, 1))))
    assert np.mean(wrong) < 2.0 and max(wrong) < 3.5  # the landmarks nod a little as the picture rolls


def test_shift_is_recovered_in_picture_pixels(track, model, portrait):
    """The head's own origin follows the picture's affine motion."""
    scale = track.crop[0, 0, 0]
    focal = camera.FOCAL_PER_SIZE * camera.CROP_SIZE
    depth = camera.CAMERA_DISTANCE - track.pose[:, 5]
    origin = (
        track.pose[:, 3:5] * [1, -1] * focal / depth[:, None] + camera.CROP_SIZE / 2 - track.crop[:, :, 2]
    ) / scale
    for k in range(1, STEPS):
        angle = np.radians(ROLL[k] - ROLL[0])
        spin = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        pivot = np.array([225 + 30, 125 + 60.0])
        expected = spin @ (origin[0] - pivot - SHIFT[0]) + pivot + SHIFT[k]
        assert np.linalg.norm(origin[k] - expected) < 2.0


def test_the_expression_of_a_still_face_stays(track):
    assert track.expression[:, :52].std(0).max() < 0.12
    assert np.abs(np.diff(track.gaze, axis=0)).max() < np.radians(8)


def test_the_model_lies_on_the_face(track, model, portrait):
    identity = track.identity.astype(float)
    for k in (0, 7, 13):
        (face,) = find_faces(moved(portrait, ROLL[k], SHIFT[k]))
        placed = camera.apply_pose(
            model.shape(identity, track.expression[k].astype(float)), track.pose[k].astype(float)
        )
        wanted = transform_points(track.crop[k].astype(float), face.points)
        assert np.sqrt(((camera.project(placed)[0] - wanted)[:468] ** 2).sum(1).mean()) < 2.0


def test_a_face_that_comes_nearer_has_more_depth(portrait, model):
    images = [moved(portrait, 0.0, zoom=zoom) for zoom in np.linspace(1.0, 1.25, 6)]
    track = extract_video(frames_of(images), RATE, model, ExtractOptions(smooth=0.0))
    distance = camera.CAMERA_DISTANCE - track.pose[:, 5]
    assert distance[0] / distance[-1] == pytest.approx(1.25, abs=0.03)
    assert (np.diff(distance) < 0).all()


@pytest.fixture(scope="module")
def gappy(portrait, model):
    """Ten frames that roll steadily, three of them without the face."""
    images = [moved(portrait, roll) for roll in np.linspace(-8, 8, 10)]
    blank = np.full_like(portrait, 60)
    for k in (0, 4, 5):
        images[k] = np.where(np.indices(blank.shape[:2])[0][..., None] > 300, images[k], blank)  # shoulders stay
    return extract_video(frames_of(images), RATE, model, ExtractOptions(smooth=0.0))


def test_frames_without_the_face_are_listed_and_bridged(gappy):
    missing = np.flatnonzero(~gappy.valid)
    assert {0, 4, 5} <= set(missing.tolist()) and gappy.valid[[1, 2, 3]].all() and gappy.valid[-1]
    assert np.allclose(gappy.pose[0], gappy.pose[1])  # held before the first
    after = int(np.flatnonzero(gappy.valid & (np.arange(10) > 5))[0])
    share = (gappy.pts[4] - gappy.pts[3]) / (gappy.pts[after] - gappy.pts[3])
    expected = (1 - share) * gappy.pose[3] + share * gappy.pose[after]
    assert np.allclose(gappy.pose[4], expected, atol=1e-5)
    assert np.isfinite(gappy.expression).all() and (np.abs(gappy.crop[:, 0, 0]) > 0).all()


def test_a_cut_splits_the_track(portrait, model):
    first = [moved(portrait, roll) for roll in np.linspace(-5, 5, 6)]
    other = np.ascontiguousarray(255 - portrait[::-1])  # another room
    face = moved(portrait, 0.0)[100:300, 160:360]
    other[200:400, 40:240] = face
    second = [other] * 6
    track = extract_video(frames_of(first + second), RATE, model, ExtractOptions(smooth=2.0))
    assert track.meta.cuts == (6,)
    assert np.allclose(track.crop[:6], track.crop[0]) and np.allclose(track.crop[6:], track.crop[6])
    assert not np.allclose(track.crop[0], track.crop[6])
    # Nothing is smoothed across: the first shot rolls to its end, the second does not move.
    assert np.degrees(track.pose[5, 2] - track.pose[0, 2]) == pytest.approx(10, abs=1.5)
    assert np.abs(np.diff(track.pose[6:, :3], axis=0)).max() < 0.015


def test_smoothing_takes_jitter_out_but_not_motion(portrait, model, track):
    images = [moved(portrait, roll, shift) for roll, shift in zip(ROLL, SHIFT)]
    smooth = extract_video(frames_of(images), RATE, model, ExtractOptions(smooth=1.0))
    jerk = lambda one: np.abs(np.diff(one.pose[:, :2], 2, axis=0)).mean()  # noqa: E731
    assert jerk(smooth) < 0.7 * jerk(track)
    assert np.degrees(np.ptp(smooth.pose[:, 2])) > 0.85 * np.ptp(ROLL)


def test_a_photo_is_a_track_of_one_frame(portrait, model):
    (face,) = find_faces(portrait)
    track = extract_photo(portrait, face, model, ExtractOptions(), source_hash="0" * 64)
    assert len(track) == 1 and track.valid.all() and track.meta.space == "face478"
    assert np.allclose(track.pose[0, 3:5], 0, atol=0.15)  # the crop is laid around it
    smile = face.scores[[blendshape_index("mouthSmileLeft"), blendshape_index("mouthSmileRight")]]
    found = track.expression[0, [blendshape_index("mouthSmileLeft"), blendshape_index("mouthSmileRight")]]
    assert np.abs(found - smile).max() < 0.35


def test_a_video_without_a_face_or_frames_is_an_error(model):
    noise = [np.full((64, 64, 3), k, np.uint8) for k in range(3)]
    with pytest.raises(InputError, match="shows no face"):
        extract_video(frames_of(noise), RATE, model, ExtractOptions(), "film.mp4")
    with pytest.raises(InputError, match="contains no frames"):
        extract_video([], RATE, model, ExtractOptions(), "film.mp4")


def test_a_missing_person_is_named(portrait, model):
    with pytest.raises(InputError, match=r"shows 1 face.*number 2"):
        extract_video(frames_of([portrait] * 2), RATE, model, ExtractOptions(face="2"), "film.mp4")


def test_progress_counts_frames(portrait, model):
    seen = []
    extract_video(frames_of([portrait] * 3), RATE, model, ExtractOptions(), progress=lambda *report: seen.append(report))
    assert seen == [("extracting motion", done, None) for done in (1, 2, 3)]


@pytest.mark.parametrize("options", [{"face": "nobody"}, {"smooth": -0.1}, {"smooth": 3.5}, {"smooth": float("nan")}])
def test_wrong_options_are_refused(options):
    with pytest.raises(InputError):
        ExtractOptions(**options)


def test_the_crop_is_upright_and_fits_the_face_at_rest():
    model = face478.load()
    pixels = camera.project(model.mean)[0]
    picture = np.stack([pixels * 2.5 + [300 + k, 100] for k in range(5)])
    crop = upright_crop(picture)
    assert crop[0, 0] == crop[1, 1] and crop[0, 1] == crop[1, 0] == 0
    back = transform_points(crop, picture[2])
    assert np.abs(back - back.mean(0) - (pixels - pixels.mean(0))).max() < 3.0
    assert np.allclose(back.mean(0), camera.CROP_SIZE / 2)


def test_colors_beyond_the_picture_are_its_edge():
    image = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    found = sample_colors(image, np.array([[-4.0, -4.0], [2.6, 1.2], [100.0, 100.0]]))
    assert np.array_equal(found, [image[0, 0], image[1, 2], image[4, 5]])


def test_gaze_is_held_through_blinks():
    look, expression = np.zeros((9, 4)), np.zeros((9, EXPRESSION_DIM))
    look[:, 0] = np.linspace(0, 0.8, 9)
    look[4] = -0.6
    expression[4, blendshape_index("eyeBlinkLeft")] = 0.9
    held = bridge_blinks(look, expression, np.arange(9) / 25)
    assert held[4, 0] == pytest.approx(0.4) and held[4, 2] == -0.6  # the other eye was open
    expression[:, blendshape_index("eyeBlinkLeft")] = 0.9  # always narrow: that tells nothing
    assert np.array_equal(bridge_blinks(look, expression, np.arange(9) / 25), look)
