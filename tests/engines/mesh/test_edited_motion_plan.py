"""Plans of edited motion: requested coefficients are rendered as they are, up to what a photo can show."""

import numpy as np
import pytest

from mimaface_cli.engines.mesh.motion_plan import plan_edited_motion
from mimaface_cli.face import face478
from mimaface_cli.motion.coefficients import Coefficients, blendshape_index
from tests.engines.mesh.coefficients import make_coefficients


def plan_coefficients(original: Coefficients, edited: Coefficients) -> Coefficients:
    return plan_edited_motion(face478.load(), np.zeros(80), original, edited).coefficients


def plan_lids(**channels: float) -> np.ndarray:
    """Return the openness of the left and right eye for an edit of the mean face."""
    return plan_edited_motion(face478.load(), np.zeros(80), make_coefficients(), make_coefficients(**channels)).lids[0]


def test_edited_coefficients_within_the_limits_stay_unchanged():
    """A driver's turn by 30 degrees is limited smoothly, a requested one is not."""
    edited = make_coefficients(yaw=35, pitch=-20, roll=30, x=0.4, jawOpen=0.9, gazeYaw=25)
    planned = plan_coefficients(make_coefficients(yaw=5), edited)
    for name in ("pose", "expression", "gaze"):
        np.testing.assert_allclose(getattr(planned, name), getattr(edited, name), atol=1e-12)


def test_edited_coefficients_are_clamped_to_what_a_photo_can_show():
    edited = make_coefficients(yaw=80, z=5, mouthSmile=1.5, gazeYaw=44)
    planned = plan_coefficients(make_coefficients(yaw=10), edited)
    assert np.degrees(planned.pose[0, 1]) == pytest.approx(55)
    assert planned.pose[0, 5] == 3
    assert planned.expression[0, blendshape_index("mouthSmileLeft")] == 1.5
    assert np.degrees(planned.gaze).max() == pytest.approx(32)


def test_lids_follow_edited_blinks():
    assert plan_lids() == pytest.approx([1, 1])
    assert plan_lids(eyeBlink=1).max() < 0.1
    left, right = plan_lids(eyeBlinkLeft=1)
    assert left < 0.1
    assert right > 0.9
