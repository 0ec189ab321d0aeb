"""Training of the occlusion network: examples, export, card."""

import numpy as np
import pytest

from mimaface_cli.builders.occlusion.__main__ import parse_arguments
from mimaface_cli.builders.occlusion.network_build import DRAWINGS, BuildOptions, build_network, measure_network
from mimaface_cli.builders.occlusion.training import TrainableNetwork, make_sample, train_network
from mimaface_cli.builders.occlusion.training_faces import TrainingData, read_training_data
from mimaface_cli.errors import OutputError
from mimaface_cli.face.occlusion_network import load_occlusion_network
from tests.conftest import ROOT

PHOTO = ROOT / "examples" / "portrait.jpg"


@pytest.fixture(scope="module")
def data() -> TrainingData:
    hand = np.zeros((60, 40, 4), np.uint8)
    hand[5:55, 5:35] = (200, 150, 130, 255)
    read = read_training_data([PHOTO], lambda done, total: None)
    return TrainingData(read.faces, [hand])


def test_photo_gives_an_upright_face(data):
    (face,) = data.faces
    assert face.colors.shape == (160, 160, 3) and face.photo.shape == (128, 128, 3)
    assert abs(face.points[10, 0] - face.points[152, 0]) < 3 and face.points[10, 1] < face.points[152, 1]


def test_samples_mark_what_is_drawn(data):
    rng = np.random.default_rng(0)
    clean = [make_sample(data, rng, kind=1.0) for _ in range(8)]
    occluded = [make_sample(data, rng, kind=0.0) for _ in range(8)]
    assert all(sample.planes.shape == (6, 64, 64) and not sample.target.any() for sample in clean)
    assert np.mean([sample.target.max() > 0.9 for sample in occluded]) > 0.7


@pytest.mark.parametrize("name", list(DRAWINGS))
def test_drawing_covers_part_of_the_crop(data, name):
    rng = np.random.default_rng(1)
    colors, coverage = DRAWINGS[name](data.faces[0], data, rng)
    assert colors.shape == (160, 160, 3) and coverage.shape == (160, 160)
    assert coverage.max() > 0.9 and coverage.mean() < 0.6 and colors.min() >= 0 and colors.max() <= 255


def test_exported_network_computes_what_the_trained_one_does(data, tmp_path):
    import torch

    trained = train_network(data, 2, 0, lambda step, loss: None)
    assert isinstance(trained, TrainableNetwork)
    path = tmp_path / "occlusion.npz"
    np.savez(path, **trained.export())
    planes = make_sample(data, np.random.default_rng(3)).planes
    with torch.no_grad():
        expected = trained(torch.from_numpy(planes[None]))[0].numpy()
    assert np.abs(load_occlusion_network(path)(planes) - expected).max() < 0.02


def test_shipped_network_finds_drawings_and_leaves_the_portrait_alone(data):
    measurements = measure_network(load_occlusion_network(), data, seed=0)
    assert measurements.faces == 1 and measurements.alarms == 0
    assert measurements.overlap["worn mask"] > 0.7


def test_build_writes_model_and_card(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(PHOTO.read_bytes())
    options = BuildOptions(folder, tmp_path / "occlusion.npz", steps=1, held_out_every=2, about="Made up.")
    build_network(options, lambda stage, done, total: None)
    card = (tmp_path / "occlusion.md").read_text("utf-8")
    assert "Made up." in card and load_occlusion_network(options.output).version in card
    shipped = (ROOT / "weights" / "occlusion.md").read_text("utf-8")
    headings = [line for line in card.splitlines() if line.startswith("## ")]
    assert headings == [line for line in shipped.splitlines() if line.startswith("## ")]
    with pytest.raises(OutputError, match=r"occlusion\.npz: the file exists already"):
        build_network(options, lambda stage, done, total: None)


def test_options_are_parsed_and_checked(capsys):
    options = parse_arguments(["folder", "-o", "model.npz", "--steps", "7"])
    assert options.steps == 7 and options.seed == 0
    with pytest.raises(SystemExit):
        parse_arguments(["folder", "-o", "model.bin"])
    assert ".npz" in capsys.readouterr().err
