"""Formats of stills: what is read, and the sentence for what is not."""

import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image as Pillow

from mimaface_cli.errors import InputError
from mimaface_cli.media import image_formats
from mimaface_cli.media.image import image_kind, image_size, read_image
from mimaface_cli.media.reader import probe, read_frames

RAMP = np.dstack([np.tile(np.arange(0, 240, 5, dtype=np.uint8), (32, 1))] * 3)
RAMP[..., 1] //= 2


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.jp2", {"irreversible": False}),
        ("a.j2k", {"irreversible": False}),
        ("a.tga", {}),
        ("a.tga", {"compression": "tga_rle"}),
    ],
)
def test_jpeg_2000_and_targa_are_read(tmp_path, name, settings):
    Pillow.fromarray(RAMP).save(tmp_path / name, **settings)
    assert np.array_equal(read_image(tmp_path / name).rgb, RAMP)
    assert probe(tmp_path / name).kind == "image" and image_size(tmp_path / name) == (48, 32)
    assert len(list(read_frames(tmp_path / name))) == 1


def test_targa_keeps_alpha(tmp_path):
    image = Pillow.fromarray(RAMP)
    image.putalpha(90)
    image.save(tmp_path / "a.tga")
    assert (read_image(tmp_path / "a.tga").alpha == 90).all()


@pytest.mark.parametrize("pixel_format", ["rgb24", "gbrp10le", "gbrp12le", "rgb48be", "gray"])
def test_dpx_is_read(tmp_path, pixel_format):
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "48x32"]
    program += ["-i", "-", "-pix_fmt", pixel_format, str(tmp_path / "a.dpx")]
    values = RAMP if pixel_format != "gray" else np.repeat(RAMP[..., :1], 3, 2)
    subprocess.run(program, input=values.tobytes(), check=True)
    assert np.abs(read_image(tmp_path / "a.dpx").rgb.astype(int) - values).max() <= 1
    assert probe(tmp_path / "a.dpx").kind == "image" and image_size(tmp_path / "a.dpx") == (48, 32)
    content = bytearray((tmp_path / "a.dpx").read_bytes())
    (tmp_path / "cut.dpx").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged or cut short"):
        read_image(tmp_path / "cut.dpx")
    content[801] = 3
    (tmp_path / "log.dpx").write_bytes(content)
    with pytest.raises(InputError, match="logarithmic film values"):
        read_image(tmp_path / "log.dpx")


def test_heic_is_read_with_its_package(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="HEIC needs the extra images")
    pillow_heif.from_pillow(Pillow.fromarray(RAMP)).save(tmp_path / "a.heic", quality=100)
    assert np.abs(read_image(tmp_path / "a.heic").rgb.astype(int) - RAMP).mean() < 2
    assert probe(tmp_path / "a.heic").kind == "image"


def test_jpeg_xl_is_read_with_its_package(tmp_path):
    pytest.importorskip("pillow_jxl", reason="JPEG XL needs the extra images")
    Pillow.fromarray(RAMP).save(tmp_path / "a.jxl", lossless=True)
    assert np.array_equal(read_image(tmp_path / "a.jxl").rgb, RAMP)
    assert probe(tmp_path / "a.jxl").kind == "image"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\x0a\xfa\x1f\x41\x91\x08", "JPEG XL images need the package pillow-jxl-plugin"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "JPEG XL images need the package pillow-jxl-plugin"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC images need the package pillow-heif"),
    ],
)
def test_missing_package_is_named_in_one_sentence(tmp_path, content, message, monkeypatch):
    for name in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("HEIF", "JXL"):
        monkeypatch.delitem(Pillow.OPEN, name, raising=False)
    path = tmp_path / "a.bin"
    path.write_bytes(content + bytes(300))
    assert image_kind(path) == "image"
    for function in (read_image, probe, image_size):
        with pytest.raises(InputError, match=message) as caught:
            function(path)
        assert 'Convert it to JPEG or PNG, or run pip install "mimaface[images]"' in str(caught.value)


@pytest.mark.parametrize(
    ("content", "label"),
    [
        (b"8BPS\0\1", "PSD"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"%PDF-1.7\n", "PDF"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"II*\0\x10\0\0\0CR\2\0", "camera raw"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "camera raw"),
        (b"#?RADIANCE\n", "Radiance HDR"),
    ],
)
def test_format_that_cannot_be_read_is_named(tmp_path, content, label):
    path = tmp_path / "a"
    path.write_bytes(content + bytes(300))
    for function in (read_image, probe):
        with pytest.raises(InputError, match=rf"{label} images are not supported. Convert it to PNG or JPEG"):
            function(path)


def test_videos_and_audio_are_not_taken_for_images(tmp_path):
    heads = (
        b"\0\0\0\x20ftypisom",
        b"\0\0\1\xba",
        b"\0\0\0\1\x67\x64",
        b"\x1aE\xdf\xa3",
        b"RIFF\0\0\0\0AVI ",
        b"OggS",
        b"ID3\4",
    )
    for head in (*heads, b"\0\0\2\0\0\0", b"\x47\x40\x00\x10", b"\0\0\1\0", b"\xff\xfb\x90", b"fLaC"):
        for name in ("a.bin", "a.tga"):
            path = tmp_path / name
            path.write_bytes(head.ljust(400, b"\xaa"))
            assert image_formats.detect_format(path) is None, head
