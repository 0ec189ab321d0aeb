"""Alpha of videos and image sequences as inputs."""

from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.media.reader import probe, read_frames
from tests.media.ffmpeg import run_ffmpeg

SIZE = 96, 64


def write_ramp(path: Path, *encoder: str, alpha: bool = True) -> Path:
    """Write three frames of one color whose alpha rises from left to right."""
    value = "255*X/95" if alpha else "255"
    graph = f"color=0xc06040:s=96x64:r=25:d=0.12,format=rgba,geq=r='r(X,Y)+N':g='g(X,Y)':b='b(X,Y)':a='{value}'"
    run_ffmpeg("-f", "lavfi", "-i", graph, *encoder, path)
    return path


CODECS = {
    "prores.mov": ("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le"),
    "qtrle.mov": ("-c:v", "qtrle", "-pix_fmt", "argb"),
    "png.mov": ("-c:v", "png", "-pix_fmt", "rgba"),
    "ffv1.mkv": ("-c:v", "ffv1", "-pix_fmt", "bgra"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-crf", "4", "-b:v", "0"),
    "vp8.webm": ("-c:v", "libvpx", "-pix_fmt", "yuva420p", "-crf", "4", "-b:v", "4M", "-auto-alt-ref", "0"),
    "apng.png": ("-c:v", "apng", "-pix_fmt", "rgba", "-f", "apng"),
    "webp.webp": ("-c:v", "libwebp_anim", "-lossless", "1", "-pix_fmt", "bgra"),
    "sequence/%02d.png": ("-pix_fmt", "rgba"),
}


@pytest.mark.parametrize("name", CODECS)
def test_alpha_is_read_from_every_codec_that_stores_it(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    path = write_ramp(tmp_path / name, *CODECS[name])
    assert probe(path).has_alpha
    frames = list(read_frames(path))
    assert len(frames) == 3
    for frame in frames:
        assert frame.alpha.dtype == np.uint8 and frame.alpha.shape == frame.image.shape[:2] == SIZE[::-1]
        assert np.abs(frame.alpha.mean(0) - np.arange(96) * 255 / 95).max() <= 6
        assert np.abs(frame.image[:, 60:].mean((0, 1)) - (192, 96, 64)).max() <= 4


@pytest.mark.parametrize("name", ["qtrle.mov", "png.mov"])
def test_opaque_video_with_an_alpha_channel_counts_as_opaque(tmp_path, name):
    path = write_ramp(tmp_path / name, *CODECS[name], alpha=False)
    assert not probe(path).has_alpha


def test_video_without_alpha_has_none(tmp_path):
    path = write_ramp(tmp_path / "a.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    assert not probe(path).has_alpha and next(read_frames(path)).alpha is None


def test_alpha_of_a_rotated_video_is_rotated_with_it(tmp_path):
    path = write_ramp(tmp_path / "a.mov", *CODECS["png.mov"])
    run_ffmpeg("-display_rotation:v", "90", "-i", path, "-c", "copy", tmp_path / "b.mov")
    frame = next(read_frames(tmp_path / "b.mov"))
    assert frame.alpha.shape == frame.image.shape[:2] == SIZE
    rows = frame.alpha.mean(1)
    assert np.abs(rows - np.arange(96)[::-1] * 255 / 95).max() <= 2
