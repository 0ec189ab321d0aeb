"""Colors: every matrix and range is read right, and what is written is tagged and right for any other reader."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.writer import VideoWriter

COLORS = (235, 60, 40), (30, 200, 70), (40, 60, 230), (250, 240, 40), (224, 172, 145)
GRAYS = (12, 12, 12), (128, 128, 128), (250, 250, 250)
PATCHES = np.array(COLORS + GRAYS, np.uint8)
# code point of the matrix -> (red, blue) weights of luma
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}


def chart(width=64, height=32):
    """PATCHES side by side, each wide enough for chroma to settle."""
    return np.ascontiguousarray(np.repeat(np.broadcast_to(PATCHES, (height, 8, 3)), width // 8, axis=1))


def middles(image):
    """One color per patch."""
    step = image.shape[1] // 8
    return image[image.shape[0] // 2, step // 2 :: step][:8].astype(int)


def coded(rgb, matrix, full, depth=8):
    """RGB 0..255 -> Y, Cb, Cr code values by the definition (ITU-T H.273)."""
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


def meant(luma, cb, cr, matrix):
    """8-bit limited Y, Cb, Cr -> RGB 0..255 by the definition."""
    red, blue = WEIGHTS[matrix]
    y, cb, cr = (luma - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    return np.clip(np.stack([r, (y - red * r - blue * b) / (1 - red - blue), b], -1) * 255, 0, 255)


def write_coded(path, planes, pixel_format, matrix, full, **tags):
    """A video that holds these code values exactly (FFV1) under these tags."""
    height, width = planes[0].shape
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        for name, value in {"colorspace": matrix, "color_range": 2 if full else 1, **tags}.items():
            setattr(stream.codec_context, name, value)
        kind = np.uint16 if "10" in pixel_format else np.uint8
        frame = av.VideoFrame(width, height, pixel_format)
        for plane, values in zip(frame.planes, planes, strict=True):
            rows = np.zeros((plane.height, plane.line_size // kind().itemsize), kind)
            rows[:, : plane.width] = values
            plane.update(rows)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 6, 7])
def test_every_matrix_and_range_is_read_right(tmp_path, matrix, full):
    path = write_coded(tmp_path / "a.mkv", coded(chart(), matrix, full), "yuv444p", matrix, full)
    assert np.abs(middles(next(read_frames(path)).image) - PATCHES).max() <= 2


def test_ten_bits_are_read_right(tmp_path):
    path = write_coded(tmp_path / "a.mkv", coded(chart(), 1, False, 10), "yuv444p10le", 1, False)
    assert np.abs(middles(next(read_frames(path)).image) - PATCHES).max() <= 1


@pytest.mark.parametrize(("size", "matrix"), [((64, 32), 6), ((704, 576), 6), ((1280, 720), 1), ((720, 1280), 1)])
def test_video_that_does_not_say_is_taken_by_its_size(tmp_path, size, matrix):
    path = write_coded(tmp_path / "a.mkv", coded(chart(*size), matrix, False), "yuv444p", 2, False, color_range=0)
    assert np.abs(middles(next(read_frames(path)).image) - PATCHES).max() <= 2


def test_reading_has_no_bias(tmp_path):
    """Swscale's own choice darkens by one or two levels; over generations of a video that adds up."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (32, 256, 3)).copy()
    planes = coded(ramp, 1, False)
    subsampled = [planes[0], planes[1][::2, ::2], planes[2][::2, ::2]]
    path = write_coded(tmp_path / "a.mkv", subsampled, "yuv420p", 1, False)
    error = next(read_frames(path)).image.astype(int) - ramp
    assert abs(error.mean()) < 0.1 and np.abs(error).max() <= 1


def test_wide_gamut_hdr_becomes_ordinary(tmp_path):
    """HLG in BT.2020: grays stay gray and in order, colors come out stronger than a reader that ignores it shows."""
    planes = coded(chart(), 9, False, 10)
    tags = {"color_primaries": 9, "color_trc": 18}
    plain = write_coded(tmp_path / "a.mkv", planes, "yuv444p10le", 9, False)
    tagged = write_coded(tmp_path / "b.mkv", planes, "yuv444p10le", 9, False, **tags)
    ignored, shown = (middles(next(read_frames(path)).image) for path in (plain, tagged))
    grays = shown[5:]
    assert np.ptp(grays, axis=1).max() <= 3 and (np.diff(grays[:, 0]) > 20).all()
    skin = 4
    assert np.ptp(shown[skin]) > np.ptp(ignored[skin])


def test_palettes(tmp_path):
    pictures = [Pillow.fromarray(chart()).quantize(16), Pillow.fromarray(chart()[:, ::-1].copy()).quantize(16)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    shown = [middles(frame.image) for frame in read_frames(tmp_path / "a.gif")]
    assert np.abs(shown[0] - PATCHES).max() <= 1 and np.abs(shown[1] - PATCHES[::-1]).max() <= 1


@pytest.mark.parametrize(("size", "matrix"), [((256, 128), 6), ((1280, 720), 1)])
@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "h264"), (".mp4", "hevc"), (".webm", "vp9"), (".mp4", "av1"), (".mov", "prores")]
)
def test_what_is_written_is_right_by_its_own_tags(tmp_path, size, matrix, suffix, codec):
    path = tmp_path / f"a{suffix}"
    crf = None if codec == "prores" else 4
    with VideoWriter(path, *size, Fraction(25), options=EncodeOptions(codec=codec, crf=crf)) as writer:
        writer.write(chart(*size), 0.0)
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (matrix, 1, 1, 1)
        flat = frame.reformat(format="yuv444p").to_ndarray()
    assert np.abs(meant(*(middles_of(plane) for plane in flat), matrix) - PATCHES).max() <= 4
    assert np.abs(middles(next(read_frames(path)).image) - PATCHES).max() <= 4


def middles_of(plane):
    step = plane.shape[1] // 8
    return plane[plane.shape[0] // 2, step // 2 :: step][:8].astype(float)


def test_dnxhr_is_bt709_at_any_size(tmp_path):
    path = tmp_path / "a.mov"
    with VideoWriter(path, 256, 128, Fraction(25), options=EncodeOptions(codec="dnxhr")) as writer:
        writer.write(chart(256, 128), 0.0)
    assert np.abs(middles(next(read_frames(path)).image) - PATCHES).max() <= 3


def test_ten_generations_do_not_drift(tmp_path):
    image = chart(256, 128)
    for _ in range(10):
        with VideoWriter(tmp_path / "a.mp4", 256, 128, Fraction(25), options=EncodeOptions(crf=4)) as writer:
            writer.write(image, 0.0)
        image = next(read_frames(tmp_path / "a.mp4")).image
    assert np.abs(middles(image) - PATCHES).max() <= 6
    assert abs((middles(image) - PATCHES).mean()) < 1.5
