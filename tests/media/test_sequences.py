"""Image sequences as inputs: folders and numbered files, their order, their frame rate and their hash."""

import os
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.fingerprint import content_hash
from mimaface_cli.media.audio import has_audio
from mimaface_cli.media.image import write_image
from mimaface_cli.media.reader import list_images, probe, read_frames
from mimaface_cli.media.timecode_tag import read_timecode
from mimaface_cli.media.writer import open_writer
from tests.media.synthetic_media import NTSC, read_stamp, stamped_frame


def write_numbered(folder, names):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        write_image(folder / name, stamped_frame(number))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".exr"])
@pytest.mark.parametrize("name", ["out/%04d", "out"])
def test_sequence_that_was_written_is_read_with_its_frame_rate(tmp_path, suffix, name):
    if suffix == ".exr":
        pytest.importorskip("OpenEXR", reason="EXR needs the extra exr")
    with open_writer(tmp_path / f"out/%04d{suffix}", 96, 64, NTSC) as writer:
        for number in range(5):
            writer.write(stamped_frame(number), number / float(NTSC))
    path = tmp_path / (f"{name}{suffix}" if "%" in name else name)
    info = probe(path)
    assert (info.kind, info.frame_rate, info.frame_count, info.width, info.height) == ("folder", NTSC, 5, 96, 64)
    frames = list(read_frames(path))
    assert [read_stamp(frame.image) for frame in frames] == list(range(5))
    assert [frame.pts for frame in frames] == [float(number / NTSC) for number in range(5)]
    assert [frame.pts for frame in read_frames(path, start=float(2 / NTSC))] == [float(n / NTSC) for n in (2, 3, 4)]


def test_pattern_selects_its_files_in_the_order_of_their_numbers(tmp_path):
    write_numbered(tmp_path / "out", ["b_9.png", "b_10.png", "b_100.png", "a_1.png", "b_.png", "b_1.jpg", ".b_2.png"])
    assert [path.name for path in list_images(tmp_path / "out/b_%d.png")] == ["b_9.png", "b_10.png", "b_100.png"]
    assert [path.name for path in list_images(tmp_path / "out/b_%02d.png")] == ["b_10.png", "b_100.png"]
    assert probe(tmp_path / "out/b_%d.png").frame_rate == 25
    assert not has_audio(tmp_path / "out/b_%d.png") and read_timecode(tmp_path / "out/b_%d.png") is None


def test_file_with_a_percent_sign_in_its_name_is_a_file(tmp_path):
    write_image(tmp_path / "100%d.png", stamped_frame(3))
    write_image(tmp_path / "1001.png", stamped_frame(4))
    assert probe(tmp_path / "100%d.png").kind == "image"
    assert read_stamp(next(read_frames(tmp_path / "100%d.png")).image) == 3


def test_hash_of_a_pattern_depends_on_its_files_alone(tmp_path):
    write_numbered(tmp_path / "out", ["b_1.png", "b_2.png"])
    before = content_hash(tmp_path / "out/b_%d.png")
    assert before == content_hash(tmp_path / "out")
    write_image(tmp_path / "out/a_1.png", stamped_frame(7))
    assert content_hash(tmp_path / "out/b_%d.png") == before != content_hash(tmp_path / "out")
    write_image(tmp_path / "out/b_2.png", stamped_frame(8))
    assert content_hash(tmp_path / "out/b_%d.png") != before


def test_pattern_without_files_is_refused(tmp_path):
    write_numbered(tmp_path / "out", ["b_1.png"])
    for function in (probe, lambda path: next(read_frames(path)), list_images):
        with pytest.raises(InputError, match="no image has such a name"):
            function(tmp_path / "out/c_%d.png")
    with pytest.raises(InputError, match="cannot be read"):
        probe(tmp_path / "none/c_%d.png")


@pytest.mark.parametrize("rate", ["0", "-5", "1/0", "nan", "1e9", "fast"])
def test_absurd_frame_rate_in_an_image_is_ignored(tmp_path, rate):
    from mimaface_cli.media.attachments import Attachments

    write_image(tmp_path / "1.png", stamped_frame(0), attachments=Attachments({"frame_rate": rate}))
    assert probe(tmp_path).frame_rate == 25


def test_requested_frame_rate_replaces_the_stated_one(tmp_path):
    with open_writer(tmp_path / "out/%d.png", 96, 64, NTSC) as writer:
        for number in range(3):
            writer.write(stamped_frame(number), number / 30)
    assert probe(tmp_path / "out", frame_rate=Fraction(24)).frame_rate == 24
    times = [frame.pts for frame in read_frames(tmp_path / "out", frame_rate=Fraction(24))]
    assert times == [0, 1 / 24, 2 / 24]


def test_unreadable_image_in_a_sequence_is_named(tmp_path):
    write_numbered(tmp_path / "out", ["1.png", "2.png"])
    os.truncate(tmp_path / "out/2.png", 60)
    with pytest.raises(InputError, match=r"2\.png"):
        list(read_frames(tmp_path / "out/%d.png"))
    assert np.array_equal(next(read_frames(tmp_path / "out/%d.png")).image, stamped_frame(0))
