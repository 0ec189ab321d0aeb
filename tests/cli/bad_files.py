"""Bad files for the tests of bad inputs, and functions that create them in a working directory."""

import io
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mimaface_cli.motion.track import MotionTrack
from tests.conftest import write_video


def png_header(width: int, height: int) -> bytes:
    """Return a PNG file of a given size without pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def write_faceless_video(path: Path) -> None:
    ramp = np.linspace(0, 255, 128, dtype=np.uint8)
    frames = [np.broadcast_to(np.roll(ramp, k)[None, :, None], (96, 128, 3)).copy() for k in range(5)]
    write_video(path, frames, [Fraction(k, 25) for k in range(5)], Fraction(25))


def write_audio_file(path: Path) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=44_100)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 44_100, 0, Fraction(1, 44_100)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def write_changed_track(path: Path, sample, **arrays) -> None:
    """Write the valid track with some arrays replaced; None removes an array."""
    with np.load(sample.track) as file:
        members = dict(file) | arrays
    np.savez(path, **{name: value for name, value in members.items() if value is not None})


def write_track_with_meta(path: Path, sample, old: str, new: str) -> None:
    text = str(np.load(sample.track)["meta"])
    assert old in text
    write_changed_track(path, sample, meta=np.array(text.replace(old, new)))


def write_pickled_track(path: Path, sample) -> None:
    buffer = io.BytesIO()
    pickle.dump(np.zeros(3), buffer)
    with zipfile.ZipFile(sample.track) as source, zipfile.ZipFile(path, "w") as file:
        for name in source.namelist():
            file.writestr(name, buffer.getvalue() if name == "pose.npy" else source.read(name))


def changed_track(change: Callable, *arguments, **arrays) -> Callable:
    """Return a function that writes a.npz, a changed copy of the valid track."""
    return lambda folder, sample: change(folder / "a.npz", sample, *arguments, **arrays)


def write_nan_track(path: Path, sample) -> None:
    pose = MotionTrack.load(sample.track).pose.copy()
    pose[2, 1] = np.nan
    write_changed_track(path, sample, pose=pose)


def file_with(name: str, content: bytes) -> Callable:
    """Return a function that writes a file."""

    def create(folder: Path, sample) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return create


def empty_folder(name: str) -> Callable:
    return lambda folder, sample: (folder / name).mkdir()


def driver_link(link: Callable) -> Callable:
    """Return a function that copies the driver to a.mp4 and links b.mp4 to it."""

    def create(folder: Path, sample) -> None:
        shutil.copy(sample.driver, folder / "a.mp4")
        link(folder / "b.mp4", folder / "a.mp4")

    return create


def truncated_copy(name: str, source: str, fraction: float) -> Callable:
    """Return a function that writes the first part of a sample file."""

    def create(folder: Path, sample) -> None:
        whole = getattr(sample, source).read_bytes()
        (folder / name).write_bytes(whole[: int(len(whole) * fraction)])

    return create
