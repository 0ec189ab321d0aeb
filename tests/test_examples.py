"""What examples/ ships: the media are what their README says, and the scripts do what they promise."""

import ctypes.util
import importlib.util
import json
import os
import shutil
import subprocess
import sys
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
BASH = shutil.which("bash")
needs_bash = pytest.mark.skipif(BASH is None, reason="the shell scripts need bash")


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path):
    """Run an example script with its own cache, on the command that belongs to this Python."""

    def run_script(script: str, *arguments: Path | str) -> subprocess.CompletedProcess:
        folder = os.path.dirname(sys.executable)
        environment = os.environ | {
            "PATH": folder + os.pathsep + os.environ["PATH"],
            "MIMAFACE_CACHE_DIR": str(tmp_path / "cache"),
        }
        runner = BASH if script.endswith(".sh") else sys.executable
        command = [runner, EXAMPLES / script, *arguments]
        return subprocess.run(
            list(map(str, command)), env=environment, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120
        )

    return run_script


@pytest.fixture
def short_track(tmp_path) -> Path:
    path = tmp_path / "Fahrer Nº 1.npz"
    MotionTrack.load(EXAMPLES / "driver.npz").select_frames(slice(20, 26)).save(path)
    return path


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory) -> Path:
    """Six frames of the driver, 320×320, without sound."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(EXAMPLES / "driver.mp4")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width = stream.height = 320
        stream.pix_fmt = "yuv420p"
        for _, frame in zip(range(6), source.decode(video=0)):
            small = av.VideoFrame.from_image(frame.to_image().resize((320, 320)))
            target.mux(stream.encode(small))
        target.mux(stream.encode(None))
    return path


def save_face(path: Path) -> None:
    """A small photo with a face that is found."""
    with Image.open(EXAMPLES / "portrait.jpg") as image:
        image.crop((106, 8, 346, 248)).save(path)


def save_noise(path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (160, 160, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def frame_count(path: Path) -> int:
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


# The media


def test_pictures_are_what_the_readme_says():
    for name, limit in (("portrait.jpg", 150_000), ("result.jpg", 250_000)):
        assert (EXAMPLES / name).stat().st_size <= limit
        with Image.open(EXAMPLES / name) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            if name == "portrait.jpg":
                assert image.size == (512, 512)
            else:
                assert image.width == 6 * image.height + 5 * 4


def test_driver_video_is_what_the_readme_says():
    path = EXAMPLES / "driver.mp4"
    assert path.stat().st_size <= 1_000_000
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (512, 512, Fraction(25))
        assert "Generated" in video.metadata["comment"]
        assert len(video.streams.audio) == 1
    assert frame_count(path) == 155


def test_driver_is_silent_before_and_after_its_phonemes():
    with av.open(str(EXAMPLES / "driver.mp4")) as video:
        rate = video.streams.audio[0].rate
        blocks = [frame.to_ndarray() for frame in video.decode(audio=0)]
    sound = np.concatenate(blocks, 1)[0]
    rows = (EXAMPLES / "driver_speech.csv").read_text(encoding="utf-8").splitlines()[1:]
    times = [float(row.partition(",")[0]) for row in rows]
    loudness = lambda start, stop: float(np.abs(sound[int(start * rate) : int(stop * rate)]).max())  # noqa: E731
    assert loudness(0.0, times[0] - 0.1) < 0.01
    assert loudness(times[0], times[0] + 0.1) > 0.1
    assert loudness(times[-1] + 0.1, 6.1) < 0.01


def test_track_starts_at_rest_and_shuts_lips_and_eyes_in_time():
    path = EXAMPLES / "driver.npz"
    assert path.stat().st_size <= 100_000
    track = MotionTrack.load(path)
    assert (track.meta.space, len(track), track.frame_rate) == ("face478", 155, Fraction(25))
    assert np.abs(track.expression[0]).max() < 0.01 and np.abs(track.pose[0]).max() < 0.01

    script = load_script("make_driver")
    jaw = track.expression[:, blendshape_index("jawOpen")]
    closures = [(start, end) for start, end, phoneme in script.phonemes() if phoneme in ("m", "p", "b")]
    assert len(closures) >= 8
    for start, end in closures:
        near = (track.pts > start - 0.02) & (track.pts < end + 0.02)
        assert jaw[near].min() < 0.03, f"lips stay apart at {start:.2f} s"
    assert jaw.max() > 0.3
    assert jaw[track.pts > 5.5].max() < 0.01, "the mouth moves after the speech"

    shut = track.expression[:, blendshape_index("eyeBlinkLeft")] > 0.3
    edges = np.flatnonzero(np.diff(np.concatenate([[False], shut, [False]]).astype(int)))
    lengths = (edges[1::2] - edges[::2]) / 25
    assert len(lengths) == len(script.BLINKS) and ((lengths >= 0.12) & (lengths <= 0.2)).all()
    assert np.degrees(np.abs(np.diff(track.pose[:, :3], axis=0)).max()) < 2.5, "the head jumps"


# The scripts in Python


def test_make_driver_makes_the_shipped_track():
    made, shipped = load_script("make_driver").make_track(), MotionTrack.load(EXAMPLES / "driver.npz")
    for key in ("expression", "pose", "gaze", "pts"):
        np.testing.assert_allclose(getattr(made, key), getattr(shipped, key), atol=1e-5)


def test_make_driver_writes_a_video_with_the_speech(tmp_path):
    script = load_script("make_driver")
    output = tmp_path / "driver.mp4"
    script.make_video(script.make_track().select_frames(slice(4)), EXAMPLES / "driver.mp4", output, overwrite=False)
    assert frame_count(output) == 4
    with av.open(str(output)) as video:
        assert len(video.streams.audio) == 1


def test_make_driver_leaves_what_exists(run, tmp_path):
    output = tmp_path / "driver.npz"
    output.write_bytes(b"mine")
    ended = run("make_driver.py", EXAMPLES / "driver.mp4", "-o", tmp_path / "driver.mp4", "--track", output)
    assert ended.returncode == 1 and "driver.npz" in ended.stderr and "Traceback" not in ended.stderr
    assert output.read_bytes() == b"mine" and not (tmp_path / "driver.mp4").exists()


def test_make_result_needs_a_whole_video(run, tmp_path, short_clip):
    ended = run("make_result.py", EXAMPLES / "driver.mp4", "-o", tmp_path / "row.jpg")
    assert ended.returncode == 0, ended.stderr
    with Image.open(tmp_path / "row.jpg") as row:
        assert row.width == 6 * row.height + 5 * 4
    ended = run("make_result.py", short_clip, "-o", tmp_path / "other.jpg")
    assert ended.returncode == 1 and "clip.mp4" in ended.stderr and not (tmp_path / "other.jpg").exists()


@pytest.mark.skipif(ctypes.util.find_library("espeak-ng") is None, reason="needs the espeak-ng library")
def test_make_speech_speaks_and_times_its_phonemes():
    rate, samples, phonemes = load_script("make_speech").speak("Mimaface moves a portrait.")
    starts = [start for start, _ in phonemes]
    assert starts == sorted(starts) and 0.5 < starts[-1] <= len(samples) / 2 / rate
    names = [name for _, name in phonemes if name]
    assert names[0] == names[2] == "m" and "p" in names


# The shell scripts


@needs_bash
@pytest.mark.parametrize("script", ["batch_photos.sh", "preextract.sh"])
def test_scripts_explain_themselves_and_refuse_wrong_use(run, tmp_path, script):
    told = run(script, "--help")
    assert told.returncode == 0 and told.stdout.startswith(f"Usage: {script}") and not told.stderr
    assert run(script).returncode == 2
    (tmp_path / "empty").mkdir()
    rest = {"batch_photos.sh": [EXAMPLES / "driver.npz", "results"], "preextract.sh": []}[script]
    for folder, more in (("missing", []), ("empty", []), ("empty", ["--strength", "1"])):
        refused = run(script, folder, *rest, *more)
        assert refused.returncode == 2 and refused.stderr.startswith(f"{script}: ") and refused.stderr.count("\n") == 1


@needs_bash
def test_batch_photos_makes_the_good_and_reports_the_bad(run, tmp_path, short_track):
    photos, results = tmp_path / "Fotos & 写真", tmp_path / "Ergebnisse (neu)"
    photos.mkdir()
    save_face(photos / "Zoë 100%.jpg")
    save_face(photos / "-dash.PNG")
    save_noise(photos / "kein Gesicht.png")
    (photos / "notes.txt").write_text("not a photo")

    first = run("batch_photos.sh", photos, short_track, results, "--", "--quiet")
    assert first.returncode == 1
    assert first.stdout == "2 made, 0 there already, 1 failed\n"
    assert first.stderr.splitlines()[-1] == "failed: kein Gesicht.png" and "no face" in first.stderr
    made = ["-dash.mp4", "Zoë 100%.mp4"]
    assert sorted(path.name for path in results.iterdir()) == sorted(
        [*made, *(f"{name}.provenance.json" for name in made)]
    )
    assert [frame_count(results / name) for name in made] == [6, 6]

    (photos / "kein Gesicht.png").unlink()
    before = [(results / name).stat().st_mtime_ns for name in made]
    again = run("batch_photos.sh", photos, short_track, results)
    assert (again.returncode, again.stdout) == (0, "0 made, 2 there already, 0 failed\n")
    assert [(results / name).stat().st_mtime_ns for name in made] == before


@needs_bash
def test_batch_photos_gives_no_photo_the_result_of_another(run, tmp_path, short_track):
    photos, results = tmp_path / "photos", tmp_path / "results"
    photos.mkdir()
    results.mkdir()
    for name in ("a.jpg", "a.png"):
        save_noise(photos / name)
    (results / "a.mp4").touch()
    ended = run("batch_photos.sh", photos, short_track, results)
    assert (ended.returncode, ended.stdout) == (1, "0 made, 1 there already, 1 failed\n")
    assert "rename one" in ended.stderr and ended.stderr.endswith("failed: a.png\n")


@needs_bash
def test_preextract_reads_clips_once_and_batch_photos_finds_them(run, tmp_path, short_clip):
    clips, tracks = tmp_path / "Clips für später", tmp_path / "Spuren"
    clips.mkdir()
    shutil.copy(short_clip, clips / "Gespräch 1.mp4")
    (clips / "broken.mov").write_text("this is no video")

    first = run("preextract.sh", clips, "-o", tracks, "--", "--quiet")
    assert (first.returncode, first.stdout) == (1, "1 read, 0 there already, 1 failed\n")
    assert first.stderr.endswith("failed: broken.mov\n")
    assert len(MotionTrack.load(tracks / "Gespräch 1.npz")) == 6
    assert [path.name for path in tracks.iterdir()] == ["Gespräch 1.npz"]

    (clips / "broken.mov").unlink()
    again = run("preextract.sh", clips, "-o", tracks)
    assert (again.returncode, again.stdout) == (0, "0 read, 1 there already, 0 failed\n")

    photos = tmp_path / "photos"
    photos.mkdir()
    save_face(photos / "face.png")
    ended = run("batch_photos.sh", photos, clips / "Gespräch 1.mp4", tmp_path / "out", "--", "--json", "--quiet")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout[ended.stdout.index("{") : ended.stdout.rindex("}") + 1])
    assert told["driver_cached"] and told["frames"] == 6


@pytest.mark.parametrize("name", ["nod", "shake", "smile", "look_around", "talk"])
def test_templates_are_what_their_script_makes(name, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    script = load_script("make_templates")
    path = EXAMPLES / f"{name}.npz"
    made, shipped = script.make_template(script.TEMPLATES[name]), MotionTrack.load(path)
    assert path.stat().st_size <= 110_000
    for key in ("expression", "pose", "gaze", "pts"):
        np.testing.assert_allclose(getattr(made, key), getattr(shipped, key), atol=1e-5)
    for frame in (0, -1):  # from rest to rest: templates may follow each other
        assert np.abs(shipped.expression[frame]).max() < 0.02
        assert np.degrees(np.abs(shipped.pose[frame, :3])).max() < 0.3
        assert np.degrees(np.abs(shipped.gaze[frame])).max() < 0.3
    assert np.degrees(np.abs(np.diff(shipped.pose[:, :3], axis=0)).max()) < 3, "the head jumps"
    assert (shipped.expression[:, blendshape_index("eyeBlinkLeft")] > 0.8).any(), "it never blinks"
