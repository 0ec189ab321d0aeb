"""Encoder settings: what fits together, what is refused, and that every listed setting works."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.errors import OutputError
from mimaface_cli.media.codecs import CODECS, CONTAINERS
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.encoding import choose_encoding, is_image_sequence
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import VideoWriter, open_writer
from tests.media.synthetic_media import read_stamp, stamped_frame


def write_clip(path, count, options):
    with VideoWriter(path, 256, 128, Fraction(25), options=options) as writer:
        for number in range(count):
            writer.write(stamped_frame(number, 256, 128), number / 25)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(suffix, codec) for suffix, container in CONTAINERS.items() for codec in CODECS if codec in container.codecs],
)
def test_every_codec_works_in_the_containers_that_list_it(tmp_path, suffix, codec):
    path = tmp_path / f"a{suffix}"
    write_clip(path, 5, EncodeOptions(codec=codec))
    frames = list(read_frames(path))
    assert [read_stamp(frame.image) for frame in frames] == list(range(5))
    assert np.abs(frames[4].image.astype(int) - stamped_frame(4, 256, 128)).mean() < 3


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(suffix, codec) for suffix, container in CONTAINERS.items() for codec in CODECS if codec not in container.codecs],
)
def test_every_other_codec_is_refused_by_the_container(suffix, codec):
    with pytest.raises(OutputError, match=rf"does not support {codec}\. Use one of"):
        choose_encoding(Path(f"a{suffix}"), EncodeOptions(codec=codec), 256, 128)


@pytest.mark.parametrize("codec", CODECS)
def test_every_pixel_format_and_preset_works(tmp_path, codec):
    table = CODECS[codec]
    suffix = ".mkv" if codec in CONTAINERS[".mkv"].codecs else ".mov"
    choices = [EncodeOptions(codec, pixel_format=name) for name in table.pixel_formats]
    choices += [EncodeOptions(codec, pixel_format=name, alpha=True) for name in table.alpha_formats]
    choices += [EncodeOptions(codec, preset=name) for name in (*table.presets[:2], *table.presets[-1:])]
    for number, options in enumerate(choices):
        path = tmp_path / f"{number}{suffix}"
        write_clip(path, 2, options)
        assert sum(1 for _ in read_frames(path)) == 2, options


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".mp4", "hevc"), (".webm", "vp9"), (".mkv", "ffv1")])
def test_lossless_preserves_every_value(tmp_path, suffix, codec):
    path = tmp_path / f"a{suffix}"
    images = np.random.default_rng(3).integers(0, 256, (3, 65, 97, 3), dtype=np.uint8)
    with VideoWriter(path, 97, 65, Fraction(25), options=EncodeOptions(codec, lossless=True)) as writer:
        for number, image in enumerate(images):
            writer.write(image, number / 25)
    assert all(np.array_equal(frame.image, images[frame.index]) for frame in read_frames(path))
    assert sum(1 for _ in read_frames(path)) == 3


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (EncodeOptions(), (98, 66)),
        (EncodeOptions(pixel_format="yuv422p"), (98, 65)),
        (EncodeOptions(pixel_format="yuv444p"), (97, 65)),
        (EncodeOptions("hevc"), (98, 66)),
    ],
)
def test_odd_sides_grow_only_where_chroma_is_subsampled(tmp_path, options, size):
    path = tmp_path / "a.mp4"
    image = np.ascontiguousarray(stamped_frame(37, 97, 65))
    with VideoWriter(path, 97, 65, Fraction(25), options=options) as writer:
        writer.write(image, 0.0)
    shown = next(read_frames(path)).image
    assert (shown.shape[1], shown.shape[0]) == size
    assert np.abs(shown[:65, :97].astype(int) - image).mean() < 4
    assert np.abs(shown[:, -1].astype(int) - shown[:, 96]).mean() < 6  # the edge repeated, not black


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.avi", EncodeOptions(), r"'\.avi' files cannot be written\. Use one of \.mp4 .*\.webm"),
        ("a", EncodeOptions(), "no suffix"),
        ("a.mp4", EncodeOptions("theora"), r"unknown codec 'theora'\. Use one of h264"),
        ("a.mp4", EncodeOptions(crf=52), "52 is out of range. Give h264 a `crf` of 0 to 51"),
        ("a.mp4", EncodeOptions(preset="warp"), "no preset 'warp'"),
        ("a.mp4", EncodeOptions(pixel_format="rgb48"), "does not support the pixel format rgb48"),
        ("a.mp4", EncodeOptions(crf=3, lossless=True), "Leave these two out"),
        ("a.mov", EncodeOptions("prores", crf=3), "has no `crf`. Choose one of the presets proxy"),
        ("a.mov", EncodeOptions("prores", lossless=True), "cannot be lossless. Use one of h264 hevc"),
        ("a.mov", EncodeOptions("dnxhr"), "too small for dnxhr"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path, assert_folder_holds, name, options, message
):
    with pytest.raises(OutputError, match=message) as caught:
        open_writer(tmp_path / name, 96, 64, Fraction(25), options=options)
    assert "\n" not in str(caught.value)
    assert_folder_holds()


def test_is_image_sequence_requires_a_number_and_an_image_suffix():
    assert is_image_sequence(Path("frames/%05d.png"))
    assert not is_image_sequence(Path("frames/a.png")) and not is_image_sequence(Path("50%.mp4"))
