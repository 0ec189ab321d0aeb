"""The build of mimaface-mini at toy size: people split strictly, small shards, pieces, comparison with mesh."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from mimaface_cli.builders.mini import mini_schedule
from mimaface_cli.builders.mini.__main__ import main, parse_arguments
from mimaface_cli.builders.mini.mini_people import record_split, split_people
from mimaface_cli.engines.diffusion.card_verdict import judge_scores
from mimaface_cli.errors import InputError
from mimaface_cli.training import preparation
from mimaface_cli.training.shard_reader import open_shards
from mimaface_cli.weights.small_model import read_card
from tests.conftest import ROOT, read_video, write_video
from tests.training.small_runs import write_small_config

PEOPLE = {"a1": "ann", "a2": "ann", "b": "bob", "c": "cid"}


@pytest.fixture(scope="module")
def footage(sample, tmp_path_factory) -> Path:
    """Videos of three people, the same face in other colors, with a table of the people."""
    folder = tmp_path_factory.mktemp("footage")
    frames, times = read_video(sample.driver)
    for number, name in enumerate(PEOPLE):
        write_video(folder / f"{name}.mp4", [frame // (1 + number) + 40 * number for frame in frames[:8]], times)
    rows = [f"{name},{person}" for name, person in PEOPLE.items()]
    (folder / "people.csv").write_text("\n".join(["file,person", *rows]))
    return folder


@pytest.fixture(scope="module")
def build(footage, tmp_path_factory):
    """Run the build with further options; returns the exit code."""
    folder = tmp_path_factory.mktemp("build")
    validation = {"every": 4, "clips": 1, "steps": 2}
    write_small_config(folder / "mini.toml", Path("unused"), Path("unused"), image={"bank": 0}, validation=validation)

    def run(*options: str, work: str = "work") -> int:
        words = ["--people", str(footage / "people.csv"), "--held-out-every", "3", "--frames", "4"]
        words += ["--compared-frames", "4", *options]
        return main([str(folder / "mini.toml"), str(footage), str(folder / work), *words])

    run.folder = folder
    return run


@pytest.fixture(scope="module")
def built(build) -> Path:
    """The folder of work of a whole build, whose shards hold one video each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "MAX_SHARD_BYTES", 1)
        assert build() == 0
    return build.folder / "work"


@pytest.mark.slow
def test_held_out_people_are_not_trained_on(built):
    held_out = json.loads((built / "run/validation.json").read_text())["people"]
    assert len(held_out) == 1 and held_out[0] in PEOPLE.values()
    clips = open_shards(built / "data")
    assert {clip.identity for clip in clips} == set(PEOPLE.values())
    trained = [clip for clip in clips if clip.identity not in held_out]
    card = read_card(built / "weights/mini")
    assert (card.about["clips"], card.about["people"]) == (len(trained), 2)
    # Only frames of the others have cached latents, which the stages learn from.
    (latents,) = (built / "data").glob("latents-*.npy")
    assert len(np.load(latents, mmap_mode="r")) == sum(clip.count for clip in trained)


@pytest.mark.slow
def test_build_leaves_small_shards_sheets_and_a_model_with_scores_in_half_precision(built):
    assert len(list((built / "data").glob("shard-*.tar"))) == len(PEOPLE)
    for stage in ("image", "video"):
        assert len(list((built / "run" / stage / "validation").iterdir())) == 1
    model = built / "weights/mini"
    scores = read_card(model).scores
    assert {"psnr", "ssim", "pose"} <= scores["mesh"].keys()
    assert {"psnr", "ssim"} <= scores["diffusion"].keys()  # a face that was hardly trained has no pose
    assert not judge_scores(scores).is_better
    with safe_open(model / "unet.safetensors", "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16"}  # noqa: SIM118 - not a mapping


@pytest.mark.slow
def test_same_command_does_nothing_again(built, build, capsys):
    before = {path: path.stat().st_mtime_ns for path in built.rglob("step-*.pt")}
    assert build() == 0
    assert before == {path: path.stat().st_mtime_ns for path in built.rglob("step-*.pt")}
    assert "evaluating" in capsys.readouterr().err


@pytest.mark.slow
def test_training_in_pieces_equals_the_whole_one(built, build, capsys, monkeypatch):
    """Every piece ends at its first checkpoint."""
    import torch

    calls = 0
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "MAX_SHARD_BYTES", 1)  # the same shards as in the whole build
        assert build("--part", "data", work="pieces") == 0
    for _ in range(9):
        assert build("--piece", "1e-9", "--part", "training", work="pieces") == 0
        if "Run the same command to resume" not in capsys.readouterr().err:
            break
        calls += 1
    assert calls == 2
    whole, pieces = (
        torch.load(build.folder / name / "run/video/step-00000004.pt", weights_only=True)["average"]
        for name in ("work", "pieces")
    )
    assert whole.keys() == pieces.keys() and all(torch.equal(whole[key], pieces[key]) for key in whole)


@pytest.mark.slow
def test_minutes_decide_the_steps_once(build, monkeypatch):
    monkeypatch.setattr(mini_schedule, "PROBE_SECONDS", 0.0)
    for part in ("data", "training"):
        assert build("--minutes", "0.05", "--part", part, work="timed") == 0
    plan = json.loads((build.folder / "timed/plan.json").read_text())
    assert plan.keys() == {"autoencoder", "image", "video"} and min(plan.values()) >= 2
    for stage in ("image", "video"):
        rows = (build.folder / "timed/run" / stage / "losses.csv").read_text().splitlines()
        assert len(rows) == plan[stage] + 1
    assert build("--minutes", "9", "--part", "training", work="timed") == 0
    assert json.loads((build.folder / "timed/plan.json").read_text()) == plan


def test_people_of_all_their_videos_are_held_out_together(footage):
    split = split_people(footage, footage / "people.csv", 2)
    assert split.identities == {f"{name}.mp4": person for name, person in PEOPLE.items()}
    assert len(split.held_out) == 2
    assert split_people(footage, footage / "people.csv", 2) == split
    assert len(set(split_people(footage, None, 2).identities.values())) == len(PEOPLE)


def test_other_held_out_people_are_refused_after_the_training_began(tmp_path):
    record_split(tmp_path, frozenset({"ann"}))
    record_split(tmp_path, frozenset({"bob"}))
    (tmp_path / "vae").mkdir()
    record_split(tmp_path, frozenset({"bob"}))
    with pytest.raises(InputError, match="was trained with other people held out"):
        record_split(tmp_path, frozenset({"ann"}))


def test_folder_without_people_is_a_one_line_error(tmp_path, capsys):
    assert main([str(ROOT / "examples/mini.toml"), str(tmp_path), str(tmp_path / "work")]) == InputError("").exit_code
    assert "shows 0 people" in capsys.readouterr().err and not (tmp_path / "work").exists()


def test_parts_run_alone():
    assert parse_arguments(["c.toml", "v", "w", "--part", "training"]).parts == ("training",)
    assert len(parse_arguments(["c.toml", "v", "w"]).parts) == 3


def test_call_ends_after_a_checkpoint_when_the_next_one_would_be_too_late(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(mini_schedule.time, "monotonic", lambda: now[0])
    report = mini_schedule.limit_time(lambda *_: None, 35.0, {"image": 10})
    for step in range(31):  # one second a step
        now[0] = float(step)
        if step < 30:
            report("image", step, 100)
    with pytest.raises(mini_schedule.PieceEndedError):
        report("image", 30, 100)


def test_step_is_measured_after_the_first_one(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(mini_schedule.time, "monotonic", lambda: now[0])
    done = []

    def train(report) -> None:
        for step in range(100):
            now[0] += 60.0 if step == 0 else 2.0  # the first one includes loading and compilation
            done.append(step)
            report("latents", step, 100)
            report("image", step + 1, 100)

    assert mini_schedule.measure_step(train, "image") == 2.0
    assert len(done) == 6
    assert mini_schedule.measure_step(lambda report: report("image", 1, 1), "image") is None


def test_shipped_configuration_is_of_256_pixels_and_small_enough():
    """Weights in half precision, of all four networks, take at most 40 MB."""
    import torch
    from diffusers import AutoencoderKL

    from mimaface_cli.training.config_reader import load_config
    from mimaface_cli.training.small_networks import build_small_networks

    path = ROOT / "examples/mini.toml"
    config = load_config(path)
    assert config.size == 256 and config.cache_latents and config.validation.every
    with torch.device("meta"):
        networks = build_small_networks(config.model.size, video=True)
        vae = AutoencoderKL(**config.model.autoencoder.network_config(config.size))
    count = sum(value.numel() for module in (networks, vae) for value in module.state_dict().values())
    assert 2 * count < 40_000_000
    assert "ema" in tomllib.loads(path.read_text())["image"]["optimizer"]
