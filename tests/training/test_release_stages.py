"""Both stages with the release's recipe and condition tokens, from prepared videos to the diffusion engine."""

import shutil
from pathlib import Path

import pytest
import torch

from mimaface_cli.engines.diffusion import checkpoint
from mimaface_cli.engines.diffusion.mia import ReleaseMIA
from mimaface_cli.errors import WeightsError
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.initialization import initialize_image_stage
from mimaface_cli.training.run_checkpoints import list_checkpoints, read_checkpoint, read_stage_result
from mimaface_cli.training.stages import train_image, train_video
from mimaface_cli.weights.install import import_folder
from tests.conftest import read_video, weights_at
from tests.training.release_runs import IDENTITY_FEATURES, release_config
from tests.training.small_runs import (
    InterruptionError,
    assert_equal_states,
    copy_image_stage,
    interrupt_at,
    load_result,
)


@pytest.fixture
def release_weights(training_weights):
    """The tiny weights, used by everything in the test."""
    with weights_at(training_weights):
        yield training_weights


@pytest.fixture(scope="module")
def trained(training_weights, basel_data, tmp_path_factory) -> TrainingConfig:
    """Both stages trained for two steps. Read-only."""
    config = release_config(basel_data, tmp_path_factory.mktemp("release") / "run")
    with weights_at(training_weights):
        train_image(config)
        train_video(config)
    return config


def last_checkpoint(config: TrainingConfig, stage: str) -> dict:
    return read_checkpoint(list_checkpoints(Path(config.output) / stage)[-1])


def test_both_stages_train_all_condition_tokens_and_the_last_encoder_layers(trained, release_weights, release_folder):
    image, video = (last_checkpoint(trained, stage) for stage in ("image", "video"))
    released = torch.load(release_folder / "checkpoints/video/mim.pth", weights_only=True)
    tokens = {key.removeprefix("mia."): value for key, value in video["network"].items() if key.startswith("mia.")}
    assert {key: value.shape for key, value in tokens.items()} == {key: value.shape for key, value in released.items()}
    names = {f"mia.{key}" for key in released}
    assert names <= image["average"].keys()
    assert names <= video["average"].keys()
    encoder_names = [name for name in video["average"] if name.startswith("clip.")]
    assert any("layers.1." in name for name in encoder_names)
    assert not any("embeddings" in name or "layernorm" in name for name in encoder_names)
    initial = initialize_image_stage(trained, IDENTITY_FEATURES).state_dict()
    for before, after in ((initial, image["average"]), (image["average"], video["average"])):
        assert all(not torch.equal(after[name], before[name]) for name in names)


def test_exported_model_animates_with_the_trained_tokens(trained, training_weights, sample, tmp_path, run_command):
    folder = shutil.copytree(training_weights, tmp_path / "weights", symlinks=True)
    quick = ("--engine", "diffusion", "--device", "cpu", "--output-mode", "crop", "--steps", "2", "--clip-length", "5")
    with weights_at(folder):
        installed = import_folder(Path(trained.output) / "model", ["mimaface"]).installed
        assert "mimaface/video/mia.safetensors" in installed
        networks = checkpoint.load_networks()
        result = run_command("animate", sample.portrait, sample.driver, "-o", "out.mp4", *quick, "--duration", "0.1")
    assert isinstance(networks.mia, ReleaseMIA)
    assert networks.needs_identity
    state = read_stage_result(Path(trained.output), "video").state
    assert all(torch.equal(value, state[f"mia.{key}"]) for key, value in networks.mia.state_dict().items())
    assert result.code == 0, result.err
    assert len(read_video(tmp_path / "out.mp4")[0]) == 3


@pytest.mark.slow
def test_resumed_stages_equal_uninterrupted_ones(release_weights, basel_data, tmp_path):
    validation = {"every": 2, "share": 0.5, "clips": 1, "steps": 2}
    complete, resumed = (
        release_config(basel_data, tmp_path / name, 4, validation=validation) for name in ("complete", "resumed")
    )
    for train, stage in ((train_image, "image"), (train_video, "video")):
        train(complete)
        with pytest.raises(InterruptionError):
            train(resumed, interrupt_at(3, stage))  # One step after a checkpoint.
        train(resumed)
        for name in ("losses.csv", "validation.csv", "validation/step-00000004.png"):
            first, second = (Path(run.output) / stage / name for run in (complete, resumed))
            assert first.read_bytes() == second.read_bytes(), (stage, name)
        state = read_stage_result(Path(complete.output), stage).state
        assert_equal_states(state, read_stage_result(Path(resumed.output), stage).state)
        assert_equal_states(load_result(complete, stage).state_dict(), state)


@pytest.mark.slow
def test_disabled_motion_keeps_zero_weights_through_both_stages(release_weights, basel_data, tmp_path):
    run = release_config(basel_data, tmp_path / "run", model={"use_motion": False})
    train_image(run)
    train_video(run)
    tokens = load_result(run, "video").mia
    photo_layers = ("transform_dim_arcface", "transform_dim_clip", "transform_dim_tex", "transform_dim_gamma")
    motion_layers = ("transform_dim_exp", "transform_dim_gaze", "transform_dim_angles", "transform_dim_translation")
    assert all(tokens.get_submodule(name).weight.any() for name in photo_layers)
    assert all(not tokens.get_submodule(name).weight.any() for name in motion_layers)


def test_identity_loss_can_be_added_to_the_release_recipe(release_weights, basel_data, tmp_path):
    folder = train_image(release_config(basel_data, tmp_path / "run", image={"identity_weight": 1.0, "bank": 0}))
    assert (folder / "losses.csv").read_text().startswith("step,denoise,identity\n")


def test_video_stage_rejects_image_stage_with_other_tokens(trained, release_weights, basel_data, tmp_path):
    copy_image_stage(trained, tmp_path / "run")
    with pytest.raises(WeightsError, match=r'Stage 1 trained .* of the release. Set \[model\] tokens = "release"'):
        train_video(release_config(basel_data, tmp_path / "run", model={"tokens": "paper"}))


def test_resume_rejects_checkpoint_with_other_tokens(trained, release_weights, basel_data, tmp_path):
    copy_image_stage(trained, tmp_path / "run")
    with pytest.raises(WeightsError, match="does not match the configured model"):
        train_image(release_config(basel_data, tmp_path / "run", 4, model={"tokens": "paper"}))
