"""Videos with alpha: what FFmpeg decodes from each container that stores it, and refusals of those that do not."""

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from mimaface_cli.errors import OutputError
from mimaface_cli.media.codecs import CODECS, CONTAINERS
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.encoding import choose_encoding, find_alpha_codec
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import open_writer

SIZE = 97, 65  # odd sides
FRAMES = 3


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Frames (65, 97, 4) uint8: smooth random colors under a disc of alpha with a soft rim; the disc moves."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    images = []
    for number in range(FRAMES):
        colors = cv2.resize(rng.integers(0, 256, (5, 7, 3), np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
        alpha = np.clip((24 - np.hypot(x - 44 - 4 * number, y - 32)) * 20 + 128, 0, 255).astype(np.uint8)
        images.append(np.dstack((colors, alpha)))
    return images


def write_alpha(path: Path, frames: list[np.ndarray], **options) -> Path:
    with open_writer(path, *SIZE, Fraction(25), options=EncodeOptions(alpha=True, **options)) as writer:
        for number, frame in enumerate(frames):
            writer.write(frame, number / 25)
    return path


def decode_with_ffmpeg(path: Path) -> np.ndarray:
    """Return the frames (N, H, W, 4) that the program decodes; FFmpeg's own VP9 decoder ignores alpha."""
    decoder = ["-c:v", "libvpx-vp9"] if path.suffix == ".webm" else []
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *decoder, "-i", path]
    result = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgba", "-"], capture_output=True, check=True)
    assert result.stderr == b""
    return np.frombuffer(result.stdout, np.uint8).reshape(-1, SIZE[1], SIZE[0], 4)


@pytest.mark.parametrize(
    ("name", "options", "codec", "pixel_format"),
    [
        ("a.mov", {}, "prores", "yuva444p12le"),  # how FFmpeg decodes ProRes 4444
        ("a.mov", {"codec": "qtrle"}, "qtrle", "argb"),
        ("a.mov", {"codec": "png"}, "png", "rgba"),
        ("a.mov", {"lossless": True}, "qtrle", "argb"),
        ("a.mkv", {}, "ffv1", "bgra"),
        ("a.mkv", {"lossless": True}, "ffv1", "bgra"),
        ("a.mkv", {"codec": "prores"}, "prores", "yuva444p12le"),
        ("a.webm", {"crf": 4}, "vp9", "yuv420p"),  # of the stream without its alpha
    ],
)
def test_alpha_and_colors_return_from_each_container(tmp_path, frames, name, options, codec, pixel_format):
    path = write_alpha(tmp_path / name, frames, **options)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.codec.canonical_name == codec
        assert next(file.decode(stream)).format.name == pixel_format
        assert (stream.metadata.get("alpha_mode") == "1") == (codec == "vp9")
    shown, expected = decode_with_ffmpeg(path).astype(int), np.stack(frames).astype(int)
    assert len(shown) == FRAMES
    is_visible = expected[..., 3] > 0
    difference = np.abs(shown - expected)
    alpha_error, color_error = difference[..., 3].max(), difference[..., :3][is_visible]
    if codec in ("qtrle", "png", "ffv1"):
        assert difference.max() == 0
    elif codec == "prores":
        assert alpha_error <= 2 and color_error.max() <= 2
    else:
        assert alpha_error <= 12 and color_error.mean() < 3


def test_frames_without_alpha_are_opaque_in_a_video_with_alpha(tmp_path, frames):
    path = write_alpha(tmp_path / "a.mkv", [frames[0], np.ascontiguousarray(frames[1][..., :3])])
    shown = decode_with_ffmpeg(path)
    assert np.array_equal(shown[0], frames[0])
    assert (shown[1][..., 3] == 255).all() and np.array_equal(shown[1][..., :3], frames[1][..., :3])


def test_frames_with_alpha_are_refused_by_a_video_without(tmp_path, frames):
    with (
        pytest.raises(ValueError, match=r"frame 0 is uint8 \(65, 97, 4\)"),
        open_writer(tmp_path / "a.mkv", *SIZE, Fraction(25)) as writer,
    ):
        writer.write(frames[0], 0.0)
    assert list(tmp_path.iterdir()) == []


def test_reader_shows_the_colors_of_a_video_with_alpha(tmp_path, frames):
    path = write_alpha(tmp_path / "a.mov", frames, codec="png")
    assert all(np.array_equal(frame.image, frames[frame.index][..., :3]) for frame in read_frames(path))


def test_alpha_codecs_of_containers_have_formats_with_alpha():
    for container in CONTAINERS.values():
        assert set(container.alpha_codecs) <= set(container.codecs)
        assert all(CODECS[name].alpha_formats for name in container.alpha_codecs)


@pytest.mark.parametrize(
    ("name", "options", "codec"),
    [
        ("a.mp4", {}, None),
        ("a.m4v", {}, None),
        ("a.avi", {}, None),
        ("a.MOV", {}, "prores"),
        ("a.mov", {"codec": "h264"}, None),
        ("a.mov", {"crf": 20}, None),
        ("a.mov", {"preset": "veryfast"}, None),
        ("a.mov", {"preset": "hq"}, "prores"),
        ("a.mov", {"pixel_format": "rgba"}, "png"),
        ("a.mov", {"codec": "prores", "pixel_format": "yuv422p10le"}, None),
        ("a.mkv", {"crf": 20}, "vp9"),
        ("a.webm", {"lossless": True}, None),
        ("a.webm", {"crf": 20}, "vp9"),
    ],
)
def test_find_alpha_codec_respects_container_and_options(name, options, codec):
    encode = EncodeOptions(**options)
    assert find_alpha_codec(Path(name), encode) == codec
    if codec is not None:
        assert choose_encoding(Path(name), EncodeOptions(alpha=True, **options), 64, 48).codec == codec


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.mp4", {}, r"\.mp4 cannot store transparency\. Use a video of \.mov, \.mkv, \.webm, or images"),
        ("a.mov", {"codec": "hevc"}, r"hevc cannot store transparency\. Use one of prores qtrle png"),
        ("a.mov", {"crf": 20, "preset": "slow"}, r"no codec of \.mov stores transparency with `crf` and `preset`"),
        ("a.mov", {"codec": "prores", "crf": 20}, r"prores has no `crf`"),
        ("a.mov", {"codec": "prores", "pixel_format": "yuv422p10le"}, r"for transparency\. Use one of yuva444p10le"),
        ("a.webm", {"lossless": True}, r"vp9 cannot be lossless with transparency\. Use \.mov or \.mkv"),
        ("a.mkv", {"codec": "vp9", "lossless": True}, r"vp9 cannot be lossless with transparency\. Use one of ffv1"),
    ],
)
def test_options_that_cannot_store_alpha_are_refused_in_one_line(name, options, message):
    with pytest.raises(OutputError, match=message) as caught:
        choose_encoding(Path(name), EncodeOptions(alpha=True, **options), 64, 48)
    assert "\n" not in str(caught.value)
