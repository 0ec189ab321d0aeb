"""Reading a configuration: defaults of the paper, the release recipe, and error messages."""

import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.config_reader import build_config, load_config
from tests.conftest import ROOT


def test_defaults_are_the_values_of_the_paper():
    config = build_config({})
    assert config == TrainingConfig()
    optimizers = [stage.optimizer for stage in (config.image, config.video)]
    assert [(each.steps, each.batch, each.learning_rate) for each in optimizers] == [
        (30_000, 32, 1e-5),
        (30_000, 8, 1e-5),
    ]
    assert (config.image.token_dropout, config.video.clip, config.video.known_noise) == (0.1, 12, 0.1)


def test_release_recipe_changes_defaults_and_file_values_override_it(tmp_path):
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
        ("[validation]\nshare = 1.0", "validation.share"),
        ("[validation]\nclips = 0", "validation.clips"),
        ("[validation]\nsteps = 0", "validation.steps"),
        ("[validation]\nguidance = 0.5", "validation.guidance"),
        ('[model]\ntokens = "clip"', r"model\.tokens: is 'clip'\. Choose one of paper, release"),
    ],
)
def test_load_config_names_file_key_and_mistake(tmp_path, text, message):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_config(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        {"recipe": "release", "space": "face478"},
        {"recipe": "release", "space": "face478", "model": {"start": "scratch"}},
        {"space": "face478", "model": {"tokens": "release"}},
    ],
)
def test_release_tokens_need_basel_space_and_stable_diffusion(values):
    with pytest.raises(InputError, match=r'model.tokens: .* Set space = "bfm09" and .*or \[model\] tokens = "paper"'):
        build_config(values)
    paper = values | {"model": values.get("model", {}) | {"tokens": "paper"}}
    assert build_config(paper).model.tokens == "paper"


def test_example_of_the_docs_is_a_valid_configuration(tmp_path):
    text = (ROOT / "docs" / "training.md").read_text("utf-8").partition("```toml\ndata = ")[2].partition("```")[0]
    path = tmp_path / "run.toml"
    path.write_text("data = " + text)
    config = load_config(path)
    assert (config.data, config.output) == (str(tmp_path / "data"), str(tmp_path / "run"))
    assert (config.image.optimizer.batch, config.image.optimizer.micro, config.video.optimizer.micro) == (32, 8, 1)


def test_example_file_is_a_valid_configuration():
    config = load_config(ROOT / "examples" / "mini.toml")
    assert config.model.start == "scratch"
    assert config.size == 256
    assert config.video.clip == 12
