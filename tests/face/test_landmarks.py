"""Face selection, and face detection on the example portrait."""

import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.extract_options import MAX_FACES, check_face_selector
from mimaface_cli.face.landmarks import (
    Face,
    FaceLandmarker,
    locate_landmark_model,
    native_silence,
    resize_for_network,
    select_face,
    silence_first_call,
)


def make_face(left: float, size: float) -> Face:
    """Return a face of that size, with a square box that starts at x = left."""
    points = np.random.default_rng(0).random((478, 2))
    points[:2] = [[0, 0], [1, 1]]
    return Face(points * size / np.sqrt(2) + [left, 10], np.zeros(52), np.eye(3))


def test_box_and_size_follow_from_the_landmarks():
    face = make_face(20, 100)
    assert face.size == pytest.approx(100)
    assert np.allclose(face.box, [20, 10, 20 + 100 / np.sqrt(2), 10 + 100 / np.sqrt(2)])


def test_size_scales_with_the_landmarks(portrait_face):
    half = replace(portrait_face, points=portrait_face.points / 2)
    assert half.size == pytest.approx(portrait_face.size / 2) and half.scores is portrait_face.scores


def test_select_face_chooses_by_size_or_position():
    middle, small, large = make_face(400, 90), make_face(700, 50), make_face(100, 120)
    faces = [middle, small, large]
    assert select_face(faces, "largest") is large
    assert select_face(faces, "left") is large and select_face(faces, "right") is small
    assert [select_face(faces, str(index)) for index in (1, 2, 3)] == [large, middle, small]
    assert select_face(faces, "4") is None
    assert select_face([], "largest") is None and select_face([], "1") is None


@pytest.mark.parametrize("selector", ["largest", "left", "right", "1", str(MAX_FACES)])
def test_check_face_selector_accepts_valid_selectors(selector):
    assert check_face_selector(selector) == selector


@pytest.mark.parametrize("selector", ["", "0", str(MAX_FACES + 1), "-1", "1.5", "biggest", "Left"])
def test_check_face_selector_rejects_other_text(selector):
    with pytest.raises(InputError, match=r"^face: .* Choose largest, left, right"):
        check_face_selector(selector)


def test_detect_faces_returns_landmarks_in_pixels_of_the_image(portrait_image, portrait_face):
    face = portrait_face
    height, width = portrait_image.shape[:2]
    assert face.points.shape == (478, 2) and face.scores.shape == (52,) and face.depth.shape == (478,)
    assert (face.points > 0).all() and (face.points < [width, height]).all()
    assert ((face.scores >= 0) & (face.scores <= 1)).all()
    assert np.allclose(face.rotation @ face.rotation.T, np.eye(3), atol=1e-3)
    assert np.linalg.det(face.rotation) == pytest.approx(1, abs=1e-3)
    tip, chin, forehead = face.points[[4, 152, 10]]
    assert forehead[1] < tip[1] < chin[1]
    assert face.points[263, 0] > face.points[33, 0]  # the subject's left eye is on the right of the image
    assert face.depth[4] > face.depth[[234, 454]].max()  # the nose is nearer than the ears


def test_detect_faces_mirrors_the_face_of_a_mirrored_image(portrait_image, portrait_face):
    (mirrored,) = detect_faces(portrait_image[:, ::-1])  # not contiguous either
    assert abs(mirrored.points[4, 0] - (portrait_image.shape[1] - portrait_face.points[4, 0])) < 3
    for row, column in ((0, 2), (1, 0)):
        before, after = portrait_face.rotation[row, column], mirrored.rotation[row, column]
        assert before * after < 0 or abs(before) < 0.02


def test_detect_faces_scales_the_landmarks_of_a_large_image_back(portrait_image, portrait_face):
    large = cv2.resize(portrait_image, None, fx=5, fy=5, interpolation=cv2.INTER_LINEAR)
    assert max(resize_for_network(large).shape) == 1280
    (face,) = detect_faces(large)
    assert np.abs(face.points / 5 - portrait_face.points).max() < 4
    assert face.depth[4] / 5 == pytest.approx(portrait_face.depth[4], rel=0.15)


def test_resize_for_network_returns_contiguous_arrays():
    strided = np.zeros((40, 60, 3), np.uint8)[:, ::2]
    assert not strided.flags.c_contiguous and resize_for_network(strided).flags.c_contiguous


def test_detect_faces_finds_a_face_that_fills_the_image(portrait_image, portrait_face):
    left, top, right, bottom = portrait_face.box.astype(int)
    inset = int(0.12 * (bottom - top))
    tight = np.ascontiguousarray(portrait_image[top + inset : bottom - inset, left : right + 1])
    faces = detect_faces(tight)
    assert len(faces) == 1
    tip = faces[0].points[4] + np.array([left, top + inset])
    assert np.linalg.norm(tip - portrait_face.points[4]) < 0.1 * portrait_face.size


def test_detect_faces_finds_a_small_face_in_a_large_image(portrait_image, portrait_face):
    canvas = np.full((1600, 1600, 3), 90, np.uint8)
    canvas[800:1400, 780:1380] = cv2.resize(portrait_image, (600, 600), interpolation=cv2.INTER_AREA)
    face = select_face(detect_faces(canvas), "largest")
    assert face is not None and np.ptp(face.points[:, 0]) < 0.08 * 1600
    expected = portrait_face.points[4] * 600 / portrait_image.shape[0] + np.array([780, 800])
    assert np.linalg.norm(face.points[4] - expected) < 6


def test_detect_faces_returns_nothing_for_noise():
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    assert detect_faces(noise) == []


def test_native_silence_hides_native_output_only_inside_the_block(capfd, portrait_image):
    detect_faces(portrait_image)
    with native_silence():
        os.write(2, b"a native line\n")
    assert capfd.readouterr().err == ""
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_silence_first_call_hides_the_output_of_the_first_call_only(capfd):
    write = silence_first_call(lambda text: os.write(2, text))
    assert write(b"first\n") == 6 and write(b"second\n") == 7
    assert capfd.readouterr().err == "second\n"


_LOAD_MEDIAPIPE = """
import sys
from mimaface_cli.face.landmarks import load_mediapipe
mediapipe, _, vision = load_mediapipe()
assert not [name for name in sys.modules if name.partition(".")[0] == "matplotlib"], "matplotlib was imported"
from mediapipe.tasks.python.vision import drawing_utils
import matplotlib.pyplot
assert drawing_utils.plt.figure is matplotlib.pyplot.figure and matplotlib.pyplot.__spec__ is not None
"""


def test_load_mediapipe_imports_matplotlib_on_first_use_only():
    subprocess.run([sys.executable, "-c", _LOAD_MEDIAPIPE], check=True)


def test_load_mediapipe_starts_no_processes_to_look_for_audio_libraries():
    program = (
        "import sys\n"
        "started = []\n"
        "sys.addaudithook(lambda event, _: started.append(event) if event == 'subprocess.Popen' else None)\n"
        "from mimaface_cli.face.landmarks import load_mediapipe\n"
        "load_mediapipe()\n"
        "assert not started and 'sounddevice' not in sys.modules, started\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_native_silence_of_two_threads_ends_with_the_last(capfd):
    first, second = native_silence(), native_silence()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    os.write(2, b"hidden\n")
    second.__exit__(None, None, None)
    os.write(2, b"visible\n")
    assert capfd.readouterr().err == "visible\n"


def test_loading_mediapipe_leaves_matplotlib_findable_to_other_threads():
    """A library that looks for matplotlib during the import must not fail on the placeholder."""
    program = (
        "import importlib.util, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('mediapipe') and 'matplotlib' in sys.modules:\n"
        "            assert importlib.util.find_spec('matplotlib') is not None\n"
        "            print('looked')\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from mimaface_cli.face.landmarks import load_mediapipe\n"
        "load_mediapipe()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "looked" in result.stdout


def test_head_hardly_depends_on_the_place_of_the_face_in_the_image(portrait_image):
    rotations, heads = [], []
    landmarker = FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=1)
    for shift in (-110, 110):
        moved = np.float32([[0.75, 0, 64 + shift], [0, 0.75, 64 + shift]])
        image = cv2.warpAffine(portrait_image, moved, (512, 512), borderMode=cv2.BORDER_REPLICATE)
        (face,) = landmarker(image)
        rotations.append(face.rotation)
        heads.append(face.head)

    landmarker.close()

    def turn(pair: list[np.ndarray]) -> float:
        return float(np.degrees(np.arccos(np.clip((np.trace(pair[0].T @ pair[1]) - 1) / 2, -1, 1))))

    assert turn(rotations) > 8
    assert turn(heads) < 0.5 * turn(rotations)
