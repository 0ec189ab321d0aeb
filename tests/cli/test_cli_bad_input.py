"""Whatever is wrong with what a user gives: an exit code, one line that names the file and the mend, nothing left."""

import io
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mimaface_cli.motion.track import MotionTrack
from tests.conftest import read_video, tree, write_video

USAGE, INPUT, OUTPUT, WEIGHTS = 2, 3, 4, 5
OUT = ("-o", "out.mp4")
BY_VIDEO, BY_TRACK = ("animate", "PHOTO", "DRIVER"), ("animate", "PHOTO", "TRACK")


@dataclass(frozen=True)
class Bad:
    """words: the command line, in a folder where make(folder, made) has prepared what is wrong; PHOTO, DRIVER and TRACK
    in it stand for good ones. says: what the one line must contain.
    """

    code: int
    says: tuple[str, ...]
    words: tuple[str, ...]
    make: Callable = lambda folder, made: None


def of(source: str) -> tuple[str, ...]:
    return ("animate", source, "TRACK", *OUT)


def by(driver: str) -> tuple[str, ...]:
    return ("animate", "PHOTO", driver, *OUT)


def png(width: int, height: int) -> bytes:
    """A PNG header of that size with next to nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def faceless_video(path: Path) -> None:
    ramp = np.linspace(0, 255, 128, dtype=np.uint8)
    frames = [np.broadcast_to(np.roll(ramp, k)[None, :, None], (96, 128, 3)).copy() for k in range(5)]
    write_video(path, frames, [Fraction(k, 25) for k in range(5)], Fraction(25))


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=44_100)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 44_100, 0, Fraction(1, 44_100)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def changed_track(path: Path, made, **arrays) -> None:
    """The good track with some members replaced; None leaves one out."""
    with np.load(made.track) as file:
        members = dict(file) | arrays
    np.savez(path, **{name: value for name, value in members.items() if value is not None})


def other_meta(path: Path, made, old: str, new: str) -> None:
    text = str(np.load(made.track)["meta"])
    assert old in text
    changed_track(path, made, meta=np.array(text.replace(old, new)))


def pickled(path: Path, made) -> None:
    buffer = io.BytesIO()
    pickle.dump(np.zeros(3), buffer)
    with zipfile.ZipFile(made.track) as given, zipfile.ZipFile(path, "w") as file:
        for name in given.namelist():
            file.writestr(name, buffer.getvalue() if name == "pose.npy" else given.read(name))


def made_from(change: Callable, *arguments, **named) -> Callable:
    """a.npz, a changed copy of the good track."""
    return lambda folder, made: change(folder / "a.npz", made, *arguments, **named)


def nan_pose(path: Path, made) -> None:
    pose = MotionTrack.load(made.track).pose.copy()
    pose[2, 1] = np.nan
    changed_track(path, made, pose=pose)


def write(name: str, content: bytes) -> Callable:
    def make(folder: Path, made) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return make


def empty_folder(name: str) -> Callable:
    return lambda folder, made: (folder / name).mkdir()


def linked(link: Callable) -> Callable:
    """b.mp4, another name of a.mp4, the driver."""

    def make(folder: Path, made) -> None:
        shutil.copy(made.driver, folder / "a.mp4")
        link(folder / "b.mp4", folder / "a.mp4")

    return make


def cut(name: str, source: str, share: float) -> Callable:
    def make(folder: Path, made) -> None:
        whole = getattr(made, source).read_bytes()
        (folder / name).write_bytes(whole[: int(len(whole) * share)])

    return make


CASES: dict[str, Bad] = {
    # What is given as SOURCE.
    "source missing": Bad(INPUT, ("gone.jpg", "no such file", "Check"), of("gone.jpg")),
    "source is a folder": Bad(INPUT, ("pics", "is a folder", "one photo"), of("pics"), write("pics/a.jpg", b"mine")),
    "source is a track": Bad(INPUT, ("track.npz", "driver"), ("animate", "TRACK", "DRIVER", *OUT)),
    "source empty": Bad(INPUT, ("a.jpg", "empty", "complete"), of("a.jpg"), write("a.jpg", b"")),
    "source cut short": Bad(INPUT, ("a.jpg", "cut short", "complete"), of("a.jpg"), cut("a.jpg", "portrait", 0.5)),
    "source without pixels": Bad(INPUT, ("a.png",), of("a.png"), write("a.png", png(0, 0))),
    "source too large": Bad(
        INPUT, ("a.png", "too large", "megapixels"), of("a.png"), write("a.png", png(20_000, 20_000))
    ),
    "source shows no face": Bad(
        INPUT,
        ("a.png", "shows no face", "use"),
        of("a.png"),
        lambda folder, made: Image.new("RGB", (320, 320), (90, 120, 60)).save(folder / "a.png"),
    ),
    "source has one face, the third is wanted": Bad(
        INPUT, ("portrait.jpg", "number 3", "lower"), (*BY_TRACK, *OUT, "--face", "3")
    ),
    # What is given as DRIVER.
    "driver missing": Bad(INPUT, ("gone.mp4", "no such file"), by("gone.mp4")),
    "driver is an empty folder": Bad(INPUT, ("pics", "no images"), by("pics"), empty_folder("pics")),
    "driver empty": Bad(INPUT, ("a.mp4", "empty"), by("a.mp4"), write("a.mp4", b"")),
    "driver cut short": Bad(INPUT, ("a.mp4", "complete"), by("a.mp4"), cut("a.mp4", "driver", 0.6)),
    "driver is text": Bad(INPUT, ("a.mp4", "convert"), by("a.mp4"), write("a.mp4", b"Dear diary, today\n" * 99)),
    "driver is a playlist": Bad(
        INPUT,
        ("a.mp4", "convert"),
        by("a.mp4"),
        write("a.mp4", b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
    ),
    "source is sound": Bad(
        INPUT, ("a.m4a", "audio but no video"), of("a.m4a"), lambda folder, made: sound_only(folder / "a.m4a")
    ),
    "driver shows no face": Bad(
        INPUT, ("a.mp4", "shows no face", "use"), by("a.mp4"), lambda folder, made: faceless_video(folder / "a.mp4")
    ),
    "reference frame beyond the driver": Bad(
        INPUT, ("no frame 99", "0 to 13"), (*BY_TRACK, *OUT, "--reference-frame", "99")
    ),
    # A track.
    "track missing": Bad(INPUT, ("gone.npz", "no such file", "mimaface extract"), by("gone.npz")),
    "track is a folder": Bad(INPUT, ("a.npz", "is a folder"), by("a.npz"), empty_folder("a.npz")),
    "track cut short": Bad(INPUT, ("a.npz", "Run mimaface extract again"), by("a.npz"), cut("a.npz", "track", 0.7)),
    "track is something else": Bad(INPUT, ("a.npz", "not a .npz track"), by("a.npz"), cut("a.npz", "driver", 1.0)),
    "track pickled": Bad(INPUT, ("a.npz", "pose", "extract again"), by("a.npz"), made_from(pickled)),
    "track of another version": Bad(
        INPUT,
        ("a.npz", "version 2", "only version 1"),
        by("a.npz"),
        made_from(other_meta, '"version": 1', '"version": 2'),
    ),
    "track of another space": Bad(
        INPUT,
        ("a.npz", "bfm09", "--space face478"),
        by("a.npz"),
        made_from(other_meta, '"space": "face478"', '"space": "bfm09"'),
    ),
    "track of wrong shapes": Bad(
        INPUT,
        ("a.npz", "expression", "64"),
        by("a.npz"),
        made_from(changed_track, expression=np.zeros((14, 50), np.float32)),
    ),
    "track lacks a key": Bad(INPUT, ("a.npz", "gaze", "missing"), by("a.npz"), made_from(changed_track, gaze=None)),
    "track not finite": Bad(INPUT, ("a.npz", "pose", "contains NaN or Inf"), by("a.npz"), made_from(nan_pose)),
    # Sound.
    "sound missing": Bad(INPUT, ("gone.wav", "no such file"), (*BY_TRACK, *OUT, "--audio", "gone.wav")),
    "sound file without sound": Bad(
        INPUT, ("portrait.jpg", "no sound", "--audio"), (*BY_TRACK, *OUT, "--audio", "PHOTO")
    ),
    # Where the result goes.
    "output exists": Bad(OUTPUT, ("out.mp4", "exists", "--overwrite"), (*BY_TRACK, *OUT), write("out.mp4", b"mine")),
    "output is the source": Bad(
        OUTPUT,
        ("a.jpg", "same file"),
        ("animate", "a.jpg", "TRACK", "-o", "a.jpg", "--overwrite"),
        cut("a.jpg", "portrait", 1.0),
    ),
    "output is the driver": Bad(
        OUTPUT,
        ("a.mp4", "same file"),
        ("animate", "PHOTO", "a.mp4", "-o", "a.mp4", "--overwrite"),
        cut("a.mp4", "driver", 1.0),
    ),
    "output is the driver by a symbolic link": Bad(
        OUTPUT,
        ("b.mp4", "same file"),
        ("animate", "PHOTO", "a.mp4", "-o", "b.mp4", "--overwrite"),
        linked(Path.symlink_to),
    ),
    "output is the driver by a hard link": Bad(
        OUTPUT,
        ("b.mp4", "same file"),
        ("animate", "PHOTO", "a.mp4", "-o", "b.mp4", "--overwrite"),
        linked(Path.hardlink_to),
    ),
    "output is the sound": Bad(
        OUTPUT,
        ("a.mp4", "same file"),
        (*BY_TRACK, "-o", "a.mp4", "--audio", "a.mp4", "--overwrite"),
        cut("a.mp4", "driver", 1.0),
    ),
    "output in a missing folder": Bad(OUTPUT, ("gone", "no such folder", "Create"), (*BY_VIDEO, "-o", "gone/out.mp4")),
    "output under a file": Bad(
        OUTPUT, ("a.txt", "no such folder"), (*BY_VIDEO, "-o", "a.txt/out.mp4"), write("a.txt", b"mine")
    ),
    "output is a folder with something in it": Bad(
        OUTPUT, ("pics", "not an empty folder"), (*BY_VIDEO, "-o", "pics"), write("pics/a.txt", b"mine")
    ),
    "output pattern in a folder with something in it": Bad(
        OUTPUT,
        ("pics", "not an empty folder"),
        (*BY_VIDEO, "-o", "pics/%03d.png", "--overwrite"),
        write("pics/000.png", b"mine"),
    ),
    "output pattern in the folder one is in": Bad(OUTPUT, ("%05d.png", "folder"), (*BY_VIDEO, "-o", "%05d.png")),
    "output pattern without a number": Bad(OUTPUT, ("%s.png", "%05d"), (*BY_VIDEO, "-o", "pics/%s.png")),
    "output pattern below a missing folder": Bad(
        OUTPUT, ("gone", "no such folder"), (*BY_VIDEO, "-o", "gone/pics/%05d.png")
    ),
    "output is one picture of many": Bad(OUTPUT, ("out.png", "one frame", "%05d"), (*BY_VIDEO, "-o", "out.png")),
    "output is a device": Bad(
        OUTPUT,
        ("null.mp4", "not a regular file"),
        (*BY_TRACK, "-o", "null.mp4", "--overwrite"),
        lambda folder, made: (folder / "null.mp4").symlink_to(os.devnull),
    ),
    "output name too long": Bad(OUTPUT, ("cannot be written",), (*BY_VIDEO, "-o", "n" * 300 + ".mp4")),
    "output of unknown suffix": Bad(OUTPUT, ("out.avi", ".mp4", ".webm"), (*BY_VIDEO, "-o", "out.avi")),
    "output without a suffix": Bad(OUTPUT, ("out", "no suffix", ".mp4"), (*BY_VIDEO, "-o", "out")),
    "codec not for the container": Bad(
        OUTPUT, ("out.webm", "h264", "vp9"), (*BY_VIDEO, "-o", "out.webm", "--codec", "h264")
    ),
    "codec unknown": Bad(OUTPUT, ("mpeg1", "prores"), (*BY_VIDEO, *OUT, "--codec", "mpeg1")),
    "crf out of range": Bad(OUTPUT, ("crf", "0 to 51"), (*BY_VIDEO, *OUT, "--crf", "99")),
    "crf for a codec without": Bad(
        OUTPUT, ("prores", "no --crf"), (*BY_VIDEO, "-o", "a.mov", "--codec", "prores", "--crf", "9")
    ),
    "preset unknown": Bad(OUTPUT, ("preset", "veryfast"), (*BY_VIDEO, *OUT, "--encoder-preset", "quick")),
    "pixel format unknown": Bad(OUTPUT, ("rgb565", "yuv420p"), (*BY_VIDEO, *OUT, "--pixel-format", "rgb565")),
    "lossless for a codec without": Bad(
        OUTPUT, ("prores", "lossless"), (*BY_VIDEO, "-o", "a.mov", "--codec", "prores", "--lossless")
    ),
    # Options.
    "engine without its weights": Bad(
        WEIGHTS, ("diffusion", "--engine mesh"), (*BY_VIDEO, *OUT, "--engine", "diffusion")
    ),
    "engine unknown": Bad(USAGE, ("--engine", "'mesh'"), (*BY_VIDEO, *OUT, "--engine", "magic")),
    "motion unknown": Bad(USAGE, ("--motion", "'absolute'"), (*BY_VIDEO, *OUT, "--motion", "both")),
    "region unknown": Bad(USAGE, ("--region", "'lips'"), (*BY_VIDEO, *OUT, "--region", "nose")),
    "mode unknown": Bad(USAGE, ("--output-mode", "'crop'"), (*BY_VIDEO, *OUT, "--output-mode", "half")),
    "strength too large": Bad(USAGE, ("--strength 4", "3"), (*BY_VIDEO, *OUT, "--strength", "4")),
    "strength not a number": Bad(USAGE, ("--strength", "0"), (*BY_VIDEO, *OUT, "--strength", "nan")),
    "smooth negative": Bad(USAGE, ("--smooth -1",), (*BY_VIDEO, *OUT, "--smooth", "-1")),
    "size too small": Bad(USAGE, ("--max-size 8", "64"), (*BY_VIDEO, *OUT, "--max-size", "8")),
    "face unknown": Bad(USAGE, ("--face both", "largest"), (*BY_VIDEO, *OUT, "--face", "both")),
    "driver's face unknown": Bad(USAGE, ("--driver-face 0", "largest"), (*BY_VIDEO, *OUT, "--driver-face", "0")),
    "reference frame unknown": Bad(
        USAGE, ("--reference-frame -1", "auto"), (*BY_VIDEO, *OUT, "--reference-frame", "-1")
    ),
    "crf not a number": Bad(USAGE, ("--crf", "animate --help"), (*BY_VIDEO, *OUT, "--crf", "low")),
    "sound unnamed": Bad(USAGE, ("--audio", "none"), (*BY_VIDEO, *OUT, "--audio", "")),
    "no output named": Bad(USAGE, ("--output", "animate --help"), BY_VIDEO),
    "no driver named": Bad(USAGE, ("DRIVER", "animate --help"), ("animate", "PHOTO", *OUT)),
    "option misspelt": Bad(USAGE, ("--stren", "--strength"), (*BY_VIDEO, *OUT, "--stren", "1")),
    "command misspelt": Bad(USAGE, ("animat", "animate"), ("animat", "PHOTO", "DRIVER", *OUT)),
    # The other commands.
    "extract from nothing": Bad(INPUT, ("gone.mp4", "no such file"), ("extract", "gone.mp4", "-o", "a.npz")),
    "extract to a video": Bad(OUTPUT, ("a.mp4", ".npz", "--renders"), ("extract", "DRIVER", "-o", "a.mp4")),
    "extract over something": Bad(
        OUTPUT, ("a.npz", "--overwrite"), ("extract", "DRIVER", "-o", "a.npz"), write("a.npz", b"mine")
    ),
    "extract over its input": Bad(
        OUTPUT, ("a.npz", "same file"), ("extract", "a.npz", "-o", "a.npz", "--overwrite"), cut("a.npz", "track", 1.0)
    ),
    "extract: renders over something": Bad(
        OUTPUT,
        ("r.mp4", "--overwrite"),
        ("extract", "DRIVER", "-o", "a.npz", "--renders", "r.mp4"),
        write("r.mp4", b"mine"),
    ),
    "extract: render pattern over something": Bad(
        OUTPUT,
        ("pics", "not an empty folder"),
        ("extract", "DRIVER", "-o", "a.npz", "--renders", "pics/%d.png"),
        write("pics/0.png", b"mine"),
    ),
    "extract into a space without weights": Bad(
        WEIGHTS, ("d3dfr", "mimaface weights pull"), ("extract", "DRIVER", "-o", "a.npz", "--space", "bfm09")
    ),
    "extract from a track of another space": Bad(
        INPUT,
        ("a.npz", "bfm09"),
        ("extract", "a.npz", "--renders", "r.mp4", "--space", "face478"),
        made_from(other_meta, '"space": "face478"', '"space": "bfm09"'),
    ),
    "renders of a track whose model is not there": Bad(
        WEIGHTS,
        ("mimaface/bfm09.mat", "mimaface weights pull"),
        ("extract", "a.npz", "--renders", "r.mp4"),
        made_from(other_meta, '"space": "face478"', '"space": "bfm09"'),
    ),
    "senseless steps": Bad(USAGE, ("--steps",), (*BY_VIDEO, *OUT, "--steps", "0")),
    "a share that is none": Bad(USAGE, ("--guided half", "0:0.6"), (*BY_VIDEO, *OUT, "--guided", "half")),
    "an overlap as long as the clip": Bad(USAGE, ("--overlap",), (*BY_VIDEO, *OUT, "--overlap", "12")),
    "extract to nowhere": Bad(USAGE, ("--no-cache", "-o"), ("extract", "DRIVER", "--no-cache")),
    "extract to a cache that is a file": Bad(
        OUTPUT,
        ("cache.txt", "cannot be written"),
        ("extract", "DRIVER", "--cache-dir", "cache.txt"),
        write("cache.txt", b"mine"),
    ),
    "cache older than never": Bad(USAGE, ("--older-than", "days"), ("cache", "clear", "--older-than", "nan")),
}


@pytest.mark.parametrize("name", CASES)
def test_one_line_and_nothing_left(run_command, sample, tmp_path, monkeypatch, name):
    bad = CASES[name]
    bad.make(tmp_path, sample)
    if bad.code != INPUT:  # can be told without looking for a face, and so before the long work
        monkeypatch.setattr("mimaface_cli.face.landmarks.FaceLandmarker", None)
    before = tree(tmp_path)
    given = {"PHOTO": str(sample.portrait), "DRIVER": str(sample.driver), "TRACK": str(sample.track)}
    said = run_command(*(given.get(word, word) for word in bad.words))
    assert said.code == bad.code, said.err
    assert said.err.startswith("mimaface: ") and said.err.count("\n") == 1 and said.err.endswith("\n"), said.err
    assert said.out == ""
    assert len(said.err) < 600
    for words in bad.says:
        assert words in said.err
    assert tree(tmp_path) == before


def test_a_real_process_says_the_same(run_mimaface, sample, tmp_path):
    before = tree(tmp_path)
    done = run_mimaface("animate", sample.portrait, "gone\n\x1b[31m.mp4", "-o", "out.mp4")
    assert done.returncode == INPUT
    assert done.stderr == "mimaface: gone\\n\\x1b[31m.mp4: no such file. Check the path.\n" and done.stdout == ""
    done = run_mimaface("--debug", "animate", sample.portrait, "gone.mp4", "-o", "out.mp4")
    assert done.returncode == INPUT
    assert "Traceback" in done.stderr and done.stderr.splitlines()[-1].startswith("mimaface: gone.mp4: no such file")
    assert tree(tmp_path) == before


def test_overwrite_replaces_whole_or_not_at_all(run_command, sample, tmp_path):
    """A failure in the midst of the work leaves the older file as it was."""
    (tmp_path / "out.mp4").write_bytes(b"older")
    frames, times = read_video(sample.driver)
    write_video(tmp_path / "a.mp4", frames, times)
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    assert run_command("animate", sample.portrait, "a.mp4", *OUT, "--overwrite").code == INPUT
    assert (tmp_path / "out.mp4").read_bytes() == b"older"
    assert run_command("animate", sample.portrait, sample.track, *OUT, "--overwrite").code == 0
    assert len(read_video(tmp_path / "out.mp4")[0]) == len(frames)
