"""Bad inputs: the exit code, an error line that names the file or option and the fix, and no file left behind."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.bad_files import (
    changed_track,
    driver_link,
    empty_folder,
    file_with,
    png_header,
    truncated_copy,
    write_audio_file,
    write_changed_track,
    write_faceless_video,
    write_nan_track,
    write_pickled_track,
    write_track_with_meta,
)
from tests.conftest import read_video, tree, write_video

USAGE, INPUT, OUTPUT, WEIGHTS = 2, 3, 4, 5
OUT = ("-o", "out.mp4")
WITH_VIDEO, WITH_TRACK = ("animate", "PHOTO", "DRIVER"), ("animate", "PHOTO", "TRACK")


@dataclass(frozen=True)
class BadInput:
    """A command line that must fail.

    Attributes:
        code: Expected exit code.
        texts: Texts that the error line must contain.
        words: The command line; PHOTO, DRIVER and TRACK stand for valid files.
        prepare: Creates the bad input; takes the working directory and the sample files.
    """

    code: int
    texts: tuple[str, ...]
    words: tuple[str, ...]
    prepare: Callable = lambda folder, sample: None


def animate_photo(source: str) -> tuple[str, ...]:
    return ("animate", source, "TRACK", *OUT)


def animate_with(driver: str, *options: str) -> tuple[str, ...]:
    return ("animate", "PHOTO", driver, *options, *OUT)


CASES: dict[str, BadInput] = {
    # SOURCE.
    "source missing": BadInput(INPUT, ("gone.jpg", "no such file", "Check"), animate_photo("gone.jpg")),
    "source is a folder without images": BadInput(
        INPUT, ("pics", "no images", "numbered PNG"), animate_photo("pics"), file_with("pics/a.txt", b"existing")
    ),
    "source is a pattern without files": BadInput(
        INPUT,
        ("pics/%04d.png", "no image has such a name"),
        animate_photo("pics/%04d.png"),
        file_with("pics/a.png", b"existing"),
    ),
    "source is a track": BadInput(INPUT, ("track.npz", "driver"), ("animate", "TRACK", "DRIVER", *OUT)),
    "source empty": BadInput(INPUT, ("a.jpg", "empty", "complete"), animate_photo("a.jpg"), file_with("a.jpg", b"")),
    "source cut short": BadInput(
        INPUT, ("a.jpg", "cut short", "complete"), animate_photo("a.jpg"), truncated_copy("a.jpg", "portrait", 0.5)
    ),
    "source without pixels": BadInput(INPUT, ("a.png",), animate_photo("a.png"), file_with("a.png", png_header(0, 0))),
    "source too large": BadInput(
        INPUT,
        ("a.png", "too large", "megapixels"),
        animate_photo("a.png"),
        file_with("a.png", png_header(20_000, 20_000)),
    ),
    "source shows no face": BadInput(
        INPUT,
        ("a.png", "shows no face", "Use"),
        animate_photo("a.png"),
        lambda folder, sample: Image.new("RGB", (320, 320), (90, 120, 60)).save(folder / "a.png"),
    ),
    "source has one face, the third is selected": BadInput(
        INPUT, ("portrait.jpg", "number 3", "lower"), (*WITH_TRACK, *OUT, "--face", "3")
    ),
    # DRIVER.
    "driver missing": BadInput(INPUT, ("gone.mp4", "no such file"), animate_with("gone.mp4")),
    "driver is an empty folder": BadInput(INPUT, ("pics", "no images"), animate_with("pics"), empty_folder("pics")),
    "driver empty": BadInput(INPUT, ("a.mp4", "empty"), animate_with("a.mp4"), file_with("a.mp4", b"")),
    "driver cut short": BadInput(
        INPUT, ("a.mp4", "complete"), animate_with("a.mp4", "--strict"), truncated_copy("a.mp4", "driver", 0.6)
    ),
    "driver is text": BadInput(
        INPUT, ("a.mp4", "convert"), animate_with("a.mp4"), file_with("a.mp4", b"Dear diary, today\n" * 99)
    ),
    "driver is a playlist": BadInput(
        INPUT,
        ("a.mp4", "convert"),
        animate_with("a.mp4"),
        file_with("a.mp4", b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
    ),
    "source is an audio file": BadInput(
        INPUT,
        ("a.m4a", "audio but no video"),
        animate_photo("a.m4a"),
        lambda folder, sample: write_audio_file(folder / "a.m4a"),
    ),
    "driver shows no face": BadInput(
        INPUT,
        ("a.mp4", "shows no face", "Use"),
        animate_with("a.mp4"),
        lambda folder, sample: write_faceless_video(folder / "a.mp4"),
    ),
    "reference frame beyond the driver": BadInput(
        INPUT, ("no frame 99", "0 to 13"), (*WITH_TRACK, *OUT, "--reference-frame", "99")
    ),
    # Tracks.
    "track missing": BadInput(INPUT, ("gone.npz", "no such file", "mimaface extract"), animate_with("gone.npz")),
    "track is a folder": BadInput(INPUT, ("a.npz", "is a folder"), animate_with("a.npz"), empty_folder("a.npz")),
    "track cut short": BadInput(
        INPUT, ("a.npz", "Run mimaface extract again"), animate_with("a.npz"), truncated_copy("a.npz", "track", 0.7)
    ),
    "track is something else": BadInput(
        INPUT, ("a.npz", "not a .npz track"), animate_with("a.npz"), truncated_copy("a.npz", "driver", 1.0)
    ),
    "track pickled": BadInput(
        INPUT, ("a.npz", "pose", "extract again"), animate_with("a.npz"), changed_track(write_pickled_track)
    ),
    "track of another version": BadInput(
        INPUT,
        ("a.npz", "version 2", "only version 1"),
        animate_with("a.npz"),
        changed_track(write_track_with_meta, '"version": 1', '"version": 2'),
    ),
    "track of another space": BadInput(
        INPUT,
        ("a.npz", "bfm09", "mimaface weights pull"),
        animate_with("a.npz"),
        changed_track(write_track_with_meta, '"space": "face478"', '"space": "bfm09"'),
    ),
    "track of wrong shapes": BadInput(
        INPUT,
        ("a.npz", "expression", "64"),
        animate_with("a.npz"),
        changed_track(write_changed_track, expression=np.zeros((14, 50), np.float32)),
    ),
    "track lacks a key": BadInput(
        INPUT, ("a.npz", "gaze", "missing"), animate_with("a.npz"), changed_track(write_changed_track, gaze=None)
    ),
    "track not finite": BadInput(
        INPUT, ("a.npz", "pose", "contains NaN or Inf"), animate_with("a.npz"), changed_track(write_nan_track)
    ),
    # Audio.
    "audio file missing": BadInput(INPUT, ("gone.wav", "no such file"), (*WITH_TRACK, *OUT, "--audio", "gone.wav")),
    "audio file without audio": BadInput(
        INPUT, ("portrait.jpg", "no audio", "--audio"), (*WITH_TRACK, *OUT, "--audio", "PHOTO")
    ),
    # Output.
    "output exists": BadInput(
        OUTPUT, ("out.mp4", "exists", "--overwrite"), (*WITH_TRACK, *OUT), file_with("out.mp4", b"existing")
    ),
    "output is the source": BadInput(
        OUTPUT,
        ("a.jpg", "same file"),
        ("animate", "a.jpg", "TRACK", "-o", "a.jpg", "--overwrite"),
        truncated_copy("a.jpg", "portrait", 1.0),
    ),
    "output is the driver": BadInput(
        OUTPUT,
        ("a.mp4", "same file"),
        ("animate", "PHOTO", "a.mp4", "-o", "a.mp4", "--overwrite"),
        truncated_copy("a.mp4", "driver", 1.0),
    ),
    "output is the driver by a symbolic link": BadInput(
        OUTPUT,
        ("b.mp4", "same file"),
        ("animate", "PHOTO", "a.mp4", "-o", "b.mp4", "--overwrite"),
        driver_link(Path.symlink_to),
    ),
    "output is the driver by a hard link": BadInput(
        OUTPUT,
        ("b.mp4", "same file"),
        ("animate", "PHOTO", "a.mp4", "-o", "b.mp4", "--overwrite"),
        driver_link(Path.hardlink_to),
    ),
    "output is the audio file": BadInput(
        OUTPUT,
        ("a.mp4", "same file"),
        (*WITH_TRACK, "-o", "a.mp4", "--audio", "a.mp4", "--overwrite"),
        truncated_copy("a.mp4", "driver", 1.0),
    ),
    "output in a missing folder": BadInput(
        OUTPUT, ("gone", "no such folder", "Create"), (*WITH_VIDEO, "-o", "gone/out.mp4")
    ),
    "output under a file": BadInput(
        OUTPUT, ("a.txt", "no such folder"), (*WITH_VIDEO, "-o", "a.txt/out.mp4"), file_with("a.txt", b"existing")
    ),
    "output with a name of 250 bytes": BadInput(
        OUTPUT, ("the name is too long", "shorter name"), ("animate", "PHOTO", "TRACK", "-o", "n" * 246 + ".mp4")
    ),
    "output with a name of 300 bytes": BadInput(
        OUTPUT, ("the name is too long", "shorter name"), ("animate", "PHOTO", "TRACK", "-o", "n" * 296 + ".mp4")
    ),
    "output is a folder that is not empty": BadInput(
        OUTPUT, ("pics", "not an empty folder"), (*WITH_VIDEO, "-o", "pics"), file_with("pics/a.txt", b"existing")
    ),
    "output pattern in a folder that is not empty": BadInput(
        OUTPUT,
        ("pics", "not an empty folder"),
        (*WITH_VIDEO, "-o", "pics/%03d.png", "--overwrite"),
        file_with("pics/000.png", b"existing"),
    ),
    "output pattern in the working directory": BadInput(
        OUTPUT, ("%05d.png", "folder"), (*WITH_VIDEO, "-o", "%05d.png")
    ),
    "output pattern without a number": BadInput(OUTPUT, ("%s.png", "%05d"), (*WITH_VIDEO, "-o", "pics/%s.png")),
    "output pattern below a missing folder": BadInput(
        OUTPUT, ("gone", "no such folder"), (*WITH_VIDEO, "-o", "gone/pics/%05d.png")
    ),
    "output is one image for many frames": BadInput(
        OUTPUT, ("out.png", "one frame", "%05d"), (*WITH_VIDEO, "-o", "out.png")
    ),
    "output is a device": BadInput(
        OUTPUT,
        ("null.mp4", "not a regular file"),
        (*WITH_TRACK, "-o", "null.mp4", "--overwrite"),
        lambda folder, sample: (folder / "null.mp4").symlink_to(os.devnull),
    ),
    "output of unknown suffix": BadInput(OUTPUT, ("out.avi", ".mp4", ".webm"), (*WITH_VIDEO, "-o", "out.avi")),
    "output without a suffix": BadInput(OUTPUT, ("out", "no suffix", ".mp4"), (*WITH_VIDEO, "-o", "out")),
    "codec does not fit the container": BadInput(
        OUTPUT, ("out.webm", "h264", "vp9"), (*WITH_VIDEO, "-o", "out.webm", "--codec", "h264")
    ),
    "codec unknown": BadInput(OUTPUT, ("mpeg1", "prores"), (*WITH_VIDEO, *OUT, "--codec", "mpeg1")),
    "crf out of range": BadInput(OUTPUT, ("crf", "0 to 51"), (*WITH_VIDEO, *OUT, "--crf", "99")),
    "crf for a codec without crf": BadInput(
        OUTPUT, ("prores", "no --crf"), (*WITH_VIDEO, "-o", "a.mov", "--codec", "prores", "--crf", "9")
    ),
    "preset unknown": BadInput(OUTPUT, ("preset", "veryfast"), (*WITH_VIDEO, *OUT, "--encoder-preset", "quick")),
    "pixel format unknown": BadInput(OUTPUT, ("rgb565", "yuv420p"), (*WITH_VIDEO, *OUT, "--pixel-format", "rgb565")),
    "lossless for a codec that is lossy": BadInput(
        OUTPUT, ("prores", "lossless"), (*WITH_VIDEO, "-o", "a.mov", "--codec", "prores", "--lossless")
    ),
    # Options.
    "engine without its weights": BadInput(
        WEIGHTS, ("diffusion", "--engine mesh"), (*WITH_VIDEO, *OUT, "--engine", "diffusion")
    ),
    "engine unknown": BadInput(USAGE, ("--engine", "'mesh'"), (*WITH_VIDEO, *OUT, "--engine", "magic")),
    "motion unknown": BadInput(USAGE, ("--motion", "'absolute'"), (*WITH_VIDEO, *OUT, "--motion", "both")),
    "region unknown": BadInput(USAGE, ("--region", "'lips'"), (*WITH_VIDEO, *OUT, "--region", "nose")),
    "framing unknown": BadInput(USAGE, ("--framing", "'follow'"), (*WITH_VIDEO, *OUT, "--framing", "lose")),
    "mode unknown": BadInput(USAGE, ("--output-mode", "'crop'"), (*WITH_VIDEO, *OUT, "--output-mode", "half")),
    "strength too large": BadInput(USAGE, ("--strength: 4", "0 to 3"), (*WITH_VIDEO, *OUT, "--strength", "4")),
    "strength not a number": BadInput(USAGE, ("--strength", "0"), (*WITH_VIDEO, *OUT, "--strength", "nan")),
    "smooth negative": BadInput(USAGE, ("--smooth: -1", "0 to 3"), (*WITH_VIDEO, *OUT, "--smooth", "-1")),
    "size too small": BadInput(USAGE, ("--max-size: 8", "64"), (*WITH_VIDEO, *OUT, "--max-size", "8")),
    "face unknown": BadInput(USAGE, ("--face:", "'both'", "largest"), (*WITH_VIDEO, *OUT, "--face", "both")),
    "driver's face unknown": BadInput(
        USAGE, ("--driver-face:", "'0'", "largest"), (*WITH_VIDEO, *OUT, "--driver-face", "0")
    ),
    "reference frame unknown": BadInput(
        USAGE, ("--reference-frame:", "'-1'", "auto"), (*WITH_VIDEO, *OUT, "--reference-frame", "-1")
    ),
    "crf not a number": BadInput(USAGE, ("--crf", "animate --help"), (*WITH_VIDEO, *OUT, "--crf", "low")),
    "audio is empty text": BadInput(USAGE, ("--audio", "none"), (*WITH_VIDEO, *OUT, "--audio", "")),
    "output is missing": BadInput(USAGE, ("--output", "animate --help"), WITH_VIDEO),
    "driver is missing": BadInput(USAGE, ("DRIVER", "animate --help"), ("animate", "PHOTO", *OUT)),
    "option misspelled": BadInput(USAGE, ("--stren", "--strength"), (*WITH_VIDEO, *OUT, "--stren", "1")),
    "command misspelled": BadInput(USAGE, ("animat", "animate"), ("animat", "PHOTO", "DRIVER", *OUT)),
    # Other commands.
    "extract from nothing": BadInput(INPUT, ("gone.mp4", "no such file"), ("extract", "gone.mp4", "-o", "a.npz")),
    "extract to a video": BadInput(OUTPUT, ("a.mp4", ".npz", "--renders"), ("extract", "DRIVER", "-o", "a.mp4")),
    "extract over an existing file": BadInput(
        OUTPUT, ("a.npz", "--overwrite"), ("extract", "DRIVER", "-o", "a.npz"), file_with("a.npz", b"existing")
    ),
    "extract over its input": BadInput(
        OUTPUT,
        ("a.npz", "same file"),
        ("extract", "a.npz", "-o", "a.npz", "--overwrite"),
        truncated_copy("a.npz", "track", 1.0),
    ),
    "extract: renders over an existing file": BadInput(
        OUTPUT,
        ("r.mp4", "--overwrite"),
        ("extract", "DRIVER", "-o", "a.npz", "--renders", "r.mp4"),
        file_with("r.mp4", b"existing"),
    ),
    "extract: render pattern over an existing file": BadInput(
        OUTPUT,
        ("pics", "not an empty folder"),
        ("extract", "DRIVER", "-o", "a.npz", "--renders", "pics/%d.png"),
        file_with("pics/0.png", b"existing"),
    ),
    "extract into a space without weights": BadInput(
        WEIGHTS, ("d3dfr", "mimaface weights pull"), ("extract", "DRIVER", "-o", "a.npz", "--space", "bfm09")
    ),
    "extract from a track of another space": BadInput(
        INPUT,
        ("a.npz", "bfm09"),
        ("extract", "a.npz", "--renders", "r.mp4", "--space", "face478"),
        changed_track(write_track_with_meta, '"space": "face478"', '"space": "bfm09"'),
    ),
    "renders of a track without its face model": BadInput(
        WEIGHTS,
        ("mimaface/bfm09.mat", "mimaface weights pull"),
        ("extract", "a.npz", "--renders", "r.mp4"),
        changed_track(write_track_with_meta, '"space": "face478"', '"space": "bfm09"'),
    ),
    "zero steps": BadInput(USAGE, ("--steps",), (*WITH_VIDEO, *OUT, "--steps", "0")),
    "guided is not a range": BadInput(USAGE, ("--guided:", "'half'", "0:0.6"), (*WITH_VIDEO, *OUT, "--guided", "half")),
    "overlap as long as the clip": BadInput(USAGE, ("--overlap",), (*WITH_VIDEO, *OUT, "--overlap", "12")),
    "extract without any output": BadInput(USAGE, ("--no-cache", "-o"), ("extract", "DRIVER", "--no-cache")),
    "extract to a cache that is a file": BadInput(
        OUTPUT,
        ("cache.txt", "cannot be written"),
        ("extract", "DRIVER", "--cache-dir", "cache.txt"),
        file_with("cache.txt", b"existing"),
    ),
    "age of the cache is not a number": BadInput(
        USAGE, ("--older-than", "days"), ("cache", "clear", "--older-than", "nan")
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_prints_one_error_line_and_leaves_no_file(run_command, sample, tmp_path, monkeypatch, name):
    bad = CASES[name]
    bad.prepare(tmp_path, sample)
    if bad.code != INPUT:  # the error must come before any face detection
        monkeypatch.setattr("mimaface_cli.face.landmarks.load_mediapipe", None)
    before = tree(tmp_path)
    replacements = {"PHOTO": str(sample.portrait), "DRIVER": str(sample.driver), "TRACK": str(sample.track)}
    result = run_command(*(replacements.get(word, word) for word in bad.words))
    assert result.code == bad.code, result.err
    assert result.err.startswith("mimaface: ") and result.err.count("\n") == 1 and result.err.endswith("\n"), result.err
    assert result.out == ""
    assert len(result.err) < 600
    for text in bad.texts:
        assert text in result.err
    assert tree(tmp_path) == before


def test_process_prints_escaped_error_line(run_mimaface, sample, tmp_path):
    before = tree(tmp_path)
    result = run_mimaface("animate", sample.portrait, "gone\n\x1b[31m.mp4", "-o", "out.mp4")
    assert result.returncode == INPUT
    assert result.stderr == "mimaface: gone\\n\\x1b[31m.mp4: no such file. Check the path.\n" and result.stdout == ""
    result = run_mimaface("--debug", "animate", sample.portrait, "gone.mp4", "-o", "out.mp4")
    assert result.returncode == INPUT
    assert "Traceback" in result.stderr and result.stderr.splitlines()[-1].startswith(
        "mimaface: gone.mp4: no such file"
    )
    assert tree(tmp_path) == before


def test_overwrite_keeps_old_file_on_failure(run_command, sample, tmp_path):
    """A failure during the work leaves the old file unchanged."""
    (tmp_path / "out.mp4").write_bytes(b"older")
    frames, times = read_video(sample.driver)
    write_video(tmp_path / "a.mp4", frames, times)
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    assert run_command("animate", sample.portrait, "a.mp4", *OUT, "--overwrite").code == INPUT
    assert (tmp_path / "out.mp4").read_bytes() == b"older"
    assert run_command("animate", sample.portrait, sample.track, *OUT, "--overwrite").code == 0
    assert len(read_video(tmp_path / "out.mp4")[0]) == len(frames)
