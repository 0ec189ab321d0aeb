"""Audio of any file or video as mono samples at 16 kHz, stored on disk so that memory use stays constant."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from mimaface_cli.errors import InputError
from mimaface_cli.media.audio import MAX_JITTER, AudioReader, clock_origin, frame_format
from mimaface_cli.media.libav import DECODE_ERRORS

SAMPLE_RATE = 16_000
"""Samples per second of a waveform."""

_SUPPORTED_RATES = range(1_000, 768_001)
_MAX_GAP = 600.0  # seconds of silence between frames; a longer gap means that the timestamps are wrong
_BLOCK = SAMPLE_RATE * 10


class Waveform:
    """Mono float32 samples at SAMPLE_RATE in a file; time 0 is that of `mimaface_cli.media.audio`.

    Args:
        file: Binary file that holds the samples.
        length: Number of samples.
        is_damaged: Whether parts of the audio could not be read and are silent or missing.
    """

    def __init__(self, file: IO[bytes], length: int, is_damaged: bool = False) -> None:
        self._file = file
        self._length = length
        self.is_damaged = is_damaged

    def __len__(self) -> int:
        return self._length

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self._length / SAMPLE_RATE

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the samples start to stop - 1, with zeros beyond both ends."""
        samples = np.zeros(max(stop - start, 0), np.float32)
        first = max(start, 0)
        last = min(stop, self._length)
        if last > first:
            self._file.seek(4 * first)
            samples[first - start : last - start] = np.frombuffer(self._file.read(4 * (last - first)), np.float32)
        return samples

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all samples in blocks of ten seconds."""
        for start in range(0, self._length, _BLOCK):
            yield self.read(start, min(start + _BLOCK, self._length))

    def memory_map(self) -> np.ndarray:
        """Return all samples as a read-only view of the file."""
        return np.memmap(self._file, np.float32, "r", shape=(self._length,))


@contextmanager
def open_waveform(
    path: Path, progress: Callable[[float], None] | None = None, stream: int | None = None
) -> Iterator[Waveform]:
    """Decode an audio stream of a file or video to a temporary waveform.

    Channels are mixed as players mix them, soxr changes the sample rate, and gaps are silent. The duration is that of
    the source, rounded up to a sample.

    Args:
        path: Video or audio file.
        progress: Function called with the seconds decoded so far.
        stream: Number of the audio stream, from 1; None for the main one.

    Yields:
        The waveform, for the duration of the `with` block.

    Raises:
        InputError: If there is no audio, or nothing of it can be decoded.
    """
    path = Path(path)
    with tempfile.TemporaryFile() as file:
        reader = AudioReader(path, clock_origin(path), stream)
        length = 0
        try:
            for block in _resample(reader):
                file.write(block.tobytes())
                length += len(block)
                if progress is not None:
                    progress(length / SAMPLE_RATE)
        except OSError as error:
            raise InputError(
                f"{path}: the audio does not fit into the folder for temporary files ({error}). Free some space."
            ) from error
        finally:
            reader.close()
        if not length:
            raise InputError(f"{path}: the audio cannot be read, or is 0 seconds long. Get the complete file.")
        file.flush()
        yield Waveform(file, length, reader.is_damaged)


def _resample(reader: AudioReader) -> Iterator[np.ndarray]:
    """Yield the audio at SAMPLE_RATE; each stretch with one sample rate has a separate soxr stream."""
    import soxr

    rate = 0
    stream: soxr.ResampleStream | None = None
    input_count = output_count = 0  # samples of the stretch
    for next_rate, samples in chain(_join_frames(reader), ((0, None),)):  # (0, None) marks the end
        if next_rate != rate:
            if stream is not None:  # flush the filter, to the exact length
                rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
                # Rounded up, so that a single input sample also gives audio.
                missing = max(-(-input_count * SAMPLE_RATE // rate) - output_count, 0)
                yield np.pad(rest, (0, max(missing - len(rest), 0)))[:missing]
            rate = next_rate
            input_count = output_count = 0
            stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32", "HQ") if rate else None
        if samples is not None and stream is not None:
            block = stream.resample_chunk(samples)
            input_count += len(samples)
            output_count += len(block)
            yield block


def _join_frames(reader: AudioReader) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (sample rate, mono samples) without gaps from time 0: silence fills gaps, overlaps are cut."""
    rate = 0
    position: float | None = None  # samples since time 0
    for frame, seconds in _mix_channels(reader):
        if frame.sample_rate != rate:
            position = None if position is None else position / rate * frame.sample_rate
            rate = frame.sample_rate
        target = seconds * rate
        if position is None:
            position = 0.0
            target = 0.0 if abs(target) < 0.5 else target
        elif abs(target - position) <= MAX_JITTER * rate or target - position > _MAX_GAP * rate:
            target = position
        samples = np.nan_to_num(frame.to_ndarray().mean(0), nan=0.0, posinf=0.0, neginf=0.0)
        missing = round(target - position)
        for start in range(0, missing, rate):
            yield rate, np.zeros(min(rate, missing - start), np.float32)
        samples = samples[max(-missing, 0) :]
        position += max(missing, 0) + len(samples)
        yield rate, samples


def _mix_channels(reader: AudioReader) -> Iterator[tuple[AudioFrame, float]]:
    """Yield the frames as one or two channels of float32 at their sample rate, and their times in seconds."""
    source_format: tuple[str, str, int] | None = None
    mixer: AudioResampler | None = None
    for frame in reader.frames():
        if frame.sample_rate not in _SUPPORTED_RATES:
            raise InputError(
                f"{reader.path}: {frame.sample_rate} samples per second are not supported. Convert the audio to 48000."
            )
        seconds = reader.frame_seconds(frame)
        try:
            if mixer is None or source_format != frame_format(frame):
                source_format = frame_format(frame)
                # Up to two channels, averaged later: FFmpeg's mono mix would be 3 dB louder than their mean.
                layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
                mixer = AudioResampler("fltp", layout, frame.sample_rate)
            parts = mixer.resample(frame)
        except DECODE_ERRORS:
            reader.is_damaged = True
            source_format = mixer = None
            continue
        for part in parts:  # one part, because the sample rate does not change
            yield part, seconds
