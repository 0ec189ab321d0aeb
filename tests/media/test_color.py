"""Colors: every matrix and range is decoded correctly, and written files are correct for readers that use the tags."""

import functools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from mimaface_cli.media.color import square_pixel_size
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import VideoWriter
from tests.media.color_profiles import DISPLAY_P3, rgb_profile
from tests.media.ffmpeg import run_ffmpeg

COLORS = (235, 60, 40), (30, 200, 70), (40, 60, 230), (250, 240, 40), (224, 172, 145)
GRAYS = (12, 12, 12), (128, 128, 128), (250, 250, 250)
PATCHES = np.array(COLORS + GRAYS, np.uint8)
SKIN = 4  # index of the skin tone in PATCHES
# (red, blue) weights of luma by the matrix's code point.
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
HLG_BT2020 = {"color_primaries": 9, "color_trc": 18}


def make_chart(width=64, height=32):
    """Return PATCHES side by side, each wide enough for chroma to settle."""
    return np.ascontiguousarray(np.repeat(np.broadcast_to(PATCHES, (height, 8, 3)), width // 8, axis=1))


def patch_centers(image):
    """Return one value per patch of an image (H, W, C) or plane (H, W)."""
    step = image.shape[1] // 8
    return image[image.shape[0] // 2, step // 2 :: step][:8].astype(float)


def first_image(path):
    return next(read_frames(path)).image


def rgb_to_ycbcr(rgb, matrix, full, depth=8):
    """Convert RGB 0..255 to Y, Cb and Cr code values by the definition (ITU-T H.273)."""
    red, blue = WEIGHTS[matrix]
    r, g, b = np.moveaxis(rgb / 255, -1, 0)
    luma = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - luma) / (2 * (1 - blue)), (r - luma) / (2 * (1 - red))
    top = 2**depth - 1
    if full:
        planes = luma * top, cb * top + (top + 1) / 2, cr * top + (top + 1) / 2
    else:
        step = 2 ** (depth - 8)
        planes = (219 * luma + 16) * step, (224 * cb + 128) * step, (224 * cr + 128) * step
    return [np.clip(np.rint(plane), 0, top) for plane in planes]


def ycbcr_to_rgb(luma, cb, cr, matrix):
    """Convert 8-bit limited-range Y, Cb and Cr to RGB 0..255 by the definition (ITU-T H.273)."""
    red, blue = WEIGHTS[matrix]
    y, cb, cr = (luma - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    return np.clip(np.stack([r, (y - red * r - blue * b) / (1 - red - blue), b], -1) * 255, 0, 255)


def write_ycbcr(path: Path, planes, pixel_format: str, matrix: int, *, full: bool = False, **tags: int) -> Path:
    """Write a video of one frame that holds these code values exactly (FFV1), with these color tags."""
    height, width = planes[0].shape
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        for name, value in {"colorspace": matrix, "color_range": 2 if full else 1, **tags}.items():
            setattr(stream.codec_context, name, value)
        dtype = np.uint16 if "10" in pixel_format else np.uint8
        frame = av.VideoFrame(width, height, pixel_format)
        for plane, values in zip(frame.planes, planes, strict=True):
            rows = np.zeros((plane.height, plane.line_size // dtype().itemsize), dtype)
            rows[:, : plane.width] = values
            plane.update(rows)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 6, 7])
def test_every_matrix_and_range_is_decoded_correctly(tmp_path, matrix, full):
    planes = rgb_to_ycbcr(make_chart(), matrix, full)
    path = write_ycbcr(tmp_path / "a.mkv", planes, "yuv444p", matrix, full=full)
    assert np.abs(patch_centers(first_image(path)) - PATCHES).max() <= 2


def test_ten_bit_video_is_decoded_correctly(tmp_path):
    planes = rgb_to_ycbcr(make_chart(), 1, False, 10)
    path = write_ycbcr(tmp_path / "a.mkv", planes, "yuv444p10le", 1)
    assert np.abs(patch_centers(first_image(path)) - PATCHES).max() <= 1


@pytest.mark.parametrize(("size", "matrix"), [((64, 32), 6), ((704, 576), 6), ((1280, 720), 1), ((720, 1280), 1)])
def test_matrix_of_untagged_video_depends_on_its_size(tmp_path, size, matrix):
    planes = rgb_to_ycbcr(make_chart(*size), matrix, False)
    path = write_ycbcr(tmp_path / "a.mkv", planes, "yuv444p", 2, color_range=0)
    assert np.abs(patch_centers(first_image(path)) - PATCHES).max() <= 2


def test_reading_has_no_bias(tmp_path):
    """By default swscale darkens by one or two levels, which adds up over generations of a video."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (32, 256, 3)).copy()
    luma, cb, cr = rgb_to_ycbcr(ramp, 1, False)
    path = write_ycbcr(tmp_path / "a.mkv", [luma, cb[::2, ::2], cr[::2, ::2]], "yuv420p", 1)
    error = first_image(path).astype(int) - ramp
    assert abs(error.mean()) < 0.1 and np.abs(error).max() <= 1


@pytest.fixture(scope="module")
def hdr_chart(tmp_path_factory):
    """A function that reads a chart in the format of phones: 10 bits, BT.2020, HLG. One conversion takes seconds."""
    folder = tmp_path_factory.mktemp("hdr")

    @functools.cache
    def read(pixel_format: str) -> np.ndarray:
        luma, cb, cr = rgb_to_ycbcr(make_chart(128, 32), 9, False, 10)
        rows, columns = {"yuv444p10le": (1, 1), "yuv422p10le": (1, 2), "yuv420p10le": (2, 2)}[pixel_format]
        planes = [luma, cb[::rows, ::columns], cr[::rows, ::columns]]
        return first_image(write_ycbcr(folder / f"{pixel_format}.mkv", planes, pixel_format, 9, **HLG_BT2020))

    return read


def test_wide_gamut_hdr_becomes_bt709(tmp_path, hdr_chart):
    """Grays stay gray and in order; colors are more saturated than in a reader that ignores the tags."""
    planes = rgb_to_ycbcr(make_chart(), 9, False, 10)
    ignored = patch_centers(first_image(write_ycbcr(tmp_path / "a.mkv", planes, "yuv444p10le", 9)))
    converted = patch_centers(hdr_chart("yuv444p10le"))
    grays = converted[len(COLORS) :]
    assert np.ptp(grays, axis=1).max() <= 3 and (np.diff(grays[:, 0]) > 20).all()
    assert np.ptp(converted[SKIN]) > np.ptp(ignored[SKIN])


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", pytest.param("yuv422p10le", marks=pytest.mark.slow)])
def test_hdr_with_subsampled_chroma_has_the_colors_of_full_chroma(hdr_chart, pixel_format):
    """Swscale can turn subsampled chroma into colored lines when it also converts primaries."""
    patches = hdr_chart(pixel_format).astype(int).reshape(32, 8, 16, 3)[:, :, 4:12]  # without the edges
    expected = patch_centers(hdr_chart("yuv444p10le"))
    assert np.ptp(patches, axis=(0, 2)).max() <= 1  # one color in each patch
    assert np.abs(patches - expected[None, :, None]).max() <= 2


def test_palette_colors_are_decoded_correctly(tmp_path):
    images = [Pillow.fromarray(make_chart()).quantize(16), Pillow.fromarray(make_chart()[:, ::-1].copy()).quantize(16)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:])
    first, second = (patch_centers(frame.image) for frame in read_frames(tmp_path / "a.gif"))
    assert np.abs(first - PATCHES).max() <= 1 and np.abs(second - PATCHES[::-1]).max() <= 1


@pytest.mark.parametrize(("size", "matrix"), [((256, 128), 6), ((1280, 720), 1)])
@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "h264"), (".mp4", "hevc"), (".webm", "vp9"), (".mp4", "av1"), (".mov", "prores")]
)
def test_written_video_has_the_right_colors_according_to_its_tags(tmp_path, size, matrix, suffix, codec):
    path = tmp_path / f"a{suffix}"
    crf = None if codec == "prores" else 4
    with VideoWriter(path, *size, Fraction(25), options=EncodeOptions(codec=codec, crf=crf)) as writer:
        writer.write(make_chart(*size), 0.0)
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (matrix, 1, 1, 1)
        planes = frame.reformat(format="yuv444p").to_ndarray()
    assert np.abs(ycbcr_to_rgb(*(patch_centers(plane) for plane in planes), matrix) - PATCHES).max() <= 4
    assert np.abs(patch_centers(first_image(path)) - PATCHES).max() <= 4


def test_dnxhr_is_bt709_at_any_size(tmp_path):
    path = tmp_path / "a.mov"
    with VideoWriter(path, 256, 128, Fraction(25), options=EncodeOptions(codec="dnxhr")) as writer:
        writer.write(make_chart(256, 128), 0.0)
    assert np.abs(patch_centers(first_image(path)) - PATCHES).max() <= 3


def test_colors_do_not_drift_over_ten_generations(tmp_path):
    image = make_chart(256, 128)
    for _ in range(10):
        with VideoWriter(tmp_path / "a.mp4", 256, 128, Fraction(25), options=EncodeOptions(crf=4)) as writer:
            writer.write(image, 0.0)
        image = first_image(tmp_path / "a.mp4")
    assert np.abs(patch_centers(image) - PATCHES).max() <= 6
    assert abs((patch_centers(image) - PATCHES).mean()) < 1.5


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (None, (96, 64)),
        (Fraction(0), (96, 64)),
        (Fraction(16, 15), (102, 64)),
        (Fraction(2, 3), (96, 96)),
        (Fraction(9), (96, 64)),
    ],
)
def test_square_pixel_size_stretches_one_side_and_ignores_absurd_ratios(aspect, size):
    assert square_pixel_size(96, 64, aspect) == size


def test_animated_png_with_a_named_color_profile_is_read(tmp_path):
    images = [Pillow.fromarray(np.full((32, 48, 3), level, np.uint8)) for level in (40, 90)]
    profile = rgb_profile(DISPLAY_P3, 2.2)
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], duration=40, icc_profile=profile)
    # In a process of its own: PyAV frees the profile's name twice, which ends the process later.
    program = "import gc, sys; from mimaface_cli.media.reader import *; n = len(list(read_frames(sys.argv[1])));"
    program += "probe(sys.argv[1]); gc.collect(); print(n)"
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.png"], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "2"), done.stderr


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_png_video_is_upright(tmp_path, degrees):
    image = np.random.default_rng(1).integers(0, 256, (32, 48, 3)).astype(np.uint8)
    Pillow.fromarray(image).save(tmp_path / "a.png")
    run_ffmpeg("-i", tmp_path / "a.png", "-c:v", "png", tmp_path / "a.mov")
    run_ffmpeg("-display_rotation", degrees, "-i", tmp_path / "a.mov", "-c", "copy", tmp_path / "b.mov")
    np.testing.assert_array_equal(first_image(tmp_path / "b.mov"), np.rot90(image, degrees // 90))
