"""Videos with more than 8 bits per channel, from the decoder to the encoder."""

from fractions import Fraction

import av
import numpy as np
import pytest

from mimaface_cli.errors import OutputError
from mimaface_cli.media.color_space import ColorSpace
from mimaface_cli.media.deep_frame import BRIGHTNESS, COLOR, DeepFrame, yuv_to_rgb_matrix
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.encoding import choose_encoding
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.writer import open_writer
from tests.media.deep_media import HLG_2020, PQ_2020, SDR, noisy_planes, read_color, read_planes, write_planes
from tests.media.ffmpeg import run_ffmpeg

WIDTH, HEIGHT = 288, 160


def write_source(path, pixel_format="yuv422p10le", color=SDR, encoder="ffv1", options=None, count=2):
    frames = [noisy_planes(pixel_format, WIDTH, HEIGHT, seed) for seed in range(count)]
    return write_planes(path, frames, encoder=encoder, pixel_format=pixel_format, color=color, options=options)


def copy_video(source, output, change=lambda frame: frame, **encode):
    """Read a video with all its bits and write it again."""
    info = probe(source)
    options = EncodeOptions(**encode, source_format=info.pixel_format, space=info.deep_space)
    with open_writer(output, info.width, info.height, Fraction(25), options=options) as writer:
        for frame in read_frames(source, is_deep=True):
            writer.write(change(frame.deep), frame.pts)
    return output


def untouched(frame):
    return DeepFrame(frame.pixels, frame.space, frame.coded, np.zeros(frame.pixels.shape[:2], np.uint8))


def largest_difference(first, second):
    pairs = zip(read_planes(first), read_planes(second), strict=True)
    return max(abs(a - b).max() for planes, others in pairs for a, b in zip(planes, others, strict=True))


def mean_difference(first, second):
    pairs = zip(read_planes(first), read_planes(second), strict=True)
    return float(np.mean([abs(planes[0] - others[0]).mean() for planes, others in pairs]))


@pytest.mark.parametrize("color", [SDR, PQ_2020, HLG_2020])
@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p10le", "yuv444p10le"])
def test_untouched_frame_of_a_lossless_video_keeps_every_value(tmp_path, pixel_format, color):
    source = write_source(tmp_path / "in.mkv", pixel_format, color)
    copy = copy_video(source, tmp_path / "out.mkv", untouched, codec="ffv1", lossless=True)
    assert largest_difference(source, copy) == 0
    assert read_color(copy) == color


@pytest.mark.parametrize("color", [SDR, PQ_2020])
def test_frame_that_goes_through_rgb_is_within_one_step(tmp_path, color):
    source = write_source(tmp_path / "in.mkv", "yuv444p10le", color)
    assert largest_difference(source, copy_video(source, tmp_path / "out.mkv", codec="ffv1")) <= 1


@pytest.mark.parametrize(
    ("encoder", "pixel_format", "options"),
    [("prores_ks", "yuv422p10le", {"profile": "hq"}), ("prores_ks", "yuv444p10le", {"profile": "4444"})],
)
@pytest.mark.parametrize("color", [SDR, PQ_2020, HLG_2020])
def test_prores_loses_no_more_than_encoding_the_same_planes_again(tmp_path, encoder, pixel_format, options, color):
    source = write_source(tmp_path / "in.mov", pixel_format, color, encoder, options)
    copy = copy_video(source, tmp_path / "out.mov", untouched, codec="prores")
    decoded = [[plane // (4 if "444" in pixel_format else 1) for plane in planes] for planes in read_planes(source)]
    again = write_planes(
        tmp_path / "again.mov", decoded, encoder=encoder, pixel_format=pixel_format, color=color, options=options
    )
    step = 4 if "444" in pixel_format else 1  # FFmpeg decodes ProRes 4444 with 12 bits
    assert mean_difference(copy, again) <= step
    assert mean_difference(source, copy) <= mean_difference(source, again) + step
    assert read_color(copy) == color


@pytest.mark.parametrize(
    ("codec", "suffix", "pixel_format"),
    [
        ("prores", ".mov", "yuv422p10le"),
        ("dnxhr", ".mov", "yuv422p10le"),
        ("hevc", ".mp4", "yuv422p10le"),
        ("av1", ".mp4", "yuv420p10le"),
        ("ffv1", ".mkv", "yuv422p10le"),
    ],
)
@pytest.mark.parametrize("color", [SDR, PQ_2020, HLG_2020])
def test_codec_keeps_depth_and_color_tags(tmp_path, codec, suffix, pixel_format, color):
    copy = copy_video(write_source(tmp_path / "in.mkv", color=color), tmp_path / f"out{suffix}", untouched, codec=codec)
    info = probe(copy)
    assert (info.pixel_format, info.depth) == (pixel_format, 10)
    assert read_color(copy) == color
    assert info.is_hdr == (color != SDR)


def test_ffmpeg_program_reads_the_tags_of_bt2020_in_dnxhr(tmp_path):
    copy = copy_video(write_source(tmp_path / "in.mkv", color=PQ_2020), tmp_path / "out.mov", untouched, codec="dnxhr")
    again = tmp_path / "again.mkv"
    run_ffmpeg("-i", copy, "-c:v", "ffv1", again)
    assert read_color(again) == PQ_2020


def test_changed_pixels_replace_those_of_the_source_and_no_others(tmp_path):
    source = write_source(tmp_path / "in.mkv", count=1)

    def change(frame):
        pixels, changed = frame.pixels.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        pixels[40:80, 100:140] = [50_000, 20_000, 30_000]
        changed[40:80, 100:140] = COLOR
        pixels[100:120, 100:140] += 2000
        changed[100:120, 100:140] = BRIGHTNESS
        return DeepFrame(pixels, frame.space, frame.coded, changed)

    (before,), (after,) = (
        read_planes(source),
        read_planes(copy_video(source, tmp_path / "out.mkv", change, codec="ffv1")),
    )
    luma, blue, red = (np.argwhere(a != b) for a, b in zip(before, after, strict=True))
    assert (luma.min(0) >= [40, 100]).all() and (luma.max(0) < [120, 140]).all()
    for chroma in (blue, red):
        assert (chroma.min(0) >= [40, 50]).all() and (chroma.max(0) < [80, 70]).all()
    assert after[0][60, 120] == pytest.approx(64 + 876 * np.dot([0.2126, 0.7152, 0.0722], [50, 20, 30]) / 65.535, abs=1)
    assert after[0][110, 120] - before[0][110, 120] == pytest.approx(876 * 2 / 65.535, abs=1)


def test_frame_that_is_written_twice_keeps_its_planes(tmp_path):
    source = write_source(tmp_path / "in.mkv", count=1)
    info, frame = probe(source), next(read_frames(source, is_deep=True)).deep
    pixels, changed = frame.pixels.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[:40], changed[:40] = 60_000, COLOR
    options = EncodeOptions(codec="ffv1", source_format=info.pixel_format, space=info.deep_space)
    with open_writer(tmp_path / "out.mkv", WIDTH, HEIGHT, Fraction(25), options=options) as writer:
        writer.write(DeepFrame(pixels, frame.space, frame.coded, changed), 0.0)
        writer.write(untouched(frame), 0.04)
    np.testing.assert_array_equal(read_planes(tmp_path / "out.mkv")[1][0], read_planes(source)[0][0])


def test_full_range_source_is_within_one_step(tmp_path):
    source = write_source(tmp_path / "in.mkv", count=1)
    run_ffmpeg("-i", source, "-vf", "scale=out_range=full,format=yuv422p10le", "-c:v", "ffv1", tmp_path / "full.mkv")
    copy = copy_video(tmp_path / "full.mkv", tmp_path / "out.mkv", untouched, codec="ffv1")
    assert largest_difference(source, copy) <= 1


def test_hdr10_metadata_is_kept_by_hevc(tmp_path):
    metadata = (
        "master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,50):max-cll=1000,400:hdr10=1"
    )
    options = {"x265-params": f"log-level=none:{metadata}"}
    source = write_source(tmp_path / "in.mp4", "yuv420p10le", PQ_2020, "libx265", options)
    copy = copy_video(source, tmp_path / "out.mp4", untouched, codec="hevc")
    space = probe(source).deep_space
    assert space == ColorSpace(
        9, 16, 9, None, "G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,50)", "1000,400"
    )
    assert probe(copy).deep_space == space


@pytest.mark.parametrize(("bits", "matrix"), [(10, 1), (12, 9)])
def test_matrix_maps_black_and_white_to_the_ends_of_the_range(bits, matrix):
    transform, unit = yuv_to_rgb_matrix(matrix, bits, is_full_range=False), 1 << (bits - 8)
    for luma, value in ((16, 0), (235, 65535)):
        assert transform @ [luma * unit, 128 * unit, 128 * unit, 1] == pytest.approx([value] * 3, abs=1e-6)


@pytest.mark.parametrize("pixel_format", ["gbrp10le", "gbrp12le", "gbrp16le"])
def test_rgb_video_keeps_every_value(tmp_path, pixel_format):
    bits = int(pixel_format[4:-2])
    noise = np.random.default_rng(1)
    frames = [[noise.integers(0, 1 << bits, (HEIGHT, WIDTH)) for _ in range(3)]]
    source = write_planes(tmp_path / "in.mkv", frames, encoder="ffv1", pixel_format=pixel_format, color=SDR)
    copy = copy_video(source, tmp_path / "out.mkv", codec="ffv1")
    with av.open(str(copy)) as file:
        depth = 10 if bits == 10 else 16
        assert next(file.decode(video=0)).format.name == f"gbrp{depth}le"
    values = np.array(read_planes(copy)[0]) * ((1 << bits) - 1) / ((1 << depth) - 1)
    assert abs(values - np.array(frames[0])).max() <= 0.5


@pytest.mark.parametrize(
    ("encode", "pixel_format"),
    [
        ({"codec": "h264"}, "yuv420p"),
        ({"codec": "h264", "depth": "10"}, "yuv422p10le"),
        ({"codec": "hevc"}, "yuv422p10le"),
        ({"codec": "hevc", "depth": "8"}, "yuv420p"),
        ({"codec": "hevc", "pixel_format": "yuv420p"}, "yuv420p"),
        ({"codec": "dnxhr"}, "yuv422p10le"),
        ({"codec": "dnxhr", "preset": "lb"}, "yuv422p"),
    ],
)
def test_pixel_format_depends_on_codec_and_depth(tmp_path, encode, pixel_format):
    options = EncodeOptions(**encode, source_format="yuv422p10le", space=ColorSpace())
    assert choose_encoding(tmp_path / "a.mov", options, WIDTH, HEIGHT).pixel_format == pixel_format


def test_depth_that_the_codec_does_not_store_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="prores does not store 16 bits per channel here"):
        open_writer(tmp_path / "a.mov", 64, 64, Fraction(25), options=EncodeOptions(codec="prores", depth="16"))


def test_8_bit_source_fills_a_10_bit_video(tmp_path):
    options = EncodeOptions(codec="hevc", depth="10")
    with open_writer(tmp_path / "a.mp4", 64, 64, Fraction(25), options=options) as writer:
        writer.write(np.full((64, 64, 3), 100, np.uint8), 0.0)
    assert probe(tmp_path / "a.mp4").depth == 10
    assert abs(next(read_frames(tmp_path / "a.mp4")).image.astype(int) - 100).max() <= 1


def test_turned_video_is_read_upright_with_all_bits(tmp_path):
    source = write_source(tmp_path / "in.mp4", "yuv420p10le", SDR, "libx265", {"x265-params": "log-level=none"}, 1)
    run_ffmpeg("-display_rotation", 90, "-i", source, "-c", "copy", tmp_path / "turned.mp4")
    upright, turned = (next(read_frames(path, is_deep=True)).deep for path in (source, tmp_path / "turned.mp4"))
    assert turned.coded is None and upright.coded is not None
    np.testing.assert_array_equal(turned.pixels, np.rot90(upright.pixels))


@pytest.mark.parametrize("color", [SDR, PQ_2020, HLG_2020])
def test_preview_is_inverted_by_restore(color):
    space = ColorSpace(color.primaries, color.transfer, color.matrix)
    values = np.arange(0, 65536, 3, dtype=np.uint16)
    levels = space.preview(values)
    assert (np.diff(levels.astype(int)) >= 0).all() and (levels[0], levels[-1]) == (0, 255)
    restored = space.restore(np.arange(256, dtype=np.float32))
    assert (np.diff(restored) > 0).all()
    np.testing.assert_array_equal(space.preview(np.rint(restored).astype(np.uint16)), np.arange(256))
