"""Randomly damaged files: an InputError or valid frames, never a crash, a hang, or library output on stderr."""

import random
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image as Pillow

from mimaface_cli.errors import InputError
from mimaface_cli.media.audio import AudioTrack, has_audio
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.writer import VideoWriter
from tests.media.synthetic_media import make_audio, make_clip, make_noise, stamped_frame

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


def damage(content: bytes, rng: random.Random) -> bytes:
    """Truncate a file, delete a few bytes, change a byte of its header, or change a few bytes anywhere."""
    kind = rng.randrange(4)
    if kind == 0:
        return content[: rng.randrange(1, len(content))]
    changed = bytearray(content)
    if kind == 1:
        start = rng.randrange(len(changed))
        del changed[start : start + rng.randrange(1, 64)]
    elif kind == 2:
        start = rng.randrange(min(len(changed), 512))
        changed[start] = rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    else:
        for _ in range(rng.randrange(1, 40)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def make_files(folder) -> dict[str, bytes]:
    """Write a small file of every kind; return the contents by name."""
    make_clip(folder / "a.mp4", 12, size=(48, 32), audio=make_noise(0.4), muxing={"movflags": "faststart"})
    make_clip(folder / "b.mkv", 12, codec="libx265", options={"x265-params": "log-level=none"})
    make_clip(folder / "c.webm", 12, size=(48, 32), codec="libvpx-vp9", options={"cpu-used": "8"})
    make_clip(folder / "d.avi", 12, size=(48, 32), codec="mpeg4")
    make_clip(folder / "e.ts", 12, size=(48, 32), codec="mpeg2video")
    images = [Pillow.fromarray(stamped_frame(number, 48, 32)) for number in range(3)]
    for name in ("f.png", "g.jpg", "h.webp", "i.tif", "j.avif", "k.bmp"):
        images[0].save(folder / name)
    images[0].save(folder / "l.gif", save_all=True, append_images=images[1:])
    images[0].save(folder / "m.png", save_all=True, append_images=images[1:])
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def check_frames(path):
    """Read up to 40 frames and check that they are valid."""
    last = -1.0
    for frame in read_frames(path, max_frames=40):
        assert frame.image.dtype == np.uint8 and frame.image.ndim == 3 and frame.image.shape[2] == 3
        assert frame.image.flags.c_contiguous and frame.pts > last
        last = frame.pts


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, capfd):
    rng = random.Random(20261122)
    contents = make_files(tmp_path)
    outcomes = {"read": 0, "refused": 0}
    for number in range(400):
        name = sorted(contents)[number % len(contents)]
        path = tmp_path / name
        path.write_bytes(damage(contents[name], rng))
        for read in (probe, has_audio, read_image, check_frames):
            try:
                read(path)
                outcomes["read"] += 1
            except InputError as error:
                outcomes["refused"] += 1
                assert str(path) in str(error) and "\n" not in str(error)
    assert min(outcomes.values()) > 100, outcomes
    assert capfd.readouterr().err == ""


def test_damaged_audio_is_refused_at_the_start_or_never_aborts_the_video(tmp_path, capfd):
    rng = random.Random(26)
    samples = make_noise(0.6)
    make_clip(tmp_path / "a.mp4", 10, audio=samples, muxing={"movflags": "faststart"})
    make_clip(tmp_path / "b.ts", 10, audio=samples)
    make_audio(tmp_path / "c.mp3", samples, codec="libmp3lame")
    make_audio(tmp_path / "d.flac", samples, codec="flac")
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    outcomes = {"written": 0, "damaged": 0, "refused": 0}
    for number in range(120):
        source = tmp_path / sorted(contents)[number % 4]
        source.write_bytes(damage(contents[source.name], rng))
        target = tmp_path / f"out{('.mp4', '.mkv', '.webm')[number % 3]}"
        try:
            with VideoWriter(target, 96, 64, Fraction(25), audio=AudioTrack(source)) as writer:
                for step in range(15):
                    writer.write(stamped_frame(step), step / 25)
        except InputError as error:
            assert str(source) in str(error)
            outcomes["refused"] += 1
            continue
        assert sum(1 for _ in read_frames(target)) == 15
        outcomes["damaged" if writer.audio_damaged else "written"] += 1
    assert min(outcomes.values()) > 5, outcomes
    assert capfd.readouterr().err == ""


_READ_AND_ENCODE = """
import sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from mimaface_cli.errors import InputError
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import VideoWriter
folder = Path(sys.argv[1])
for name in ("a.png", "a.mp4"):
    try:
        print(sum(1 for _ in read_frames(folder / name)))
    except InputError as error:
        print(error)
for codec in ("h264", "hevc", "av1", "vp9", "prores", "ffv1"):
    with VideoWriter(folder / f"{codec}.mkv", 96, 64, Fraction(25), options=EncodeOptions(codec=codec)) as writer:
        for number in range(3):
            writer.write(np.full((64, 96, 3), number, np.uint8), number / 25)
print("done")
"""


def test_no_library_writes_to_stderr(tmp_path):
    """Damaged tags, a damaged video and the encoders that log by themselves, in a new process."""
    Pillow.fromarray(stamped_frame(1)).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    clip = make_clip(tmp_path / "a.mp4", 60, options={"g": "10"})
    content = bytearray(clip.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    clip.write_bytes(content)
    command = [sys.executable, "-c", _READ_AND_ENCODE, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert run.stderr == "" and run.stdout.splitlines()[0] == "1" and run.stdout.endswith("done\n")
    assert "damaged" in run.stdout
