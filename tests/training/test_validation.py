"""Validation during a run: what it writes, that it does not affect the training, and its resume."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.held_out_people import PEOPLE
from mimaface_cli.training.run_checkpoints import read_checkpoint
from mimaface_cli.training.stages import train_image, train_video
from mimaface_cli.training.validation import Validator
from tests.training.small_runs import assert_equal_states
from tests.training.validated_runs import SIZE, read_rows, validated_config


@pytest.fixture(scope="module")
def validated(noise_data, tmp_path_factory) -> tuple[TrainingConfig, dict[int, dict[str, torch.Tensor]]]:
    """Both stages trained with validation, and the weights that were validated in stage 1, by step."""
    config = validated_config(noise_data, tmp_path_factory.mktemp("validated") / "run")
    weights = {}
    validate = Validator.validate

    def record(self, network, step):
        assert torch.is_grad_enabled()
        assert network.training
        weights[step] = {key: value.clone() for key, value in network.state_dict().items()}
        return validate(self, network, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validator, "validate", record)
        train_image(config)
    train_video(config)
    return config, weights


def test_validation_does_not_change_losses_and_weights(validated, noise_data, tmp_path):
    output = Path(validated[0].output)
    plain = validated_config(noise_data, tmp_path / "plain", validation={"every": 0})
    (tmp_path / "plain").mkdir()
    shutil.copy(output / PEOPLE, tmp_path / "plain")
    train_image(plain)
    train_video(plain)
    for stage in ("image", "video"):
        assert (output / stage / "losses.csv").read_bytes() == (tmp_path / "plain" / stage / "losses.csv").read_bytes()
        first, second = (read_checkpoint(path / stage / "step-00000004.pt") for path in (output, tmp_path / "plain"))
        for part in ("network", "average"):
            assert_equal_states(first[part], second[part])
        assert not (tmp_path / "plain" / stage / "validation.csv").exists()


@pytest.mark.parametrize("stage", ["image", "video"])
def test_validation_writes_figures_and_contact_sheets(validated, stage):
    output = Path(validated[0].output)
    assert len(json.loads((output / PEOPLE).read_text())["people"]) == 1
    rows = read_rows(output / stage / "validation.csv")
    assert [row["step"] for row in rows] == ["2", "4"]
    assert {"denoise", "psnr", "ssim"} <= rows[0].keys()
    assert rows[0] != {**rows[1], "step": "2"}  # The weights have changed between the validations.
    sheets = sorted(path.name for path in (output / stage / "validation").iterdir())
    assert sheets == ["step-00000002.png", "step-00000004.png"]
    with Image.open(output / stage / "validation" / sheets[1]) as sheet:
        assert sheet.size == (4 * SIZE, 16 + 2 * 3 * SIZE)


def test_resumed_run_repeats_validation_after_its_last_checkpoint(validated, noise_data, tmp_path):
    output, resumed = Path(validated[0].output), tmp_path / "resumed"
    shutil.copytree(output, resumed)
    (resumed / "image/step-00000004.pt").unlink()
    (resumed / "image/.validation.01234567.part.csv").write_text("half")
    train_image(validated_config(noise_data, resumed))
    for name in ("validation.csv", "validation/step-00000004.png", "losses.csv"):
        assert (resumed / "image" / name).read_bytes() == (output / "image" / name).read_bytes(), name
    assert not list((resumed / "image").glob(".validation*"))


def test_validation_uses_the_moving_average(validated):
    config, weights = validated
    state = read_checkpoint(Path(config.output) / "image/step-00000004.pt")
    assert all(torch.equal(value, weights[4][key]) for key, value in state["average"].items())
    assert any(not torch.equal(state["network"][key], weights[4][key]) for key in state["average"])
