"""Colors of still images: ICC profiles of every mode, and the code points of AVIF and PNG."""

import struct
import subprocess
import zlib
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image as Pillow

from mimaface_cli.apps.depth_plan import plan_depth
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.image import read_image
from mimaface_cli.media.reader import probe, read_frames
from tests.media.color_profiles import DISPLAY_P3, gray_profile, rgb_profile

RAMP = np.tile(np.arange(0, 256, 5, dtype=np.uint8), (8, 1))
COLORS = (
    np.array([[200, 60, 40], [60, 180, 80], [40, 90, 200], [190, 150, 130]], np.uint8).repeat(16, 0).reshape(8, 8, 3)
)


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Encode linear light, by the definition of sRGB."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def p3_to_srgb(values: np.ndarray, gamma: float) -> np.ndarray:
    """Return the sRGB values of Display P3 colors with a power curve."""
    matrix = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
    return to_srgb((values / 255.0) ** gamma @ matrix.T)


@pytest.mark.parametrize(
    ("mode", "name"), [("L", "a.png"), ("L", "a.jpg"), ("L", "a.tif"), ("LA", "a.png"), ("1", "a.tif")]
)
def test_gray_profile_is_applied(tmp_path, mode, name):
    image = Pillow.fromarray(RAMP).convert(mode)
    if mode == "LA":
        image.putalpha(Pillow.fromarray(255 - RAMP))
    image.save(tmp_path / name, icc_profile=gray_profile(1.4))
    result = read_image(tmp_path / name)
    expected = to_srgb((np.asarray(image.convert("L")) / 255.0) ** 1.4)
    assert np.abs(result.rgb[..., 0] - expected).max() <= (3 if name == "a.jpg" else 1.1)
    assert (result.rgb == result.rgb[..., :1]).all()
    if mode == "LA":
        assert np.array_equal(result.alpha, 255 - RAMP)


def test_gray_profile_is_applied_to_sixteen_bits(tmp_path):
    Pillow.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "a.png", icc_profile=gray_profile(1.4))
    assert np.abs(read_image(tmp_path / "a.png").rgb[..., 0] - to_srgb((RAMP / 255) ** 1.4)).max() <= 1.1


@pytest.mark.parametrize("name", ["a.png", "a.tif", "clear.png", "plain.png", "plain.jpg"])
def test_display_p3_is_applied_to_palettes_and_plain_colors(tmp_path, name):
    image = Pillow.fromarray(COLORS)
    options = {"icc_profile": rgb_profile(DISPLAY_P3, 2.2)}
    if not name.startswith("plain"):
        image = image.quantize(8)
    if name == "clear.png":
        options["transparency"] = image.getpixel((0, 0))
    if name.endswith("jpg"):
        options |= {"quality": 100, "subsampling": 0}
    image.save(tmp_path / name, **options)
    result = read_image(tmp_path / name)
    expected = p3_to_srgb(np.asarray(image.convert("RGB")), 2.2)
    assert np.abs(result.rgb - expected).max() <= (4 if name.endswith("jpg") else 2)
    assert np.abs(result.rgb.astype(int) - COLORS).max() > 8
    assert (result.alpha is not None) == (name == "clear.png")


def test_gray_values_with_an_rgb_profile_are_converted(tmp_path):
    Pillow.fromarray(RAMP).save(tmp_path / "a.png", icc_profile=rgb_profile(DISPLAY_P3, 1.4))
    assert np.abs(read_image(tmp_path / "a.png").rgb[..., 1] - to_srgb((RAMP / 255) ** 1.4)).max() <= 2


def test_profile_for_other_colors_is_ignored(tmp_path):
    Pillow.fromarray(COLORS).save(tmp_path / "a.png", icc_profile=gray_profile(1.4))
    assert np.array_equal(read_image(tmp_path / "a.png").rgb, COLORS)


def make_hdr_file(path: Path, transfer: str, pixel_format: str = "yuv420p10le", encoder: str = "libaom-av1") -> Path:
    """Write an image of colored bars as BT.2020 with a transfer curve, by FFmpeg's own program."""
    pixels = np.full((64, 96, 3), 90, np.uint16)
    pixels[:, 24:48], pixels[:, 48:72], pixels[:, 72:] = (140, 110, 95), (60, 120, 70), (10, 20, 30)
    tags = f"setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc:range=tv"
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb48le"]
    program += ["-s", "96x64", "-i", "-", "-vf", f"scale=out_color_matrix=bt2020,format={pixel_format},{tags}"]
    program += ["-c:v", encoder, "-frames:v", "1"]
    program += ["-still-picture", "1", "-crf", "8"] if path.suffix == ".avif" else ["-crf", "4"]
    subprocess.run([*program, str(path)], input=(pixels * 257).tobytes(), check=True)
    return path


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_avif_matches_a_video_with_the_same_tags(tmp_path, transfer):
    still = read_image(make_hdr_file(tmp_path / "a.avif", transfer)).rgb.astype(int)
    video = next(read_frames(make_hdr_file(tmp_path / "a.mp4", transfer, encoder="libx265"))).image
    for left in (0, 24, 48, 72):
        bar = slice(8, 56), slice(left + 6, left + 18)
        assert np.abs(still[bar].mean((0, 1)) - video[bar].mean((0, 1))).max() <= 3
    with Pillow.open(tmp_path / "a.avif") as ignored:
        assert np.abs(np.asarray(ignored.convert("RGB")).astype(int) - still).max() > 20


@pytest.mark.parametrize(("transfer", "is_hdr"), [("smpte2084", True), ("arib-std-b67", True), ("bt709", False)])
def test_hdr_is_reported_for_stills_and_videos(tmp_path, transfer, is_hdr):
    for name, encoder in (("a.avif", "libaom-av1"), ("a.mp4", "libx265")):
        info = probe(make_hdr_file(tmp_path / name, transfer, encoder=encoder))
        assert info.is_hdr == is_hdr
        notes = plan_depth(info, Path("out.mp4"), EncodeOptions(), (256, 256)).notes
        assert [note.startswith(f"{name}: is HDR; the result is SDR with 8 bits") for note in notes] == [is_hdr]
    Pillow.fromarray(COLORS).save(tmp_path / "a.png")
    add_png_chunk(tmp_path / "a.png", b"cICP", bytes([9, 16 if is_hdr else 1, 0, 1]))
    assert probe(tmp_path / "a.png").is_hdr == is_hdr


def add_png_chunk(path: Path, kind: bytes, data: bytes) -> None:
    """Insert a chunk after the header of a PNG file."""
    content = path.read_bytes()
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(content[:33] + chunk + content[33:])


@pytest.mark.parametrize("has_alpha", [False, True])
def test_hdr_png_is_converted_by_its_code_points(tmp_path, has_alpha):
    values = np.repeat(np.arange(0, 150, 10, dtype=np.uint8)[None, :, None], 3, 2).repeat(8, 0)
    image = Pillow.fromarray(values)
    if has_alpha:
        image.putalpha(77)
    image.save(tmp_path / "a.png")
    add_png_chunk(tmp_path / "a.png", b"cICP", bytes([9, 16, 0, 1]))
    result = read_image(tmp_path / "a.png")
    # PQ: SMPTE ST 2084. White is 203 cd/m² (ITU-R BT.2408).
    root = (values / 255.0) ** (1 / 78.84375)
    light = 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125) / 203
    assert np.abs(result.rgb - 255 * np.clip(light, 0, 1) ** (1 / 2.4)).max() <= 3
    assert (result.alpha == 77).all() if has_alpha else result.alpha is None


def test_png_with_code_points_of_srgb_is_unchanged(tmp_path):
    Pillow.fromarray(COLORS).save(tmp_path / "a.png")
    add_png_chunk(tmp_path / "a.png", b"cICP", bytes([1, 13, 0, 1]))
    assert np.array_equal(read_image(tmp_path / "a.png").rgb, COLORS)


def test_display_p3_png_without_a_profile_is_converted(tmp_path):
    Pillow.fromarray(COLORS).save(tmp_path / "a.png")
    add_png_chunk(tmp_path / "a.png", b"cICP", bytes([12, 13, 0, 1]))
    linear = np.where(COLORS / 255 <= 0.04045, COLORS / 255 / 12.92, ((COLORS / 255 + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
    difference = np.abs(read_image(tmp_path / "a.png").rgb - to_srgb(linear @ matrix.T))
    is_green = COLORS[..., 1] == 180  # outside of sRGB
    assert difference[~is_green].max() <= 1.5
