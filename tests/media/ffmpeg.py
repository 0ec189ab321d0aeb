"""FFmpeg's own program, with which tests make files and read results."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np


def run_ffmpeg(*arguments: object) -> bytes:
    """Run the program and return what it writes to its output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def tones(frequencies: list[int], seconds: float, rate: int, layout: str) -> list[str]:
    """Return the arguments of an input with one tone in each channel, of amplitude 0.5."""
    channels = "|".join(f"0.5*sin({hertz}*2*PI*t)" for hertz in frequencies)
    return ["-f", "lavfi", "-i", f"aevalsrc={channels}:d={seconds}:s={rate}:c={layout}"]


def decode_channels(path: Path, count: int, stream: int = 0) -> np.ndarray:
    """Return the samples (count, N) of an audio stream, float32."""
    content = run_ffmpeg("-i", path, "-map", f"0:a:{stream}", "-f", "f32le", "-")
    return np.frombuffer(content, np.float32).reshape(-1, count).T


def main_frequency(samples: np.ndarray, rate: int) -> float:
    """Return the frequency in hertz with the most energy."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * rate / len(samples)
