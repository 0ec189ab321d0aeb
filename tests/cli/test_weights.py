"""`mimaface weights` with real processes, a local model hub and failing downloads."""

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

from mimaface_cli.cli import app, progress_display
from mimaface_cli.weights.registry import find_asset
from tests.conftest import ROOT, CommandResult
from tests.tiny import publish

MIMAFACE = [file.path for file in find_asset("mimaface").files]
VAE = [file.path for file in find_asset("vae").files]


@pytest.fixture
def hub_environment(hub, release_folder, vae_folder, tmp_path, monkeypatch) -> dict[str, str]:
    """Environment, also of this process, with a tiny release on the hub and an empty weights folder."""
    publish(hub, release_folder, vae_folder)
    for name in os.environ:
        if name.startswith(("MIMAFACE", "PYTEST", "HF_")):
            monkeypatch.delenv(name)
    variables = {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "MIMAFACE_WEIGHTS_DIR": str(tmp_path / "weights")}
    for name, value in (variables | hub.environment(tmp_path)).items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


@pytest.fixture
def weights(hub_environment, capfd) -> Callable[..., CommandResult]:
    """Run `mimaface weights ...` in this process, without what `mimaface_cli.cli.process` sets up."""

    def run(*words: Path | str) -> CommandResult:
        capfd.readouterr()
        code = app.run(["weights", *map(str, words)])
        return CommandResult(code, *capfd.readouterr())

    return run


def command(*words: str) -> list[str]:
    """Return the command line of the real program, to run it in a process."""
    return [sys.executable, "-m", "mimaface_cli", "weights", *words]


def error_line(result: CommandResult, code: int = 5) -> str:
    """Return the only error line of a failure."""
    lines = [line for line in result.err.splitlines() if not re.match(r"\w+ \(.*\): .*license:", line)]
    assert result.code == code and len(lines) == 1, result.err
    return lines[0]


def test_pull_verify_and_repair(weights, hub_environment, hub, tmp_path):
    folder = tmp_path / "weights"
    result = weights("list", "--json")
    before = {model["name"]: model for model in json.loads(result.out)["models"]}
    assert before["mimaface"]["state"] == "missing" and "research" in before["mimaface"]["license"]

    pulled = subprocess.run(
        command("pull"), env=hub_environment, capture_output=True, text=True, timeout=120, check=False
    )
    result = CommandResult(pulled.returncode, pulled.stdout, pulled.stderr)
    assert result.code == 0 and result.out == f"mimaface, vae: 11 files downloaded, complete in {folder}\n"
    assert "Basel Face Model 2009 (non-commercial research only)" in result.err
    assert re.search(r"^vae \(334.6 MB\): .*license: MIT$", result.err, re.M)
    request_count = len(hub.requests)
    result = weights("pull", "--json")
    assert json.loads(result.out) == {"folder": str(folder), "models": ["mimaface", "vae"], "installed": []}
    assert result.err == "" and len(hub.requests) == request_count

    result = weights("verify")
    assert result.code == 0 and {f"installed  {path}" for path in MIMAFACE + VAE} <= set(result.out.splitlines())
    assert weights("where", "vae").out.split() == [str(folder / path) for path in VAE]
    result = weights("list")
    assert re.search(r"^mimaface +installed +\d\.\d MB +for inference$", result.out, re.M)
    assert re.search(r"^sadtalker +missing +download 725\.1 MB +for speech$", result.out, re.M)

    path = folder / "mimaface/bfm09.mat"
    content, stamp = bytearray(path.read_bytes()), path.stat()
    content[-100] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # only its content shows the change
    assert weights("where", "mimaface").code == 0
    result = weights("verify", "vae", "mimaface", "--json")
    files = {file["path"]: file for model in json.loads(result.out)["models"] for file in model["files"]}
    assert files["mimaface/bfm09.mat"]["state"] == "damaged" and "SHA-256" in files["mimaface/bfm09.mat"]["problem"]
    assert "mimaface/bfm09.mat: damaged or missing. Run mimaface weights pull mimaface" in error_line(result)
    assert weights("verify", "vae").code == 0

    request_count = len(hub.large_file_requests())
    result = weights("pull", "mimaface", "--json")
    assert (
        json.loads(result.out)["installed"] == ["mimaface/bfm09.mat"]
        and len(hub.large_file_requests()) == request_count + 1
    )
    assert weights("verify", "mimaface").code == 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_interrupted_pull_resumes(weights, hub_environment, hub, tmp_path, number, code):
    folder = tmp_path / "weights"
    hub.bytes_per_second = 400_000
    running = subprocess.Popen(command("pull", "--quiet"), env=hub_environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not any(part.stat().st_size > 300_000 for part in folder.glob(".staging/*bfm09*.part")):
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.02)
    running.send_signal(number)
    assert running.wait(30) == code
    assert "Traceback" not in running.stderr.read()
    assert not (folder / "mimaface/bfm09.mat").exists() and (folder / "mimaface/d3dfr.safetensors").exists()

    hub.bytes_per_second = None
    request_count = len(hub.large_file_requests())
    assert weights("pull").code == 0 and weights("verify", "mimaface", "vae").code == 0
    spans = {Path(request.path).name: request.byte_range for request in hub.large_file_requests()[request_count:]}
    assert int(re.fullmatch(r"bytes=(\d+)-", spans["BFM09_model_info.mat"])[1]) > 300_000
    assert "netG_epoch_25.pth" not in spans
    assert not (folder / ".staging").exists()


def test_pull_reports_gated_and_missing_files(weights, hub, monkeypatch):
    hub.gated.add("stabilityai/sd-vae-ft-mse")
    line = error_line(weights("pull", "vae", "--yes"))
    assert f"{hub.base}/stabilityai/sd-vae-ft-mse: access is gated. Accept its license there and set HF_TOKEN" in line
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert weights("pull", "vae", "-y").code == 0
    assert "openai/clip-vit-large-patch14: no such repository" in error_line(weights("pull", "clip"))
    assert "the server returned 404" in error_line(weights("pull", "sadtalker"))


def test_pull_progress_is_in_megabytes(weights, hub, monkeypatch):
    monkeypatch.setattr(progress_display, "LINE_INTERVAL", 0.0)
    result = weights("pull", "mimaface").err
    assert re.search(r"^mimaface/bfm09.mat: 1 of 1 MB, [\d.]+ per second, about \d+ s left$", result, re.M), result
    assert "frames" not in result


def test_corrupted_file_is_not_installed(weights, hub, tmp_path):
    hub.corrupted["checkpoints/video/mim.pth"] = b"mirrored wrongly"
    assert (
        "mim.pth" in error_line(weights("pull", "mimaface"))
        and not (tmp_path / "weights/mimaface/video/mia.safetensors").exists()
    )
    line = error_line(weights("verify", "mimaface"))
    assert "mimaface/video/mia.safetensors" in line and "damaged or missing. Run mimaface weights pull mimaface" in line
    line = error_line(weights("where", "mimaface"))
    assert "mimaface/video/mia.safetensors" in line and "Run mimaface weights pull mimaface" in line


def test_pull_reports_full_disk(hub_environment, hub, tmp_path):
    """A limit of one megabyte per file stands for a disk that fills up during the download."""
    script = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000));"
        "from mimaface_cli.cli.app import run; raise SystemExit(run(['weights', 'pull', '--quiet']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], env=hub_environment, capture_output=True, text=True, timeout=120, check=False
    )
    line = error_line(CommandResult(result.returncode, result.stdout, result.stderr))
    assert "bfm09" in line and "cannot be written" in line
    assert not (tmp_path / "weights/mimaface/bfm09.mat").exists()


def test_import_needs_no_network(weights, hub, release_folder, vae_folder, tmp_path):
    other = tmp_path / "other disk"
    result = weights("import", release_folder, "--dir", other)
    assert result.code == 0 and result.err == ""
    expected = [f"installed  {path}" for path in MIMAFACE] + [f"missing    {path}" for path in VAE]
    assert result.out.splitlines() == expected and hub.requests == []
    result = weights("import", vae_folder, "vae", "--dir", other, "--json")
    assert json.loads(result.out) == {"folder": str(other), "installed": VAE, "kept": [], "missing": []}
    assert weights("verify", "vae", "mimaface", "--dir", other).code == 0
    assert weights("where", "--json", "--dir", other).out == json.dumps({"folder": str(other), "files": {}}) + "\n"
    assert "lacks" in error_line(weights("import", vae_folder, "mimaface", "vae", "--dir", other))
    assert "contains no model file" in error_line(weights("import", ROOT / "examples"))
    assert "no such folder" in error_line(weights("import", tmp_path / "absent"), 3)
    shutil.copytree(release_folder, tmp_path / "cut")
    os.truncate(tmp_path / "cut/checkpoints/video/mim.pth", 1000)
    assert "mim.pth: cannot be read as weights" in error_line(weights("import", tmp_path / "cut"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("pull", "absent"), "absent: no such model. Choose one of"),
        (("verify", "absent"), "absent: no such model. Choose one of"),
        (("where", "absent"), "absent: no such model. Choose one of"),
        (("import", ".", "absent"), "absent: no such model. Choose one of"),
    ],
)
def test_unknown_model_prints_one_error_line(weights, words, text):
    assert text in error_line(weights(*words))


@pytest.mark.parametrize(
    "words", [("pull", "vae", "--all"), ("pull", "vae", "--for", "speech"), ("pull", "--for", "absent"), ("import",)]
)
def test_contradicting_options_are_refused(weights, words):
    assert "--help" in error_line(weights(*words), 2)


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 5), (b"\x04", 5)])
def test_terminal_prompts_for_licenses(hub_environment, tmp_path, answer, code):
    controller, terminal_end = pty.openpty()
    running = subprocess.Popen(
        command("pull", "vae"),
        env=hub_environment,
        stdin=terminal_end,
        stdout=terminal_end,
        stderr=terminal_end,
        start_new_session=True,
    )
    os.close(terminal_end)
    text, is_answered, deadline = b"", False, time.monotonic() + 90
    while time.monotonic() < deadline:
        if not select.select([controller], [], [], 0.1)[0]:
            continue
        try:
            text += os.read(controller, 4096)
        except OSError:  # the process has closed its end
            break
        if b"under these licenses?" in text and not is_answered:
            assert b"license: MIT" in text and not (tmp_path / "weights/vae").exists()
            os.write(controller, answer)
            is_answered = True
    os.close(controller)
    assert running.wait(30) == code and is_answered
    assert (tmp_path / "weights/vae/model.safetensors").exists() == (code == 0)
    assert (b"the licenses were not accepted; nothing was downloaded" in text) == (code == 5)
