"""Fixtures for all tests: a portrait and a driver of a real face, tiny weights, and ways to run the command."""

import os
import signal
import subprocess
import sys
import wave
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.hub import Hub, serve

ROOT = Path(__file__).parents[1]
NTSC = Fraction(30000, 1001)
FRAMES = 14


def pytest_configure() -> None:
    """Accept Ctrl-C: a shell ignores it for background processes, and the tests' processes would inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Sample:
    """Media that all tests share; read-only.

    Attributes:
        portrait: A photo, 512×512.
        track: A motion track of FRAMES frames at NTSC: the head turns and nods, the mouth opens and closes.
        driver: The portrait animated by the track, with the audio of `audio`.
        audio: One second of noise, mono, 16-bit, 44,100 Hz.
        cache: A cache folder, which holds the driver's track after the first run.
    """

    portrait: Path
    track: Path
    driver: Path
    audio: Path
    cache: Path


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    times: Iterable[Fraction],
    rate: Fraction = NTSC,
    audio: bytes | None = None,
) -> Path:
    """Write a video with PyAV, independently of the package.

    Args:
        path: The file to write.
        frames: (H, W, 3) uint8, encoded as H.264.
        times: Times of the frames in seconds.
        rate: Nominal frame rate.
        audio: Mono 16-bit samples at 44,100 Hz, encoded as AAC, or None.
    """
    clock = Fraction(1, 90_000)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "ultrafast"})
        video.codec_context.time_base = clock
        video.pix_fmt = "yuv420p"
        audio_stream = out.add_stream("aac", rate=44_100) if audio is not None else None
        if audio_stream is not None:
            audio_stream.layout = "mono"
        for image, time in zip(frames, times, strict=False):
            if not video.codec_context.is_open:
                video.height, video.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time / clock), clock
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio_stream is not None:
            samples = np.frombuffer(audio, np.int16)
            for start in range(0, len(samples), 1024):
                chunk = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "s16", "mono")
                chunk.sample_rate, chunk.pts, chunk.time_base = 44_100, start, Fraction(1, 44_100)
                out.mux(audio_stream.encode(chunk))
            out.mux(audio_stream.encode(None))
    return path


def read_video(path: Path) -> tuple[list[np.ndarray], list[Fraction]]:
    """Return the frames (H, W, 3) of a video and their times relative to the first frame; uses PyAV alone."""
    with av.open(str(path)) as file:
        frames = [(frame.to_ndarray(format="rgb24"), frame.pts * frame.time_base) for frame in file.decode(video=0)]
    return [image for image, _ in frames], [time - frames[0][1] for _, time in frames]


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Sample:
    from mimaface_cli.apps.animate import animate
    from mimaface_cli.apps.animate_options import AnimateOptions
    from mimaface_cli.media.encode_options import EncodeOptions
    from mimaface_cli.motion.coefficients import blendshape_index
    from mimaface_cli.motion.track import MotionTrack

    folder = tmp_path_factory.mktemp("sample")
    portrait = ROOT / "examples" / "portrait.jpg"
    phase = np.linspace(0, 2 * np.pi, FRAMES)
    track = MotionTrack.neutral(FRAMES, "face478", NTSC)
    expression, pose = track.expression.copy(), track.pose.copy()
    expression[:, blendshape_index("jawOpen")] = 0.3 * (1 - np.cos(phase))
    pose[:, 0], pose[:, 1] = 0.05 * np.sin(2 * phase), 0.15 * np.sin(phase)
    replace(track, expression=expression, pose=pose).save(folder / "track.npz")

    samples = np.random.default_rng(1).integers(-8000, 8000, 44_100, np.int16).tobytes()
    with wave.open(str(folder / "audio.wav"), "wb") as file:
        file.setparams((1, 2, 44_100, 0, "NONE", ""))
        file.writeframes(samples)
    options = AnimateOptions(audio=str(folder / "audio.wav"), encode=EncodeOptions(crf=12, preset="ultrafast"))
    animate(portrait, folder / "track.npz", folder / "driver.mp4", options)
    return Sample(portrait, folder / "track.npz", folder / "driver.mp4", folder / "audio.wav", folder / "cache")


@pytest.fixture(scope="session")
def release_folder(tmp_path_factory) -> Path:
    """A tiny model in the layout of the release; read-only."""
    from tests.tiny import make_release

    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session")
def vae_folder(tmp_path_factory) -> Path:
    """A tiny model in the layout of sd-vae-ft-mse; read-only."""
    from tests.tiny import make_vae

    return make_vae(tmp_path_factory.mktemp("sd-vae") / "sd-vae-ft-mse")


@contextmanager
def weights_at(folder: Path) -> Iterator[Path]:
    """Use a weights folder within the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIMAFACE_WEIGHTS_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny_weights(release_folder, vae_folder, tmp_path_factory) -> Path:
    """A weights folder with tiny models for inference and the real landmark model; read-only."""
    from mimaface_cli.weights.install import import_folder
    from mimaface_cli.weights.locate import locate

    landmarker = locate("face_landmarker")
    folder = tmp_path_factory.mktemp("weights")
    os.symlink(landmarker, folder / landmarker.name)
    with weights_at(folder):
        import_folder(release_folder, ["mimaface"])
        import_folder(vae_folder, ["vae"])
    return folder


@pytest.fixture
def installed_tiny_weights(tiny_weights) -> Iterator[Path]:
    """Use the tiny models for one test."""
    with weights_at(tiny_weights) as folder:
        yield folder


@pytest.fixture
def hub() -> Iterator[Hub]:
    """An empty model hub on this machine."""
    with serve() as hub:
        yield hub


@pytest.fixture(scope="session")
def environment(sample) -> dict[str, str]:
    """Environment of a run: the shared cache, no colors, none of the developer's settings."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MIMAFACE", "PYTEST", "COV"))
    }
    return inherited | {
        "MIMAFACE_CACHE_DIR": str(sample.cache),
        "MIMAFACE_CONFIG": "",
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
    }


@pytest.fixture
def run_mimaface(environment, tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Run the real command in a process; `env` has additional variables. Slow: prefer `run_command`."""

    def run(*words: Path | str, env: dict[str, str] | None = None, **settings) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "mimaface_cli", *map(str, words)]
        arguments = {"capture_output": True, "encoding": "utf-8", "timeout": 120, "cwd": tmp_path} | settings
        return subprocess.run(command, env=environment | (env or {}), **arguments, check=False)

    return run


@dataclass(frozen=True)
class CommandResult:
    """Exit code, output and error stream of a command line."""

    code: int
    out: str
    err: str


@pytest.fixture
def run_command(sample, monkeypatch, tmp_path, capfd) -> Callable[..., CommandResult]:
    """Run a command line in this process, without what `mimaface_cli.cli.process` sets up."""
    from mimaface_cli.cli.app import run

    monkeypatch.setenv("MIMAFACE_CACHE_DIR", str(sample.cache))
    monkeypatch.chdir(tmp_path)

    def call(*words: Path | str) -> CommandResult:
        capfd.readouterr()
        code = run(list(map(str, words)))
        out, err = capfd.readouterr()
        return CommandResult(code, out, err)

    return call


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Return all files and folders with size and modification time; equal trees mean that no file changed."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    } | {str(path.relative_to(folder)) + "/": (0, 0) for path in sorted(folder.rglob("*")) if path.is_dir()}
