"""Still images with 16 bits per channel: PNG and TIFF in and out, OpenEXR out."""

import struct
import zlib
from fractions import Fraction

import cv2
import numpy as np
import OpenEXR
import pytest
from PIL import Image as Pillow

from mimaface_cli.errors import InputError
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.color_space import ColorSpace
from mimaface_cli.media.deep_frame import DeepFrame
from mimaface_cli.media.deep_image import image_depth, read_deep_image
from mimaface_cli.media.image import read_image, read_image_tags
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.media.writer import open_writer
from tests.media.color_profiles import DISPLAY_P3, rgb_profile
from tests.media.deep_media import HLG, PQ, pq
from tests.media.ffmpeg import run_ffmpeg

HEIGHT, WIDTH = 24, 40
SDR_SPACE = ColorSpace()


def noise(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH, channels)).astype(np.uint16)


def write_with_opencv(path, pixels):
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    assert cv2.imwrite(str(path), pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, order[pixels.shape[2]]))
    return path


def read_with_opencv(path):
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def write_deep(path, pixels, space=SDR_SPACE):
    attachments = Attachments({"title": "deep"}, b"<x:xmpmeta/>")
    with open_writer(path, WIDTH, HEIGHT, Fraction(25), attachments=attachments) as writer:
        writer.write(DeepFrame(pixels, space), 0.0)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_image_is_read_with_all_bits(tmp_path, suffix, channels):
    pixels = noise(channels)
    path = write_with_opencv(tmp_path / f"a{suffix}", pixels)
    assert image_depth(path) == 16
    np.testing.assert_array_equal(read_deep_image(path).pixels, pixels)
    frame = next(read_frames(path, is_deep=True))
    assert abs(frame.image.astype(float) - pixels[..., :3] / 257).max() <= 0.5
    assert (frame.alpha is None) == (channels == 3)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_gray_image_is_read_with_all_bits(tmp_path, suffix):
    pixels = noise(1)[..., 0]
    deep = read_deep_image(write_with_opencv(tmp_path / f"a{suffix}", pixels))
    np.testing.assert_array_equal(deep.pixels, np.repeat(pixels[..., None], 3, 2))


@pytest.mark.parametrize("compression", ["lzw", "deflate", "packbits"])
def test_compressed_tiff_is_read_with_all_bits(tmp_path, compression):
    write_with_opencv(tmp_path / "a.png", noise())
    run_ffmpeg("-i", tmp_path / "a.png", "-compression_algo", compression, "-pix_fmt", "rgb48le", tmp_path / "a.tif")
    np.testing.assert_array_equal(read_deep_image(tmp_path / "a.tif").pixels, noise())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_image_is_written_exactly_with_its_tags(tmp_path, suffix, channels):
    pixels = noise(channels)
    path = write_deep(tmp_path / f"a{suffix}", pixels)
    np.testing.assert_array_equal(read_with_opencv(path), pixels)
    np.testing.assert_array_equal(read_deep_image(path).pixels, pixels)
    assert read_image_tags(path) == {"title": "deep"}
    assert b"<x:xmpmeta/>" in path.read_bytes()
    with Pillow.open(path) as image:
        image.load()
        assert image.size == (WIDTH, HEIGHT)
    decoded = run_ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "rgb48le" if channels == 3 else "rgba64le", "-")
    np.testing.assert_array_equal(np.frombuffer(decoded, "<u2").reshape(pixels.shape), pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_color_profile_is_kept(tmp_path, suffix):
    profile = rgb_profile(DISPLAY_P3, 2.2)
    path = write_deep(tmp_path / f"a{suffix}", noise(), ColorSpace(profile=profile))
    with Pillow.open(path) as image:
        assert image.info["icc_profile"] == profile
    assert read_deep_image(path).space == ColorSpace(profile=profile)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_png_keeps_its_code_points(tmp_path, transfer):
    space = ColorSpace(9, transfer, 9)
    path = write_deep(tmp_path / "a.png", noise(), space)
    assert b"cICP" + bytes([9, transfer, 0, 1]) in path.read_bytes()
    assert read_deep_image(path).space == space
    assert probe(path).is_hdr


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 3), (8, 1)])
def test_exif_orientation_turns_all_bits(tmp_path, orientation, turns):
    path = write_with_opencv(tmp_path / "a.png", noise())
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    content = path.read_bytes()
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    path.write_bytes(content[:33] + chunk + content[33:])
    np.testing.assert_array_equal(read_deep_image(path).pixels, np.rot90(noise(), turns))
    assert read_image(path).rgb.shape == np.rot90(noise(), turns).shape


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp"])
def test_8_bit_image_has_no_deep_frame(tmp_path, name):
    Pillow.fromarray(noise().astype(np.uint8)).save(tmp_path / name)
    assert image_depth(tmp_path / name) == 8
    assert read_deep_image(tmp_path / name) is None


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_damaged_16_bit_image_is_an_error(tmp_path, suffix):
    path = write_with_opencv(tmp_path / f"a{suffix}", noise())
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError):
        list(read_frames(path, is_deep=True))


def test_folder_of_16_bit_images_is_read_with_all_bits(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2):
        write_with_opencv(folder / f"{number}.png", noise() // (number + 1))
    info = probe(folder)
    assert (info.depth, info.pixel_format, info.deep_space.is_wide) == (16, "rgb48le", False)
    for number, frame in enumerate(read_frames(folder, is_deep=True)):
        np.testing.assert_array_equal(frame.deep.pixels, noise() // (number + 1))


def read_floats(path) -> np.ndarray:
    """Return the channels (H, W, 3) of an OpenEXR file, float32."""
    return OpenEXR.File(str(path)).parts[0].channels["RGB"].pixels.astype(np.float32)


def test_exr_of_sdr_is_within_a_third_of_a_10_bit_step(tmp_path):
    light = read_floats(write_deep(tmp_path / "a.exr", noise()))
    values = np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    assert abs(values - noise() / 65535).max() * 1023 < 0.3


def test_exr_of_pq_has_linear_light_with_diffuse_white_at_one(tmp_path):
    pixels = noise()
    pixels[0, 0] = np.rint(pq(np.array(203.0)) * 65535)
    light = read_floats(write_deep(tmp_path / "a.exr", pixels, ColorSpace(9, PQ, 9)))
    assert light[0, 0] == pytest.approx([1, 1, 1], abs=1e-3)
    to_bt2020 = np.array(  # Source: ITU-R BT.2087, Table 4
        [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    )
    values = pq(light.astype(float) @ to_bt2020.T * 203) * 1023
    is_bright = (pixels > 20_000).all(axis=2)  # the printed matrix has four digits
    assert abs(values - pixels / 65535 * 1023)[is_bright].max() <= 4
    assert light.max() > 10 and light.min() < 0
