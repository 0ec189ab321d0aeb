"""Idle motion: breath, drift and small movements that keep a silent face alive."""

import numpy as np

from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.speech.idle_motion import generate_breath, generate_idle_face, generate_idle_pose
from mimaface_cli.speech.mouth_motion import lip_gap_gradient

MINUTE = 60 * 25


def test_breath_has_a_natural_rate():
    breath = generate_breath(5 * MINUTE, np.random.default_rng(0))
    assert breath.min() >= 0 and breath.max() <= 1
    rises = np.flatnonzero((breath[:-1] < 0.5) & (breath[1:] >= 0.5))
    assert 10 <= len(rises) / 5 <= 19
    assert np.diff(rises).std() > 0.03 * np.diff(rises).mean()


def test_idle_pose_is_small_and_seeded():
    pose, same, other = (generate_idle_pose(MINUTE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(pose, same) and not np.array_equal(pose, other)
    assert 0.002 < pose[:, 4].std() < 0.03
    assert np.abs(pose[:, :3]).max() < np.radians(1) and np.abs(np.diff(pose, axis=0)).max() < 0.004


def test_idle_face_moves_brows_and_lids_and_keeps_the_lips_closed():
    face = generate_idle_face(np.zeros(MINUTE), np.random.default_rng(0))
    for name in ("browInnerUp", "browDownLeft", "eyeSquintRight", "mouthSmileLeft", "mouthPressRight"):
        assert 0.005 < face[:, blendshape_index(name)].std() < 0.15, name
    assert (face @ lip_gap_gradient()).max() < 0.004


def test_idle_face_leaves_speaking_lips_alone():
    face = generate_idle_face(np.ones(MINUTE), np.random.default_rng(0))
    assert not face[50:-50, blendshape_index("mouthSmileLeft")].any()
    assert not face[50:-50, blendshape_index("mouthPressLeft")].any()
    assert face[:, blendshape_index("browInnerUp")].any()
