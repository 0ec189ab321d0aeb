"""`mimaface train`: preparation, both stages (also interrupted and resumed), and a video with the trained model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.training.shard_reader import open_shards
from tests.conftest import read_video, write_video

CLIP_OPTIONS = ("--size", "64", "--frames", "4", "--per-video", "2")


def prepare_command(footage: Path, output: Path, *options: str) -> list[str]:
    """Return the command line of a preparation, to run it in a process."""
    command = [sys.executable, "-m", "mimaface_cli", "train", "prepare"]
    return [*command, str(footage), "-o", str(output), *CLIP_OPTIONS, *options]


@pytest.fixture(scope="module")
def footage(sample, tmp_path_factory) -> Path:
    """Two persons (the second is the first, mirrored and brightened) with a video each, and a broken video file."""
    folder = tmp_path_factory.mktemp("footage")
    shutil.copytree(
        Path(sample.driver).parent, folder / "a", ignore=lambda _, names: {n for n in names if n != "driver.mp4"}
    )
    (folder / "b").mkdir()
    frames, times = read_video(sample.driver)
    write_video(folder / "b" / "mirrored.mp4", [255 - (255 - frame[:, ::-1]) // 2 for frame in frames], times)
    (folder / "b" / "broken.mp4").write_bytes(b"no video" * 100)
    return folder


@pytest.fixture(scope="module")
def data(footage, tmp_path_factory, environment) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shards"
    command = prepare_command(footage, folder, "--json")
    completed = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert completed.returncode == 0, completed.stderr
    result = json.loads(completed.stdout)
    assert (result["clips"], result["videos"], result["shards"], result["space"]) == (4, 2, 1, "face478")
    assert list(result["skipped"]) == ["b/broken.mp4"] and "skipped: b/broken.mp4" in completed.stderr
    return folder


def test_prepared_clips_match_crops_and_renders(data):
    from mimaface_cli.face.camera import apply_pose, project
    from mimaface_cli.face.face478 import load

    clips = open_shards(data)
    assert [clip.identity for clip in clips] == ["a", "a", "b", "b"] and all(clip.has_renders for clip in clips)
    model = load()
    for clip in clips:
        track, points = clip.track(), clip.landmarks()
        assert (track.meta.width, track.meta.space, len(track)) == (64, "face478", 4)
        low, high = points[0].min(0), points[0].max(0)
        assert (np.abs((low + high) / 2 - 32) < 8).all() and 28 < (high - low).max() < 60
        # The fitted face, transformed from its crop to the clip's pixels, lies on the landmarks.
        shape = model.shape(track.identity.astype(float), track.expression[0].astype(float))
        pixels = project(apply_pose(shape, track.pose[0].astype(float)))[0][: len(points[0])]
        back = np.linalg.inv(np.vstack([track.crop[0], [0, 0, 1]]))
        projected = pixels @ back[:2, :2].T + back[:2, 2]
        assert np.linalg.norm(projected - points[0], axis=1).mean() < 1.5
        # The render is closer to its frame than a flat image.
        frame, rendered = clip.frame(0).astype(float), clip.render(0).astype(float)
        assert np.abs(frame - rendered).mean() < 0.6 * np.abs(frame - frame.mean((0, 1))).mean()


def test_second_prepare_adds_only_new_videos(footage, data, tmp_path, run_command):
    more_footage, folder = tmp_path / "footage", tmp_path / "data"
    shutil.copytree(footage, more_footage)
    shutil.copytree(data, folder)
    before = (folder / "shard-00000.tar").read_bytes()
    (more_footage / "c").mkdir()
    shutil.copy(more_footage / "a" / "driver.mp4", more_footage / "c" / "new.mp4")
    result = run_command("train", "prepare", more_footage, "-o", folder, *CLIP_OPTIONS)
    assert result.code == 0 and "6 clips of 3 videos in 2 shards, 1 skipped" in result.err
    assert (folder / "shard-00000.tar").read_bytes() == before
    assert [clip.identity for clip in open_shards(folder)] == ["a", "a", "b", "b", "c", "c"]
    assert not list((folder / "parts").iterdir())
    result = run_command(
        "train", "prepare", more_footage, "-o", folder, "--size", "32", "--frames", "4", "--per-video", "2"
    )
    assert result.code == 3 and "was prepared with size 64" in result.err


def test_prepare_reuses_parts_of_killed_run(footage, data, tmp_path, run_command, monkeypatch):
    """The run is killed after it has written the parts and a shard, before it has written the index."""
    from mimaface_cli.training import preparation as prepare

    folder = tmp_path / "data"
    save = prepare.ShardIndex.save

    def killed(self, folder: Path) -> None:
        if self.shards:
            raise KeyboardInterrupt
        save(self, folder)

    with monkeypatch.context() as patch:
        patch.setattr(prepare.ShardIndex, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            cutting = prepare.ClipOptions(64, 4, 2)
            shutil.copytree(footage / "a", tmp_path / "footage" / "a")
            prepare.prepare_shards(tmp_path / "footage", folder, "face478", cutting)
    assert (folder / "shard-00000.tar").exists() and len(list((folder / "parts").iterdir())) == 1
    (folder / ".shard-00000.0123abcd.part.tar").write_bytes(b"half")
    monkeypatch.setattr(prepare, "extract_clips", lambda *_: pytest.fail("the video was processed again"))
    index = prepare.prepare_shards(tmp_path / "footage", folder, "face478", cutting)
    assert index.videos == {"a/driver.mp4": 2} and index.shards == 1 and len(open_shards(folder)) == 2
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".prep")) == [
        "index.json", "parts", "shard-00000.tar",
    ]  # fmt: skip


def test_identity_table_names_persons(footage, tmp_path, run_command):
    table = tmp_path / "identities.csv"
    table.write_text("file,identity\nb/mirrored.mp4,somebody\n")
    result = run_command("train", "prepare", footage, "-o", "data", *CLIP_OPTIONS, "--identities", table, "--jobs", "2")
    assert result.code == 0 and "a/driver.mp4: is not in the table" in result.err, result.err
    assert {clip.identity for clip in open_shards(tmp_path / "data")} == {"somebody"}
    table.write_text("name;person\n")
    result = run_command("train", "prepare", footage, "-o", "data", *CLIP_OPTIONS, "--identities", table)
    assert result.code == 3 and "columns file and identity" in result.err and len(result.err.splitlines()) == 1


@pytest.mark.slow
def test_killed_worker_is_reported_and_next_run_resumes(footage, tmp_path, environment, run_command):
    command = prepare_command(footage, Path("data"), "--jobs", "2", "-q")
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, encoding="utf-8")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    end, workers = time.monotonic() + 60, []
    while not workers and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
        pids = children.read_text().split() if children.exists() else []
        workers = [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    if not children.parent.parent.parent.exists():
        pytest.skip("needs /proc to list child processes")
    os.kill(int(workers[0]), signal.SIGKILL)
    error = process.communicate(timeout=100)[1]
    assert (
        process.returncode == 3 and "worker process was killed" in error and "Run the same command to resume" in error
    )
    assert len(error.splitlines()) == 1 and "Traceback" not in error
    result = run_command("train", "prepare", footage, "-o", "data", *CLIP_OPTIONS, "--jobs", "2")
    assert result.code == 0 and "4 clips of 2 videos in 1 shard, 1 skipped" in result.err, result.err


def test_both_conditions_align_with_face(data, footage, tmp_path, run_command):
    result = run_command("train", "prepare", footage, "-o", "data", *CLIP_OPTIONS, "--condition", "render")
    assert result.code == 0, result.err
    index = json.loads((tmp_path / "data/index.json").read_text())
    assert index["made"]["condition"] == "render"
    for clip, other in zip(open_shards(tmp_path / "data"), open_shards(data), strict=True):
        points, rendered = clip.landmarks()[0], clip.render(0).astype(float)
        lit = np.argwhere(rendered.max(2) > 20)[:, ::-1]
        assert not np.array_equal(clip.render(0), other.render(0)) and not rendered[:4].max() > 20
        middle = (points.min(0) + points.max(0)) / 2
        assert (np.abs((lit.min(0) + lit.max(0)) / 2 - middle) < 3).all()
        assert (np.abs(np.ptp(lit, axis=0) - np.ptp(points, axis=0)) < 6).all()
    result = run_command("train", "prepare", footage, "-o", "data", *CLIP_OPTIONS, "--condition", "textured")
    assert result.code == 3 and "was prepared with condition render" in result.err
    result = run_command(
        "train", "prepare", footage, "-o", "other", *CLIP_OPTIONS, "--space", "bfm09", "--condition", "textured"
    )
    assert result.code == 3 and "--condition: is textured. In the bfm09 space choose render" in result.err


def test_empty_folder_prints_one_error_line(tmp_path, run_command):
    (tmp_path / "none").mkdir()
    result = run_command("train", "prepare", "none", "-o", "data")
    assert result.code == 3 and "none: has no video" in result.err and len(result.err.splitlines()) == 1
    assert not (tmp_path / "data").exists()


CONFIG = """
data = "{data}"
output = "{output}"
space = "face478"
size = 64
workers = 0
save_every = 3
[model]
start = "scratch"
size.channels = [16, 16]
size.attention = [false, true]
size.layers = 1
size.heads = 2
size.tokens = 16
size.adapter = 1
size.clip = 16
size.clip_layers = 1
size.clip_image = 32
size.patch = 16
autoencoder = {{channels = [8, 8, 8, 8], layers = 1, norm_groups = 4, steps = 4, batch = 2}}
[image]
bank = 16
temperature = 0.1
optimizer = {{steps = {steps}, batch = 4, micro = 2, learning_rate = 1e-3, ema = 0.9}}
[video]
clip = 4
optimizer = {{steps = 6, batch = 2, learning_rate = 1e-3, ema = 0.9}}
"""


def write_config(folder: Path, data: Path, output: str, steps: int = 12) -> Path:
    path = folder / f"{output}.toml"
    path.write_text(CONFIG.format(data=data, output=output, steps=steps))
    return path


def kill_after_first_checkpoint(process: subprocess.Popen, folder: Path) -> None:
    """Kill a training run once its folder has a checkpoint, or after its end."""
    end = time.monotonic() + 100
    while not list(folder.glob("step-*.pt")) and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_killed_stages_resume_and_model_renders_video(
    data, sample, tmp_path, environment, run_command, run_mimaface, monkeypatch
):
    import torch

    from mimaface_cli.weights.locate import locate

    whole, broken = (write_config(tmp_path, data, name) for name in ("whole", "broken"))
    result = run_command("train", "video", whole)
    assert result.code == 3 and "Run mimaface train image first" in result.err
    # Results depend on the number of threads, so all runs of stage 1 are processes with one environment.
    completed = run_mimaface("train", "image", whole)
    assert completed.returncode == 0 and "stage 1 is complete" in completed.stderr, completed.stderr
    curve = (tmp_path / "whole/image/losses.csv").read_text()
    assert len(curve.splitlines()) == 13 and curve.startswith("step,denoise,identity\n")

    # Kill a run at any time after its first checkpoint; the CSV may be ahead of the checkpoint.
    words = [sys.executable, "-m", "mimaface_cli", "train", "image", str(broken)]
    process = subprocess.Popen(words, env=environment, cwd=tmp_path, stderr=subprocess.PIPE)
    kill_after_first_checkpoint(process, tmp_path / "broken/image")
    before = sorted(path.name for path in (tmp_path / "broken/image").glob("step-*.pt"))
    if before[-1] < "step-00000012.pt":
        with (tmp_path / "broken/image/losses.csv").open("a") as file:
            file.write("999,1,1\n4,0.")
    completed = run_mimaface("train", "image", broken)
    assert completed.returncode == 0, completed.stderr
    assert (tmp_path / "broken/image/losses.csv").read_text() == curve
    names = sorted(path.name for path in (tmp_path / "broken/image").glob("*"))
    assert names[-2:] == ["step-00000009.pt", "step-00000012.pt"] and not any(".part" in name for name in names)
    uninterrupted, resumed = (
        torch.load(tmp_path / run / "image/step-00000012.pt", weights_only=True) for run in ("whole", "broken")
    )
    for part in ("network", "average"):
        assert all(torch.equal(value, resumed[part][key]) for key, value in uninterrupted[part].items())
    assert (
        torch.equal(uninterrupted["bank"]["tokens"], resumed["bank"]["tokens"])
        and (uninterrupted["bank"]["person"] >= 0).all()
    )

    result = run_command("train", "video", broken)
    assert result.code == 0 and "the model is complete" in result.err, result.err
    last = torch.load(tmp_path / "broken/video/step-00000006.pt", weights_only=True)["network"]
    for key, value in last.items():  # only motion modules and W_cond have changed
        if "motion_modules." in key:
            continue
        before = resumed["average"].get(key, resumed["network"][key])
        if key == "unet.conv_in.weight":
            assert torch.equal(value[:, :8], before[:, :8]) and not torch.equal(value[:, 8:], before[:, 8:])
        else:
            assert torch.equal(value, before), key
    (weights := tmp_path / "weights").mkdir()
    os.symlink(locate("face_landmarker"), weights / "face_landmarker.task")
    shutil.copytree(tmp_path / "broken/model", weights / "mini")
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(weights))
    quick = ("--engine", "diffusion", "--device", "cpu", "--output-mode", "crop", "--steps", "2", "--clip-length", "4")
    result = run_command("animate", sample.portrait, sample.track, "-o", "out.mp4", *quick, "--overlap", "1")
    assert result.code == 0 and "own model is used" in result.err, result.err
    assert len(read_video(tmp_path / "out.mp4")[0]) == 14


def test_bad_config_prints_one_error_line(data, tmp_path, run_command):
    def fail_with(text: str, stage: str = "image") -> str:
        path = write_config(tmp_path, data, "run", steps=2)
        path.write_text(text + path.read_text() if "[" not in text else path.read_text() + text)
        result = run_command("train", stage, path)
        assert result.code in (3, 5) and len(result.err.splitlines()) == 1, result.err
        return result.err

    assert "Did you mean workers?" in fail_with("worker = 1\n")
    assert "is not TOML" in fail_with("[")
    path = write_config(tmp_path, tmp_path / "nothing", "run")
    assert "nothing: has no prepared data" in run_command("train", "image", path).err
    path = write_config(tmp_path, data, "run", steps=2)
    path.write_text(path.read_text().replace("size = 64", "size = 32"))
    result = run_command("train", "image", path)
    assert result.code == 3 and "was prepared with size 64" in result.err
    path.write_text(CONFIG.format(data=data, output="run", steps=2).replace("micro = 2", "micro = 3"))
    result = run_command("train", "image", path)
    assert result.code == 3 and "cannot be divided" in result.err and "Change batch or micro" in result.err


def test_mismatched_and_damaged_checkpoints_are_refused(data, tmp_path, run_command):
    path = write_config(tmp_path, data, "run", steps=3)
    assert run_command("train", "image", path).code == 0
    text = path.read_text()
    path.write_text(text.replace("steps = 3", "steps = 6").replace("tokens = 16", "tokens = 32"))
    result = run_command("train", "image", path)
    assert (
        result.code == 5
        and "step-00000003.pt: does not match the configured model" in result.err
        and len(result.err.splitlines()) == 1
    )
    (tmp_path / "run/image/step-00000003.pt").write_bytes(b"PK no checkpoint")
    path.write_text(text)
    result = run_command("train", "image", path)
    assert result.code == 5 and "is not a checkpoint, or damaged" in result.err and len(result.err.splitlines()) == 1


def test_out_of_memory_error_names_micro_batch(data, tmp_path, run_command, monkeypatch):
    import torch

    from mimaface_cli.training import stages

    def run_out_of_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(stages.DenoisingObjective, "compute", run_out_of_memory)
    result = run_command("train", "image", write_config(tmp_path, data, "run"))
    assert (
        result.code == 3
        and "Set micro in [image.optimizer] below 2" in result.err
        and len(result.err.splitlines()) == 1
    )
