"""`mimaface weights` as people run it: real processes, a hub on this machine, everything that breaks on the way."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mimaface_cli.cli import app, console
from mimaface_cli.weights.registry import find_asset
from tests.conftest import ROOT, CommandResult
from tests.tiny import publish

MIMAFACE = [file.path for file in find_asset("mimaface").files]
VAE = [file.path for file in find_asset("vae").files]


@pytest.fixture
def world(hub, release_folder, vae_folder, tmp_path, monkeypatch) -> dict[str, str]:
    """An environment, this process's too, with a tiny release on the hub and an empty weights folder."""
    publish(hub, release_folder, vae_folder)
    for name in os.environ:
        if name.startswith(("MIMAFACE", "PYTEST", "HF_")):
            monkeypatch.delenv(name)
    own = {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "MIMAFACE_WEIGHTS_DIR": str(tmp_path / "weights")}
    for name, value in (own | hub.environment(tmp_path)).items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


@pytest.fixture
def weights(world, capfd) -> Callable[..., CommandResult]:
    """Run `mimaface weights ...` in this process: all but what `mimaface_cli.cli.process` sets up around it."""

    def run(*words: Path | str) -> CommandResult:
        capfd.readouterr()
        code = app.run(["weights", *map(str, words)])
        return CommandResult(code, *capfd.readouterr())

    return run


def command(*words: str) -> list[str]:
    """The real command, for a process of its own."""
    return [sys.executable, "-m", "mimaface_cli", "weights", *words]


def failed(said: CommandResult, code: int = 5) -> str:
    """The one line of a failure."""
    lines = [line for line in said.err.splitlines() if not re.match(r"\w+ \(.*\): .*license:", line)]
    assert said.code == code and len(lines) == 1, said.err
    return lines[0]


def test_from_nothing_to_verified_to_damaged_to_mended(weights, world, hub, tmp_path):
    folder = tmp_path / "weights"
    ran = weights("list", "--json")
    before = {model["name"]: model for model in json.loads(ran.out)["models"]}
    assert before["mimaface"]["state"] == "missing" and "research" in before["mimaface"]["license"]

    pulled = subprocess.run(command("pull"), env=world, capture_output=True, text=True, timeout=120)
    ran = CommandResult(pulled.returncode, pulled.stdout, pulled.stderr)
    assert ran.code == 0 and ran.out == f"mimaface, vae: 11 files fetched, all in {folder}\n"
    assert "Basel Face Model 2009 (non-commercial research only)" in ran.err
    assert re.search(r"^vae \(334.6 MB\): .*license: MIT$", ran.err, re.M)
    asked = len(hub.requests)
    ran = weights("pull", "--json")
    assert json.loads(ran.out) == {"folder": str(folder), "models": ["mimaface", "vae"], "installed": []}
    assert ran.err == "" and len(hub.requests) == asked

    ran = weights("verify")
    assert ran.code == 0 and {f"installed  {path}" for path in MIMAFACE + VAE} <= set(ran.out.splitlines())
    assert weights("where", "vae").out.split() == [str(folder / path) for path in VAE]
    ran = weights("list")
    assert re.search(r"^mimaface +installed +\d\.\d MB +for inference$", ran.out, re.M)
    assert re.search(r"^sadtalker +missing +to fetch 725\.1 MB +for speech$", ran.out, re.M)

    path = folder / "mimaface/bfm09.mat"
    content, stamp = bytearray(path.read_bytes()), path.stat()
    content[-100] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # only reading it can tell
    assert weights("where", "mimaface").code == 0
    ran = weights("verify", "vae", "mimaface", "--json")
    said = {file["path"]: file for model in json.loads(ran.out)["models"] for file in model["files"]}
    assert said["mimaface/bfm09.mat"]["state"] == "damaged" and "SHA-256" in said["mimaface/bfm09.mat"]["problem"]
    assert "mimaface/bfm09.mat: damaged or missing; run: mimaface weights pull mimaface" in failed(ran)
    assert weights("verify", "vae").code == 0

    asked = len(hub.large_file_requests())
    ran = weights("pull", "mimaface", "--json")
    assert json.loads(ran.out)["installed"] == ["mimaface/bfm09.mat"] and len(hub.large_file_requests()) == asked + 1
    assert weights("verify", "mimaface").code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_stopped_pull_goes_on_and_gives_the_same(weights, world, hub, tmp_path, number, code):
    folder = tmp_path / "weights"
    hub.bytes_per_second = 400_000
    running = subprocess.Popen(command("pull", "--quiet"), env=world, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not any(part.stat().st_size > 300_000 for part in folder.glob(".staging/*bfm09*.part")):
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.02)
    running.send_signal(number)
    assert running.wait(30) == code
    assert "Traceback" not in running.stderr.read()
    assert not (folder / "mimaface/bfm09.mat").exists() and (folder / "mimaface/d3dfr.safetensors").exists()

    hub.bytes_per_second = None
    asked = len(hub.large_file_requests())
    assert weights("pull").code == 0 and weights("verify", "mimaface", "vae").code == 0
    spans = {Path(request.path).name: request.byte_range for request in hub.large_file_requests()[asked:]}
    assert int(re.fullmatch(r"bytes=(\d+)-", spans["BFM09_model_info.mat"])[1]) > 300_000
    assert "netG_epoch_25.pth" not in spans
    assert not (folder / ".staging").exists()


def test_the_hub_refuses(weights, hub, monkeypatch):
    hub.gated.add("stabilityai/sd-vae-ft-mse")
    line = failed(weights("pull", "vae", "--yes"))
    assert f"{hub.base}/stabilityai/sd-vae-ft-mse: access is gated. Accept its license there and set HF_TOKEN" in line
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert weights("pull", "vae", "-y").code == 0
    assert "openai/clip-vit-large-patch14: no such repository" in failed(weights("pull", "clip"))
    assert "the server answers 404" in failed(weights("pull", "sadtalker"))


def test_progress_is_told_in_megabytes(weights, hub, monkeypatch):
    monkeypatch.setattr(console, "EVERY", 0.0)
    said = weights("pull", "mimaface").err
    assert re.search(r"^mimaface/bfm09.mat: 1 of 1 MB, [\d.]+ a second, about \d+ s left$", said, re.M), said
    assert "frames" not in said


def test_a_wrong_mirror_installs_nothing(weights, hub, tmp_path):
    hub.corrupted["checkpoints/video/mim.pth"] = b"mirrored wrongly"
    assert (
        "mim.pth" in failed(weights("pull", "mimaface"))
        and not (tmp_path / "weights/mimaface/video/mia.safetensors").exists()
    )
    line = failed(weights("verify", "mimaface"))
    assert (
        "mimaface/video/mia.safetensors" in line and "damaged or missing; run: mimaface weights pull mimaface" in line
    )
    line = failed(weights("where", "mimaface"))
    assert "mimaface/video/mia.safetensors" in line and "Run mimaface weights pull mimaface" in line


def test_a_full_disk(world, hub, tmp_path):
    """The system refuses to write beyond a megabyte a file: as a full disk would, midway."""
    script = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000));"
        "from mimaface_cli.cli.app import run; raise SystemExit(run(['weights', 'pull', '--quiet']))"
    )
    ran = subprocess.run([sys.executable, "-c", script], env=world, capture_output=True, text=True, timeout=120)
    line = failed(CommandResult(ran.returncode, ran.stdout, ran.stderr))
    assert "bfm09" in line and "cannot be written" in line
    assert not (tmp_path / "weights/mimaface/bfm09.mat").exists()


def test_import_without_a_network(weights, hub, release_folder, vae_folder, tmp_path):
    other = tmp_path / "other disk"
    ran = weights("import", release_folder, "--dir", other)
    assert ran.code == 0 and ran.err == ""
    expected = [f"installed  {path}" for path in MIMAFACE] + [f"missing    {path}" for path in VAE]
    assert ran.out.splitlines() == expected and hub.requests == []
    ran = weights("import", vae_folder, "vae", "--dir", other, "--json")
    assert json.loads(ran.out) == {"folder": str(other), "installed": VAE, "kept": [], "missing": []}
    assert weights("verify", "vae", "mimaface", "--dir", other).code == 0
    assert weights("where", "--json", "--dir", other).out == json.dumps({"folder": str(other), "files": {}}) + "\n"
    assert "does not hold" in failed(weights("import", vae_folder, "mimaface", "vae", "--dir", other))
    assert "holds none of these" in failed(weights("import", ROOT / "examples"))
    assert "no such folder" in failed(weights("import", tmp_path / "absent"), 3)
    shutil.copytree(release_folder, tmp_path / "cut")
    os.truncate(tmp_path / "cut/checkpoints/video/mim.pth", 1000)
    assert "mim.pth: cannot be read as weights" in failed(weights("import", tmp_path / "cut"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pull", "absent"), "absent: no such model. Choose one of"),
        (("verify", "absent"), "absent: no such model. Choose one of"),
        (("where", "absent"), "absent: no such model. Choose one of"),
        (("import", ".", "absent"), "absent: no such model. Choose one of"),
    ],
)
def test_unknown_names(weights, words, said):
    assert said in failed(weights(*words))


@pytest.mark.parametrize(
    "words", [("pull", "vae", "--all"), ("pull", "vae", "--for", "speech"), ("pull", "--for", "absent"), ("import",)]
)
def test_wrong_options(weights, words):
    assert "--help" in failed(weights(*words), 2)


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 5), (b"\x04", 5)])
def test_a_terminal_is_asked_after_the_license(world, tmp_path, answer, code):
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        command("pull", "vae"), env=world, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    text, answered, deadline = b"", False, time.monotonic() + 90
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            text += os.read(ours, 4096)
        except OSError:  # they have hung up
            break
        if b"on these terms?" in text and not answered:
            assert b"license: MIT" in text and not (tmp_path / "weights/vae").exists()
            os.write(ours, answer)
            answered = True
    os.close(ours)
    assert running.wait(30) == code and answered
    assert (tmp_path / "weights/vae/model.safetensors").exists() == (code == 0)
    assert (b"the licenses were not accepted: nothing was fetched" in text) == (code == 5)
