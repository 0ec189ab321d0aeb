"""Readers of audio with unusual channels, and of recordings whose headers change midway."""

import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.hostile.media_readers import read_audio_file, read_video_file
from tests.hostile.reader import Reader
from tests.media.ffmpeg import run_ffmpeg, tones

_SECONDS = 0.4
_STEREO = tones([300, 500], _SECONDS, 44_100, "stereo")
_MONO = tones([400], _SECONDS, 22_050, "mono")
_SURROUND = tones([300, 400, 500, 60, 700, 800], _SECONDS, 48_000, "5.1(side)")


def _picture(size: str) -> list[str]:
    return ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={_SECONDS}"]


def _make(suffix: str, *arguments: object) -> Callable[[], bytes]:
    """Return a function that runs FFmpeg's program and returns the file that it writes."""

    def make() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a{suffix}"
            run_ffmpeg(*arguments, path)
            return path.read_bytes()

    return make


def _join(suffix: str, *parts: list[object]) -> Callable[[], bytes]:
    """Return a function that joins the bytes of several files."""
    return lambda: b"".join(_make(suffix, *part)() for part in parts)


def read_joined_video(path: Path) -> object:
    """Read the frames of a video, the changes of their size, and the audio; write the audio."""
    from mimaface_cli.media.audio import has_audio
    from mimaface_cli.media.size_changes import find_size_changes

    read_video_file(path)
    find_size_changes(path)
    return write_audio(path) if has_audio(path) else None


def write_audio(path: Path) -> object:
    """Decode the audio of a file, and add it to a video."""
    from mimaface_cli.media.audio import AudioTrack
    from mimaface_cli.media.writer import VideoWriter

    read_audio_file(path)
    for suffix in (".mp4", ".mkv"):
        result = path.with_name(f"result{suffix}")
        with VideoWriter(result, 64, 64, Fraction(25), audio=AudioTrack(path), duration=0.2) as writer:
            for number in range(5):
                writer.write(np.full((64, 64, 3), number, np.uint8), number / 25)
        result.unlink()
    return writer.audio_damaged


_H264 = [*_picture("96x64"), *_SURROUND, "-c:v", "libx264", "-c:a", "ac3", "-b:a", "192k"]
_MPEG2 = [*_picture("160x90"), *_MONO, "-c:v", "mpeg2video", "-c:a", "mp2", "-ar", "24000", "-b:a", "64k"]
_AAC = [*_picture("160x90"), *_STEREO, "-c:v", "libx264", "-c:a", "aac"]
_71 = tones([300, 400, 500, 60, 700, 800, 900, 1000], _SECONDS, 16_000, "7.1")
_AMBISONIC = [*tones([300, 300, 500, 500], _SECONDS, 48_000, "ambisonic 1"), "-c:a", "libopus", "-mapping_family", 2]

JOINED_READERS = (
    Reader("7.1 aiff", ".aiff", _make(".aiff", *_71, "-c:a", "pcm_s16be"), write_audio),
    Reader("7.1 mov", ".mov", _make(".mov", *_picture("96x64"), *_71, "-c:a", "pcm_s16be"), read_joined_video),
    Reader("12 channels", ".wav", _make(".wav", *tones([300] * 12, _SECONDS, 16_000, "12c")), write_audio),
    Reader("ambisonic", ".ogg", _make(".ogg", *_AMBISONIC), write_audio),
    Reader("ambisonic mkv", ".mkv", _make(".mkv", *_picture("96x64"), *_AMBISONIC, "-c:v", "mpeg4"), read_joined_video),
    Reader("5.1 flac", ".flac", _make(".flac", *_SURROUND), write_audio),
    Reader("joined ts", ".ts", _join(".ts", _H264, _AAC), read_joined_video),
    Reader("joined ts codecs", ".ts", _join(".ts", _H264, _MPEG2), read_joined_video),
    Reader("joined mkv", ".mkv", _join(".mkv", _H264, _MPEG2), read_joined_video),
    Reader("joined mpg", ".mpg", _join(".mpg", _MPEG2, [*_MPEG2, "-s", "96x64", "-ac", 2]), read_joined_video),
    Reader("joined mp3", ".mp3", _join(".mp3", _STEREO, _MONO), write_audio),
    Reader("joined aac", ".aac", _join(".aac", _STEREO, _MONO, _SURROUND), write_audio),
    Reader("joined ac3", ".ac3", _join(".ac3", _SURROUND, _STEREO), write_audio),
    Reader("chained ogg", ".ogg", _join(".ogg", _STEREO, _MONO), write_audio),
)
