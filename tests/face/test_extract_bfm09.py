"""From pictures to the released models' crops and coefficients."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.face import alignment as align
from mimaface_cli.face import topology
from mimaface_cli.face.extract_bfm09 import BATCH, align_face, extract_video, predict_coefficients, warp_square
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.landmarks import find_faces
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import probe, read_frames
from tests.conftest import FRAMES


@pytest.fixture(scope="module")
def portrait(sample):
    image = read_image(sample.portrait).rgb
    return image, find_faces(image)[0]


@pytest.fixture
def net(installed_tiny_weights):
    from mimaface_cli.engines.diffusion.checkpoint import load_coefficient_net

    return load_coefficient_net()


def test_the_face_lies_where_the_networks_expect_it(portrait):
    image, face = portrait
    found = align_face(image, face)
    assert found.square.shape == (512, 512, 3)
    five = topology.five_points(face.points)
    in_crop = align.transform_points(found.input_to_crop, five) - 0.5
    assert in_crop == pytest.approx(align.FACE_TEMPLATE_256, abs=12)
    in_square = align.transform_points(found.to_square, face.points - 0.5)
    assert in_square.min() > 40 and in_square.max() < 470
    shown = find_faces(found.square)[0]  # the picture was really moved there
    assert np.abs(shown.points - 0.5 - in_square).max() < 8


def test_a_large_photo_is_not_sampled_with_gaps():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2048, 2048, 3), np.uint8)
    shrink = np.array([[0.25, 0, 0], [0, 0.25, 0.0]])
    assert noise.std() > 70 and warp_square(noise, shrink).std() < 30
    ramp = np.repeat(np.linspace(0, 255, 2048)[None, :, None], 2048, 0).repeat(3, 2).astype(np.uint8)
    plain = cv2.resize(ramp, (512, 512), interpolation=cv2.INTER_AREA)
    assert np.abs(warp_square(ramp, shrink).astype(int) - plain)[8:-8, 8:-8].max() <= 2


def test_a_video_becomes_a_track_with_a_crop_for_each_frame(sample, net):
    network, version = net
    info = probe(sample.driver)
    track = extract_video(
        read_frames(sample.driver), info.frame_rate, network, version, ExtractOptions(smooth=0), source_hash="0" * 64
    )
    assert len(track) == FRAMES < BATCH and track.meta.space == "bfm09" and track.valid.all()
    assert track.meta.extractor_version.endswith(version) and track.meta.source_hash == "0" * 64
    assert np.ptp(track.crop[:, 0, 0]) > 0  # found in every frame anew
    frame = next(iter(read_frames(sample.driver)))
    alone = predict_coefficients(network, [align_face(frame.image, find_faces(frame.image)[0])])[0]
    assert track.expression[0] == pytest.approx(alone[80:144], abs=0.2)
    assert alone.shape == (261,) and np.abs(alone[80:144]).max() > 0.05


def test_batches_and_gaps_do_not_show(sample, net):
    network, version = net
    frames = [frame for frame in read_frames(sample.driver)] * 2
    images = [frame.image if k != 5 else np.zeros_like(frame.image) for k, frame in enumerate(frames)]
    shown = [replace(frame, image=image, pts=k / 25) for k, (frame, image) in enumerate(zip(frames, images))]
    track = extract_video(iter(shown), Fraction(25), network, version, ExtractOptions(smooth=0))
    assert np.flatnonzero(~track.valid).tolist() == [5] and len(track) == 2 * FRAMES > BATCH
    middle = (track.pose[4] + track.pose[6]) / 2
    if 5 not in track.meta.cuts and 6 not in track.meta.cuts:
        assert track.pose[5] == pytest.approx(middle, abs=1e-5)
    assert np.isfinite(track.crop).all() and (track.crop[5, 0, 0] > 0)


def test_no_face_is_one_line(net):
    network, version = net
    blank = [type("F", (), {"image": np.zeros((64, 64, 3), np.uint8), "pts": 0.0})()]
    with pytest.raises(InputError, match="clip.mp4: shows no face"):
        extract_video(blank, Fraction(25), network, version, ExtractOptions(), "clip.mp4")
    with pytest.raises(InputError, match="clip.mp4: contains no frames"):
        extract_video([], Fraction(25), network, version, ExtractOptions(), "clip.mp4")
