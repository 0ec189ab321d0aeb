"""Packets at both ends of a video that give no frame: reported, never left out without a word."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.media.frame_rates import FALLBACK_RATE, measure_rate
from mimaface_cli.media.reader import probe, read_frames
from tests.media.synthetic_media import make_clip

FILLER = bytes([0, 0, 0, 4, 0x1C, 1, 2, 3])  # a NAL unit of a reserved type, which decoders skip


def replace_packets(source: Path, target: Path, is_replaced) -> Path:
    """Copy a video; packets whose number is chosen hold no picture."""
    with av.open(str(source)) as file, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(file.streams.video[0])
        packets = [packet for packet in file.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            copy = av.Packet(FILLER) if is_replaced(number) else packet
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.stream, copy.duration = stream, packet.duration
            out.mux(copy)
    return target


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "a.mp4", 30, options={"g": "10", "bf": "0"})


def test_frames_at_the_end_that_cannot_be_decoded_are_an_error(tmp_path, clip):
    path = replace_packets(clip, tmp_path / "b.mp4", lambda number: number >= 20)
    with pytest.raises(InputError, match=r"damaged near 0\.88 s \(frame 20 cannot be decoded\)"):
        list(read_frames(path))
    assert len(list(read_frames(path, max_frames=20))) == 20


def test_frames_at_the_start_that_cannot_be_decoded_are_noted(tmp_path, clip):
    path = replace_packets(clip, tmp_path / "b.mp4", lambda number: number < 5)
    assert probe(path).notes == ("b.mp4: the first 0.32 s cannot be decoded; they are left out",)
    assert len(list(read_frames(path))) == 22
    assert probe(clip).notes == ()


def test_equal_timestamps_give_a_plausible_rate(clip):
    with av.open(str(clip)) as file:
        stream = file.streams.video[0]
        rate, varies = measure_rate(stream, [0, 0, 0, 0, 512])
        assert varies and rate > 0
        assert measure_rate(stream, [5] * 6)[0] in (FALLBACK_RATE, Fraction(25))
