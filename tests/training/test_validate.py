"""Looks at people left out: whom, what is written, and that the training does not notice; the same for TensorBoard."""

import csv
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mimaface_cli.errors import InputError
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training.config import TrainingConfig
from mimaface_cli.training.config_reader import build_config
from mimaface_cli.training.held_out_people import PEOPLE, split_held_out
from mimaface_cli.training.shard_index import ShardIndex
from mimaface_cli.training.shards import TrainingClip
from mimaface_cli.training.stages import train_image, train_video
from mimaface_cli.training.training_data import load_training_data
from mimaface_cli.training.validation_log import ValidationResult, discard_validations_after, write_validation
from tests.training.shard_files import write_shards

SIZE, PEOPLE_COUNT = 32, 4
TINY = {
    "channels": [16, 16], "attention": [False, True], "layers": 1, "heads": 2, "tokens": 16, "adapter": 1, "clip": 16,
    "clip_layers": 1, "clip_image": 32, "patch": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Blurred noise as the clips of four people, two each, five frames a clip."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)

    def clip(number: int) -> TrainingClip:
        coarse = rng.integers(0, 255, (2, 5, 4, 4, 3), np.uint8)
        pictures = coarse.repeat(SIZE // 4, 2).repeat(SIZE // 4, 3)
        neutral = MotionTrack.neutral(5, "face478")
        track = replace(neutral, expression=rng.normal(size=neutral.expression.shape))
        return TrainingClip(
            f"c{number}", f"p{number % PEOPLE_COUNT}", "a.mp4", pictures[0], track, None, pictures[1][0], pictures[1]
        )

    write_shards((clip(number) for number in range(2 * PEOPLE_COUNT)), folder)
    ShardIndex({"space": "face478", "size": SIZE}, {"a.mp4": 8}, {}, 1).save(folder)
    return folder


def make(data: Path, output: Path, steps: int = 4, **more) -> TrainingConfig:
    optimizer = {"steps": steps, "batch": 2, "learning_rate": 1e-3, "ema": 0.9}
    values = {
        "data": str(data), "output": str(output), "size": SIZE, "space": "face478", "workers": 0, "save_every": 2,
        "model": {"start": "scratch", "size": TINY,
                  "autoencoder": {"channels": [8, 8], "norm_groups": 4, "steps": 2, "batch": 2}},
        "image": {"optimizer": optimizer, "bank": 8}, "video": {"optimizer": optimizer, "clip": 4},
        "validation": {"every": 2, "share": 0.25, "clips": 2, "steps": 2},
    }  # fmt: skip
    return build_config(values | more)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_people_are_left_out_by_the_seed_and_for_good(data, tmp_path):
    config = make(data, tmp_path / "run")
    footage = load_training_data(config)
    training, held = split_held_out(config, footage)
    assert {c.identity for c in training.clips} | {c.identity for c in held.clips} == {"p0", "p1", "p2", "p3"}
    assert len({c.identity for c in held.clips}) == 1 and held.people == 1 and training.people == 3
    again = split_held_out(replace(config, output=str(tmp_path / "other")), footage)[1]
    assert [c.key for c in again.clips] == [c.key for c in held.clips]
    chosen = {split_held_out(replace(config, seed=seed), footage)[1].clips[0].identity for seed in range(20)}
    assert len(chosen) > 1

    # What the output says counts, whatever the settings say by now; and a run begun with everybody goes on so.
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / PEOPLE).write_text('{"people": ["p1", "p2", "gone"]}')
    assert {c.identity for c in split_held_out(config, footage)[1].clips} == {"p1", "p2"}
    (tmp_path / "run" / PEOPLE).write_text("{}")
    with pytest.raises(InputError, match="Choose another output"):
        split_held_out(config, footage)
    (tmp_path / "run" / PEOPLE).write_text(json.dumps({"people": ["p0", "p1", "p2", "p3"]}))
    with pytest.raises(InputError, match="all its people are held out"):
        split_held_out(config, footage)
    (tmp_path / "run" / PEOPLE).unlink()
    (tmp_path / "run/image").mkdir()
    (tmp_path / "run/image/step-00000002.pt").touch()
    assert not split_held_out(config, footage)[1].clips


def test_the_training_does_not_notice_and_a_stopped_run_looks_again(data, tmp_path):
    """Both stages: the same losses and weights as without; stopped after a look that no checkpoint has, it is made again."""
    watched = make(data, tmp_path / "watched")
    train_image(watched)
    train_video(watched)
    names = json.loads((tmp_path / "watched" / PEOPLE).read_text())["people"]
    assert len(names) == 1

    blind = make(data, tmp_path / "blind", validation={"every": 0})
    (tmp_path / "blind").mkdir()
    shutil.copy(tmp_path / "watched" / PEOPLE, tmp_path / "blind")
    train_image(blind)
    train_video(blind)
    for stage in ("image", "video"):
        one, other = tmp_path / "watched" / stage, tmp_path / "blind" / stage
        assert (one / "losses.csv").read_bytes() == (other / "losses.csv").read_bytes()
        states = [torch.load(folder / "step-00000004.pt", weights_only=True) for folder in (one, other)]
        for part in ("network", "average"):
            assert all(torch.equal(value, states[1][part][key]) for key, value in states[0][part].items()), part
        assert not (other / "validation.csv").exists()
        found = rows_of(one / "validation.csv")
        assert [row["step"] for row in found] == ["2", "4"] and {"denoise", "psnr", "ssim"} <= found[0].keys()
        assert found[0] != {**found[1], "step": "2"}  # it has learned something
        sheets = sorted(path.name for path in (one / "validation").iterdir())
        assert sheets == ["step-00000002.png", "step-00000004.png"]
        with Image.open(one / "validation" / sheets[1]) as sheet:
            assert sheet.size == (4 * SIZE, 16 + 2 * 3 * SIZE)

    stopped = tmp_path / "stopped"
    shutil.copytree(tmp_path / "watched", stopped)
    (stopped / "image/step-00000004.pt").unlink()
    (stopped / "image/.validation.01234567.part.csv").write_text("half")
    train_image(make(data, stopped))
    for name in ("validation.csv", "validation/step-00000004.png", "losses.csv"):
        assert (stopped / "image" / name).read_bytes() == (tmp_path / "watched/image" / name).read_bytes(), name
    assert not list((stopped / "image").glob(".validation*"))


def test_the_moving_average_is_what_is_looked_at(data, tmp_path, monkeypatch):
    """And the figures are those of the pictures: at a loss measured again from the checkpoint."""
    from mimaface_cli.training.run_checkpoints import read_checkpoint
    from mimaface_cli.training.validation import Validator

    seen = {}
    look = Validator.validate

    def spy(self, network, step):
        assert torch.is_grad_enabled() and network.training
        seen[step] = {key: value.clone() for key, value in network.state_dict().items()}
        return look(self, network, step)

    monkeypatch.setattr(Validator, "validate", spy)
    train_image(make(data, tmp_path / "run"))
    state = read_checkpoint(tmp_path / "run/image/step-00000004.pt")
    assert all(torch.equal(value, seen[4][key]) for key, value in state["average"].items())
    assert any(not torch.equal(state["network"][key], seen[4][key]) for key in state["average"])


def test_looks_are_forgotten_from_a_step_on(tmp_path):
    sheet = np.zeros((4, 4, 3), np.uint8)
    for step in (2, 4, 6):
        write_validation(
            tmp_path, ValidationResult(step, {"psnr": float(step)} | ({"lpips": 0.5} if step > 2 else {}), sheet)
        )
    assert rows_of(tmp_path / "validation.csv")[0] == {"step": "2", "psnr": "2", "lpips": ""}
    discard_validations_after(tmp_path, 4)
    assert [row["step"] for row in rows_of(tmp_path / "validation.csv")] == ["2", "4"]
    assert len(list((tmp_path / "validation").iterdir())) == 2
    discard_validations_after(tmp_path, 0)
    assert not rows_of(tmp_path / "validation.csv") and not list((tmp_path / "validation").iterdir())


@pytest.mark.parametrize(("name", "value"), [("share", 1.0), ("clips", 0), ("steps", 0), ("guidance", 0.5)])
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(InputError, match=f"validation.{name}"):
        build_config({"validation": {name: value}})


def test_tensorboard_is_asked_for_by_name(data, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "tensorboard" else find(name, *_))
    with pytest.raises(InputError, match=r"pip install 'mimaface\[train\]'"):
        train_image(make(data, tmp_path / "run", tensorboard=True))
    train_image(make(data, tmp_path / "run", steps=1))
    assert not (tmp_path / "run/image/tensorboard").exists()


def test_tensorboards_curves_go_on_without_doubles(data, tmp_path):
    """A run that died after writing what no checkpoint has: its events are not shown twice."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from mimaface_cli.training.tensorboard import TensorboardLog

    train_image(make(data, tmp_path / "run", steps=2, tensorboard=True))
    dying = TensorboardLog(tmp_path / "run/image", 2)
    dying.log_losses(3, {"denoise": 99.0})
    dying.close()
    train_image(make(data, tmp_path / "run", steps=4, tensorboard=True))
    shown = EventAccumulator(str(tmp_path / "run/image/tensorboard"), {"images": 0, "scalars": 0}).Reload()
    curve = [(event.step, event.value) for event in shown.Scalars("train/denoise")]
    wanted = [(int(row["step"]), float(row["denoise"])) for row in rows_of(tmp_path / "run/image/losses.csv")]
    assert [step for step, _ in curve] == [1, 2, 3, 4] and np.allclose(curve, wanted, rtol=1e-5)
    assert [event.step for event in shown.Scalars("train/learning_rate")] == [1, 2, 3, 4]
    assert (
        [event.step for event in shown.Scalars("validation/psnr")]
        == [2, 4]
        == [e.step for e in shown.Images("validation")]
    )
