"""Several processes: the losses of one, and with weights split by FSDP or DeepSpeed the same ones, and whole checkpoints."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from mimaface_cli.builders.rendered_people.rendered_shards import Cast, render_shards
from mimaface_cli.errors import InputError
from mimaface_cli.training.config_reader import load_config
from mimaface_cli.training.run_checkpoints import list_checkpoints, read_checkpoint, read_stage_result
from mimaface_cli.training.stages import train_image, train_video
from mimaface_cli.weights.small_model import read_card
from tests.training.launched import FSDP, ZERO, launch

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(), reason="this torch has no gloo"
)
no_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="needs DeepSpeed")
WAYS = [
    pytest.param(FSDP, id="fsdp"),
    *(pytest.param((*ZERO, stage), id=f"zero {stage}", marks=no_deepspeed) for stage in "123"),
]
# Weights are left out, masked in their gradients, frozen; samples are few at once, so that gradients add up.
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
size = {{channels = [8, 16], attention = [false, true], heads = 2, tokens = 16, adapter = 1, clip = 16, clip_layers = 1, clip_image = 16, patch = 8}}
autoencoder = {{channels = [8, 8, 8], norm_groups = 4, steps = 4, batch = 2}}
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
def make(tmp_path_factory):
    """A config file by its name, for a run that may begin as another left off after some steps of stage 1."""
    folder = tmp_path_factory.mktemp("sharding")
    render_shards(Cast(people=4, takes=2, frames=4, size=32), folder / "data")

    def made(name: str, begun: Path | None = None, steps: int = 0, precision: str = "no") -> Path:
        path = folder / f"{name}.toml"
        path.write_text(CONFIG.format(data=folder / "data", output=folder / name, precision=precision))
        if begun is not None:
            shutil.copytree(begun.with_suffix(""), folder / name, ignore=shutil.ignore_patterns("video", "model"))
            for later in list_checkpoints(folder / name / "image"):
                if int(later.stem[5:]) > steps:
                    later.unlink()
        return path

    return made


@pytest.fixture(scope="module")
def alone(make) -> Path:
    path = make("alone")
    train_image(load_config(path))
    return path


@pytest.fixture(scope="module", params=WAYS)
def way(request) -> tuple[str, ...]:
    """Accelerate's options."""
    return request.param


@pytest.fixture(scope="module")
def split(make, way) -> Path:
    path = make(f"split-{way[-1]}")
    said = launch(2, "train", "image", path, "-q", options=way)
    assert not said or "--use_deepspeed" in way, said
    return path


def curve(path: Path, stage: str = "image", name: str = "losses") -> np.ndarray:
    return np.loadtxt(path.with_suffix("") / stage / f"{name}.csv", delimiter=",", skiprows=1)


def state(path: Path, stage: str = "image"):
    return read_checkpoint(list_checkpoints(path.with_suffix("") / stage)[-1])


def flat(value, name: str = "") -> dict:
    """A checkpoint's leaves by their paths."""
    if not isinstance(value, (dict, list)):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {path: leaf for key, each in items for path, leaf in flat(each, f"{name}/{key}").items()}


def same(one: dict, other: dict, tolerance: float = 0.0) -> None:
    """Nothing but numbers differs, and these by no more; moments are compared, for the optimizer makes of gradients that
    are zero but for rounding steps as long as any.
    """
    one, other = flat(one), flat(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        if not isinstance(value, torch.Tensor):
            assert value == other[name], name
            continue
        assert (
            type(value) is type(other[name]) and value.dtype == other[name].dtype and value.shape == other[name].shape
        ), name
        if not tolerance:
            assert torch.equal(value, other[name]), name
        elif "exp_avg" in name:
            torch.testing.assert_close(value, other[name], rtol=0, atol=tolerance)


def test_two_processes_have_the_losses_of_one(make, alone):
    path = make("both")
    assert not launch(2, "train", "image", path, "-q")
    np.testing.assert_allclose(curve(path), curve(alone), rtol=1e-5)
    same(state(path), state(alone), 1e-6)


def test_split_weights_have_the_losses_of_whole_ones(alone, split):
    assert curve(split).shape == (6, 3) and curve(split, name="validation").shape == (2, 4)
    np.testing.assert_allclose(curve(split), curve(alone), rtol=1e-5)
    # SSIM of what is still noise hangs on its rounding.
    np.testing.assert_allclose(curve(split, name="validation"), curve(alone, name="validation"), rtol=1e-4, atol=1e-4)
    same(state(split), state(alone), 1e-6)
    learned = state(split)["network"]
    weight = learned["unet.conv_in.weight"]
    assert weight[:, :4].any() and not weight[:, 4:8].any()
    assert not any(value.any() for name, value in learned.items() if "mia.embed" in name and name.endswith("weight"))


def test_a_split_run_goes_on_exactly(make, split, way):
    again = make(f"again-{way[-1]}", split, 3)
    launch(2, "train", "image", again, "-q", options=way)
    np.testing.assert_array_equal(curve(again), curve(split))
    np.testing.assert_array_equal(curve(again, name="validation"), curve(split, name="validation"))
    same(state(again), state(split))


def test_a_run_goes_on_split_or_whole(make, alone, split, way):
    together, apart = make(f"together-{way[-1]}", split, 3), make(f"apart-{way[-1]}", alone, 3)
    train_image(load_config(together))
    # Three processes cannot share this out evenly; nor is a layer of 8 rows to be split so.
    apart.write_text(apart.read_text().replace("batch = 4, micro = 1", "batch = 3, micro = 1"))
    launch(3, "train", "image", apart, "-q", options=way)
    np.testing.assert_allclose(curve(together), curve(split), rtol=1e-5)
    np.testing.assert_array_equal(curve(apart)[:3], curve(alone)[:3])
    whole = make(f"whole-{way[-1]}", alone, 3)
    whole.write_text(whole.read_text().replace("batch = 4, micro = 1", "batch = 3, micro = 1"))
    train_image(load_config(whole))
    np.testing.assert_allclose(curve(apart), curve(whole), rtol=1e-5)
    same(state(apart), state(whole), 1e-6)


@pytest.fixture(scope="module")
def clips(make, alone) -> Path:
    path = make("clips", alone, 6)
    train_video(load_config(path))
    return path


def test_stage_2_split_makes_the_same_model(make, alone, clips, way):
    whole, parts = clips, make(f"clips-{way[-1]}", alone, 6)
    launch(2, "train", "video", parts, "-q", options=way)
    np.testing.assert_allclose(curve(parts, "video"), curve(whole, "video"), rtol=1e-5)
    same(state(parts, "video"), state(whole, "video"), 1e-6)
    before, after = (read_stage_result(parts.with_suffix(""), stage).state for stage in ("image", "video"))
    frozen = [name for name in before if not name.endswith("conv_in.weight")]
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    weights = before["unet.conv_in.weight"], after["unet.conv_in.weight"]
    assert torch.equal(weights[0][:, :8], weights[1][:, :8]) and not torch.equal(weights[0], weights[1])
    assert read_card(parts.with_suffix("") / "model").condition == "render"


def test_half_precision_keeps_full_weights(make, alone, way):
    path = make(f"half-{way[-1]}", alone, 3, precision="bf16")
    launch(2, "train", "image", path, "-q", options=way)
    np.testing.assert_allclose(curve(path), curve(alone), rtol=1e-2)
    assert not np.array_equal(curve(path), curve(alone))
    found = flat({key: state(path)[key] for key in ("network", "average", "optimizer")}).values()
    assert {value.dtype for value in found if isinstance(value, torch.Tensor)} == {torch.float32}


def test_what_fsdp_cannot_split_is_told_in_a_line(make, alone):
    path = make("sized", alone, 3)
    sized = ("--fsdp_auto_wrap_policy", "SIZE_BASED_WRAP", "--fsdp_min_num_params", "1000")
    said = launch(2, "train", "image", path, "-q", options=(*FSDP[:3], *sized), refused=True)
    assert "Set fsdp_auto_wrap_policy to TRANSFORMER_BASED_WRAP" in said and "internal error" not in said


@pytest.mark.parametrize(("key", "found"), [("FSDP", "FSDP of version 1"), ("MEGATRON_LM", "Megatron-LM")])
def test_other_ways_to_split_weights_are_refused_in_a_line(alone, monkeypatch, key, found):
    monkeypatch.setenv(f"ACCELERATE_USE_{key}", "true")
    with pytest.raises(InputError, match=f"set to {found}, which is not supported"):
        train_image(load_config(alone))


def test_deepspeed_that_is_not_installed_is_told_in_a_line(alone, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setattr("mimaface_cli.training.parallelism.find_spec", lambda name: None)
    with pytest.raises(InputError, match="DeepSpeed, which is not installed. Run pip install"):
        train_image(load_config(alone))


@no_deepspeed
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"zero_optimization": {"stage": 0}}, "zero_optimization.stage is not supported. Choose 1, 2 or 3"),
        (
            {"zero_optimization": {"stage": 2}, "optimizer": {"type": "Adam"}},
            "optimizer is not supported. Remove it",
        ),
        (
            {"zero_optimization": {"stage": 2}, "fp16": {"enabled": True}},
            'fp16 is not supported. Set precision = "bf16"',
        ),
        ({"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme", "nvme_path": "/x"}}}, "Offload to cpu"),
    ],
)
def test_what_deepspeed_cannot_do_here_is_told_in_a_line(alone, tmp_path, config, said):
    path = tmp_path / "deepspeed.json"
    path.write_text(json.dumps({"train_micro_batch_size_per_gpu": "auto", **config}))
    options = ("--use_deepspeed", "--deepspeed_config_file", str(path))
    found = launch(2, "train", "image", alone, "-q", options=options, refused=True)
    assert said in found and "internal error" not in found


@no_deepspeed
def test_deepspeed_offloads_and_takes_its_own_config(make, alone, tmp_path):
    config, path = make("offloaded", alone, 3), tmp_path / "deepspeed.json"
    zero = {"stage": 3, "offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}}
    sizes = {"train_micro_batch_size_per_gpu": 7, "gradient_accumulation_steps": 5, "gradient_clipping": 9.0}
    path.write_text(json.dumps({"zero_optimization": zero, **sizes}))
    launch(2, "train", "image", config, "-q", options=("--use_deepspeed", "--deepspeed_config_file", str(path)))
    np.testing.assert_allclose(curve(config), curve(alone), rtol=1e-5)  # the sizes are the training's own


def test_processes_that_would_share_samples_are_refused_in_a_line(alone, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_PARALLELISM_CONFIG", "true")
    monkeypatch.setenv("PARALLELISM_CONFIG_TP_SIZE", "2")
    with pytest.raises(InputError, match="tp_size.*Set that to 1"):
        train_image(load_config(alone))
