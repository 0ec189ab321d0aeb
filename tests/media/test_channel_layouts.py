"""Multichannel audio: every layout is read, in a process that survives, and channels keep their places."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from mimaface_cli.media.audio import AudioReader
from mimaface_cli.media.channel_layout import plan_channels
from mimaface_cli.media.waveform import SAMPLE_RATE
from tests.conftest import ROOT
from tests.media.ffmpeg import decode_channels, main_frequency, run_ffmpeg, tones
from tests.media.synthetic_media import make_clip
from tests.media.test_audio_muxer import write_with_audio

RATE = 16_000
FREQUENCIES = [300, 400, 500, 60, 700, 800, 900, 1000]  # of FL FR FC LFE BL BR SL SR

# Reads the audio twice, writes it to a file, and frees everything.
_READ = """
import gc, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from mimaface_cli.media.audio import AudioTrack
from mimaface_cli.media.waveform import open_waveform
from mimaface_cli.media.writer import VideoWriter
path, target = map(Path, sys.argv[1:])
with open_waveform(path) as waveform:
    print(len(waveform), float(np.abs(waveform.read(0, len(waveform))).max()), waveform.is_damaged)
with VideoWriter(target, 64, 64, Fraction(25), audio=AudioTrack(path)) as writer:
    for number in range(5):
        writer.write(np.full((64, 64, 3), number, np.uint8), number / 25)
gc.collect()
"""


def make_71(path: Path, codec: str = "pcm_s16be") -> Path:
    """Write 7.1 audio; AIFF and CAF store its channels in an order of their own."""
    run_ffmpeg(*tones(FREQUENCIES, 0.5, RATE, "7.1"), "-c:a", codec, path)
    return path


def make_ambisonic(path: Path) -> Path:
    source = tones([300, 300, 500, 500], 0.5, 48_000, "ambisonic 1")
    run_ffmpeg(*source, "-c:a", "libopus", "-mapping_family", 2, path)
    return path


def make_unnamed(path: Path, count: int) -> Path:
    run_ffmpeg(*tones([300] * count, 0.5, RATE, f"{count}c"), "-c:a", "pcm_s16le", path)
    return path


MAKERS = {
    "7.1.aiff": make_71,
    "7.1.caf": make_71,
    "7.1.flac": lambda path: make_71(path, "flac"),
    "ambisonic.ogg": make_ambisonic,
    "unnamed3.wav": lambda path: make_unnamed(path, 3),
    "unnamed12.wav": lambda path: make_unnamed(path, 12),
    "unnamed24.mkv": lambda path: make_unnamed(path, 24),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_every_layout_is_read_and_written_without_a_crash(tmp_path, name, suffix):
    path = MAKERS[name](tmp_path / name)
    command = [sys.executable, "-c", _READ, str(path), str(tmp_path / f"out{suffix}")]
    environment = {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "85", "PYTHONPATH": str(ROOT)}  # freed memory is garbage
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    length, peak, is_damaged = done.stdout.split()
    assert int(length) == SAMPLE_RATE // 2 and float(peak) > 0.05 and is_damaged == "False"
    with av.open(str(tmp_path / f"out{suffix}")) as file:
        assert file.streams.audio and len(list(file.demux(audio=0))) > 1


@pytest.mark.parametrize("name", ["a.aiff", "a.caf", "a.wav"])
def test_channels_of_another_order_keep_their_places(tmp_path, name):
    source = make_71(tmp_path / name, "pcm_s16le" if name.endswith(".wav") else "pcm_s16be")
    write_with_audio(source, tmp_path / "b.mp4", 12)
    raw = run_ffmpeg("-i", source, "-af", "aformat=channel_layouts=7.1", "-f", "f32le", "-")
    expected = np.frombuffer(raw, np.float32).reshape(-1, 8).T  # FFmpeg reorders by the names of the channels
    found = [round(main_frequency(samples[:19200], 48_000) / 20) for samples in decode_channels(tmp_path / "b.mp4", 8)]
    assert found == [round(main_frequency(samples[:6400], RATE) / 20) for samples in expected]


def test_program_starts_reading_at_the_origin(tmp_path):
    source = make_71(tmp_path / "a.aiff")
    whole, part = AudioReader(source, 0.0), AudioReader(source, 0.2)
    complete = np.concatenate([frame.to_ndarray().reshape(-1, 8) for frame in whole.frames()])
    frames = list(part.frames())
    assert part.frame_seconds(frames[0]) == 0
    shifted = np.concatenate([frame.to_ndarray().reshape(-1, 8) for frame in frames])
    assert np.array_equal(shifted, complete[RATE // 5 :]) and not part.is_damaged
    whole.close()
    part.close()


def test_closing_early_ends_the_program(tmp_path):
    reader = AudioReader(make_71(tmp_path / "a.aiff"), 0.0)
    next(reader.frames())
    reader.close()


def test_video_with_audio_of_another_order_is_decoded(tmp_path):
    """The crash came from the audio's layout, although only the frames were wanted."""
    video, audio = make_clip(tmp_path / "v.mp4", 10), make_71(tmp_path / "a.caf")
    run_ffmpeg("-i", video, "-i", audio, "-c", "copy", tmp_path / "c.mov")
    write_with_audio(tmp_path / "c.mov", tmp_path / "d.mp4", 10)
    with av.open(str(tmp_path / "d.mp4")) as file:
        assert file.streams.audio[0].layout.name == "7.1"


@pytest.mark.parametrize(
    ("name", "channels", "layout"),
    [
        ("5.1", "FL FR FC LFE BL BR", "5.1"),
        ("6 channels (FL+FR+SL+SR+FC+LFE)", "FL FR SL SR FC LFE", "5.1(side)"),
        ("2 channels (FR+FL)", "FR FL", "stereo"),
        ("4 channels (FL+FR+FL+FR)", "FL FR FL FR", "stereo"),
        ("6 channels", "NONE NONE NONE NONE NONE NONE", "5.1"),
        ("12 channels", " ".join(["NONE"] * 12), "mono"),
        ("5.1.2", "FL FR FC LFE BL BR TFL TFR", "stereo"),
        ("ambisonic 1", "AMBI0 AMBI1 AMBI2 AMBI3", "stereo"),
    ],
)
def test_unusual_layouts_become_standard_ones(name, channels, layout):
    plan = plan_channels(name, tuple(channels.split()))
    assert plan.layout == layout
    if plan.matrix is not None:
        assert plan.matrix.any(axis=1).all() and np.abs(plan.matrix).sum(1).max() <= 1.0001


def test_reordering_moves_every_channel_once():
    plan = plan_channels("2 channels (FR+FL)", ("FR", "FL"))
    assert plan.apply(np.array([[1.0], [2.0]], np.float32)).tolist() == [[2.0], [1.0]]
