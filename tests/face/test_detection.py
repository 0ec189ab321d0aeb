"""Detection of faces that are small, that fill the image, or that are not upright."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mimaface_cli.face.detection import CERTAIN_SIZE, detect_faces, detect_upright_faces
from mimaface_cli.face.face_detector import FaceDetector, find_small_faces, find_turns
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.face_view import FaceView
from mimaface_cli.face.landmarks import FaceLandmarker, locate_landmark_model, select_face
from tests.conftest import ROOT, read_video


@pytest.fixture(scope="module")
def detector():
    detector = FaceDetector()
    yield detector
    detector.close()


def place_small(image: np.ndarray, height: float, face_height: float, at: tuple[int, int], size: tuple[int, int]):
    """Return a canvas of that size (width, height) with an image whose face has that height."""
    scale = height / face_height
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rows = np.linspace(70, 150, size[1])[:, None, None]
    canvas = np.broadcast_to(rows, (size[1], size[0], 3)).astype(np.uint8)
    canvas[at[1] : at[1] + small.shape[0], at[0] : at[0] + small.shape[1]] = small
    return canvas, scale


@pytest.mark.parametrize("height", [40, 56, 90])
def test_small_faces_are_detected_in_4k(portrait_image, portrait_face, height):
    face_height = float(np.ptp(portrait_face.points[:, 1]))
    at = (2700, 1300)
    canvas, scale = place_small(portrait_image, height, face_height, at, (3840, 2160))
    faces = detect_faces(canvas)
    assert len(faces) == 1
    expected = portrait_face.points * scale + np.array(at)
    assert np.abs(faces[0].points - expected).max() < 0.08 * height


def test_no_small_face_is_detected_where_there_is_none(detector):
    rng = np.random.default_rng(5)
    noise = cv2.GaussianBlur(rng.integers(0, 255, (1080, 1920, 3), np.uint8), (0, 0), 6)
    assert detect_faces(cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)) == []


def test_one_face_on_overlapping_tiles_counts_once(portrait_image, portrait_face, detector):
    face_height = float(np.ptp(portrait_face.points[:, 1]))
    canvas, _ = place_small(portrait_image, 60, face_height, (900, 500), (1920, 1080))
    assert len(detect_faces(canvas)) == 1
    assert len(list(find_small_faces(canvas, detector))[-1]) == 1


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("crop", [np.s_[:, :], np.s_[40:330, 110:400]], ids=["photo", "face alone"])
def test_turned_photos_are_turned_upright(portrait_image, turns, crop):
    image = np.ascontiguousarray(portrait_image[crop])
    (expected,) = detect_faces(image)
    needed, faces = detect_upright_faces(FaceView(4 - turns).apply(image) if turns else image)
    assert needed == turns
    face = select_face(faces, "largest")
    assert np.abs(face.points - expected.points).max() < 2


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_small_turned_face_is_detected(portrait_image, portrait_face, turns):
    face_height = float(np.ptp(portrait_face.points[:, 1]))
    at = (1300, 600)
    canvas, scale = place_small(portrait_image, 60, face_height, at, (1920, 1080))
    turned = FaceView(4 - turns).apply(canvas)
    expected = portrait_face.points * scale + np.array(at)
    needed, faces = detect_upright_faces(turned)
    assert needed == turns and len(faces) == 1
    assert np.abs(faces[0].points - expected).max() < 5
    tracker = FaceTracker()
    for k in range(3):
        face = tracker(turned, k / 25)
        back = FaceView(turns).restore(replace(faces[0], points=expected), turned.shape[1], turned.shape[0])
        assert face is not None and np.abs(face.points - back.points).max() < 8
    tracker.close()


def test_a_clear_upright_face_is_not_compared_with_turned_images(portrait_image, detector):
    calls = []

    def counting(image):
        calls.append(image)
        return detector(image)

    assert find_turns(portrait_image, counting) == 0 and len(calls) == 1
    assert find_turns(np.rot90(portrait_image, 2), counting) == 2 and len(calls) == 5


@pytest.fixture(scope="module")
def collar_frames():
    """Frames of one person whose collar the landmarker takes for a second face."""
    frames, _ = read_video(ROOT / "examples" / "driver.mp4")
    landmarker = FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=5)
    assert len(landmarker(frames[0])) == 2
    landmarker.close()
    return frames[:12]


@pytest.mark.parametrize("detect", [detect_faces, lambda image: detect_upright_faces(image)[1]])
def test_a_collar_is_no_face(detect, collar_frames):
    (face,) = detect(collar_frames[0])
    assert face.size > 250


def test_tracker_of_the_right_face_does_not_follow_a_collar(collar_frames):
    tracker = FaceTracker("right")
    faces = [tracker(frame, index / 25) for index, frame in enumerate(collar_frames)]
    tracker.close()
    assert tracker.max_face_count == 1
    assert all(face is not None and face.size > 250 for face in faces)


def test_a_real_face_that_is_much_smaller_than_another_is_detected(portrait_image):
    face = portrait_image[20:240, 120:340]
    canvas = np.full((500, 720, 3), 110, np.uint8)
    canvas[20:460, 20:460] = cv2.resize(face, (440, 440))
    canvas[180:360, 500:680] = cv2.resize(face[:, ::-1], (180, 180), interpolation=cv2.INTER_AREA)
    large, small = sorted(detect_faces(canvas), key=lambda face: -face.size)
    assert small.size < CERTAIN_SIZE * large.size and small.box[0] > 500
