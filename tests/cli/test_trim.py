"""--start, --duration and --matte: exact frames, audio in sync, timecodes."""

import json
import subprocess
from dataclasses import replace
from fractions import Fraction

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from mimaface_cli.motion.track import MotionTrack
from tests.conftest import read_video

RATE = Fraction(30000, 1001)


@pytest.fixture(scope="module")
def driver(sample, tmp_path_factory):
    """The sample driver with a timecode."""
    path = tmp_path_factory.mktemp("timed") / "driver.mov"
    copy = ["-i", str(sample.driver), "-c", "copy", "-timecode", "01:00:00:10", str(path)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *copy], check=True)
    return path


def read_timecode(path):
    with av.open(str(path)) as file:
        timecodes = [stream.metadata.get("timecode") for stream in file.streams]
        return next(filter(None, [*timecodes, file.metadata.get("timecode")]), None)


def read_samples(path):
    with av.open(str(path)) as file:
        return np.concatenate([frame.to_ndarray().mean(0).ravel() for frame in file.decode(audio=0)]).astype(np.float64)


def test_trimmed_driver_keeps_audio_sync_and_timecode(run_command, sample, driver, tmp_path):
    whole = run_command("animate", sample.portrait, driver, "-o", "whole.mov", "--max-size", "192", "--lossless")
    assert whole.code == 0, whole.err
    part = run_command(
        "animate", sample.portrait, driver, "-o", "part.mov", "--max-size", "192", "--lossless", "--json",
        "--start", "00:00:00:06", "--duration", "0.2", "--motion", "relative", "--reference-frame", "0",
    )  # fmt: skip
    assert part.code == 0, part.err
    result = json.loads(part.out)
    assert (result["frames"], result["audio"]) == (6, "driver")
    assert (
        read_timecode(tmp_path / "whole.mov") == "01:00:00:10" and read_timecode(tmp_path / "part.mov") == "01:00:00:16"
    )
    audio, expected = read_samples(tmp_path / "part.mov"), read_samples(tmp_path / "whole.mov")
    start = round(6 / float(RATE) * 44_100)
    excerpt = expected[start + 2000 : start + 6000]
    lags = np.array([np.dot(audio[2000 + lag : 6000 + lag], excerpt) for lag in range(-1500, 1500)])
    assert abs(int(lags.argmax()) - 1500) < 60  # one or two milliseconds


def test_trimmed_extract_has_exact_frames(run_command, sample, driver, tmp_path):
    assert run_command("extract", driver, "-o", "whole.npz", "--smooth", "0").code == 0
    result = run_command("extract", driver, "-o", "part.npz", "--smooth", "0", "--start", "0.2", "--duration", "0.2")
    assert result.code == 0, result.err
    whole, part = MotionTrack.load(tmp_path / "whole.npz"), MotionTrack.load(tmp_path / "part.npz")
    first = int(np.searchsorted(whole.pts, 0.199))
    assert np.allclose(part.pts, whole.pts[first : first + 6], atol=1e-6)
    # Identity and crop are fitted per part; the motion must agree.
    head_turns = (
        np.diff(part.pose[1:, 1]),
        np.diff(whole.pose[first + 1 : first + 6, 1]),
    )  # the first frame is fitted less precisely
    assert np.abs(head_turns[0] - head_turns[1]).max() < 0.02 < np.abs(head_turns[1]).max()
    again = run_command("extract", "whole.npz", "-o", "cut.npz", "--start", "0.2", "--duration", "0.2")
    assert again.code == 0 and np.array_equal(
        MotionTrack.load(tmp_path / "cut.npz").expression, whole.expression[first : first + 6]
    )


def test_trimmed_video_source_keeps_timecode(run_command, sample, driver, tmp_path):
    still = MotionTrack.neutral(1, "face478", RATE)
    replace(still).save(tmp_path / "still.npz")
    result = run_command(
        "animate", driver, sample.portrait, "-o", "part.mov", "--max-size", "192",
        "--start", "0.2", "--duration", "0.2",
        "--json", "--compare",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert json.loads(result.out)["frames"] == 6 and read_timecode(tmp_path / "part.mov") == "01:00:00:16"
    assert len(read_video(tmp_path / "part.mov")[0]) == 6


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--start", "half"), 2, "--start: 'half' is not a time. Give seconds"),
        (("--start", "00:00:70"), 2, "Minutes and seconds after a colon go up to 59"),
        (("--duration", "0"), 2, "--duration: 0 is out of range"),
        (("--start", "99"), 3, "ends before --start (99 s)"),
        (("--start", "00:00:00:31"), 3, "no frame has this timecode"),
    ],
)
def test_bad_input_prints_one_error_line(run_command, sample, words, code, text):
    result = run_command("animate", sample.portrait, sample.driver, "-o", "out.mp4", *words)
    assert result.code == code and text in result.err and len(result.err.splitlines()) == 1, result.err


def test_start_is_refused_for_photo_driver(run_command, sample):
    result = run_command("animate", sample.portrait, sample.portrait, "-o", "out.png", "--start", "1")
    assert result.code == 3 and "is a single image" in result.err


@pytest.mark.parametrize("source_is_video", [False, True])
def test_matte_covers_every_changed_pixel(run_command, sample, tmp_path, source_is_video):
    source = sample.driver if source_is_video else sample.portrait
    words = ("animate", source, sample.driver, "-o", "out/%03d.png", "--matte", "matte/%03d.png", "--no-provenance")
    trim = ("--duration", "0.1") if source_is_video else ("--start", "0.2", "--duration", "0.1")
    result = run_command(*words, *trim)
    assert result.code == 0, result.err
    result_paths, matte_paths = (sorted((tmp_path / name).iterdir()) for name in ("out", "matte"))
    assert [path.name for path in result_paths] == [path.name for path in matte_paths] and len(result_paths) == 3
    mattes = np.stack([np.asarray(Image.open(path)) for path in matte_paths])
    assert (
        mattes.shape[-1] == 3
        and (mattes == 255).any()
        and (mattes == 0).any()
        and ((mattes > 20) & (mattes < 235)).any()
    )
    if not source_is_video:
        original = np.asarray(Image.open(sample.portrait).convert("RGB")).astype(float)
        for opacity, path in zip(mattes / 255, result_paths, strict=True):
            rendered = np.asarray(Image.open(path)).astype(float)
            assert (
                np.abs(rendered - (rendered * opacity + original * (1 - opacity))).max() <= 3
            )  # outside the matte nothing changed
    again = run_command(*words, "--compare")
    assert again.code == 2 and "--matte: cannot be combined with --compare" in again.err
