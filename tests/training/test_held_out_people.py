"""Which people a run holds out for validation."""

import json
from dataclasses import replace

import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.held_out_people import PEOPLE, split_held_out
from mimaface_cli.training.training_data import TrainingData, load_training_data
from tests.training.validated_runs import validated_config


def identities(data: TrainingData) -> set[str]:
    return {clip.identity for clip in data.clips}


@pytest.fixture
def run(noise_data, tmp_path) -> tuple[TrainingConfig, TrainingData]:
    config = validated_config(noise_data, tmp_path / "run")
    return config, load_training_data(config)


def test_new_run_holds_out_a_share_of_people_by_the_seed(run, tmp_path):
    config, data = run
    training, held_out = split_held_out(config, data)
    assert identities(training) | identities(held_out) == {"p0", "p1", "p2", "p3"}
    assert not identities(training) & identities(held_out)
    assert (training.people, held_out.people) == (3, 1)
    repeated = split_held_out(replace(config, output=str(tmp_path / "other")), data)[1]
    assert [clip.key for clip in repeated.clips] == [clip.key for clip in held_out.clips]
    chosen = {split_held_out(replace(config, seed=seed), data)[1].clips[0].identity for seed in range(20)}
    assert len(chosen) > 1


def test_list_in_the_output_overrides_the_configuration(run, tmp_path):
    config, data = run
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / PEOPLE).write_text('{"people": ["p1", "p2", "gone"]}')
    assert identities(split_held_out(config, data)[1]) == {"p1", "p2"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "Choose another output"),
        (json.dumps({"people": ["p0", "p1", "p2", "p3"]}), "all its people are held out"),
    ],
)
def test_unusable_list_in_the_output_is_an_input_error(run, tmp_path, content, message):
    config, data = run
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / PEOPLE).write_text(content)
    with pytest.raises(InputError, match=message):
        split_held_out(config, data)


def test_run_that_began_without_validation_holds_out_nobody(run, tmp_path):
    config, data = run
    (tmp_path / "run/image").mkdir(parents=True)
    (tmp_path / "run/image/step-00000002.pt").touch()
    assert not split_held_out(config, data)[1].clips
