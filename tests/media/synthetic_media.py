"""Synthetic media, written and read with bare PyAV.

The tests use them so that they do not check mimaface's reader with mimaface's writer alone.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

AUDIO_RATE = 44_100
NTSC = Fraction(30000, 1001)


def stamped_frame(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Return a frame that shows its number as eight bars, white for 1, the lowest bit on the left.

    The bars survive every codec.
    """
    bits = (number >> np.arange(8)) & 1
    columns = np.repeat(bits * 215 + 20, -(-width // 8))[:width].astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(columns[None, :, None], (height, width, 3)))


def read_stamp(image: np.ndarray) -> int:
    """Return the number that a frame of `stamped_frame` shows."""
    height, width = image.shape[:2]
    step = -(-width // 8)
    centers = image[height // 2, step // 2 :: step].mean(axis=1)[:8]
    return int(((centers > 127) << np.arange(8)).sum())


def make_noise(seconds: float, rate: int = AUDIO_RATE, seed: int = 1) -> np.ndarray:
    """Return smoothed noise, which correlates with itself at delay 0 only: float32 mono in -1..1."""
    raw = np.random.default_rng(seed).standard_normal(round(seconds * rate) + 16)
    return (np.convolve(raw, np.ones(16) / 16, "valid")[: round(seconds * rate)] * 0.8).clip(-1, 1).astype(np.float32)


@dataclass(frozen=True)
class ClipOptions:
    """Properties of a clip of `make_clip`.

    Args:
        size: (width, height) of the frames.
        codec: FFmpeg encoder of the video.
        pixel_format: FFmpeg pixel format of the video.
        options: Options of the video encoder.
        times: Presentation times in ticks of `time_base`; may start below 0 (MP4 hides such frames by an edit list).
        time_base: Seconds in a tick, by default those of a frame.
        display: Arguments of the display rotation: degrees, horizontal flip, vertical flip.
        aspect: Sample aspect ratio.
        audio: Mono samples at AUDIO_RATE, or None.
        audio_start: Time of the first sample, in seconds.
        audio_codec: FFmpeg encoder of the audio.
        is_audio_first: Whether the audio stream comes before the video stream.
        muxing: Options of the muxer.
    """

    size: tuple[int, int] = (96, 64)
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    times: list[int] | None = None
    time_base: Fraction | None = None
    display: tuple[int, bool, bool] | None = None
    aspect: Fraction | None = None
    audio: np.ndarray | None = None
    audio_start: float = 0.0
    audio_codec: str = "aac"
    is_audio_first: bool = False
    muxing: dict[str, str] = field(default_factory=dict)


def make_clip(path: Path, count: int = 20, rate: Fraction = Fraction(25), **properties: Any) -> Path:
    """Write a clip of `count` stamped frames with the properties of ClipOptions; return its path."""
    clip = ClipOptions(**properties)
    with av.open(str(path), "w", container_options=clip.muxing) as out:
        audio_stream = None
        if clip.audio is not None and clip.is_audio_first:
            audio_stream = out.add_stream(clip.audio_codec, rate=AUDIO_RATE)
        video_stream = out.add_stream(clip.codec, rate=rate, options=clip.options)
        video_stream.width, video_stream.height = clip.size
        video_stream.pix_fmt = clip.pixel_format
        if clip.time_base:
            video_stream.codec_context.time_base = clip.time_base
        if clip.display:
            video_stream.set_display_rotation(*clip.display)
        if clip.aspect:
            video_stream.codec_context.sample_aspect_ratio = clip.aspect
        if clip.audio is not None and not clip.is_audio_first:
            audio_stream = out.add_stream(clip.audio_codec, rate=AUDIO_RATE)
        if audio_stream is not None:
            audio_stream.layout = "mono"
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(stamped_frame(index, *clip.size), format="rgb24")
            frame.pts = clip.times[index] if clip.times else index
            frame.time_base = clip.time_base or 1 / rate
            out.mux(video_stream.encode(frame))
        out.mux(video_stream.encode(None))
        if audio_stream is not None:
            encode_audio(out, audio_stream, clip.audio, start=clip.audio_start)
    return path


def encode_audio(
    out: Any, stream: Any, samples: np.ndarray, *, rate: int = AUDIO_RATE, start: float = 0.0, frame_size: int = 1024
) -> None:
    """Encode mono samples and mux them, the first one at `start` seconds."""
    for offset in range(0, len(samples), frame_size):
        frame = av.AudioFrame.from_ndarray(samples[None, offset : offset + frame_size], "fltp", "mono")
        frame.sample_rate = rate
        frame.pts = offset + round(start * rate)
        frame.time_base = Fraction(1, rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def make_audio(path: Path, samples: np.ndarray, rate: int = AUDIO_RATE, codec: str = "pcm_s16le") -> Path:
    """Write mono samples as an audio file; return its path."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = "mono"
        encode_audio(out, stream, samples, rate=rate, frame_size=1152)
    return path


def make_silent_aac(path: Path, cover: np.ndarray | None = None) -> Path:
    """Write 4096 samples of silence as AAC in MP4, with cover art or without any video; return the path."""
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=AUDIO_RATE)
        if cover is not None:
            cover_stream = out.add_stream("mjpeg", rate=1)
            cover_stream.height, cover_stream.width = cover.shape[:2]
            cover_stream.pix_fmt = "yuvj420p"
            cover_stream.disposition = cover_stream.disposition.attached_pic
            out.mux(cover_stream.encode(av.VideoFrame.from_ndarray(cover, format="rgb24")))
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), "fltp", "stereo")
        frame.sample_rate = AUDIO_RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def frame_times(path: Path) -> list[float]:
    """Return the presentation times of all frames, on the file's clock."""
    with av.open(str(path)) as file:
        return [float(frame.pts * frame.time_base) for frame in file.decode(video=0)]


def decode_audio(path: Path, rate: int = AUDIO_RATE) -> tuple[float, np.ndarray]:
    """Return (start, samples) of a file's audio; the start counts from the first frame of its video, if it has one."""
    base = frame_times(path)[0] if _has_video(path) else None
    resampler = av.AudioResampler("fltp", "mono", rate)
    parts, start = [], None
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            if start is None:
                start = float(frame.pts * frame.time_base)
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return start - (start if base is None else base), np.concatenate(parts)


def _has_video(path: Path) -> bool:
    with av.open(str(path)) as file:
        return bool(file.streams.video)


def place_on_timeline(start: float, samples: np.ndarray, seconds: float, rate: int = AUDIO_RATE) -> np.ndarray:
    """Return samples on a timeline from 0 to `seconds`, with silence elsewhere."""
    timeline = np.zeros(round(seconds * rate), np.float32)
    offset = round(start * rate)
    samples = samples[max(0, -offset) :]
    offset = max(0, offset)
    samples = samples[: len(timeline) - offset]
    timeline[offset : offset + len(samples)] = samples
    return timeline


def measure_delay(audio: np.ndarray, reference: np.ndarray, rate: int = AUDIO_RATE) -> tuple[float, float]:
    """Return the delay of audio against a reference in seconds, and the correlation (0 to 1) at this delay."""
    size = 1 << (len(audio) + len(reference)).bit_length()
    product = np.fft.irfft(np.fft.rfft(audio, size) * np.conj(np.fft.rfft(reference, size)), size)
    peak = int(np.argmax(product))
    correlation = product[peak] / (np.linalg.norm(audio) * np.linalg.norm(reference))
    return (peak - size if peak > size // 2 else peak) / rate, float(correlation)


def coded_packets(path: Path, kind: str) -> list[bytes]:
    """Return the coded packets of the first stream of a kind ("video" or "audio"), as they are in the file."""
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(getattr(file.streams, kind)[0]) if packet.size]
