"""XMP packets in MP4 and QuickTime files."""

from fractions import Fraction

import pytest

from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import VideoWriter
from mimaface_cli.media.xmp import append_xmp_box, read_xmp_box
from tests.media.synthetic_media import make_clip, stamped_frame


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_packet_of_a_written_video_is_read_back(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, 96, 64, Fraction(25), attachments=Attachments(xmp=b"<xmp/>")) as writer:
        writer.write(stamped_frame(3), 0.0)
    assert read_xmp_box(path) == b"<xmp/>"
    assert sum(1 for _ in read_frames(path)) == 1


def test_file_without_packet_gives_an_empty_one(tmp_path):
    assert read_xmp_box(make_clip(tmp_path / "a.mp4", 2)) == b""
    (tmp_path / "text.mp4").write_bytes(b"plain text that is no MP4 at all")
    assert read_xmp_box(tmp_path / "text.mp4") == b""


def test_truncated_packet_gives_its_remaining_bytes(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 2)
    append_xmp_box(path, b"<x/>")
    path.write_bytes(path.read_bytes()[:-2])
    assert read_xmp_box(path) == b"<x"


def test_damaged_boxes_give_no_packet(tmp_path):
    path = tmp_path / "a.mp4"
    head = b"\0\0\0\x10ftypisom\0\0\0\0"
    path.write_bytes(head)
    append_xmp_box(path, b"<x/>")
    uuid = path.read_bytes()[16 + 8 : 16 + 24]
    for tail in (
        b"\0\0\0\x02free",  # shorter than the box header
        b"\0\0\0\x01uuid",  # a 64-bit length that is missing
        b"\0\0\0\x01uuid" + b"\xff" * 8 + uuid,
        b"\xff\xff\xff\xffuuid" + uuid + b"ab",  # longer than the file
        b"\0\0\0\x09uuid" + uuid,
        b"\0" * 5000,
    ):
        path.write_bytes(head + tail)
        assert len(read_xmp_box(path)) <= 2
    path.write_bytes(b"")
    assert read_xmp_box(path) == b""
