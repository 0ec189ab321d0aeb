"""EXR: linear light, alpha multiplied in, metadata kept; read back by OpenEXR itself."""

import sys

import numpy as np
import pytest

from mimaface_cli.errors import OutputError
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.image import write_image
from mimaface_cli.media.writer import open_writer

OpenEXR = pytest.importorskip("OpenEXR", reason="the extra exr is not installed")


def srgb(light):
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def test_light_comes_back_as_the_same_bytes(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (4, 1, 3))
    write_image(tmp_path / "a.exr", ramp, attachments=Attachments({"comment": "made"}))
    file = OpenEXR.File(str(tmp_path / "a.exr"))
    pixels = file.channels()["RGB"].pixels
    assert pixels.dtype == np.float16 and "made" in file.header()["comments"]
    assert np.abs(np.round(srgb(pixels.astype(np.float64)) * 255) - ramp).max() == 0
    assert abs(float(pixels[0, 128, 0]) - 0.2158) < 1e-3  # mid gray is a fifth of the light


def test_alpha_is_multiplied_in(tmp_path):
    white, alpha = np.full((2, 2, 3), 255, np.uint8), np.array([[0, 128], [255, 64]], np.uint8)
    write_image(tmp_path / "a.exr", white, alpha)
    pixels = OpenEXR.File(str(tmp_path / "a.exr")).channels()["RGBA"].pixels.astype(np.float64)
    assert np.allclose(pixels[..., 3], alpha / 255, atol=1e-3) and np.allclose(pixels[..., 0], pixels[..., 3])


def test_numbered_pictures(tmp_path):
    from fractions import Fraction

    with open_writer(tmp_path / "out" / "%03d.exr", 8, 6, Fraction(25)) as writer:
        for k in range(3):
            writer.write(np.full((6, 8, 3), 40 * k, np.uint8), k / 25)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000.exr", "001.exr", "002.exr"]


def test_without_the_package_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(OutputError, match=r"mimaface\[exr\]"):
        write_image(tmp_path / "a.exr", np.zeros((2, 2, 3), np.uint8))
    assert not list(tmp_path.iterdir())
