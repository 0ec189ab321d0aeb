"""Settings: the paper's by default, the release's by name, and mistakes named."""

import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.train.config import Config, load_config, make_config


def test_defaults_are_the_papers():
    config = make_config({})
    assert config == Config()
    stages = [(s.optimiser.steps, s.optimiser.batch, s.optimiser.learning_rate) for s in (config.image, config.video)]
    assert stages == [(30_000, 32, 1e-5), (30_000, 8, 1e-5)]
    assert (config.image.token_dropout, config.video.clip, config.video.known_noise) == (0.1, 12, 0.1)


def test_the_release_differs_and_own_values_come_over_it(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('recipe = "release"\n[video.optimiser]\nbatch = 2\n')
    config = load_config(path)
    assert (config.image.min_snr, config.image.identity_weight, config.video.clip) == (5.0, 0.0, 10)
    assert (config.image.optimiser.batch, config.video.optimiser.batch) == (16, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[image.optimiser]\nlerning_rate = 1", "did you mean image.optimiser.learning_rate"),
        ("[imag]\nbank = 3", "did you mean image"),
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
