"""Images: modes, orientation, color profiles, size limits, damaged files."""

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


def make_gradient(width=40, height=24):
    rows, columns = np.mgrid[:height, :width]
    return np.dstack([columns * 6, rows * 10, (rows + columns) * 3]).astype(np.uint8)


def test_png_preserves_every_value(tmp_path):
    path = tmp_path / "größe 像.png"
    write_image(path, make_gradient())
    image = read_image(path)
    assert np.array_equal(image.rgb, make_gradient()) and image.alpha is None
    assert image.rgb.flags.c_contiguous and image.rgb.flags.writeable
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = make_gradient()
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
    path = tmp_path / "rotated.png"
    Pillow.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    assert np.array_equal(read_image(path).rgb, upright)
    assert image_size(path) == (40, 24)


def test_damaged_exif_is_ignored(tmp_path):
    path = tmp_path / "exif.png"
    Pillow.fromarray(make_gradient()).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert np.array_equal(read_image(path).rgb, make_gradient())


def test_sixteen_bit_gray_is_scaled_to_eight_bits(tmp_path):
    values = np.array([[0, 128, 257, 32768, 65535]], np.uint16)
    for suffix in (".png", ".tif"):
        path = tmp_path / f"gray{suffix}"
        Pillow.fromarray(values).save(path)
        assert read_image(path).rgb[0].tolist() == [[0] * 3, [0] * 3, [1] * 3, [128] * 3, [255] * 3]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LA", "RGBA"])
def test_every_common_mode_becomes_rgb(tmp_path, mode):
    suffix = {"CMYK": ".jpg", "YCbCr": ".jpg"}.get(mode, ".png")
    gray = np.repeat(np.repeat(np.array([[0, 255]], np.uint8), 16, 0), 16, 1)
    path = tmp_path / f"mode{suffix}"
    Pillow.fromarray(gray).convert("RGB").convert(mode).save(path)
    rgb = read_image(path).rgb
    assert rgb.shape == (16, 32, 3) and rgb.dtype == np.uint8
    assert rgb[:, :12].max() < 12 and rgb[:, 20:].min() > 243


def test_alpha_is_returned_only_if_a_pixel_is_transparent(tmp_path):
    alpha = np.full((24, 40), 255, np.uint8)
    write_image(tmp_path / "opaque.png", make_gradient(), alpha)
    assert read_image(tmp_path / "opaque.png").alpha is None
    alpha[3, 5] = 7
    for name in ("clear.png", "clear.webp", "clear.tif"):
        write_image(tmp_path / name, make_gradient(), alpha)
        assert np.array_equal(read_image(tmp_path / name).alpha, alpha)
    palette = Pillow.fromarray(make_gradient()).quantize(8)
    palette.save(tmp_path / "palette.png", transparency=palette.getpixel((0, 0)))
    assert read_image(tmp_path / "palette.png").alpha[0, 0] == 0


def test_color_profile_is_converted_to_srgb(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    plain, tagged = tmp_path / "plain.png", tmp_path / "tagged.png"
    Pillow.fromarray(make_gradient()).save(plain)
    Pillow.fromarray(make_gradient()).save(tagged, icc_profile=profile.tobytes())
    difference = read_image(tagged).rgb.astype(int) - read_image(plain).rgb
    assert np.abs(difference).max() <= 1
    Pillow.fromarray(make_gradient()).save(tagged, icc_profile=b"not a profile")
    assert np.array_equal(read_image(tagged).rgb, make_gradient())


def test_tags_are_written_as_json_in_the_exif_description(tmp_path):
    for name in ("a.png", "a.jpg", "a.webp"):
        write_image(tmp_path / name, make_gradient(), attachments=Attachments({"tool": "mimaface", "note": "größe"}))
        with Pillow.open(tmp_path / name) as image:
            assert json.loads(image.getexif()[0x010E]) == {"tool": "mimaface", "note": "größe"}


def make_png_header(width, height):
    """Return a PNG that claims a size and has no pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_001, 10_000), (2**31 - 1, 1), (0, 5)])
def test_absurd_sizes_are_refused_from_the_header(tmp_path, size):
    path = tmp_path / "huge.png"
    path.write_bytes(make_png_header(*size))
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    if min(size):
        assert "too large" in str(caught.value) or "damaged" in str(caught.value)


def test_largest_allowed_size_is_accepted(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(make_png_header(10_000, 10_000))
    assert image_size(path) == (10_000, 10_000)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_truncated_image_is_refused(tmp_path, suffix):
    complete = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Pillow.fromarray(pixels).save(complete, Pillow.registered_extensions()[suffix])
    path = tmp_path / f"truncated{suffix}"
    for share in (0.3, 0.7):
        path.write_bytes(complete.getvalue()[: int(len(complete.getvalue()) * share)])
        with pytest.raises(InputError, match="damaged or cut short"):
            read_image(path)


def test_bytes_after_the_image_are_ignored(tmp_path):
    path = tmp_path / "a.png"
    write_image(path, make_gradient())
    path.write_bytes(path.read_bytes() + np.random.default_rng(0).bytes(5000))
    assert np.array_equal(read_image(path).rgb, make_gradient())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"plain text", "not a readable image"),
        (b"BM broken", "damaged or cut short"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript images are not supported"),
    ],
)
def test_file_that_is_not_an_image_is_refused(tmp_path, content, message):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_image(path)


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(InputError, match="not a regular file"):
        read_image(tmp_path)


def test_32_bit_pixels_are_refused(tmp_path):
    path = tmp_path / "deep.tif"
    Pillow.fromarray(np.zeros((4, 4), np.float32)).save(path)
    with pytest.raises(InputError, match="32-bit"):
        read_image(path)


def test_image_kind_distinguishes_still_images_animations_and_other_files(tmp_path):
    frames = [Pillow.fromarray(make_gradient() // (1 + number)) for number in range(3)]
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


def test_write_refuses_unknown_suffixes_alpha_in_jpeg_and_missing_folders(tmp_path, assert_folder_holds):
    alpha = np.zeros((24, 40), np.uint8)
    with pytest.raises(OutputError, match="transparency"):
        write_image(tmp_path / "a.jpg", make_gradient(), alpha)
    with pytest.raises(OutputError, match=r"\.png"):
        write_image(tmp_path / "a.xyz", make_gradient())
    with pytest.raises(OutputError, match="cannot be written"):
        write_image(tmp_path / "none" / "a.png", make_gradient())
    assert_folder_holds()


def test_failed_write_leaves_the_old_file_unchanged(tmp_path, assert_folder_holds, monkeypatch):
    path = tmp_path / "a.png"
    write_image(path, make_gradient())
    before = path.read_bytes()

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Pillow.Image, "save", fail)
    with pytest.raises(OutputError, match="no space"):
        write_image(path, make_gradient()[::-1])
    assert path.read_bytes() == before
    assert_folder_holds("a.png")
