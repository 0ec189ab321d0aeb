"""Frames written as one image, or as an image sequence in a folder that appears complete or not at all."""

import errno
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.errors import OutputError
from mimaface_cli.media import image_writer
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import FrameWriter, open_writer
from tests.media.synthetic_media import read_stamp, stamped_frame


def open_at(path) -> FrameWriter:
    """Open a writer for frames of 96x64."""
    return open_writer(path, 96, 64, Fraction(25))


def write_frames(writer, count, channels=3):
    """Write stamped frames; frame k has the alpha 7 + k. Return the writer."""
    with writer:
        for number in range(count):
            image = stamped_frame(number)
            if channels == 4:
                image = np.dstack([image, np.full((64, 96), 7 + number, np.uint8)])
            writer.write(image, number / 25)
    return writer


@pytest.mark.parametrize(
    ("name", "first"), [("out/", "00000.png"), ("out/f%03d.jpg", "f000.jpg"), ("out/größe_%d.webp", "größe_0.webp")]
)
def test_sequence_is_numbered_from_zero(tmp_path, assert_folder_holds, name, first):
    assert write_frames(open_at(f"{tmp_path}/{name}"), 12).frames == 12
    assert_folder_holds("out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 12 and first in names
    assert [read_stamp(frame.image) for frame in read_frames(tmp_path / "out")] == list(range(12))


def test_png_sequence_is_exact_and_has_alpha(tmp_path):
    write_frames(open_at(tmp_path / "out" / "%05d.png"), 3, channels=4)
    for number in range(3):
        image = read_image(tmp_path / "out" / f"{number:05d}.png")
        assert np.array_equal(image.rgb, stamped_frame(number)) and (image.alpha == 7 + number).all()


def test_sequence_may_fill_an_empty_folder_but_not_another_existing_one(tmp_path, assert_folder_holds):
    (tmp_path / "out").mkdir()
    write_frames(open_at(tmp_path / "out"), 2)
    assert len(list((tmp_path / "out").iterdir())) == 2
    for name in ("out", "out/", "out/%05d.png"):
        with pytest.raises(OutputError, match="not an empty folder"):
            open_at(f"{tmp_path}/{name}")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="not an empty folder"):
        open_at(f"{tmp_path}/file/")
    assert_folder_holds("file", "out")


@pytest.mark.parametrize("name", ["out/%05d-%d.png", "out/%s.png", "out/%99999d.png", "o%dt/%05d.png", "out/50%.png"])
def test_sequence_refuses_a_pattern_without_exactly_one_number(tmp_path, name):
    with pytest.raises(OutputError, match="one number such as %05d"):
        open_at(f"{tmp_path}/{name}")


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_failing_producer_leaves_no_folder(tmp_path, assert_folder_holds, failure):
    with pytest.raises(failure), open_at(f"{tmp_path}/out/") as writer:
        for number in range(9):
            writer.write(stamped_frame(number), number / 25)
        raise failure
    assert_folder_holds()


def test_full_disk_leaves_no_folder(tmp_path, assert_folder_holds, monkeypatch):
    def fail(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_writer, "save_image", fail)
    with pytest.raises(OutputError, match="out: no space left"):
        write_frames(open_at(f"{tmp_path}/out/"), 9)
    assert_folder_holds()


def test_signal_during_start_leaves_no_folder(tmp_path, assert_folder_holds, monkeypatch):
    def interrupt(consume):
        raise KeyboardInterrupt

    monkeypatch.setattr(image_writer, "BackgroundConsumer", interrupt)
    with pytest.raises(KeyboardInterrupt), open_at(f"{tmp_path}/out/"):
        pass
    assert_folder_holds()


def test_output_without_frames_is_refused(tmp_path, assert_folder_holds):
    for name in ("out/", "a.png"):
        with pytest.raises(OutputError, match="no frames"):
            write_frames(open_at(f"{tmp_path}/{name}"), 0)
    assert_folder_holds()


def test_output_in_a_missing_folder_is_refused(tmp_path, assert_folder_holds):
    for name in ("no/out/", "no/a.png"):
        with pytest.raises(OutputError, match="cannot be written"):
            write_frames(open_at(f"{tmp_path}/{name}"), 1)
    assert_folder_holds()


def test_folder_names_may_be_as_long_as_the_system_allows(tmp_path, assert_folder_holds):
    write_frames(open_at(f"{tmp_path}/{'n' * 255}/"), 2)
    with pytest.raises(OutputError, match="Use a shorter name"):
        open_at(f"{tmp_path}/{'n' * 300}/")
    assert_folder_holds("n" * 255)


def test_single_image_holds_one_frame(tmp_path, assert_folder_holds):
    write_frames(open_at(tmp_path / "a.png"), 1)
    assert np.array_equal(read_image(tmp_path / "a.png").rgb, stamped_frame(0))
    with pytest.raises(OutputError, match="an image holds one frame"):
        write_frames(open_at(tmp_path / "b.png"), 2)
    assert_folder_holds("a.png")


def test_single_image_is_not_written_after_a_failure(tmp_path, assert_folder_holds):
    with pytest.raises(OutputError, match="transparency"):
        write_frames(open_at(tmp_path / "b.jpg"), 1, channels=4)
    with pytest.raises(RuntimeError), open_at(tmp_path / "b.png") as writer:
        writer.write(stamped_frame(0), 0.0)
        raise RuntimeError
    assert_folder_holds()


def test_frame_of_the_wrong_size_raises_a_value_error(tmp_path, assert_folder_holds):
    for name in ("out/", "a.png"):
        with pytest.raises(ValueError, match="a frame is"), open_at(f"{tmp_path}/{name}") as writer:
            writer.write(np.zeros((64, 95, 3), np.uint8), 0.0)
    assert_folder_holds()
