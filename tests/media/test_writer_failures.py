"""Failures while a video is written: no partial file remains, an existing file is unchanged, the error is one line."""

import errno
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.errors import OutputError
from mimaface_cli.media import writer as writer_module
from mimaface_cli.media.color import EncoderConverter
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import VideoWriter
from tests.media.synthetic_media import make_clip, read_stamp, stamped_frame


def open_at(path, **options) -> VideoWriter:
    """Open a writer for frames of 96x64."""
    return VideoWriter(path, 96, 64, Fraction(25), **options)


@pytest.mark.parametrize(
    ("image", "times"),
    [
        (np.zeros((64, 90, 3), np.uint8), [0.0]),
        (np.zeros((64, 96, 4), np.uint8), [0.0]),
        (np.zeros((64, 96, 3), np.float32), [0.0]),
        (stamped_frame(0), [0.0, 0.0]),
        (stamped_frame(0), [0.2, 0.1]),
        (stamped_frame(0), [-0.1]),
        (stamped_frame(0), [float("nan")]),
        (stamped_frame(0), [float("inf")]),
    ],
)
def test_wrong_frame_or_time_raises_a_value_error(tmp_path, assert_folder_holds, image, times):
    with pytest.raises(ValueError, match=r"frame \d (is|has the time)"), open_at(tmp_path / "a.mp4") as writer:
        for seconds in times:
            writer.write(image, seconds)
    assert_folder_holds()


def test_video_without_frames_is_refused(tmp_path, assert_folder_holds):
    with pytest.raises(OutputError, match="no frames"), open_at(tmp_path / "a.mp4"):
        pass
    assert_folder_holds()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError, OSError, GeneratorExit])
def test_failing_producer_leaves_no_new_file_and_the_old_file_unchanged(tmp_path, assert_folder_holds, failure):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"the old one")
    with pytest.raises(failure) as caught, open_at(path) as writer:
        for number in range(60):
            writer.write(stamped_frame(number), number / 25)
        assert len(list(tmp_path.iterdir())) == 2
        raise failure("from the producer")
    assert type(caught.value) is failure and path.read_bytes() == b"the old one"
    assert_folder_holds("a.mp4")
    assert not any(thread.name == "background-consumer" for thread in threading.enumerate())


def test_old_file_is_replaced_only_at_the_end(tmp_path, assert_folder_holds):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"the old one")
    with open_at(path) as writer:
        writer.write(stamped_frame(1), 0.0)
        assert path.read_bytes() == b"the old one"
    assert read_stamp(next(read_frames(path)).image) == 1
    assert_folder_holds("a.mp4")


@pytest.mark.parametrize("failing_frame", [3, 8])
def test_failure_of_the_encoder_thread_reaches_the_producer(tmp_path, assert_folder_holds, monkeypatch, failing_frame):
    convert, calls = EncoderConverter.convert, []

    def fail_later(self, frame):
        calls.append(frame)
        if len(calls) > failing_frame:
            raise OSError(errno.ENOSPC, "No space left on device")
        return convert(self, frame)

    monkeypatch.setattr(EncoderConverter, "convert", fail_later)
    with pytest.raises(OutputError, match="no space left"), open_at(tmp_path / "a.mp4") as writer:
        for number in range(9):
            writer.write(stamped_frame(number), number / 25)
    assert_folder_holds()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_is_reported_and_leaves_no_file(tmp_path, assert_folder_holds, monkeypatch):
    @contextmanager
    def write_to_full_device(path):
        yield Path("/dev/full")

    monkeypatch.setattr(writer_module, "atomic_path", write_to_full_device)
    rng = np.random.default_rng(0)
    with (
        pytest.raises(OutputError, match="no space left"),
        VideoWriter(tmp_path / "a.mkv", 256, 256, Fraction(25), options=EncodeOptions("ffv1")) as writer,
    ):
        for number in range(30):
            writer.write(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8), number / 25)
    assert_folder_holds()


_WRITE_UNTIL_THE_LIMIT = """
import resource, signal, sys
from fractions import Fraction
import numpy as np
from mimaface_cli.errors import OutputError
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.writer import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
written = 0
try:
    with VideoWriter(sys.argv[1], 256, 256, Fraction(25), options=EncodeOptions("ffv1")) as writer:
        for number in range(200):
            writer.write(noise, number / 25)
            written += 1
except OutputError as error:
    print(written, error)
"""


def test_write_that_the_system_refuses_is_reported_and_leaves_no_file(tmp_path, assert_folder_holds):
    """The limit of the file size stops the process in the middle of a real file."""
    command = [sys.executable, "-c", _WRITE_UNTIL_THE_LIMIT, str(tmp_path / "a.mkv")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stderr == "" and "a.mkv: cannot be written (File too large)" in run.stdout
    assert int(run.stdout.split()[0]) < 60
    assert_folder_holds()


def test_missing_folder_is_reported(tmp_path, assert_folder_holds):
    with pytest.raises(OutputError, match="cannot be written"), open_at(tmp_path / "no" / "a.mp4") as writer:
        writer.write(stamped_frame(0), 0.0)
    assert_folder_holds()


_WRITE_FOREVER = """
import signal, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import VideoWriter
signal.signal(signal.SIGINT, signal.default_int_handler)
source = Path(sys.argv[1])
frames = read_frames(source)
with VideoWriter(source.with_name("b.mp4"), 96, 64, Fraction(25)) as writer:
    print("running", flush=True)
    for number in range(10**7):
        image = next(frames).image if number < 20 else np.full((64, 96, 3), number % 256, np.uint8)
        writer.write(image, number / 25)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_interrupt_signal_leaves_no_file(tmp_path, assert_folder_holds):
    source = make_clip(tmp_path / "a.mp4", 60)
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE_FOREVER, str(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "running\n"
        time.sleep(0.3)
        assert process.poll() is None and len(list(tmp_path.iterdir())) == 2
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert errors.strip().endswith("KeyboardInterrupt")
    assert_folder_holds("a.mp4")
