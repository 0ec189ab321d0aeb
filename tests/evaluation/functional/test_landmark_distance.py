"""Landmark distances of tracks whose difference is known."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.evaluation.functional import landmark_distance
from mimaface_cli.evaluation.functional.landmark_distance import (
    image_landmarks,
    keypoint_errors,
    landmark_pairs,
    lip_distances,
)
from mimaface_cli.face import camera, face478
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.track import MotionTrack

MODEL = face478.load()


def make_track(frames: int = 3, width: int = 512, height: int = 512, **changes) -> MotionTrack:
    track = MotionTrack.neutral(frames, "face478", Fraction(25))
    crop = np.tile([[0.5, 0.0, 8.0], [0.0, 0.5, -4.0]], (frames, 1, 1))
    return replace(track, crop=crop, meta=replace(track.meta, width=width, height=height), **changes)


def test_image_landmarks_agree_with_the_camera():
    track = make_track()
    shape = MODEL.shape(track.identity.astype(float), track.expression[1].astype(float))
    pixels, _ = camera.project(camera.apply_pose(shape, track.pose[1].astype(float)))
    in_frame = (pixels - [8.0, -4.0]) / 0.5  # the inverse of the crop, written out
    assert image_landmarks(track, MODEL, slice(1, 2))[0] == pytest.approx(in_frame / 2, abs=1e-3)


def test_keypoint_errors_of_a_shifted_face_are_the_shift():
    track = make_track()
    crop = track.crop.copy()
    crop[:, 0, 2] -= 5.0  # ten pixels to the right in the frame of 512, five of 256; y does not move
    shifted = replace(track, crop=crop)
    (points, reference) = next(landmark_pairs(shifted, track, MODEL))
    assert keypoint_errors(points, reference) == pytest.approx(2.5, abs=1e-3)
    assert lip_distances(points, reference) == pytest.approx(0.0, abs=1e-4)


def test_lip_distances_grow_with_the_opening_of_the_jaw():
    distances = []
    for opening in (0.0, 0.2, 0.6):
        expression = np.zeros((3, 64), np.float32)
        expression[:, blendshape_index("jawOpen")] = opening
        points, reference = next(landmark_pairs(make_track(expression=expression), make_track(), MODEL))
        distances.append(lip_distances(points, reference)[0])
    assert distances[0] == 0.0 < distances[1] < distances[2]


def test_landmark_pairs_cover_all_frames_in_blocks(monkeypatch):
    monkeypatch.setattr(landmark_distance, "_BLOCK_FRAMES", 2)
    blocks = [len(points) for points, _ in landmark_pairs(make_track(5), make_track(5), MODEL)]
    assert blocks == [2, 2, 1]
