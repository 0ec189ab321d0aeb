"""Audio decoded by FFmpeg's own program, for what PyAV cannot decode safely: unusual layouts, and joined streams."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from av.audio.frame import AudioFrame

from mimaface_cli.errors import InputError
from mimaface_cli.media.channel_layout import ChannelPlan

_MAX_GAP = 0.04  # seconds; a larger gap in the timestamps becomes silence


class FFmpegAudio:
    """Samples of one stream, or of two mono streams as stereo, decoded by a process.

    Args:
        path: Video or audio file.
        streams: Indices of the streams in the file; two are the mono streams of the left and the right.
        sample_rate: Sample rate of the streams.
        channel_count: Number of channels of all streams together.
        plan: Conversion of the channels to a standard layout.
        origin: Time of the first sample to return, in seconds on the file's clock.
        demuxers: Names of the demuxers that may read the file, separated by commas.

    Attributes:
        is_damaged: Whether the program reported errors; final after the last frame.

    Raises:
        InputError: If the program is missing.
    """

    def __init__(
        self,
        path: Path,
        streams: list[int],
        sample_rate: int,
        channel_count: int,
        plan: ChannelPlan,
        origin: float,
        demuxers: str,
    ) -> None:
        self.is_damaged = False
        self._rate = sample_rate
        self._channel_count = channel_count
        self._plan = plan
        self._first = round(origin * sample_rate)
        command = [_find_program(path), "-nostdin", "-v", "error", "-protocol_whitelist", "file"]
        command += ["-format_whitelist", demuxers, "-copyts", "-i", f"file:{path}"]
        command += ["-filter_complex", _filters(streams, self._first), "-map", "[out]"]
        command += ["-c:a", "pcm_f32le", "-protocol_whitelist", "pipe", "-f", "f32le", "pipe:1"]
        self._command = command

    def frames(self) -> Iterator[AudioFrame]:
        """Yield the samples in order as packed float32 frames of the standard layout, without gaps.

        The process runs while the iterator is read, and ends when it is closed.
        """
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=errors)
            try:
                for position, samples in self._read(process.stdout):
                    packed = np.ascontiguousarray(self._plan.apply(samples).T).reshape(1, -1)
                    frame = AudioFrame.from_ndarray(packed, "flt", self._plan.layout)
                    frame.sample_rate, frame.pts, frame.time_base = self._rate, position, Fraction(1, self._rate)
                    yield frame
                self.is_damaged = process.wait() != 0 or os.fstat(errors.fileno()).st_size > 0
            finally:
                process.kill()
                process.communicate()

    def _read(self, output: IO[bytes] | None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (time of the first sample in samples, samples (channels, N) float32) in blocks of a second."""
        if output is None:
            raise ValueError("the program has no output")
        position = self._first
        sample_bytes = 4 * self._channel_count
        while content := output.read(sample_bytes * self._rate):
            count = len(content) // sample_bytes
            samples = np.frombuffer(content[: count * sample_bytes], np.float32).reshape(count, self._channel_count)
            yield position, samples.T
            position += count


def _filters(streams: list[int], first: int) -> str:
    """Return the filter graph that places the samples at their times, and joins the streams."""
    timing = f"aresample=async=1:min_hard_comp={_MAX_GAP}:first_pts={first}"
    if len(streams) == 1:
        return f"[0:{streams[0]}]{timing}[out]"
    parts = [f"[0:{stream}]{timing}[s{number}]" for number, stream in enumerate(streams)]
    inputs = "".join(f"[s{number}]" for number in range(len(streams)))
    return ";".join([*parts, f"{inputs}join=inputs=2:channel_layout=stereo:map=0.0-FL|1.0-FR[out]"])


def _find_program(path: Path) -> str:
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise InputError(
            f"{path}: the channels of its audio cannot be decoded without the ffmpeg program. Convert it to stereo."
        ) from error
