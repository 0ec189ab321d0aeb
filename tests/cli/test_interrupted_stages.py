"""Ctrl-C and SIGTERM in every stage: one line says what is kept, nothing is half-written, the same command resumes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import tree
from tests.tiny import publish
from tests.training.noise_data import write_noise_data
from tests.training.small_runs import CAST, write_small_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems"),
]

# Runs the command with one of its functions replaced: at its N-th call, it writes a file and waits for the signal.
PROGRAM = """
import importlib, pathlib, sys, time
mark, target, count, *words = sys.argv[1:]
sys.argv = ["mimaface", *words]
import mimaface_cli.cli.process as process
from mimaface_cli.cli import app
run = app.run
def patched(*arguments):
    owner, names = importlib.import_module(target.partition(":")[0]), target.partition(":")[2].split(".")
    for name in names[:-1]:
        owner = getattr(owner, name)
    function, calls = getattr(owner, names[-1]), []
    def wait(*arguments, **options):
        calls.append(1)
        if len(calls) == int(count):
            pathlib.Path(mark).touch()
            time.sleep(60)
        return function(*arguments, **options)
    setattr(owner, names[-1], wait)
    return run(*arguments)
app.run = patched
process.main()
"""
SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
DIFFUSION = "mimaface_cli.engines.diffusion."
QUICK = ("--engine", "diffusion", "--device", "cpu", "--steps", "2", "--clip-length", "5", "--output-mode", "crop")
CLIPS_KEPT = "no partial file was left, and finished clips are kept: repeat the command to resume"
CHECKPOINT_KEPT = "the last checkpoint is kept: repeat the command to resume"


@pytest.fixture
def interrupt(environment, tmp_path):
    """Run a command, interrupt it in the N-th call of a function, check its end, and return its error line."""

    def run(target: str, number: tuple, *words: object, count: int = 1, **variables: str) -> str:
        mark, (signal_number, code, reason) = tmp_path / "reached", number
        command = [sys.executable, "-c", PROGRAM, str(mark), target, str(count), *map(str, words)]
        process = subprocess.Popen(
            command,
            env=environment | {"OMP_NUM_THREADS": "1"} | variables,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        end = time.monotonic() + 120
        while not mark.exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end, "the stage was not reached"
            time.sleep(0.02)
        process.send_signal(signal_number)
        errors = process.communicate(timeout=30)[1].splitlines()
        mark.unlink()
        assert process.returncode == code and "Traceback" not in "".join(errors)
        assert errors[-1].startswith(f"mimaface: {reason}; ")
        return errors[-1].partition("; ")[2]

    return run


@pytest.mark.parametrize(
    ("target", "count"),
    [("released:extract_portrait_features", 1), ("fallback:denoise_clip", 2), ("fallback:decode_clip", 2)],
    ids=["preparation", "denoising", "decoding"],
)
@pytest.mark.parametrize("number", SIGNALS, ids=["SIGINT", "SIGTERM"])
def test_animate(interrupt, number, target, count, sample, tiny_weights, tmp_path, run_mimaface):
    words = ("animate", sample.portrait, sample.driver, "-o", "out.mp4", *QUICK, "--cache-dir", tmp_path / "cache")
    weights = {"MIMAFACE_WEIGHTS_DIR": str(tiny_weights)}
    line = interrupt(DIFFUSION + target, number, *words, count=count, **weights)
    assert line == ("no partial file was left" if count == 1 else CLIPS_KEPT)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    if count > 1:
        assert list((tmp_path / "cache/clips").glob("*/*.safetensors"))
    if count > 1 and number is SIGNALS[0]:
        result = run_mimaface(*words, "--json", env=weights)
        assert json.loads(result.stdout)["engine_settings"]["clips_resumed"] >= 1


def test_animate_without_a_cache_promises_no_clips(interrupt, sample, tiny_weights):
    words = ("animate", sample.portrait, sample.driver, "-o", "out.mp4", *QUICK, "--no-cache")
    line = interrupt(
        DIFFUSION + "fallback:denoise_clip", SIGNALS[0], *words, count=2, MIMAFACE_WEIGHTS_DIR=str(tiny_weights)
    )
    assert line == "no partial file was left"


@pytest.mark.parametrize("number", SIGNALS, ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("stage", "target"),
    [
        ("image", "autoencoder:_AutoencoderTrainer.train_step"),
        ("image", "loop:TrainingRun._finish_step"),
        ("video", "loop:TrainingRun._finish_step"),
    ],
    ids=["autoencoder", "image", "video"],
)
def test_train(interrupt, number, stage, target, tmp_path, run_mimaface):
    data = write_noise_data(tmp_path / "data", "face478", CAST.size, 4, 2, frames=5)
    validation = {"every": 0}
    config = write_small_config(tmp_path / "run.toml", data, tmp_path / "run", image={"bank": 0}, validation=validation)
    if stage == "video":
        assert run_mimaface("train", "image", config).returncode == 0
    line = interrupt(f"mimaface_cli.training.{target}", number, "train", stage, config, count=4)
    if "autoencoder" in target:  # its first report comes after its last step here
        assert line == "no partial file was left"
    else:
        assert line == CHECKPOINT_KEPT
        assert [path.name for path in (tmp_path / "run" / stage).glob("step-*")] == ["step-00000002.pt"]
    assert not list(tmp_path.rglob("*.part*"))
    if number is SIGNALS[0]:
        result = run_mimaface("train", stage, config)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("number", SIGNALS, ids=["SIGINT", "SIGTERM"])
def test_weights_import(interrupt, number, release_folder, tmp_path, run_mimaface):
    weights = {"MIMAFACE_WEIGHTS_DIR": str(tmp_path / "weights")}
    words = ("weights", "import", release_folder)
    line = interrupt("mimaface_cli.weights.install:_save_tensors", number, *words, count=2, **weights)
    assert line == "no partial file was left"
    assert not [path for path in tree(tmp_path / "weights") if path.endswith(".new")]
    result = run_mimaface(*words, "mimaface", env=weights)
    assert result.returncode == 0 and "kept" in result.stdout + result.stderr, result.stderr


@pytest.mark.parametrize("number", SIGNALS, ids=["SIGINT", "SIGTERM"])
def test_weights_pull(interrupt, number, hub, release_folder, vae_folder, tmp_path, run_mimaface):
    publish(hub, release_folder, vae_folder)
    variables = hub.environment(tmp_path) | {"MIMAFACE_WEIGHTS_DIR": str(tmp_path / "weights")}
    line = interrupt("mimaface_cli.weights.download:_write_body", number, "weights", "pull", count=3, **variables)
    assert line == "what was downloaded is kept: repeat the command to resume"
    result = run_mimaface("weights", "pull", env=variables)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("number", SIGNALS, ids=["SIGINT", "SIGTERM"])
def test_train_prepare(interrupt, number, sample, tmp_path, run_mimaface):
    for name in ("a", "b"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        (tmp_path / "videos" / name / "x.mp4").symlink_to(sample.driver)
    words = ("train", "prepare", "videos", "-o", "data", "--size", "32", "--frames", "4", "--per-video", "1")
    line = interrupt("mimaface_cli.training.preparation:extract_clips", number, *words, count=2)
    assert line == "finished videos are kept: repeat the command to resume"
    assert len(list((tmp_path / "data/parts").glob("[!.]*.tar"))) == 1
    result = run_mimaface(*words, "--json")
    assert result.returncode == 0 and json.loads(result.stdout)["clips"] == 2, result.stderr
