"""A photo that drives itself does not change."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.engines.mesh.engine import plan_portrait_motion
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo
from mimaface_cli.engines.mesh.renderer import render_photo
from mimaface_cli.engines.mesh.rest_correction import own_motion, rest_shares
from mimaface_cli.face.portrait import portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import Coefficients
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def portrait(model):
    photo = portrait_from_photo(read_image(ROOT / "examples" / "portrait.jpg").rgb, None, model)
    return photo.warped(np.array([[0.5, 0, 0], [0, 0.5, 0]]), 256, 256)


def track_of(portrait) -> MotionTrack:
    """Return the photo's own motion as a track of one frame."""
    track = MotionTrack.neutral(1, "face478", Fraction(25))
    return replace(
        track,
        identity=portrait.identity,
        expression=portrait.expression[None],
        pose=portrait.pose[None],
        gaze=portrait.gaze[None],
    )


def test_absolute_motion_of_the_photo_itself_is_planned_as_rest(portrait, model):
    motion = plan_portrait_motion(portrait, track_of(portrait), RetargetOptions(motion="absolute"))
    rest = own_motion(prepare_photo(portrait, model), model)
    assert np.abs(motion.coefficients.expression - rest.coefficients.expression).max() < 2e-3
    assert np.abs(motion.coefficients.pose - rest.coefficients.pose).max() < 1e-3
    assert np.abs(motion.coefficients.gaze - rest.coefficients.gaze).max() < 2e-3
    assert np.abs(motion.lids - rest.lids).max() < 2e-3


def test_photo_at_rest_is_rendered_as_it_is(portrait, model):
    motion = plan_portrait_motion(portrait, track_of(portrait), RetargetOptions(motion="absolute"))
    (frame,) = render_photo(prepare_photo(portrait, model), model, motion)
    assert np.abs(frame.astype(int) - portrait.image).max() <= 1


def test_details_of_the_photo_fade_as_soon_as_it_moves(portrait, model):
    rest = own_motion(prepare_photo(portrait, model), model)
    still = rest.coefficients
    pose = np.repeat(still.pose, 4, 0)
    pose[:, 1] += [0, 0.002, 0.006, 0.1]
    expression, gaze = (np.repeat(part, 4, 0) for part in (still.expression, still.gaze))
    shares = rest_shares(MeshMotion(Coefficients(expression, pose, gaze), np.repeat(rest.lids, 4, 0)), rest)
    assert shares[0] == 1 and 0.5 < shares[1] < 1 and 0 < shares[2] < 0.5 and shares[3] == 0
    wide = MeshMotion(still, rest.lids + 0.5)
    assert rest_shares(wide, rest)[0] == 0
