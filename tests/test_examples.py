"""The media in examples/ match their description; the scripts in examples/ work and reproduce the media."""

import ctypes.util
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
from PIL import Image

from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.track import MotionTrack

EXAMPLES = Path(__file__).parents[1] / "examples"
TEMPLATES = ("nod", "shake", "smile", "look_around", "talk")
BASH = shutil.which("bash")
needs_bash = pytest.mark.skipif(BASH is None, reason="the shell scripts need bash")

RunScript = Callable[..., subprocess.CompletedProcess]


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_main(monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """Run the main function of a Python script in this process; returns its exit code and error stream."""

    def run(script: str, *arguments: Path | str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *map(str, arguments)])
        code = 0
        try:
            load_script(script).main()
        except SystemExit as exit_request:
            code = exit_request.code
        return code, capsys.readouterr().err

    return run


@pytest.fixture
def run_shell(tmp_path) -> RunScript:
    """Run a shell script with its own cache and with the `mimaface` of this Python first on the path."""

    def run(script: str, *arguments: Path | str) -> subprocess.CompletedProcess:
        environment = os.environ | {
            "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
            "MIMAFACE_CACHE_DIR": str(tmp_path / "cache"),
        }
        command = [BASH, str(EXAMPLES / script), *map(str, arguments)]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120, check=False
        )

    return run


@pytest.fixture
def short_track(tmp_path) -> Path:
    """Six frames of the driver's track, in a file with spaces and a special character in its name."""
    path = tmp_path / "Fahrer Nº 1.npz"
    MotionTrack.load(EXAMPLES / "driver.npz").select_frames(slice(20, 26)).save(path)
    return path


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory) -> Path:
    """Six frames of the driver, 320×320, without audio."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(EXAMPLES / "driver.mp4")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width = stream.height = 320
        stream.pix_fmt = "yuv420p"
        for _, frame in zip(range(6), source.decode(video=0), strict=False):
            image = frame.to_image().resize((320, 320))
            target.mux(stream.encode(av.VideoFrame.from_image(image)))
        target.mux(stream.encode(None))
    return path


def save_face(path: Path) -> None:
    """Save a small photo with a detectable face."""
    with Image.open(EXAMPLES / "portrait.jpg") as image:
        image.crop((106, 8, 346, 248)).save(path)


def save_noise(path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (160, 160, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def count_frames(path: Path) -> int:
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


def assert_same_motion(actual: MotionTrack, expected: MotionTrack) -> None:
    for key in ("expression", "pose", "gaze", "pts"):
        np.testing.assert_allclose(getattr(actual, key), getattr(expected, key), atol=1e-5)
    assert actual.meta == expected.meta


# Media


def test_portrait_is_a_small_rgb_jpeg_of_512_pixels():
    path = EXAMPLES / "portrait.jpg"
    assert path.stat().st_size <= 150_000
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (512, 512))


def test_result_image_is_a_small_rgb_jpeg_of_six_square_tiles():
    path = EXAMPLES / "result.jpg"
    assert path.stat().st_size <= 250_000
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert image.width == 6 * image.height + 5 * 4


def test_driver_video_has_documented_format_and_is_marked_as_generated():
    path = EXAMPLES / "driver.mp4"
    assert path.stat().st_size <= 1_000_000
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (512, 512, Fraction(25))
        assert "Generated" in video.metadata["comment"]
        assert len(video.streams.audio) == 1
    assert count_frames(path) == 155


def test_driver_video_is_silent_before_and_after_its_phonemes():
    with av.open(str(EXAMPLES / "driver.mp4")) as video:
        rate = video.streams.audio[0].rate
        blocks = [frame.to_ndarray() for frame in video.decode(audio=0)]
    samples = np.concatenate(blocks, 1)[0]
    rows = (EXAMPLES / "driver_speech.csv").read_text(encoding="utf-8").splitlines()[1:]
    times = [float(row.partition(",")[0]) for row in rows]

    def peak(start: float, stop: float) -> float:
        return float(np.abs(samples[int(start * rate) : int(stop * rate)]).max())

    assert peak(0.0, times[0] - 0.1) < 0.01
    assert peak(times[0], times[0] + 0.1) > 0.1
    assert peak(times[-1] + 0.1, 6.1) < 0.01


@pytest.fixture(scope="module")
def driver_track() -> MotionTrack:
    return MotionTrack.load(EXAMPLES / "driver.npz")


def test_driver_track_starts_at_rest(driver_track):
    assert (EXAMPLES / "driver.npz").stat().st_size <= 100_000
    assert (driver_track.meta.space, len(driver_track), driver_track.frame_rate) == ("face478", 155, Fraction(25))
    assert np.abs(driver_track.expression[0]).max() < 0.01
    assert np.abs(driver_track.pose[0]).max() < 0.01


def test_driver_track_closes_the_lips_at_every_bilabial_phoneme(driver_track):
    jaw = driver_track.expression[:, blendshape_index("jawOpen")]
    phonemes = load_script("make_driver").load_phonemes()
    closures = [(start, end) for start, end, phoneme in phonemes if phoneme in ("m", "p", "b")]
    assert len(closures) >= 8
    for start, end in closures:
        is_near = (driver_track.pts > start - 0.02) & (driver_track.pts < end + 0.02)
        assert jaw[is_near].min() < 0.03, f"the lips are open at {start:.2f} s"
    assert jaw.max() > 0.3
    assert jaw[driver_track.pts > 5.5].max() < 0.01, "the mouth moves after the speech"


def test_driver_track_blinks_briefly_and_moves_the_head_smoothly(driver_track):
    is_closed = driver_track.expression[:, blendshape_index("eyeBlinkLeft")] > 0.3
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_closed, [False]]).astype(int)))
    durations = (edges[1::2] - edges[::2]) / 25
    assert len(durations) == len(load_script("make_driver").BLINKS)
    assert ((durations >= 0.12) & (durations <= 0.2)).all()
    assert np.degrees(np.abs(np.diff(driver_track.pose[:, :3], axis=0)).max()) < 2.5, "the head jumps"


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_track_starts_and_ends_at_rest_and_blinks(name):
    path = EXAMPLES / f"{name}.npz"
    assert path.stat().st_size <= 110_000
    track = MotionTrack.load(path)
    for frame in (0, -1):  # Templates can follow each other.
        assert np.abs(track.expression[frame]).max() < 0.02
        assert np.degrees(np.abs(track.pose[frame, :3])).max() < 0.3
        assert np.degrees(np.abs(track.gaze[frame])).max() < 0.3
    assert np.degrees(np.abs(np.diff(track.pose[:, :3], axis=0)).max()) < 3, "the head jumps"
    assert (track.expression[:, blendshape_index("eyeBlinkLeft")] > 0.8).any()


# Python scripts


def test_make_driver_reproduces_the_shipped_track(driver_track):
    assert_same_motion(load_script("make_driver").make_track(), driver_track)


def test_make_driver_writes_a_video_with_the_speech(tmp_path):
    script = load_script("make_driver")
    output = tmp_path / "driver.mp4"
    script.make_video(script.make_track().select_frames(slice(4)), EXAMPLES / "driver.mp4", output, overwrite=False)
    assert count_frames(output) == 4
    with av.open(str(output)) as video:
        assert len(video.streams.audio) == 1


def test_make_driver_does_not_replace_an_existing_track(run_main, tmp_path):
    output = tmp_path / "driver.npz"
    output.write_bytes(b"mine")
    code, error = run_main("make_driver", EXAMPLES / "driver.mp4", "-o", tmp_path / "driver.mp4", "--track", output)
    assert code == 1
    assert "driver.npz" in error
    assert output.read_bytes() == b"mine"
    assert not (tmp_path / "driver.mp4").exists()


def test_make_result_joins_the_portrait_and_five_frames(run_main, tmp_path):
    code, error = run_main("make_result", EXAMPLES / "driver.mp4", "-o", tmp_path / "row.jpg")
    assert code == 0, error
    with Image.open(tmp_path / "row.jpg") as row:
        assert row.width == 6 * row.height + 5 * 4


def test_make_result_rejects_a_short_video(run_main, tmp_path, short_clip):
    code, error = run_main("make_result", short_clip, "-o", tmp_path / "row.jpg")
    assert code == 1
    assert "clip.mp4" in error
    assert not (tmp_path / "row.jpg").exists()


@pytest.mark.skipif(ctypes.util.find_library("espeak-ng") is None, reason="needs the espeak-ng library")
def test_make_speech_times_its_phonemes_within_the_audio():
    rate, samples, phonemes = load_script("make_speech").synthesize_speech("Mimaface moves a portrait.")
    starts = [start for start, _ in phonemes]
    assert starts == sorted(starts)
    assert 0.5 < starts[-1] <= len(samples) / 2 / rate
    names = [name for _, name in phonemes if name]
    assert names[0] == names[2] == "m"
    assert "p" in names


@pytest.mark.parametrize("name", TEMPLATES)
def test_make_templates_reproduces_the_shipped_track(name, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    script = load_script("make_templates")
    assert_same_motion(script.make_template(script.TEMPLATES[name]), MotionTrack.load(EXAMPLES / f"{name}.npz"))


# Shell scripts


@needs_bash
@pytest.mark.parametrize("script", ["batch_photos.sh", "dub_languages.sh", "preextract.sh"])
def test_shell_script_prints_its_help(run_shell, script):
    done = run_shell(script, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {script}")
    assert not done.stderr


@needs_bash
@pytest.mark.parametrize("script", ["batch_photos.sh", "preextract.sh"])
def test_shell_script_rejects_wrong_usage_with_a_one_line_error(run_shell, tmp_path, script):
    assert run_shell(script).returncode == 2
    (tmp_path / "empty").mkdir()
    positional = {"batch_photos.sh": [EXAMPLES / "driver.npz", "results"], "preextract.sh": []}[script]
    for folder, options in (("missing", []), ("empty", []), ("empty", ["--strength", "1"])):
        done = run_shell(script, folder, *positional, *options)
        assert done.returncode == 2
        assert done.stderr.startswith(f"{script}: ")
        assert done.stderr.count("\n") == 1


@needs_bash
def test_batch_photos_renders_valid_photos_reports_failures_and_resumes(run_shell, tmp_path, short_track):
    photos, results = tmp_path / "Fotos & 写真", tmp_path / "Ergebnisse (neu)"
    photos.mkdir()
    save_face(photos / "Zoë 100%.jpg")
    save_face(photos / "-dash.PNG")
    save_noise(photos / "kein Gesicht.png")
    (photos / "notes.txt").write_text("not a photo")

    first = run_shell("batch_photos.sh", photos, short_track, results, "--", "--quiet")
    assert first.returncode == 1
    assert first.stdout == "2 rendered, 0 existed, 1 failed\n"
    assert first.stderr.splitlines()[-1] == "failed: kein Gesicht.png"
    assert "no face" in first.stderr
    videos = ["-dash.mp4", "Zoë 100%.mp4"]
    records = [f"{name}.provenance.json" for name in videos]
    assert sorted(path.name for path in results.iterdir()) == sorted([*videos, *records])
    assert [count_frames(results / name) for name in videos] == [6, 6]

    (photos / "kein Gesicht.png").unlink()
    times_before = [(results / name).stat().st_mtime_ns for name in videos]
    second = run_shell("batch_photos.sh", photos, short_track, results)
    assert (second.returncode, second.stdout) == (0, "0 rendered, 2 existed, 0 failed\n")
    assert [(results / name).stat().st_mtime_ns for name in videos] == times_before


@needs_bash
def test_batch_photos_rejects_two_photos_with_the_same_result(run_shell, tmp_path, short_track):
    photos, results = tmp_path / "photos", tmp_path / "results"
    photos.mkdir()
    results.mkdir()
    for name in ("a.jpg", "a.png"):
        save_noise(photos / name)
    (results / "a.mp4").touch()
    done = run_shell("batch_photos.sh", photos, short_track, results)
    assert (done.returncode, done.stdout) == (1, "0 rendered, 1 existed, 1 failed\n")
    assert "Rename one" in done.stderr
    assert done.stderr.endswith("failed: a.png\n")


@needs_bash
@pytest.mark.slow
def test_dub_languages_dubs_each_voice_once(run_shell, tmp_path, short_clip):
    voices, results = tmp_path / "Stimmen & 声", tmp_path / "Ergebnisse"
    voices.mkdir()
    for name in ("de.wav", "-fr.wav"):
        write_tone(voices / name)
    (voices / "it.wav").write_text("not audio")
    write_tone(voices / "de.flac.wav")
    clip = tmp_path / "Clip Nº 1.mp4"
    shutil.copy(short_clip, clip)
    first = run_shell("dub_languages.sh", clip, voices, results, "--", "--quiet")
    assert (first.returncode, first.stdout) == (1, "3 rendered, 0 existed, 1 failed\n"), first.stderr
    assert first.stderr.splitlines()[-1] == "failed: it.wav"
    assert [count_frames(results / f"{name}.mp4") for name in ("de", "-fr", "de.flac")] == [6, 6, 6]
    (voices / "it.wav").unlink()
    second = run_shell("dub_languages.sh", clip, voices, results)
    assert (second.returncode, second.stdout) == (0, "0 rendered, 3 existed, 0 failed\n")


@needs_bash
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["missing.mp4", "voices"], "missing.mp4: the file does not exist"),
        (["clip.mp4", "voices"], "contains no audio"),
    ],
)
def test_dub_languages_explains_wrong_arguments(run_shell, tmp_path, names, message):
    (tmp_path / "voices").mkdir()
    (tmp_path / "clip.mp4").touch()
    done = run_shell("dub_languages.sh", *(tmp_path / name for name in names), "results")
    assert done.returncode == 2 and message in done.stderr


def write_tone(path: Path) -> None:
    """Write 0.24 s of a tone."""
    samples = np.round(9000 * np.sin(np.arange(3840) * 0.1)).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


@needs_bash
def test_preextract_writes_tracks_once_and_fills_the_cache_for_batch_photos(run_shell, tmp_path, short_clip):
    clips, tracks = tmp_path / "Clips für später", tmp_path / "Spuren"
    clips.mkdir()
    shutil.copy(short_clip, clips / "Gespräch 1.mp4")
    (clips / "broken.mov").write_text("not a video")

    first = run_shell("preextract.sh", clips, "-o", tracks, "--", "--quiet")
    assert (first.returncode, first.stdout) == (1, "1 extracted, 0 existed, 1 failed\n")
    assert first.stderr.endswith("failed: broken.mov\n")
    assert len(MotionTrack.load(tracks / "Gespräch 1.npz")) == 6
    assert [path.name for path in tracks.iterdir()] == ["Gespräch 1.npz"]

    (clips / "broken.mov").unlink()
    second = run_shell("preextract.sh", clips, "-o", tracks)
    assert (second.returncode, second.stdout) == (0, "0 extracted, 1 existed, 0 failed\n")

    photos = tmp_path / "photos"
    photos.mkdir()
    save_face(photos / "face.png")
    done = run_shell("batch_photos.sh", photos, clips / "Gespräch 1.mp4", tmp_path / "out", "--", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    assert result["driver_cached"]
    assert result["frames"] == 6
