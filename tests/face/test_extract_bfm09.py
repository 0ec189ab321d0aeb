"""Extraction in the bfm09 space: crops and coefficients of the released models, with a tiny network."""

from fractions import Fraction
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mimaface_cli.errors import InputError
from mimaface_cli.face import alignment, topology
from mimaface_cli.face.d3dfr import CoefficientNet
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.extract_bfm09 import BATCH, align_face, extract_video, predict_coefficients, warp_square
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.media.reader import probe, read_frames
from tests.conftest import FRAMES


@pytest.fixture(scope="module")
def network():
    """A tiny coefficient network with random weights."""
    torch.manual_seed(0)
    return CoefficientNet(width=4, depths=(1, 1, 1, 1)).eval()


def test_align_face_places_the_face_as_in_the_templates(portrait_image, portrait_face):
    aligned = align_face(portrait_image, portrait_face)
    assert aligned.square.shape == (512, 512, 3)
    five = topology.five_points(portrait_face.points)
    in_crop = alignment.transform_points(aligned.input_to_crop, five) - 0.5
    assert in_crop == pytest.approx(alignment.FACE_TEMPLATE_256, abs=12)
    in_square = alignment.transform_points(aligned.to_square, portrait_face.points - 0.5)
    assert in_square.min() > 40 and in_square.max() < 470
    detected = detect_faces(aligned.square)[0]  # the transform describes the pixels
    assert np.abs(detected.points - 0.5 - in_square).max() < 8


def test_warp_square_does_not_alias_large_photos():
    noise = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3), np.uint8)
    shrink = np.array([[0.25, 0, 0], [0, 0.25, 0.0]])
    assert noise.std() > 70 and warp_square(noise, shrink).std() < 30
    ramp = np.repeat(np.linspace(0, 255, 2048)[None, :, None], 2048, 0).repeat(3, 2).astype(np.uint8)
    expected = cv2.resize(ramp, (512, 512), interpolation=cv2.INTER_AREA)
    assert np.abs(warp_square(ramp, shrink).astype(int) - expected)[8:-8, 8:-8].max() <= 2


def test_track_has_a_crop_and_coefficients_for_each_frame(sample, network):
    track = extract_video(
        read_frames(sample.driver),
        probe(sample.driver).frame_rate,
        network,
        "tiny",
        ExtractOptions(smooth=0),
        source_hash="0" * 64,
    )
    assert len(track) == FRAMES < BATCH and track.meta.space == "bfm09" and track.valid.all()
    assert track.meta.extractor_version.endswith("tiny") and track.meta.source_hash == "0" * 64
    assert np.ptp(track.crop[:, 0, 0]) > 0  # each frame is aligned separately
    frame = next(iter(read_frames(sample.driver)))
    coefficients = predict_coefficients(network, [align_face(frame.image, detect_faces(frame.image)[0])])[0]
    assert track.expression[0] == pytest.approx(coefficients[80:144], abs=0.2)
    assert coefficients.shape == (261,) and np.abs(coefficients[80:144]).max() > 0.05


def test_frames_without_the_face_are_interpolated_across_batches(sample, network):
    images = [frame.image for frame in read_frames(sample.driver)]
    images += images[: BATCH - FRAMES + 2]
    images[5] = np.zeros_like(images[5])
    frames = [SimpleNamespace(image=image, pts=index / 25) for index, image in enumerate(images)]
    track = extract_video(frames, Fraction(25), network, "tiny", ExtractOptions(smooth=0))
    assert np.flatnonzero(~track.valid).tolist() == [5] and len(track) == len(images) > BATCH + 1
    if 5 not in track.meta.cuts and 6 not in track.meta.cuts:
        assert track.pose[5] == pytest.approx((track.pose[4] + track.pose[6]) / 2, abs=1e-5)
    assert np.isfinite(track.crop).all() and (track.crop[5, 0, 0] > 0)


def test_video_without_a_face_or_frames_raises_an_input_error(network):
    blank = [SimpleNamespace(image=np.zeros((64, 64, 3), np.uint8), pts=0.0)]
    with pytest.raises(InputError, match=r"clip\.mp4: shows no face"):
        extract_video(blank, Fraction(25), network, "tiny", ExtractOptions(), "clip.mp4")
    with pytest.raises(InputError, match=r"clip\.mp4: contains no frames"):
        extract_video([], Fraction(25), network, "tiny", ExtractOptions(), "clip.mp4")
