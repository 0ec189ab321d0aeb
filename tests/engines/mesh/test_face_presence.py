"""Motion of source videos whose face is missing in some frames."""

from dataclasses import replace

import numpy as np

from mimaface_cli.engines.mesh.body_motion import carry_head
from mimaface_cli.engines.mesh.face_presence import EASE_SECONDS, blend_frame, ease_motion, presence_weights
from mimaface_cli.engines.mesh.motion_plan import MeshMotion
from mimaface_cli.motion.coefficients import Coefficients
from mimaface_cli.motion.retarget import track_coefficients
from mimaface_cli.motion.rotation import rotation_matrix
from mimaface_cli.motion.track import MotionTrack


def make_track(valid: list[int], cuts: tuple[int, ...] = ()) -> MotionTrack:
    track = MotionTrack.neutral(len(valid), "face478")
    return replace(track, valid=np.array(valid, bool), meta=replace(track.meta, cuts=cuts))


def test_weights_rise_with_the_time_to_frames_without_the_face():
    weights = presence_weights(make_track([1] * 20 + [0] * 3 + [1] * 20))
    assert (weights[20:23] == 0).all() and (np.diff(weights[:21]) <= 0).all() and (np.diff(weights[22:]) >= 0).all()
    near = round(EASE_SECONDS * 25)
    assert weights[20 - near - 1] == 1 and 0 < weights[19] < weights[18] < 1


def test_weights_do_not_ease_across_cuts():
    assert presence_weights(make_track([1, 1, 0, 0, 1, 1], (2, 4))).tolist() == [1, 1, 0, 0, 1, 1]


def test_eased_motion_is_the_sources_own_where_the_weight_is_0(model):
    track = make_track([1, 1, 1])
    own = track_coefficients(track)
    driven = Coefficients(own.expression + 0.4, own.pose + 2 * np.pi - 0.2, own.gaze + 0.1)
    motion = MeshMotion(driven, np.full((3, 2), 0.5))
    eased = ease_motion(motion, track, np.array([0, 0.5, 1]), model)
    assert np.allclose(eased.coefficients.pose[0, :3], own.pose[0, :3])
    assert np.allclose(eased.coefficients.pose[1, :3], own.pose[1, :3] - 0.1)
    assert np.allclose(eased.coefficients.expression[:, 0], [0, 0.2, 0.4]) and np.allclose(eased.lids[2], 0.5)
    assert ease_motion(motion, track, np.ones(3), model) is motion


def test_blended_frames_end_at_the_rendered_one():
    rendered, original = np.full((4, 4, 3), 200, np.uint8), np.full((4, 4, 3), 100, np.uint8)
    assert blend_frame(rendered, original, 1.0) is rendered
    levels = [int(blend_frame(rendered, original, weight)[0, 0, 0]) for weight in (0.0, 0.1, 0.2, 0.3)]
    assert levels[0] == 100 and levels == sorted(levels) and len(set(levels)) == 4


def test_heads_follow_the_neck_but_not_its_turns():
    rest = np.array([0.1, 0.2, 0, 0.3, -0.2, 0.5])
    driven = np.tile([0.0, 0.3, 0, 0.3, -0.2, 0.5], (3, 1))
    moved = np.tile(rest, (3, 1))
    moved[1, 3:] += [1.0, 0.5, -0.4]
    neck = np.array([0.0, -1.4, -0.9])
    moved[2, :3] = [0.3, -0.4, 0.1]
    moved[2, 3:] += (rotation_matrix(rest[:3]) - rotation_matrix(moved[2, :3])) @ neck
    carried = carry_head(driven, moved, rest)
    assert np.allclose(carried[0], driven[0]) and np.allclose(carried[1, 3:] - driven[1, 3:], [1.0, 0.5, -0.4])
    assert np.allclose(carried[2], driven[2])
