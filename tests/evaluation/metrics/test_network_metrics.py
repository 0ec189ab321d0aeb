"""LSE, ID-SIM and E-FID of results, with random weights or none."""

import numpy as np
import pytest
import torch

from mimaface_cli.evaluation.evaluate import evaluate
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.functional.distribution import Gaussian, frechet_distance
from mimaface_cli.evaluation.metrics.syncnet_error import crop_face
from mimaface_cli.evaluation.networks.arcface import ArcFace
from mimaface_cli.evaluation.networks.syncnet import SyncNet
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.evaluation.video_pair import PairContext, load_driver_track
from mimaface_cli.motion.track import MotionTrack
from tests.evaluation.networks.random_weights import install_weights, randomize_batch_norms


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """A weights folder with random SyncNet and ArcFace networks."""
    folder = tmp_path / "weights"
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(folder))
    torch.manual_seed(0)
    networks = {"syncnet": SyncNet(), "arcface": ArcFace((1, 1, 1, 1), (8, 16, 32, 64))}
    for name, network in networks.items():
        state = randomize_batch_norms(network).state_dict()
        install_weights(folder, f"metrics/{name}.safetensors", dict(state))
    return folder


def test_evaluate_measures_lse_and_id_sim_with_installed_weights(sample, weights, cache):
    options = EvaluateOptions(network_step=4)
    evaluation = evaluate(sample.driver, sample.driver, sample.driver, options, cache=cache)
    means = evaluation.means
    assert means["lse_d"].value > 0 and means["lse_c"].value >= 0
    assert 0.5 < means["id_sim"].value <= 1
    method = evaluation.to_json()["means"]["lse_d"]
    assert method["extractor"] == "SyncNet v2" and "not S3FD" in method["crop"]
    assert means["e_fid_face478"].value == pytest.approx(0, abs=1e-6) and means["e_fid_face478"].count == 14


def test_e_fid_equals_the_frechet_distance_of_the_tracks(sample, cache):
    evaluation = evaluate(sample.driver, sample.portrait, sample.track, cache=cache)
    measured = load_driver_track(PairContext(Pair(sample.portrait, sample.driver), cache=cache))
    gaussians = []
    for track in (measured, MotionTrack.load(sample.track)):
        gaussians.append(Gaussian(64))
        gaussians[-1].add(track.expression)
    assert evaluation.means["e_fid_face478"].value == pytest.approx(frechet_distance(*gaussians), rel=1e-3)


def test_crop_face_shows_the_face_with_syncnets_margin():
    image = np.zeros((200, 200, 3), np.uint8)
    image[60:140, 60:140] = 255
    crop = crop_face(image, np.array([60.0, 60.0, 140.0, 140.0]))
    rows, columns = np.flatnonzero(crop[:, 112, 0] > 128), np.flatnonzero(crop[40, :, 0] > 128)
    assert crop.shape == (224, 224, 3)
    assert rows[0] == 0 and rows[-1] == pytest.approx(159, abs=2)  # 80 of 112 pixels, from the top of the crop
    assert (columns[0], columns[-1]) == pytest.approx((32, 191), abs=2)
