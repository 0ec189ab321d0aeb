"""Correction of turns: frames selected and interpolated, and a real (public-domain) portrait measured."""

from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.cache import Cache
from mimaface_cli.engines.mesh import turn_correction
from mimaface_cli.engines.mesh.contact import measure_lid_openness
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_still_head
from mimaface_cli.engines.mesh.renderer import render_frame
from mimaface_cli.engines.mesh.settled_landmarks import SettledLandmarker
from mimaface_cli.engines.mesh.turn_correction import correct_turns, interpolate_samples, select_frames, turn_further
from mimaface_cli.face.portrait import portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import Coefficients, blendshape_index
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import TrackMeta
from tests.conftest import ROOT

FRAMES = 24


@pytest.fixture(scope="module")
def portrait(model):
    return portrait_from_photo(read_image(ROOT / "examples" / "portrait.jpg").rgb, None, model).square()


def plan_motion(model, portrait, brows: np.ndarray, pitch: np.ndarray) -> MeshMotion:
    """Return a motion that raises the brows and nods."""
    expression = np.repeat(portrait.expression[None], len(brows), 0)
    for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"):
        expression[:, blendshape_index(name)] += brows
    pose = np.repeat(portrait.pose[None], len(brows), 0)
    pose[:, :3] = turn_further(pose[:, :3], np.column_stack([pitch, np.zeros(len(brows))]))
    gaze = np.repeat(portrait.gaze[None], len(brows), 0)
    return MeshMotion(Coefficients(expression, pose, gaze), measure_lid_openness(model, portrait.identity, expression))


def make_track(motion: MeshMotion) -> MotionTrack:
    count, frames = len(motion), motion.coefficients
    return MotionTrack(
        identity=np.zeros(80),
        texture=np.zeros(80),
        expression=frames.expression,
        illumination=np.zeros((count, 27)),
        pose=frames.pose,
        gaze=frames.gaze,
        crop=np.tile([[1.0, 0, 0], [0, 1, 0]], (count, 1, 1)),
        pts=np.arange(count) / 25,
        valid=np.ones(count, bool),
        meta=TrackMeta(space="face478", extractor="test", extractor_version="1", frame_rate=Fraction(25)),
    )


def measure_pitch(model, portrait, motion: MeshMotion, frames: range) -> np.ndarray:
    """Return the pitch since the photo that the landmark model measures in rendered frames, degrees."""
    prepared, rest = prepare_still_head(portrait, model), rotation_matrix(portrait.pose[:3])
    landmarker = SettledLandmarker()
    pitches = []
    for k in frames:
        parts = motion.coefficients
        image = render_frame(prepared, model, parts.expression[k], parts.pose[k], parts.gaze[k], motion.lids[k])
        pitches.append(euler_angles(landmarker(image)[0].rotation @ rest.T)[0])
    landmarker.close()
    return np.degrees(pitches)


def test_selected_frames_differ_and_begin_with_the_first():
    features = np.repeat(np.array([[0.0], [1.0], [5.0]]), 10, 0)
    assert select_frames(features, 8).tolist() == [0, 20, 10]
    assert select_frames(features, 2).tolist() == [0, 20]
    assert select_frames(np.zeros((5, 3)), 8).tolist() == [0]


def test_similar_frames_get_similar_values():
    features = np.linspace(0, 20, 41)[:, None]
    values = interpolate_samples(features, np.array([0, 40]), np.array([[3.0, 0.0], [-3.0, 0.0]]))
    assert values[0, 0] > 1.5 and values[-1, 0] < -1.5
    assert np.abs(np.diff(values[:, 0])).max() < 0.6
    assert np.allclose(values[:, 1], 0)


def test_turned_head_has_the_requested_turn():
    angles = np.array([[0.1, -0.4, 0.2]])
    turned = turn_further(angles, np.array([[0.05, 0.0]]))
    turn = rotation_matrix(turned) @ np.swapaxes(rotation_matrix(angles), -1, -2)
    assert np.allclose(euler_angles(turn), [[0.05, 0, 0]])


def test_raised_brows_are_not_measured_as_a_nod(model, portrait):
    brows = 0.9 * (np.sin(np.linspace(0, 2 * np.pi, FRAMES)) > 0)
    motion = plan_motion(model, portrait, brows, np.zeros(FRAMES))
    corrected = correct_turns(portrait, model, motion, make_track(motion))
    frames = range(2, FRAMES, 3)
    before, after = (measure_pitch(model, portrait, plan, frames).std() for plan in (motion, corrected))
    assert before > 0.8
    assert after < 0.7 * before


def test_nods_are_measured_as_planned(model, portrait):
    pitch = np.radians(8.0) * np.sin(np.linspace(0, 2 * np.pi, FRAMES))
    motion = plan_motion(model, portrait, np.zeros(FRAMES), pitch)
    corrected = correct_turns(portrait, model, motion, make_track(motion))
    frames = range(0, FRAMES, 3)
    errors = [
        np.abs(np.degrees(pitch[frames]) - measure_pitch(model, portrait, plan, frames)).std()
        for plan in (motion, corrected)
    ]
    assert errors[1] < max(errors[0], 0.5)


def test_corrections_are_limited(model, portrait, monkeypatch):
    motion = plan_motion(model, portrait, np.zeros(FRAMES), np.radians(8.0) * np.sin(np.arange(FRAMES)))

    def measure(portrait, model, motion, frames):
        return turn_correction._Samples(frames, np.resize([[1.0, -1.0], [-1.0, 1.0]], (len(frames), 2)))

    monkeypatch.setattr(turn_correction, "_measure_frames", measure)
    pose = correct_turns(portrait, model, motion, make_track(motion)).coefficients.pose
    turn = rotation_matrix(pose[:, :3]) @ np.swapaxes(rotation_matrix(motion.coefficients.pose[:, :3]), -1, -2)
    assert 1 < np.degrees(np.abs(euler_angles(turn))).max() < 4.1
    assert np.array_equal(pose[:, 3:], motion.coefficients.pose[:, 3:])


def test_still_head_and_face_that_is_not_detected_keep_their_poses(model, portrait, monkeypatch):
    still = plan_motion(model, portrait, np.zeros(FRAMES), np.zeros(FRAMES))
    assert correct_turns(portrait, model, still, make_track(still)) is still

    class Blind:
        def __init__(self, *args, **options):
            pass

        def __call__(self, image):
            return []

        def close(self):
            pass

    monkeypatch.setattr(turn_correction, "SettledLandmarker", Blind)
    nod = plan_motion(model, portrait, np.zeros(FRAMES), 0.1 * np.sin(np.arange(FRAMES)))
    assert correct_turns(portrait, model, nod, make_track(nod)) is nod


def test_measured_turns_are_cached(model, portrait, tmp_path, monkeypatch):
    motion = plan_motion(model, portrait, np.zeros(FRAMES), 0.1 * np.sin(np.arange(FRAMES)))
    track, cache = make_track(motion), Cache(tmp_path)
    first = correct_turns(portrait, model, motion, track, cache)
    monkeypatch.setattr(turn_correction, "_measure_frames", None)
    again = correct_turns(portrait, model, motion, track, cache)
    assert np.array_equal(first.coefficients.pose, again.coefficients.pose)
    other = plan_motion(model, portrait, np.zeros(FRAMES), 0.2 * np.sin(np.arange(FRAMES)))
    with pytest.raises(TypeError):
        correct_turns(portrait, model, other, make_track(other), cache)
