"""Media made for the tests with bare PyAV, and bare PyAV readers to judge by, so that the tests do not check
mimaface's reading with mimaface's writing alone.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SOUND_RATE = 44_100


def stamped(index: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A frame that says its number: eight bars, white for 1, lowest bit left; survives any codec."""
    bits = (index >> np.arange(8)) & 1
    columns = np.repeat(bits * 215 + 20, -(-width // 8))[:width].astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(columns[None, :, None], (height, width, 3)))


def stamp(image: np.ndarray) -> int:
    """The number a `stamped` frame says."""
    height, width = image.shape[:2]
    step = -(-width // 8)
    middles = image[height // 2, step // 2 :: step].mean(axis=1)[:8]
    return int(((middles > 127) << np.arange(8)).sum())


def noise(seconds: float, rate: int = SOUND_RATE, seed: int = 1) -> np.ndarray:
    """A sound that is nowhere like itself a moment later: smoothed noise, float32 mono in -1..1."""
    raw = np.random.default_rng(seed).standard_normal(round(seconds * rate) + 16)
    return (np.convolve(raw, np.ones(16) / 16, "valid")[: round(seconds * rate)] * 0.8).clip(-1, 1).astype(np.float32)


def make_clip(
    path: Path,
    count: int = 20,
    rate: Fraction = Fraction(25),
    size: tuple[int, int] = (96, 64),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict | None = None,
    times: list[int] | None = None,
    time_base: Fraction | None = None,
    display: tuple | None = None,
    aspect: Fraction | None = None,
    sound: np.ndarray | None = None,
    sound_start: float = 0.0,
    sound_codec: str = "aac",
    sound_first: bool = False,
    muxing: dict | None = None,
    tags: dict | None = None,
) -> Path:
    """Write `count` stamped frames, and `sound` (mono, SOUND_RATE) from `sound_start` seconds on.

    `times`: presentation times in ticks of `time_base`; may start below 0 (MP4 hides such frames by an edit list).
    """
    with av.open(str(path), "w", container_options=muxing or {}) as out:
        speaker = out.add_stream(sound_codec, rate=SOUND_RATE) if sound is not None and sound_first else None
        video = out.add_stream(codec, rate=rate, options=options or {})
        video.width, video.height = size
        video.pix_fmt = pixel_format
        for name, value in (tags or {}).items():
            setattr(video.codec_context, name, value)
        if time_base:
            video.codec_context.time_base = time_base
        if display:
            video.set_display_rotation(*display)
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if sound is not None and not sound_first:
            speaker = out.add_stream(sound_codec, rate=SOUND_RATE)
        if speaker is not None:
            speaker.layout = "mono"
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(stamped(index, *size), format="rgb24")
            frame.pts = times[index] if times else index
            frame.time_base = time_base or 1 / rate
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if speaker is not None:
            for start in range(0, len(sound), 1024):
                frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], "fltp", "mono")
                frame.sample_rate = SOUND_RATE
                frame.pts = start + round(sound_start * SOUND_RATE)
                frame.time_base = Fraction(1, SOUND_RATE)
                out.mux(speaker.encode(frame))
            out.mux(speaker.encode(None))
    return path


def make_wav(path: Path, sound: np.ndarray, rate: int = SOUND_RATE, codec: str = "pcm_s16le") -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = "mono"
        for start in range(0, len(sound), 1152):
            frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1152], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def picture_times(path: Path) -> list[float]:
    """Presentation times of all frames, on the file's own clock."""
    with av.open(str(path)) as file:
        return [float(frame.pts * frame.time_base) for frame in file.decode(video=0)]


def heard(path: Path, rate: int = SOUND_RATE) -> tuple[float, np.ndarray]:
    """(start, samples) of a file's sound; the start counts from the first frame of its picture, if it has one."""
    base = picture_times(path)[0] if _has_picture(path) else None
    resampler = av.AudioResampler("fltp", "mono", rate)
    parts, start = [], None
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            if start is None:
                start = float(frame.pts * frame.time_base)
            parts += [out.to_ndarray()[0] for out in resampler.resample(frame)]
    parts += [out.to_ndarray()[0] for out in resampler.resample(None)]
    return start - (start if base is None else base), np.concatenate(parts)


def _has_picture(path: Path) -> bool:
    with av.open(str(path)) as file:
        return bool(file.streams.video)


def laid(start: float, samples: np.ndarray, seconds: float, rate: int = SOUND_RATE) -> np.ndarray:
    """`samples` on a clock from 0 to `seconds`, silence where there is none."""
    clock = np.zeros(round(seconds * rate), np.float32)
    place = round(start * rate)
    samples = samples[max(0, -place) :]
    place = max(0, place)
    samples = samples[: len(clock) - place]
    clock[place : place + len(samples)] = samples
    return clock


def lag(one: np.ndarray, other: np.ndarray, rate: int = SOUND_RATE) -> tuple[float, float]:
    """(seconds by which `one` is late against `other`, how alike they are then: 0..1)."""
    size = 1 << (len(one) + len(other)).bit_length()
    product = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)), size)
    peak = int(np.argmax(product))
    alike = product[peak] / (np.linalg.norm(one) * np.linalg.norm(other))
    return (peak - size if peak > size // 2 else peak) / rate, float(alike)


def packets(path: Path, kind: str) -> list[bytes]:
    """The coded packets of the first stream of a kind, as they are in the file."""
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(getattr(file.streams, kind)[0]) if packet.size]
