"""Pictures in and out: modes, orientation, profiles, limits, damage."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from mimaface_cli.errors import InputError, OutputError
from mimaface_cli.media.attachments import Attachments
from mimaface_cli.media.image import image_kind, image_size, read_image, write_image

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


def gradient(width=40, height=24):
    rows, columns = np.mgrid[:height, :width]
    return np.dstack([columns * 6, rows * 10, (rows + columns) * 3]).astype(np.uint8)


def test_png_keeps_every_value(tmp_path):
    path = tmp_path / "größe 像.png"
    write_image(path, gradient())
    image = read_image(path)
    assert np.array_equal(image.rgb, gradient()) and image.alpha is None
    assert image.rgb.flags.c_contiguous and image.rgb.flags.writeable
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = gradient()
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Pillow.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    assert np.array_equal(read_image(path).rgb, upright)
    assert image_size(path) == (40, 24)


def test_damaged_exif_does_not_cost_the_picture(tmp_path):
    path = tmp_path / "exif.png"
    Pillow.fromarray(gradient()).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert np.array_equal(read_image(path).rgb, gradient())


def test_sixteen_bit_gray_is_scaled_not_clipped(tmp_path):
    values = np.array([[0, 128, 257, 32768, 65535]], np.uint16)
    for suffix in (".png", ".tif"):
        path = tmp_path / f"gray{suffix}"
        Pillow.fromarray(values).save(path)
        assert read_image(path).rgb[0].tolist() == [[0] * 3, [0] * 3, [1] * 3, [128] * 3, [255] * 3]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LA", "RGBA"])
def test_every_usual_mode_becomes_rgb(tmp_path, mode):
    suffix = {"CMYK": ".jpg", "YCbCr": ".jpg"}.get(mode, ".png")
    gray = np.repeat(np.repeat(np.array([[0, 255]], np.uint8), 16, 0), 16, 1)
    path = tmp_path / f"mode{suffix}"
    Pillow.fromarray(gray).convert("RGB").convert(mode).save(path)
    rgb = read_image(path).rgb
    assert rgb.shape == (16, 32, 3) and rgb.dtype == np.uint8
    assert rgb[:, :12].max() < 12 and rgb[:, 20:].min() > 243


def test_alpha_comes_only_where_something_is_seen_through(tmp_path):
    alpha = np.full((24, 40), 255, np.uint8)
    write_image(tmp_path / "opaque.png", gradient(), alpha)
    assert read_image(tmp_path / "opaque.png").alpha is None
    alpha[3, 5] = 7
    for name in ("clear.png", "clear.webp", "clear.tif"):
        write_image(tmp_path / name, gradient(), alpha)
        assert np.array_equal(read_image(tmp_path / name).alpha, alpha)
    palette = Pillow.fromarray(gradient()).quantize(8)
    palette.save(tmp_path / "palette.png", transparency=palette.getpixel((0, 0)))
    assert read_image(tmp_path / "palette.png").alpha[0, 0] == 0


def test_a_color_profile_is_brought_to_srgb(tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    plain, tagged = tmp_path / "plain.png", tmp_path / "tagged.png"
    Pillow.fromarray(gradient()).save(plain)
    Pillow.fromarray(gradient()).save(tagged, icc_profile=lab.tobytes())
    difference = read_image(tagged).rgb.astype(int) - read_image(plain).rgb
    assert np.abs(difference).max() <= 1
    Pillow.fromarray(gradient()).save(tagged, icc_profile=b"not a profile")
    assert np.array_equal(read_image(tagged).rgb, gradient())


def test_metadata_goes_into_the_file(tmp_path):
    for name in ("a.png", "a.jpg", "a.webp"):
        write_image(tmp_path / name, gradient(), attachments=Attachments({"tool": "mimaface", "note": "größe"}))
        with Pillow.open(tmp_path / name) as image:
            assert json.loads(image.getexif()[0x010E]) == {"tool": "mimaface", "note": "größe"}


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_001, 10_000), (2**31 - 1, 1), (0, 5)])
def test_sizes_beyond_belief_are_refused_by_the_header(tmp_path, size):
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(*size))
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    if min(size):
        assert "too large" in str(caught.value) or "damaged" in str(caught.value)


def test_largest_allowed_size_passes_the_check(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png_header(10_000, 10_000))
    assert image_size(path) == (10_000, 10_000)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_cut_short_is_an_input_error(tmp_path, suffix):
    whole = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Pillow.fromarray(pixels).save(whole, Pillow.registered_extensions()[suffix])
    path = tmp_path / f"cut{suffix}"
    for part in (0.3, 0.7):
        path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * part)])
        with pytest.raises(InputError, match="damaged or cut short"):
            read_image(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"just words, no picture", "not a readable image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable image"),
    ],
)
def test_what_is_no_picture_says_so(tmp_path, content, words):
    path = tmp_path / "thing.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_image(path)


def test_missing_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(InputError, match="not a regular file"):
        read_image(tmp_path)


def test_thirty_two_bit_pixels_are_refused(tmp_path):
    path = tmp_path / "deep.tif"
    Pillow.fromarray(np.zeros((4, 4), np.float32)).save(path)
    with pytest.raises(InputError, match="32-bit"):
        read_image(path)


def test_kinds(tmp_path):
    frames = [Pillow.fromarray(gradient() // (1 + n)) for n in range(3)]
    frames[0].save(tmp_path / "still.gif")
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "still.jpg")
    (tmp_path / "other").write_bytes(b"\0\0\0\x20ftypisom")
    kinds = {path.name: image_kind(path) for path in tmp_path.iterdir()}
    assert kinds == {
        "still.gif": "image",
        "moving.gif": "animation",
        "moving.png": "animation",
        "still.jpg": "image",
        "other": None,
    }


def test_writing_refuses_what_it_cannot_keep(tmp_path, clean):
    alpha = np.zeros((24, 40), np.uint8)
    with pytest.raises(OutputError, match="transparency"):
        write_image(tmp_path / "a.jpg", gradient(), alpha)
    with pytest.raises(OutputError, match=r"\.png"):
        write_image(tmp_path / "a.xyz", gradient())
    with pytest.raises(OutputError, match="cannot be written"):
        write_image(tmp_path / "none" / "a.png", gradient())
    clean()


def test_a_failed_write_leaves_the_old_file(tmp_path, clean, monkeypatch):
    path = tmp_path / "a.png"
    write_image(path, gradient())
    before = path.read_bytes()

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Pillow.Image, "save", full)
    with pytest.raises(OutputError, match="no space"):
        write_image(path, gradient()[::-1])
    assert path.read_bytes() == before
    clean("a.png")
