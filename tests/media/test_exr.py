"""EXR: linear light, premultiplied alpha and tags, read back by OpenEXR itself."""

import sys
from fractions import Fraction

import numpy as np
import pytest

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.exr import load_exr, read_exr_tags
from mimaface_cli.media.image import image_kind, image_size, read_image, write_image
from mimaface_cli.media.writer import open_writer

OpenEXR = pytest.importorskip("OpenEXR", reason="the extra exr is not installed")


def encode_srgb(light):
    """Apply the sRGB transfer function as defined in IEC 61966-2-1."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def test_linear_light_converts_back_to_the_same_bytes(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (4, 1, 3))
    write_image(tmp_path / "a.exr", ramp, attachments=Attachments({"comment": "a note"}))
    file = OpenEXR.File(str(tmp_path / "a.exr"))
    pixels = file.channels()["RGB"].pixels
    assert pixels.dtype == np.float16 and "a note" in file.header()["comments"]
    assert np.abs(np.round(encode_srgb(pixels.astype(np.float64)) * 255) - ramp).max() == 0
    assert abs(float(pixels[0, 128, 0]) - 0.2158) < 1e-3  # sRGB 128 is a fifth of the light


def test_colors_are_premultiplied_by_alpha(tmp_path):
    white, alpha = np.full((2, 2, 3), 255, np.uint8), np.array([[0, 128], [255, 64]], np.uint8)
    write_image(tmp_path / "a.exr", white, alpha)
    pixels = OpenEXR.File(str(tmp_path / "a.exr")).channels()["RGBA"].pixels.astype(np.float64)
    assert np.allclose(pixels[..., 3], alpha / 255, atol=1e-3) and np.allclose(pixels[..., 0], pixels[..., 3])


@pytest.mark.parametrize("alpha", [None, 200])
def test_load_returns_the_pixels_and_tags_that_were_saved(tmp_path, alpha):
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (4, 1, 3))
    coverage = None if alpha is None else np.full((4, 256), alpha, np.uint8)
    write_image(tmp_path / "a.exr", ramp, coverage, attachments=Attachments({"comment": "größe"}))
    pixels, stored_alpha = load_exr(tmp_path / "a.exr")
    assert read_exr_tags(tmp_path / "a.exr") == {"comment": "größe"}
    assert stored_alpha is None if alpha is None else np.array_equal(stored_alpha, coverage)
    assert np.abs(pixels.astype(int) - ramp).max() <= (0 if alpha is None else 1)


def test_load_refuses_a_damaged_header(tmp_path):
    path = tmp_path / "a.exr"
    write_image(path, np.zeros((32, 32, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"a\.exr: the image is damaged or cut short"):
        load_exr(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
@pytest.mark.parametrize("layout", ["scanlineimage", "tiledimage"])
def test_load_refuses_a_truncated_image(tmp_path, share, layout):
    """FFmpeg decodes it, with black rows."""
    path = tmp_path / "a.exr"
    pixels = np.random.default_rng(0).random((64, 96, 3)).astype(np.float16)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": getattr(OpenEXR, layout)}
    if layout == "tiledimage":
        header["tiles"] = OpenEXR.TileDescription()
    OpenEXR.File(header, {"RGB": pixels}).write(str(path))
    assert load_exr(path)[0].shape == (64, 96, 3)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"a\.exr: the image is damaged or cut short"):
        load_exr(path)


def test_exr_image_is_read_as_any_other_image(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (4, 1, 3))
    coverage = np.full((4, 256), 255, np.uint8)
    write_image(tmp_path / "opaque.exr", ramp, coverage)
    coverage[0, 0] = 90
    write_image(tmp_path / "clear.exr", ramp, coverage)
    assert read_image(tmp_path / "opaque.exr").alpha is None
    image = read_image(tmp_path / "clear.exr")
    assert np.abs(image.rgb.astype(int) - ramp)[:, 1:].max() <= 1 and np.array_equal(image.alpha, coverage)
    assert image_size(tmp_path / "clear.exr") == (256, 4) and image_kind(tmp_path / "clear.exr") == "image"


def test_gray_exr_has_three_equal_channels(tmp_path):
    for kind in (np.float16, np.float32):
        OpenEXR.File({}, {"Y": np.full((8, 9), 0.2140, kind)}).write(str(tmp_path / "a.exr"))
        assert np.abs(load_exr(tmp_path / "a.exr")[0].astype(int) - 128).max() <= 1


def test_exr_sequence_is_numbered(tmp_path):
    with open_writer(tmp_path / "out" / "%03d.exr", 8, 6, Fraction(25)) as writer:
        for number in range(3):
            writer.write(np.full((6, 8, 3), 40 * number, np.uint8), number / 25)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000.exr", "001.exr", "002.exr"]


def test_missing_package_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(OutputError, match=r"pip install \"mimaface\[exr\]\""):
        write_image(tmp_path / "a.exr", np.zeros((2, 2, 3), np.uint8))
    assert not list(tmp_path.iterdir())
