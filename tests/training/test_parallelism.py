"""Training in several processes, with complete or sharded weights, has the losses and checkpoints of one process.

Tests that start processes are slow, because each process imports torch.
"""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from mimaface_cli.errors import InputError
from mimaface_cli.training.config_reader import load_config
from mimaface_cli.training.run_checkpoints import (
    list_checkpoints,
    read_checkpoint,
    read_stage_result,
)
from mimaface_cli.training.stages import train_image, train_video
from mimaface_cli.weights.small_model import read_card
from tests.training.accelerate_launch import FSDP, ZERO, launch

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(), reason="this torch has no gloo"
)
needs_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="needs DeepSpeed")
SHARDINGS = [
    pytest.param(FSDP, id="fsdp"),
    *(pytest.param((*ZERO, stage), id=f"zero {stage}", marks=needs_deepspeed) for stage in "123"),
]
# Some weights are frozen and some gradients masked. A process takes one sample at a time, so that gradients accumulate.
CONFIG = """
data = "{data}"
output = "{output}"
space = "face478"
size = 32
workers = 0
save_every = 3
keep = 9
precision = "{precision}"
[model]
start = "scratch"
use_render = false
use_motion = false
autoencoder = {{channels = [8, 8, 8], norm_groups = 4, steps = 4, batch = 2}}
[model.size]
channels = [8, 16]
attention = [false, true]
heads = 2
tokens = 16
adapter = 1
clip = 16
clip_layers = 1
clip_image = 16
patch = 8
[image]
bank = 16
optimizer = {{steps = 6, batch = 4, micro = 1, learning_rate = 1e-3, ema = 0.9}}
[video]
clip = 4
optimizer = {{steps = 4, batch = 4, micro = 1, learning_rate = 1e-3, ema = 0.9}}
[validation]
every = 3
share = 0.25
clips = 1
steps = 2
"""


@pytest.fixture(scope="module")
def write_config(rendered_data, tmp_path_factory):
    """Write the configuration of a run by its name, which may start from some steps of another run's stage 1."""
    folder = tmp_path_factory.mktemp("parallelism")

    def write(name: str, start: Path | None = None, steps: int = 0, precision: str = "no") -> Path:
        path = folder / f"{name}.toml"
        path.write_text(CONFIG.format(data=rendered_data, output=folder / name, precision=precision))
        if start is not None:
            shutil.copytree(output_of(start), folder / name, ignore=shutil.ignore_patterns("video", "model"))
            for checkpoint in list_checkpoints(folder / name / "image"):
                if int(checkpoint.stem.removeprefix("step-")) > steps:
                    checkpoint.unlink()
        return path

    return write


@pytest.fixture(scope="module")
def single(write_config) -> Path:
    """Stage 1 trained in one process. Read-only."""
    path = write_config("single")
    train_image(load_config(path))
    return path


@pytest.fixture(scope="module", params=SHARDINGS)
def sharding(request) -> tuple[str, ...]:
    """Accelerate's options."""
    return request.param


@pytest.fixture(scope="module")
def sharded(write_config, sharding) -> Path:
    """Stage 1 trained with sharded weights in two processes. Read-only."""
    path = write_config(f"sharded-{sharding[-1]}")
    errors = launch(2, "train", "image", path, "-q", options=sharding)
    assert not errors or "--use_deepspeed" in sharding, errors
    return path


def output_of(config: Path) -> Path:
    return config.with_suffix("")


def read_table(config: Path, stage: str = "image", name: str = "losses") -> np.ndarray:
    return np.loadtxt(output_of(config) / stage / f"{name}.csv", delimiter=",", skiprows=1)


def last_checkpoint(config: Path, stage: str = "image") -> dict:
    return read_checkpoint(list_checkpoints(output_of(config) / stage)[-1])


def flatten(value, name: str = "") -> dict:
    """Return the leaves of nested dictionaries and lists by their paths."""
    if not isinstance(value, (dict, list)):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {path: leaf for key, each in items for path, leaf in flatten(each, f"{name}/{key}").items()}


def assert_checkpoints_match(first: dict, second: dict, tolerance: float = 0.0) -> None:
    """Check that two checkpoints have the same structure and values.

    With a tolerance, only the optimizer's moments are compared: from gradients that are zero but for rounding errors,
    the optimizer makes steps of full length.
    """
    first, second = flatten(first), flatten(second)
    assert first.keys() == second.keys()
    for name, value in first.items():
        other = second[name]
        if not isinstance(value, torch.Tensor):
            assert value == other, name
            continue
        assert (type(value), value.dtype, value.shape) == (type(other), other.dtype, other.shape), name
        if not tolerance:
            assert torch.equal(value, other), name
        elif "exp_avg" in name:
            torch.testing.assert_close(value, other, rtol=0, atol=tolerance)


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(write_config, single):
    path = write_config("pair")
    assert not launch(2, "train", "image", path, "-q")
    np.testing.assert_allclose(read_table(path), read_table(single), rtol=1e-5)
    assert_checkpoints_match(last_checkpoint(path), last_checkpoint(single), 1e-6)


@pytest.mark.slow
def test_sharded_weights_have_the_losses_of_complete_ones(single, sharded):
    assert read_table(sharded).shape == (6, 3)
    np.testing.assert_allclose(read_table(sharded), read_table(single), rtol=1e-5)
    sharded_figures, figures = (read_table(path, name="validation") for path in (sharded, single))
    assert sharded_figures.shape == (2, 4)
    # The SSIM of images that are still noise depends on rounding.
    np.testing.assert_allclose(sharded_figures, figures, rtol=1e-4, atol=1e-4)
    assert_checkpoints_match(last_checkpoint(sharded), last_checkpoint(single), 1e-6)


@pytest.mark.slow
def test_sharded_weights_keep_disabled_inputs_at_zero(sharded):
    network = last_checkpoint(sharded)["network"]
    weight = network["unet.conv_in.weight"]
    assert weight[:, :4].any()
    assert not weight[:, 4:8].any()
    assert not any(value.any() for name, value in network.items() if "mia.embed" in name and name.endswith("weight"))


@pytest.mark.slow
def test_resumed_sharded_run_equals_uninterrupted_one(write_config, sharded, sharding):
    resumed = write_config(f"resumed-{sharding[-1]}", sharded, 3)
    launch(2, "train", "image", resumed, "-q", options=sharding)
    for name in ("losses", "validation"):
        np.testing.assert_array_equal(read_table(resumed, name=name), read_table(sharded, name=name))
    assert_checkpoints_match(last_checkpoint(resumed), last_checkpoint(sharded))


@pytest.mark.slow
def test_single_process_resumes_a_sharded_run(write_config, sharded, sharding):
    resumed = write_config(f"gathered-{sharding[-1]}", sharded, 3)
    train_image(load_config(resumed))
    np.testing.assert_allclose(read_table(resumed), read_table(sharded), rtol=1e-5)


@pytest.mark.slow
def test_three_processes_resume_a_run_of_one(write_config, single, sharding):
    """Three processes cannot have equal shards; a layer of 8 rows, for example, cannot be divided evenly."""
    resumed, expected = (write_config(f"{name}-{sharding[-1]}", single, 3) for name in ("scattered", "complete"))
    for path in (resumed, expected):
        path.write_text(path.read_text().replace("batch = 4, micro = 1", "batch = 3, micro = 1"))
    launch(3, "train", "image", resumed, "-q", options=sharding)
    train_image(load_config(expected))
    np.testing.assert_array_equal(read_table(resumed)[:3], read_table(single)[:3])
    np.testing.assert_allclose(read_table(resumed), read_table(expected), rtol=1e-5)
    assert_checkpoints_match(last_checkpoint(resumed), last_checkpoint(expected), 1e-6)


@pytest.fixture(scope="module")
def single_video(write_config, single) -> Path:
    """Stage 2 trained in one process. Read-only."""
    path = write_config("single_video", single, 6)
    train_video(load_config(path))
    return path


@pytest.mark.slow
def test_sharded_video_stage_exports_the_model_of_a_single_process(write_config, single, single_video, sharding):
    path = write_config(f"video-{sharding[-1]}", single, 6)
    launch(2, "train", "video", path, "-q", options=sharding)
    np.testing.assert_allclose(read_table(path, "video"), read_table(single_video, "video"), rtol=1e-5)
    assert_checkpoints_match(last_checkpoint(path, "video"), last_checkpoint(single_video, "video"), 1e-6)
    before, after = (read_stage_result(output_of(path), stage).state for stage in ("image", "video"))
    frozen = [name for name in before if not name.endswith("conv_in.weight")]
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    old, new = before["unet.conv_in.weight"], after["unet.conv_in.weight"]
    assert torch.equal(old[:, :8], new[:, :8])
    assert not torch.equal(old, new)
    assert read_card(output_of(path) / "model").condition == "render"


@pytest.mark.slow
def test_half_precision_keeps_weights_in_full_precision(write_config, single, sharding):
    path = write_config(f"half-{sharding[-1]}", single, 3, precision="bf16")
    launch(2, "train", "image", path, "-q", options=sharding)
    np.testing.assert_allclose(read_table(path), read_table(single), rtol=1e-2)
    assert not np.array_equal(read_table(path), read_table(single))
    state = last_checkpoint(path)
    values = flatten({key: state[key] for key in ("network", "average", "optimizer")}).values()
    assert {value.dtype for value in values if isinstance(value, torch.Tensor)} == {torch.float32}


@pytest.mark.slow
def test_fsdp_policy_that_does_not_suit_the_network_is_an_input_error(write_config, single):
    path = write_config("sized", single, 3)
    policy = ("--fsdp_auto_wrap_policy", "SIZE_BASED_WRAP", "--fsdp_min_num_params", "1000")
    errors = launch(2, "train", "image", path, "-q", options=(*FSDP[:3], *policy), fails=True)
    assert "Set fsdp_auto_wrap_policy to TRANSFORMER_BASED_WRAP" in errors
    assert "internal error" not in errors


@pytest.mark.parametrize(("plugin", "name"), [("FSDP", "FSDP of version 1"), ("MEGATRON_LM", "Megatron-LM")])
def test_unsupported_sharding_is_an_input_error(single, monkeypatch, plugin, name):
    monkeypatch.setenv(f"ACCELERATE_USE_{plugin}", "true")
    with pytest.raises(InputError, match=f"set to {name}, which is not supported"):
        train_image(load_config(single))


def test_sample_parallelism_is_an_input_error(single, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_PARALLELISM_CONFIG", "true")
    monkeypatch.setenv("PARALLELISM_CONFIG_TP_SIZE", "2")
    with pytest.raises(InputError, match=r"tp_size.*Set that to 1"):
        train_image(load_config(single))


def test_missing_deepspeed_is_an_input_error(single, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setattr("mimaface_cli.training.parallelism.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"DeepSpeed, which is not installed\. Run pip install"):
        train_image(load_config(single))


@pytest.mark.slow
@needs_deepspeed
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"zero_optimization": {"stage": 0}}, "zero_optimization.stage is not supported. Choose 1, 2 or 3"),
        ({"zero_optimization": {"stage": 2}, "optimizer": {"type": "Adam"}}, "optimizer is not supported. Remove it"),
        (
            {"zero_optimization": {"stage": 2}, "fp16": {"enabled": True}},
            'fp16 is not supported. Set precision = "bf16"',
        ),
        ({"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme", "nvme_path": "/x"}}}, "Offload to cpu"),
    ],
)
def test_unsupported_deepspeed_config_is_an_input_error(single, tmp_path, config, message):
    path = tmp_path / "deepspeed.json"
    path.write_text(json.dumps({"train_micro_batch_size_per_gpu": "auto", **config}))
    options = ("--use_deepspeed", "--deepspeed_config_file", str(path))
    errors = launch(2, "train", "image", single, "-q", options=options, fails=True)
    assert message in errors
    assert "internal error" not in errors


@pytest.mark.slow
@needs_deepspeed
def test_deepspeed_offloads_and_its_batch_sizes_are_overridden(write_config, single, tmp_path):
    config, path = write_config("offloaded", single, 3), tmp_path / "deepspeed.json"
    zero = {"stage": 3, "offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}}
    sizes = {"train_micro_batch_size_per_gpu": 7, "gradient_accumulation_steps": 5, "gradient_clipping": 9.0}
    path.write_text(json.dumps({"zero_optimization": zero, **sizes}))
    launch(2, "train", "image", config, "-q", options=("--use_deepspeed", "--deepspeed_config_file", str(path)))
    np.testing.assert_allclose(read_table(config), read_table(single), rtol=1e-5)
