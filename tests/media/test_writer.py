"""Output videos: exact times, metadata, reproducible bytes, constant memory, and the choice of the writer."""

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.codecs import CONTAINERS
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.image_writer import ImageWriter, SequenceWriter
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.writer import VideoWriter, open_writer
from tests.media.synthetic_media import NTSC, frame_times, make_clip, make_noise, read_stamp, stamped_frame


def write_stamped(path, times, rate=Fraction(25), size=(96, 64), **options):
    """Write one stamped frame at each time; return the writer."""
    with open_writer(path, *size, rate, **options) as writer:
        for number, time in enumerate(times):
            writer.write(stamped_frame(number, *size), time)
    return writer


def grid_times(count, rate=Fraction(25)):
    return [float(number / rate) for number in range(count)]


def shown_duration(path):
    """Return the seconds for which a player shows the video."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        if stream.duration:
            return float(stream.duration * stream.time_base)
        spans = [(packet.pts, packet.pts + packet.duration) for packet in file.demux(stream) if packet.size]
        return float((max(end for _, end in spans) - min(start for start, _ in spans)) * stream.time_base)


def test_open_writer_chooses_the_writer_by_the_path(tmp_path):
    def kind(path):
        return type(open_writer(path, 96, 64, Fraction(25)))

    assert kind(tmp_path / "a.mp4") is VideoWriter and kind(str(tmp_path / "A.MKV")) is VideoWriter
    assert kind(tmp_path / "a.png") is ImageWriter and kind(tmp_path / "a.JPG") is ImageWriter
    assert kind(f"{tmp_path}/frames/") is SequenceWriter and kind(tmp_path / "frames" / "%04d.png") is SequenceWriter
    assert kind(tmp_path) is SequenceWriter


@pytest.mark.parametrize(
    "rate", [Fraction(25), NTSC, Fraction(24000, 1001), Fraction(60), Fraction(25, 2), Fraction(1350, 61)]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_constant_frame_rate_is_exact(tmp_path, suffix, rate):
    path = tmp_path / f"a{suffix}"
    assert write_stamped(path, grid_times(31, rate), rate).frames == 31
    is_exact = suffix in (".mp4", ".mov")
    assert frame_times(path) == pytest.approx(grid_times(31, rate), abs=1e-9 if is_exact else 0.00051)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.average_rate == rate
        duration = float(stream.duration * stream.time_base) if is_exact else file.duration / 1e6
    assert duration == pytest.approx(31 / rate, abs=1e-6 if is_exact else 0.001)
    assert [read_stamp(frame.image) for frame in read_frames(path)] == list(range(31))
    assert (probe(path).frame_rate, probe(path).variable_rate) == (rate, False)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_times_rounded_to_milliseconds_return_to_the_grid(tmp_path, suffix):
    rate = Fraction(30)
    write_stamped(tmp_path / f"a{suffix}", [round(time, 3) for time in grid_times(40, rate)], rate)
    info = probe(tmp_path / f"a{suffix}")
    assert (info.frame_rate, info.variable_rate) == (rate, False)
    if suffix == ".mp4":
        assert frame_times(tmp_path / "a.mp4") == pytest.approx(grid_times(40, rate), abs=1e-9)


def test_variable_times_are_preserved(tmp_path):
    times = np.cumsum([0.0] + [0.04, 0.033, 0.1207, 0.017, 0.5, 0.01] * 5).tolist()
    for suffix, tolerance in ((".mp4", 6e-6), (".mkv", 0.00051)):
        path = tmp_path / f"a{suffix}"
        write_stamped(path, times, Fraction(25))
        assert frame_times(path) == pytest.approx(times, abs=tolerance)
        assert shown_duration(path) == pytest.approx(times[-1] + 1 / 25, abs=0.002)
        assert [read_stamp(frame.image) for frame in read_frames(path)] == list(range(31))


def test_frames_may_be_closer_than_the_grid_of_the_frame_rate(tmp_path):
    times = [0.0, 0.0399, 0.0401, 0.0402, 0.08]
    write_stamped(tmp_path / "a.mp4", times)
    assert frame_times(tmp_path / "a.mp4") == pytest.approx(times, abs=0.0005)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "ffv1"])
def test_very_short_videos_have_all_frames_and_their_duration(tmp_path, codec, count):
    path = tmp_path / "a.mkv"
    write_stamped(path, grid_times(count), options=EncodeOptions(codec=codec))
    assert [read_stamp(frame.image) for frame in read_frames(path)] == list(range(count))
    assert shown_duration(path) == pytest.approx(count / 25, abs=0.002)


def test_decoding_times_of_short_hevc_videos_are_set(tmp_path):
    """Without B-frames in a video of two frames, each dts equals its pts; x265 itself sets any number, in some runs."""
    for number in range(30):
        path = tmp_path / f"{number}.mp4"
        write_stamped(path, grid_times(1 + number % 2), options=EncodeOptions("hevc"))
        with av.open(str(path)) as file:
            assert all(packet.dts == packet.pts for packet in file.demux(video=0) if packet.size)


@pytest.mark.parametrize(
    ("suffix", "codec"), [(suffix, codec) for suffix in CONTAINERS for codec in CONTAINERS[suffix].codecs]
)
def test_last_frame_lasts_as_long_as_the_others(tmp_path, suffix, codec):
    path = tmp_path / f"a{suffix}"
    write_stamped(path, grid_times(5), size=(256, 128), options=EncodeOptions(codec=codec))
    assert shown_duration(path) == pytest.approx(5 / 25, abs=0.002)


def test_mp4_index_comes_before_the_frames_for_progressive_playback(tmp_path):
    write_stamped(tmp_path / "a.mp4", grid_times(10))
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_hevc_in_mp4_has_the_tag_of_apple_players(tmp_path):
    write_stamped(tmp_path / "b.mp4", grid_times(3), options=EncodeOptions("hevc"))
    assert b"hvc1" in (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_standard_and_custom_tags_are_written(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for tags in ({"title": "größe", "comment": "written by mimaface"}, {"comment": "c", "mimaface": '{"frames": 1}'}):
        write_stamped(path, grid_times(2), attachments=Attachments(tags))
        with av.open(str(path)) as file:
            metadata = {key.lower(): value for key, value in file.metadata.items()}
        assert tags.items() <= metadata.items()


def test_image_of_the_caller_is_copied(tmp_path):
    image = stamped_frame(9).copy()
    with VideoWriter(tmp_path / "a.mp4", 96, 64, Fraction(25)) as writer:
        for number in range(8):
            image[:] = stamped_frame(number)
            writer.write(image, number / 25)
    assert [read_stamp(frame.image) for frame in read_frames(tmp_path / "a.mp4")] == list(range(8))


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_same_frames_give_the_same_bytes(tmp_path, suffix):
    for name in ("a", "b"):
        with VideoWriter(tmp_path / f"{name}.{suffix}", 64, 48, Fraction(25)) as writer:
            for number in range(6):
                writer.write(np.full((48, 64, 3), 30 * number, np.uint8), number / 25)
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.slow
def test_h264_gives_the_same_bytes_two_hundred_times(tmp_path):
    """With AVX-512, x264 wrote other bytes in one file of fifty at this size."""
    images = [np.full((240, 320, 3), 30 * number, np.uint8) for number in range(6)]
    contents = set()
    for _ in range(200):
        with VideoWriter(tmp_path / "a.mp4", 320, 240, Fraction(25)) as writer:
            for number, image in enumerate(images):
                writer.write(image, number / 25)
        contents.add((tmp_path / "a.mp4").read_bytes())
    assert len(contents) == 1


_CONVERT_AND_PRINT_MEMORY = """
import resource, sys
from fractions import Fraction
from pathlib import Path
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.audio import AudioTrack
from mimaface_cli.media.writer import VideoWriter
source = Path(sys.argv[1])
with VideoWriter(source.with_suffix(".webm"), 480, 320, Fraction(25), audio=AudioTrack(source)) as writer:
    for frame in read_frames(source):
        writer.write(frame.image, frame.pts)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory has other units on other systems")
def test_memory_does_not_grow_with_the_duration(tmp_path):
    """Twelve seconds through reader and writer take no more memory than two (all frames would be 138 MB)."""
    peaks = []
    for seconds in (2, 12):
        path = tmp_path / f"{seconds}.mp4"
        make_clip(path, seconds * 25, size=(480, 320), audio=make_noise(seconds), options={"preset": "ultrafast"})
        command = [sys.executable, "-c", _CONVERT_AND_PRINT_MEMORY, str(path)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(run.stdout))
    assert peaks[1] - peaks[0] < 25_000, peaks
