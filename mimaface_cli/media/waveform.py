"""Sound in: the speech of any file or video as mono samples at one rate, kept on disk so that memory stays flat."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
from av.audio.resampler import AudioResampler

from mimaface_cli.errors import InputError
from mimaface_cli.media.audio import GAP, SoundSource, time_zero
from mimaface_cli.media.libav import DAMAGE

SAMPLE_RATE = 16_000
_RATES = range(1_000, 768_001)
_LONGEST_GAP = 600.0  # seconds of silence that are believed; beyond, a file's times are wrong
_BLOCK = SAMPLE_RATE * 10


class Waveform:
    """Mono float32 samples at SAMPLE_RATE in a file of their own; time 0 as in `mimaface_cli.media.audio`.

    damaged: whether parts of the sound could not be read and are silent or missing.
    """

    def __init__(self, file, length: int, damaged: bool = False):
        self._file = file
        self._length = length
        self.damaged = damaged

    def __len__(self) -> int:
        return self._length

    @property
    def seconds(self) -> float:
        """How long the sound is."""
        return self._length / SAMPLE_RATE

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples start..stop, silent beyond the sound's ends."""
        samples = np.zeros(max(stop - start, 0), np.float32)
        first, last = max(start, 0), min(stop, self._length)
        if last > first:
            self._file.seek(4 * first)
            samples[first - start : last - start] = np.frombuffer(self._file.read(4 * (last - first)), np.float32)
        return samples

    def blocks(self) -> Iterator[np.ndarray]:
        """All samples, ten seconds at a time."""
        for start in range(0, self._length, _BLOCK):
            yield self.read(start, min(start + _BLOCK, self._length))

    def memory_map(self) -> np.ndarray:
        """All samples as a read-only view of the file, not of memory."""
        return np.memmap(self._file, np.float32, "r", shape=(self._length,))


@contextmanager
def open_waveform(path: Path, progress: Callable[[float], None] | None = None) -> Iterator[Waveform]:
    """The main sound of a file or video, whatever its codec, rate and channels; progress is told the seconds read.

    Channels are mixed as players mix them, the rate is changed by soxr, gaps are silent, and the length is that of the
    original, rounded up to a sample. Raises InputError where there is no sound or nothing of it can be read.
    """
    path = Path(path)
    with tempfile.TemporaryFile() as file:
        source = SoundSource(path, time_zero(path))
        length = 0
        try:
            for block in _resampled(source):
                file.write(block.tobytes())
                length += len(block)
                if progress is not None:
                    progress(length / SAMPLE_RATE)
        except OSError as error:
            raise InputError(f"{path}: its sound does not fit into the folder for temporary files ({error})") from error
        finally:
            source.close()
        if not length:
            raise InputError(f"{path}: none of its sound can be read, or it is 0 seconds long; get the whole file")
        file.flush()
        yield Waveform(file, length, source.damaged)


def _resampled(source: SoundSource) -> Iterator[np.ndarray]:
    """The joined sound at SAMPLE_RATE, one soxr stream for each stretch of one rate."""
    import soxr

    rate, stream, taken, given = 0, None, 0, 0
    for next_rate, samples in chain(_joined(source), ((0, None),)):  # (0, None): the end
        if next_rate != rate:
            if stream is not None:  # what the filter still holds, to the exact length
                rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
                missing = -(-taken * SAMPLE_RATE // rate) - given  # rounded up: one sample is some sound, too
                yield np.pad(rest, (0, max(missing - len(rest), 0)))[: max(missing, 0)]
            rate, taken, given = next_rate, 0, 0
            stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32", "HQ") if rate else None
        if samples is not None:
            made = stream.resample_chunk(samples)
            taken, given = taken + len(samples), given + len(made)
            yield made


def _joined(source: SoundSource) -> Iterator[tuple[int, np.ndarray]]:
    """(rate, mono samples) one after the other from time 0: silence in gaps, nothing twice."""
    rate, due = 0, None
    for frame in _planes(source):
        if frame.sample_rate != rate:
            due = None if due is None else due / rate * frame.sample_rate
            rate = frame.sample_rate
        place = source.seconds(frame.pts) * rate
        if due is None:
            due = 0.0
            place = 0.0 if abs(place) < 0.5 else place
        elif abs(place - due) <= GAP * rate or place - due > _LONGEST_GAP * rate:
            place = due
        samples = np.nan_to_num(frame.to_ndarray().mean(0), nan=0.0, posinf=0.0, neginf=0.0)
        missing = round(place - due)
        for start in range(0, missing, rate):
            yield rate, np.zeros(min(rate, missing - start), np.float32)
        samples = samples[max(-missing, 0) :]
        due += max(missing, 0) + len(samples)
        yield rate, samples


def _planes(source: SoundSource) -> Iterator:
    """The decoded frames as one or two channels of float32 at their own rate."""
    shape = mixer = None
    for frame in source.frames():
        if frame.sample_rate not in _RATES:
            raise InputError(f"{source.path}: has {frame.sample_rate} samples a second; convert its sound to 48000")
        pts, time_base = frame.pts, frame.time_base
        try:
            if shape != (frame.format.name, frame.layout.name, frame.sample_rate):
                shape = frame.format.name, frame.layout.name, frame.sample_rate
                # Planes of up to two channels, whose mean FFmpeg's own mono would make louder by 3 dB.
                mixer = AudioResampler("fltp", "mono" if frame.layout.nb_channels == 1 else "stereo", frame.sample_rate)
            parts = mixer.resample(frame)
        except DAMAGE:
            source.damaged = True
            shape = mixer = None
            continue
        for part in parts:  # one, as the rate stays
            part.pts, part.time_base = pts, time_base
            yield part
