"""A frame size that changes midway: later frames keep their own aspect ratio."""

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.size_changes import describe_size_changes, find_size_changes

FRAMES = 5  # of each part


def disk_frame(width: int, height: int, aspect: Fraction = Fraction(1)) -> np.ndarray:
    """Return a gray frame with a white disk in its center, round where pixels have this aspect ratio."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot((columns + 0.5 - width / 2) * float(aspect), rows + 0.5 - height / 2)
    radius = 0.35 * min(width * float(aspect), height)
    return np.repeat(np.where(distance < radius, 230, 90).astype(np.uint8)[..., None], 3, 2)


def disk_extent(image: np.ndarray) -> tuple[int, int]:
    """Return width and height of the white disk."""
    is_disk = image[..., 1] > 160
    return int(is_disk.any(0).sum()), int(is_disk.any(1).sum())


def write_part(path: Path, size: tuple[int, int], codec: str, aspect: Fraction = Fraction(1)) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(disk_frame(*size, aspect), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def join(first: Path, second: Path, path: Path) -> Path:
    """Join two recordings without re-encoding, as capture tools do."""
    (path.parent / "list.txt").write_text(f"file '{first}'\nfile '{second}'\n")
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "concat", "-safe", "0"]
    subprocess.run([*program, "-i", str(path.parent / "list.txt"), "-c", "copy", str(path)], check=True)
    return path


@pytest.mark.parametrize(
    ("suffix", "codec", "first", "second", "bars"),
    [
        ("ts", "libx264", (160, 120), (320, 240), (0, 0)),  # the same aspect ratio
        ("ts", "libx264", (160, 120), (80, 60), (0, 0)),
        ("ts", "libx264", (160, 120), (320, 180), (0, 15)),  # wider
        ("ts", "mpeg2video", (160, 120), (96, 160), (44, 0)),  # turned upright
        ("webm", "libvpx", (160, 120), (120, 160), (35, 0)),
        ("mkv", "libvpx-vp9", (160, 120), (320, 242), (0, 0)),  # rounded by the encoder
    ],
)
def test_later_frames_of_another_size_are_not_stretched(tmp_path, suffix, codec, first, second, bars):
    parts = [write_part(tmp_path / f"{name}.{suffix}", size, codec) for name, size in (("a", first), ("b", second))]
    path = join(*parts, tmp_path / f"c.{suffix}")
    info = probe(path)
    frames = [frame.image for frame in read_frames(path)]
    assert (info.width, info.height) == first and len(frames) >= 2 * FRAMES - 1
    assert {frame.shape for frame in frames} == {(first[1], first[0], 3)}
    left, top = bars
    for frame in frames[FRAMES + 1 :]:
        width, height = disk_extent(frame)
        assert abs(width - height) <= 3 and width > 40
        assert (frame[:, : max(left - 2, 0)] < 25).all() and (frame[: max(top - 2, 0)] < 25).all()
        assert (frame[top + 2 : frame.shape[0] - top - 2, left + 2] > 60).all()
        assert (frame[top + 2, left + 2 : frame.shape[1] - left - 2] > 60).all()


@pytest.mark.parametrize(("suffix", "codec"), [("ts", "libx264"), ("webm", "libvpx"), ("mp4", "libx264")])
def test_size_changes_are_detected_with_their_times(tmp_path, suffix, codec):
    sizes = {"a": (160, 120), "b": (320, 180)}
    parts = [write_part(tmp_path / f"{name}.{suffix}", size, codec) for name, size in sizes.items()]
    (change,) = find_size_changes(join(*parts, tmp_path / f"c.{suffix}"))
    assert (change.width, change.height) == sizes["b"] and change.seconds == pytest.approx(FRAMES / 25, abs=0.002)
    assert find_size_changes(parts[0]) == []
    (note,) = describe_size_changes("c.ts", [change])
    assert note.startswith("c.ts: the frame size changes to 320x180 at 0.20 s; ")
    assert describe_size_changes("c.ts", []) == ()


def test_later_frames_have_their_own_pixel_aspect(tmp_path):
    first = write_part(tmp_path / "a.ts", (160, 120), "mpeg2video", Fraction(4, 3))
    second = write_part(tmp_path / "b.ts", (320, 180), "mpeg2video", Fraction(1))
    path = join(first, second, tmp_path / "c.ts")
    frames = [frame.image for frame in read_frames(path)]
    assert frames[0].shape == (120, 213, 3)
    for frame in (frames[1], frames[-2]):
        width, height = disk_extent(frame)
        assert abs(width - height) <= 3
