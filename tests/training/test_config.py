"""Settings: the paper's by default, the release's by name, and mistakes named."""

import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.config_reader import build_config, load_config
from tests.conftest import ROOT


def test_defaults_are_the_papers():
    config = build_config({})
    assert config == TrainingConfig()
    stages = [(s.optimizer.steps, s.optimizer.batch, s.optimizer.learning_rate) for s in (config.image, config.video)]
    assert stages == [(30_000, 32, 1e-5), (30_000, 8, 1e-5)]
    assert (config.image.token_dropout, config.video.clip, config.video.known_noise) == (0.1, 12, 0.1)


def test_the_release_differs_and_own_values_come_over_it(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('recipe = "release"\n[video.optimizer]\nbatch = 2\n')
    config = load_config(path)
    assert (config.image.min_snr, config.image.identity_weight, config.video.clip) == (5.0, 0.0, 10)
    assert (config.image.optimizer.batch, config.video.optimizer.batch) == (16, 2)
    assert (config.video.whole_input, config.video.train_tokens, config.video.clip_layers) == (True, True, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[image.optimizer]\nlerning_rate = 1", "Did you mean image.optimizer.learning_rate"),
        ("[imag]\nbank = 3", "Did you mean image"),
        ("size = 500", "size: is 500"),
        ("size = true", "size: must be of type int"),
        ("image = 3", "image: must be a section"),
        ('recipe = "other"', "recipe: is 'other'"),
        ("[image]\nmin_snr = nan", "min_snr: must be 0 or more"),
        ("[image", "is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(path)


def test_the_readmes_example_holds(tmp_path):
    text = (ROOT / "README.md").read_text("utf-8").partition("```toml\ndata = ")[2].partition("```")[0]
    path = tmp_path / "run.toml"
    path.write_text("data = " + text)
    config = load_config(path)
    assert (config.data, config.output) == (str(tmp_path / "data"), str(tmp_path / "run"))
    assert (config.image.optimizer.batch, config.image.optimizer.micro, config.video.optimizer.micro) == (32, 8, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[model]\nstart = "sd21"', "model.start: is 'sd21'"),
        ('[model]\nstart = "scratch"', 'Set space = "face478"'),
        ("[model.size]\nchannels = [8, 1.5]", "model.size.channels: must be of type list of int"),
        ("[model.size]\nheads = 7", "run.toml: model.size.channels"),
        ("[video]\nclip = 0", "video.clip: must be above 0"),
        ("[image]\ntoken_dropout = 2", "image.token_dropout: must be 0 to 1"),
        ("[image.optimizer]\nsteps = 0", "image.optimizer.steps: must be above 0"),
        ('precision = "fp8"', "precision: is 'fp8'"),
        ("save_every = 0", "save_every: must be 1 or more"),
        ("size = 768", "size: is 768"),
    ],
)
def test_what_cannot_be_trained_is_named(tmp_path, text, message):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(path)
