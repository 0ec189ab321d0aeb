"""Frames out as pictures: one, or numbered ones in a folder that appears whole."""

import errno
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.errors import OutputError
from mimaface_cli.media import image_writer
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import open_writer
from tests.media.made_media import stamp, stamped


def fill(writer, count, channels=3):
    with writer:
        for number in range(count):
            image = stamped(number)
            if channels == 4:
                image = np.dstack([image, np.full((64, 96), 7 + number, np.uint8)])
            writer.write(image, number / 25)
    return writer


@pytest.mark.parametrize(
    ("name", "first"), [("out/", "00000.png"), ("out/f%03d.jpg", "f000.jpg"), ("out/größe_%d.webp", "größe_0.webp")]
)
def test_numbered_pictures(tmp_path, clean, name, first):
    assert fill(open_writer(f"{tmp_path}/{name}", 96, 64, Fraction(25)), 12).frames == 12
    clean("out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 12 and first in names
    assert [stamp(frame.image) for frame in read_frames(tmp_path / "out")] == list(range(12))


def test_png_is_exact_and_keeps_alpha(tmp_path):
    fill(open_writer(tmp_path / "out" / "%05d.png", 96, 64, Fraction(25)), 3, channels=4)
    for number in range(3):
        image = read_image(tmp_path / "out" / f"{number:05d}.png")
        assert np.array_equal(image.rgb, stamped(number)) and (image.alpha == 7 + number).all()


def test_an_empty_folder_is_taken_a_full_one_is_not(tmp_path, clean):
    (tmp_path / "out").mkdir()
    fill(open_writer(tmp_path / "out", 96, 64, Fraction(25)), 2)
    assert len(list((tmp_path / "out").iterdir())) == 2
    for name in ("out", "out/", "out/%05d.png"):
        with pytest.raises(OutputError, match="not an empty folder"):
            open_writer(f"{tmp_path}/{name}", 96, 64, Fraction(25))
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="not an empty folder"):
        open_writer(f"{tmp_path}/file/", 96, 64, Fraction(25))
    clean("file", "out")


@pytest.mark.parametrize("name", ["out/%05d-%d.png", "out/%s.png", "out/%99999d.png", "o%dt/%05d.png", "out/50%.png"])
def test_names_that_cannot_be_numbered(tmp_path, name):
    with pytest.raises(OutputError, match="one number such as %05d"):
        open_writer(f"{tmp_path}/{name}", 96, 64, Fraction(25))


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_a_failing_producer_leaves_no_folder(tmp_path, clean, failure):
    with pytest.raises(failure), open_writer(f"{tmp_path}/out/", 96, 64, Fraction(25)) as writer:
        for number in range(9):
            writer.write(stamped(number), number / 25)
        raise failure
    clean()


def test_a_full_disk_leaves_no_folder(tmp_path, clean, monkeypatch):
    def full(*_args, **_more):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_writer, "save_image", full)
    with pytest.raises(OutputError, match="out: no space left"):
        fill(open_writer(f"{tmp_path}/out/", 96, 64, Fraction(25)), 9)
    clean()


def test_nothing_to_write_and_nowhere_to_write(tmp_path, clean):
    for name in ("out/", "a.png"):
        with pytest.raises(OutputError, match="no frames"):
            fill(open_writer(f"{tmp_path}/{name}", 96, 64, Fraction(25)), 0)
    for name in ("no/out/", "no/a.png"):
        with pytest.raises(OutputError, match="cannot be written"):
            fill(open_writer(f"{tmp_path}/{name}", 96, 64, Fraction(25)), 1)
    clean()


def test_long_names(tmp_path, clean):
    longest, beyond = "n" * 255, "n" * 300
    fill(open_writer(f"{tmp_path}/{longest}/", 96, 64, Fraction(25)), 2)
    with pytest.raises(OutputError, match="cannot be written"):
        open_writer(f"{tmp_path}/{beyond}/", 96, 64, Fraction(25))
    clean(longest)


def test_single_picture(tmp_path, clean):
    fill(open_writer(tmp_path / "a.png", 96, 64, Fraction(25)), 1)
    assert np.array_equal(read_image(tmp_path / "a.png").rgb, stamped(0))
    with pytest.raises(OutputError, match="an image holds one frame"):
        fill(open_writer(tmp_path / "b.png", 96, 64, Fraction(25)), 2)
    with pytest.raises(OutputError, match="transparency"):
        fill(open_writer(tmp_path / "b.jpg", 96, 64, Fraction(25)), 1, channels=4)
    with pytest.raises(RuntimeError), open_writer(tmp_path / "b.png", 96, 64, Fraction(25)) as writer:
        writer.write(stamped(0), 0.0)
        raise RuntimeError
    clean("a.png")


def test_wrong_frames_are_errors_of_the_caller(tmp_path, clean):
    for name in ("out/", "a.png"):
        with pytest.raises(ValueError), open_writer(f"{tmp_path}/{name}", 96, 64, Fraction(25)) as writer:
            writer.write(np.zeros((64, 95, 3), np.uint8), 0.0)
    clean()


def test_a_signal_while_the_writing_begins_leaves_no_folder(tmp_path, monkeypatch):
    def interrupted(consume):
        raise KeyboardInterrupt

    monkeypatch.setattr(image_writer, "BackgroundConsumer", interrupted)
    with pytest.raises(KeyboardInterrupt), open_writer(f"{tmp_path}/out/", 96, 64, Fraction(25)):
        pass
    assert not list(tmp_path.iterdir())
