"""Readers of images, videos and audio."""

import io
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.hostile.reader import Reader

MAX_FRAMES = 400  # limit for damaged videos: a header may claim hours


def _make_image(image_format: str) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
        Image.fromarray(noise).resize((112, 80)).save(buffer, image_format)
        return buffer.getvalue()

    return make


def _make_video(suffix: str, codec: str, audio_codec: str | None = None) -> Callable[[], bytes]:
    """Return a function that makes 24 frames of 96x64 and, with an audio codec, a second of noise."""

    def make() -> bytes:
        rng = np.random.default_rng(0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a.{suffix}"
            with av.open(str(path), "w") as out:
                video = out.add_stream(codec, rate=25, options={"x265-params": "log-level=none"})
                video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
                audio = out.add_stream(audio_codec, rate=16_000, layout="mono") if audio_codec else None
                for _ in range(24):
                    image = rng.integers(0, 255, (8, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)
                    out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                out.mux(video.encode(None))
                if audio is not None:
                    noise = rng.integers(-9000, 9000, (1, 15_360), np.int16)
                    frame = av.AudioFrame.from_ndarray(noise, "s16", "mono")
                    frame.sample_rate = 16_000
                    out.mux(audio.encode(frame))
                    out.mux(audio.encode(None))
            return path.read_bytes()

    return make


def _make_wav() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
        file.writeframes(np.random.default_rng(0).integers(-8000, 8000, 8_000, np.int16).tobytes())
    return buffer.getvalue()


def read_image_file(path: Path) -> object:
    """Read an image."""
    from mimaface_cli.media.image import read_image

    return read_image(path)


def read_video_file(path: Path) -> object:
    """Probe a video and decode its frames."""
    from mimaface_cli.media.reader import probe, read_frames

    probe(path)
    frames = read_frames(path, max_frames=MAX_FRAMES)
    try:
        return sum(frame.image.shape[0] > 0 for frame in frames)
    finally:
        frames.close()


def read_audio_file(path: Path) -> object:
    """Decode the audio of a file."""
    from mimaface_cli.media.waveform import open_waveform

    with open_waveform(path) as waveform:
        return waveform.read(0, min(len(waveform), 1_000_000)).sum()


MEDIA_READERS = (
    Reader("png", ".png", _make_image("PNG"), read_image_file),
    Reader("jpeg", ".jpg", _make_image("JPEG"), read_image_file),
    Reader("webp", ".webp", _make_image("WEBP"), read_image_file),
    Reader("tiff", ".tif", _make_image("TIFF"), read_image_file),
    Reader("bmp", ".bmp", _make_image("BMP"), read_image_file),
    Reader("h264 mp4", ".mp4", _make_video("mp4", "libx264", "aac"), read_video_file),
    Reader("hevc mov", ".mov", _make_video("mov", "libx265", "aac"), read_video_file),
    Reader("mpeg4 avi", ".avi", _make_video("avi", "mpeg4", "pcm_s16le"), read_video_file),
    Reader("vp9 webm", ".webm", _make_video("webm", "libvpx-vp9"), read_video_file),
    Reader("ffv1 mkv", ".mkv", _make_video("mkv", "ffv1", "pcm_s16le"), read_video_file),
    Reader("mpeg2 ts", ".ts", _make_video("ts", "mpeg2video"), read_video_file),
    Reader("audio of mp4", ".mp4", _make_video("mp4", "libx264", "aac"), read_audio_file),
    Reader("wav", ".wav", _make_wav, read_audio_file),
)
