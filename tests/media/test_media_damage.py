"""Damaged, cut and mutated files: an InputError or valid frames, never a crash, a hang, or a silently shorter video."""

import io
import random
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from mimaface_cli.errors import InputError
from mimaface_cli.media.audio import AudioTrack, has_audio
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.writer import VideoWriter
from tests.media.made_media import make_clip, make_wav, noise, stamp, stamped

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


def count(path):
    return sum(1 for _ in read_frames(path))


def shorten(path, part):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])


@pytest.mark.parametrize(
    ("part", "layout"),
    [
        (0.4, ""),
        (0.9, ""),
        (0.999, ""),
        (0.4, "faststart"),
        (0.9, "faststart"),
        (0.999, "faststart"),
        (0.4, "frag_keyframe+empty_moov"),
        (0.7, "frag_keyframe+empty_moov"),
    ],
)
def test_cut_mp4(tmp_path, part, layout):
    path = make_clip(tmp_path / "a.mp4", 60, options={"g": "10"}, muxing={"movflags": layout} if layout else {})
    assert count(path) == 60
    shorten(path, part)
    try:
        assert count(path) == 60  # what was cut off was no frame
    except InputError as error:
        assert "cut short" in str(error) or "not a readable video" in str(error)
    else:
        assert part > 0.9


@pytest.mark.parametrize("part", [0.3, 0.7])
def test_cut_matroska(tmp_path, part):
    path = make_clip(tmp_path / "a.mkv", 100, options={"g": "10"})
    shorten(path, part)
    with pytest.raises(InputError, match=r"cut short, it has \d\.\d of 4\.0 s"):
        count(path)


def test_cut_avi(tmp_path):
    path = make_clip(tmp_path / "a.avi", 100, codec="mpeg4")
    shorten(path, 0.8)
    with pytest.raises(InputError, match="cut short|damaged"):
        count(path)


def test_damage_in_the_middle_is_told_with_its_time(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 100, size=(320, 240), options={"g": "25", "crf": "10"})
    with av.open(str(path)) as file:
        entry = list(file.streams.video[0].index_entries)[50]
    content = bytearray(path.read_bytes())
    content[entry.pos + 8 : entry.pos + entry.size] = bytes(entry.size - 8)
    path.write_bytes(content)
    good = []
    with pytest.raises(InputError, match=r"damaged near \d\.\d\d s \(frame \d+ cannot be decoded\)"):
        for frame in read_frames(path):
            good.append(stamp(frame.image))
    assert good == list(range(len(good))) and 40 <= len(good) <= 50


def test_a_recording_that_starts_between_key_frames_starts_at_the_first_clean_one(tmp_path):
    """As a cut from a broadcast does."""
    options = {"g": "20", "bf": "0", "x264-params": "repeat-headers=1:scenecut=0"}
    path = make_clip(tmp_path / "a.ts", 60, options=options)
    with av.open(str(path)) as file:
        start = [packet.pos for packet in file.demux(video=0) if packet.size][7]
    path.write_bytes(path.read_bytes()[start - start % 188 :])
    stamps = [stamp(frame.image) for frame in read_frames(path)]
    assert stamps == list(range(20, 60))
    assert next(read_frames(path)).pts == 0.0


def mutated(content: bytes, chance: random.Random) -> bytes:
    kind = chance.randrange(4)
    if kind == 0:
        return content[: chance.randrange(1, len(content))]
    changed = bytearray(content)
    if kind == 1:
        start = chance.randrange(len(changed))
        del changed[start : start + chance.randrange(1, 64)]
    elif kind == 2:
        start = chance.randrange(min(len(changed), 512))  # headers
        changed[start] = chance.choice((0, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    else:
        for _ in range(chance.randrange(1, 40)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def victims(folder) -> dict[str, bytes]:
    make_clip(folder / "a.mp4", 12, size=(48, 32), sound=noise(0.4), muxing={"movflags": "faststart"})
    make_clip(folder / "b.mkv", 12, codec="libx265", options={"x265-params": "log-level=none"})
    make_clip(folder / "c.webm", 12, size=(48, 32), codec="libvpx-vp9", options={"cpu-used": "8"})
    make_clip(folder / "d.avi", 12, size=(48, 32), codec="mpeg4")
    make_clip(folder / "e.ts", 12, size=(48, 32), codec="mpeg2video")
    pictures = [Pillow.fromarray(stamped(number, 48, 32)) for number in range(3)]
    for name in ("f.png", "g.jpg", "h.webp", "i.tif", "j.avif", "k.bmp"):
        pictures[0].save(folder / name)
    pictures[0].save(folder / "l.gif", save_all=True, append_images=pictures[1:])
    pictures[0].save(folder / "m.png", save_all=True, append_images=pictures[1:])
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_mutated_files(tmp_path, capfd):
    chance = random.Random(20261122)
    contents = victims(tmp_path)
    outcomes = {"frames": 0, "refused": 0}
    for number in range(400):
        name = sorted(contents)[number % len(contents)]
        path = tmp_path / name
        path.write_bytes(mutated(contents[name], chance))
        for look in (probe, has_audio, read_image, frames_of):
            try:
                look(path)
                outcomes["frames"] += 1
            except InputError as error:
                outcomes["refused"] += 1
                assert str(path) in str(error) and "\n" not in str(error)
    assert min(outcomes.values()) > 100, outcomes
    assert capfd.readouterr().err == ""


def test_mutated_sound_is_refused_at_the_start_or_never_costs_the_picture(tmp_path, capfd):
    chance = random.Random(26)
    sound = noise(0.6)
    make_clip(tmp_path / "a.mp4", 10, sound=sound, muxing={"movflags": "faststart"})
    make_clip(tmp_path / "b.ts", 10, sound=sound)
    make_wav(tmp_path / "c.mp3", sound, codec="libmp3lame")
    make_wav(tmp_path / "d.flac", sound, codec="flac")
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    outcomes = {"written": 0, "damaged": 0, "refused": 0}
    for number in range(120):
        source = tmp_path / sorted(contents)[number % 4]
        source.write_bytes(mutated(contents[source.name], chance))
        target = tmp_path / f"out{('.mp4', '.mkv', '.webm')[number % 3]}"
        try:
            with VideoWriter(target, 96, 64, Fraction(25), audio=AudioTrack(source)) as writer:
                for step in range(15):
                    writer.write(stamped(step), step / 25)
        except InputError as error:
            assert str(source) in str(error)
            outcomes["refused"] += 1
            continue
        assert count(target) == 15
        outcomes["damaged" if writer.audio_damaged else "written"] += 1
    assert min(outcomes.values()) > 5, outcomes
    assert capfd.readouterr().err == ""


def frames_of(path):
    last = -1.0
    for frame in read_frames(path, max_frames=40):
        assert frame.image.dtype == np.uint8 and frame.image.ndim == 3 and frame.image.shape[2] == 3
        assert frame.image.flags.c_contiguous and frame.pts > last
        last = frame.pts


def test_no_library_speaks_to_the_user(tmp_path):
    """Damaged tags, damaged video and the talkative encoders, in a fresh process: its stderr stays empty."""
    Pillow.fromarray(stamped(1)).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    clip = make_clip(tmp_path / "a.mp4", 60, options={"g": "10"})
    content = bytearray(clip.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    clip.write_bytes(content)
    program = """
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
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert run.stderr == "" and run.stdout.splitlines()[0] == "1" and run.stdout.endswith("done\n")
    assert "damaged" in run.stdout


def test_pillow_accepts_no_more_than_it_is_given(tmp_path):
    """Noise after a good header never becomes a picture of another size."""
    whole = io.BytesIO()
    Pillow.fromarray(stamped(5)).save(whole, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(whole.getvalue() + np.random.default_rng(0).bytes(5000))
    assert np.array_equal(read_image(path).rgb, stamped(5))
