"""The diffusion engine from an empty weights folder to a video, with runs that are interrupted and resumed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.motion.track import MotionTrack
from tests.conftest import FRAMES, read_video
from tests.tiny import publish

QUICK = ("--engine", "diffusion", "--device", "cpu", "--output-mode", "crop", "--steps", "2", "--clip-length", "5")


@pytest.fixture
def hub_environment(hub, release_folder, vae_folder, environment, tmp_path) -> dict[str, str]:
    """Environment with an empty weights folder and cache, and a hub with the tiny release."""
    publish(hub, release_folder, vae_folder)
    folders = {"MIMAFACE_WEIGHTS_DIR": str(tmp_path / "weights"), "MIMAFACE_CACHE_DIR": str(tmp_path / "cache")}
    return environment | hub.environment(tmp_path) | folders | {"OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_diffusion_resumes_interrupted_video_with_same_frames(hub_environment, sample, tmp_path):
    def mimaface(*words: object, code: int = 0) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "mimaface_cli", *map(str, words)]
        completed = subprocess.run(
            command, env=hub_environment, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=300, check=False
        )
        assert completed.returncode == code, completed.stderr
        return completed

    completed = mimaface("animate", sample.portrait, sample.driver, "-o", "a.mp4", *QUICK, code=5)
    assert (
        "11 files of the diffusion engine are not installed" in completed.stderr
        and "mimaface weights pull" in completed.stderr
    )
    mimaface("weights", "pull")
    mimaface("weights", "verify")
    doctor = json.loads(mimaface("doctor", "--json").stdout)["engines"]["diffusion"]
    assert not any("weights" in line for line in doctor["missing"])

    # Extract one track, then render videos from it.
    completed = mimaface("extract", sample.driver, "--space", "bfm09", "-o", "t.npz", "--renders", "renders/", "--json")
    assert json.loads(completed.stdout)["space"] == "bfm09" and len(list((tmp_path / "renders").iterdir())) == FRAMES
    track = MotionTrack.load(tmp_path / "t.npz")
    assert len(track) == FRAMES and track.valid.all() and np.abs(track.expression).max() > 0.01
    completed = mimaface("animate", sample.portrait, "t.npz", "-o", "whole.mp4", *QUICK, "--json", "--quiet")
    result = json.loads(completed.stdout)
    assert (result["engine"], result["frames"]) == ("diffusion", FRAMES) and completed.stderr == ""
    assert result["engine_settings"] | {"clips_made": 6, "clips_resumed": 0} == result["engine_settings"]
    entries = json.loads(mimaface("cache", "list", "--json").stdout)["entries"]
    assert [entry["space"] for entry in entries] == ["bfm09"]  # the clips were removed

    command = [
        sys.executable, "-m", "mimaface_cli", "animate", str(sample.portrait), "t.npz", "-o", "again.mp4", *QUICK,
    ]  # fmt: skip
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        before = count_clips(tmp_path)
        process = subprocess.Popen(command, env=hub_environment, cwd=tmp_path, stderr=subprocess.PIPE, encoding="utf-8")
        end = time.monotonic() + 120
        while count_clips(tmp_path) < before + 1 and process.poll() is None:
            assert time.monotonic() < end, "no clip was stored"
            time.sleep(0.02)
        assert process.poll() is None
        process.send_signal(number)
        result = process.communicate(timeout=60)[1]
        assert process.returncode == code, result
        assert not (tmp_path / "again.mp4").exists() and count_clips(tmp_path) >= before + 1
    assert "1 unfinished video" in mimaface("cache", "list").stdout
    completed = mimaface("animate", sample.portrait, "t.npz", "-o", "again.mp4", *QUICK, "--json")
    settings = json.loads(completed.stdout)["engine_settings"]
    assert settings["clips_resumed"] >= 2 and settings["clips_made"] + settings["clips_resumed"] == 6
    assert "engine: diffusion (requested)" in completed.stderr
    uninterrupted, resumed = (np.stack(read_video(tmp_path / name)[0]) for name in ("whole.mp4", "again.mp4"))
    assert (uninterrupted == resumed).all() and count_clips(tmp_path) == 0


def count_clips(folder: Path) -> int:
    return len(list((folder / "cache" / "clips").glob("*/*.safetensors")))


def test_diffusion_without_cuda_prints_error_and_auto_uses_mesh(hub_environment, sample, tiny_weights, run_mimaface):
    env = hub_environment | {"MIMAFACE_WEIGHTS_DIR": str(tiny_weights), "CUDA_VISIBLE_DEVICES": ""}
    for words, text in (
        ((), "there is no GPU. Set --device cpu"),
        (("--device", "cuda:7"), "there is no device 'cuda:7'"),
    ):
        result = run_mimaface(
            "animate", sample.portrait, sample.driver, "-o", "a.mp4", "--engine", "diffusion", *words, env=env
        )
        assert result.returncode == 5 and text in result.stderr and len(result.stderr.splitlines()) == 1
    result = run_mimaface("animate", sample.portrait, sample.track, "-o", "a.mp4", env=env)
    assert result.returncode == 0 and "engine: mesh (the track is in " in result.stderr
    result = run_mimaface("animate", sample.portrait, sample.driver, "-o", "b.mp4", env=env)
    assert result.returncode == 0 and "engine: mesh (" in result.stderr and "no GPU" in result.stderr
