"""What is drawn of coefficients that somebody asked for: they arrive as they are, up to what a photo can show."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.edit_gain import EditGain, apply_gains
from mimaface_cli.engines.mesh.motion_plan import plan_edited_motion
from mimaface_cli.face import face478
from mimaface_cli.motion.channels import find_channel
from mimaface_cli.motion.coefficients import Coefficients, blendshape_index

MODEL = face478.load()


def coefficients(**changes) -> Coefficients:
    arrays = {"expression": np.zeros((1, 64)), "pose": np.zeros((1, 6)), "gaze": np.zeros((1, 4))}
    for name, value in changes.items():
        channel = find_channel(name, "face478")
        channel.write(arrays[channel.array], np.full((1, 1), float(value)))
    return Coefficients(**arrays)


def test_a_turn_is_not_eased():
    """A driver's turn of 30 degrees is eased off, one that was asked for is not."""
    own, wanted = coefficients(yaw=5), coefficients(yaw=35, pitch=-20, roll=30, x=0.4, jawOpen=0.9, gazeYaw=25)
    drawn = plan_edited_motion(MODEL, np.zeros(80), own, wanted).coefficients
    for name in ("pose", "expression", "gaze"):
        np.testing.assert_allclose(getattr(drawn, name), getattr(wanted, name), atol=1e-12)


def test_what_a_photo_cannot_show_is_held():
    own, wanted = coefficients(yaw=10), coefficients(yaw=80, z=5, mouthSmile=1.5, gazeYaw=44)
    drawn = plan_edited_motion(MODEL, np.zeros(80), own, wanted).coefficients
    assert np.degrees(drawn.pose[0, 1]) == pytest.approx(55) and drawn.pose[0, 5] == 3
    assert drawn.expression[0, blendshape_index("mouthSmileLeft")] == 1.5
    assert np.degrees(drawn.gaze).max() == pytest.approx(32)


def test_lids_follow():
    lids = lambda **names: plan_edited_motion(MODEL, np.zeros(80), coefficients(), coefficients(**names)).lids[0]  # noqa: E731
    assert lids() == pytest.approx([1, 1]) and lids(eyeBlink=1).max() < 0.1
    left, right = lids(eyeBlinkLeft=1)
    assert left < 0.1 and right > 0.9


def test_gains_scale_their_side_only():
    own = coefficients(yaw=5, jawOpen=0.2)
    yaw = find_channel("yaw", "face478")
    wanted = Coefficients(
        np.repeat(coefficients(jawOpen=0.8).expression, 3, 0),
        np.concatenate([coefficients(yaw=value, pitch=3).pose for value in (25, -15, 5)]),
        np.zeros((3, 4)),
    )
    scaled = apply_gains(own, wanted, [EditGain(yaw, 1, 1.2, 20, 17), EditGain(yaw, -1, 1.1, -20, -18)])
    np.testing.assert_allclose(np.degrees(scaled.pose[:, 1]), [5 + 24, 5 - 22, 5], atol=1e-9)
    np.testing.assert_array_equal(scaled.expression, wanted.expression)
    twice = apply_gains(own, wanted, [EditGain(yaw, 1, 1.2, 20, 17), EditGain(yaw, 1, 1.2, 20, 17)])
    assert np.degrees(twice.pose[0, 1]) == pytest.approx(5 + 24)
    np.testing.assert_allclose(scaled.pose[:, [0, 2, 3, 4, 5]], wanted.pose[:, [0, 2, 3, 4, 5]])
