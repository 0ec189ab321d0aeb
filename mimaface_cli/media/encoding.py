"""What can be written: containers, codecs, their settings, and the one line said when they do not fit together."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from mimaface_cli.errors import OutputError
from mimaface_cli.media.encode_options import EncodeOptions

IMAGE_OUTPUT_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".exr")
"""What pictures can be written as; all but JPEG keep an alpha channel."""


def is_image_sequence(path: Path) -> bool:
    """Whether a name stands for numbered pictures, such as frames/%05d.png; a video may have a % in its name."""
    return "%" in path.name and path.suffix.lower() in IMAGE_OUTPUT_SUFFIXES


@dataclass(frozen=True, slots=True)
class Codec:
    """A video codec: its FFmpeg encoder and the settings it knows. The first pixel format is the usual one."""

    encoder: str
    pixel_formats: tuple[str, ...]
    crf: int | None = None
    crf_max: int = 0
    preset: str | None = None
    presets: tuple[str, ...] = ()
    preset_option: str = "preset"
    settings: dict[str, str] = field(default_factory=dict)
    lossless: tuple[str, str, dict[str, str]] | None = None  # encoder, pixel format, settings
    even: bool = False  # sides must be multiples of the chroma step
    least: tuple[int, int] = (1, 1)  # smallest width and height
    hd_colors: bool = False  # the bitstream knows BT.709 only


@dataclass(frozen=True, slots=True)
class Container:
    """A file format: its FFmpeg muxer, the video codecs it takes, and the sound it takes as it is or newly encoded.

    `negative_times`: packets before time 0 are kept and skipped on playback (edit lists), so a copied sound may start
    in the middle of a packet.
    """

    muxer: str
    codecs: tuple[str, ...]
    audio_copied: frozenset[str]
    sound_encoder: str
    negative_times: bool = False


@dataclass(frozen=True, slots=True)
class Encoding:
    """A checked, complete choice: what the encoder is opened with."""

    container: Container
    codec: str
    encoder: str
    pixel_format: str
    settings: dict[str, str]
    even: bool
    hd_colors: bool
    tag: str | None


_SPEEDS = tuple(
    ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"]
)
_PLANAR = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")

CODECS = {
    "h264": Codec(
        "libx264",
        _PLANAR,
        crf=17,
        crf_max=51,
        preset="medium",
        presets=_SPEEDS,
        lossless=("libx264rgb", "rgb24", {"qp": "0"}),
        even=True,
    ),
    "hevc": Codec(
        "libx265",
        _PLANAR,
        crf=19,
        crf_max=51,
        preset="medium",
        presets=_SPEEDS,
        settings={"x265-params": "log-level=none"},  # x265 writes to stderr by itself
        lossless=("libx265", "gbrp", {"x265-params": "log-level=none:lossless=1"}),
        even=True,
        least=(64, 64),  # x265 corrupts memory at some widths below
    ),
    "av1": Codec(
        "libsvtav1",
        ("yuv420p", "yuv420p10le"),
        crf=24,
        crf_max=63,
        preset="8",
        presets=tuple(str(speed) for speed in range(14)),
        least=(4, 4),
    ),
    "vp9": Codec(
        "libvpx-vp9",
        ("yuv420p", "yuv422p", "yuv444p"),
        crf=22,
        crf_max=63,
        preset="4",
        presets=tuple(str(speed) for speed in range(9)),
        preset_option="cpu-used",
        settings={"row-mt": "1"},
        lossless=("libvpx-vp9", "gbrp", {"lossless": "1", "row-mt": "1", "cpu-used": "4"}),
    ),
    "prores": Codec(
        "prores_ks",
        ("yuv422p10le", "yuv444p10le"),
        preset="hq",
        presets=("proxy", "lt", "standard", "hq"),
        preset_option="profile",
        even=True,
    ),
    "dnxhr": Codec(
        "dnxhd",
        ("yuv422p", "yuv422p10le", "yuv444p10le"),
        preset="hq",
        presets=("lb", "sq", "hq"),
        preset_option="profile",
        least=(256, 120),
        hd_colors=True,
    ),
    "ffv1": Codec("ffv1", ("bgr0", *_PLANAR), lossless=("ffv1", "bgr0", {})),
}

_MP4_SOUND = frozenset(("aac", "mp3", "ac3", "eac3", "alac"))
_PCM = frozenset(("pcm_s16le", "pcm_s24le", "pcm_f32le"))
_MP4 = Container("mp4", ("h264", "hevc", "av1", "vp9"), _MP4_SOUND, "aac", True)
CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Container("mov", ("h264", "hevc", "prores", "dnxhr"), _MP4_SOUND | _PCM, "aac", True),
    ".mkv": Container(
        "matroska",
        ("h264", "hevc", "av1", "vp9", "prores", "ffv1"),
        _MP4_SOUND | _PCM | {"opus", "vorbis", "flac", "mp2"},
        "aac",
    ),
    ".webm": Container("webm", ("vp9", "av1"), frozenset(("opus", "vorbis")), "libopus"),
}


def video_container(path: Path) -> Container:
    """The container that `path`'s suffix names. Raises OutputError listing the known ones."""
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        kind = f"'{path.suffix}' files cannot be written" if path.suffix else "the name has no suffix"
        raise OutputError(f"{path}: {kind}; use one of {' '.join(CONTAINERS)}, or %05d.png or a folder/ for pictures")
    return container


def choose_encoding(path: Path, options: EncodeOptions, width: int, height: int) -> Encoding:
    """Check `options` against `path`'s container and the picture size. Raises OutputError naming what would fit."""
    container = video_container(path)
    name = options.codec or container.codecs[0]
    if name not in CODECS:
        raise OutputError(f"{path}: no codec '{name}'; use one of {' '.join(CODECS)}")
    if name not in container.codecs:
        raise OutputError(f"{path}: {path.suffix} does not take {name}; use one of {' '.join(container.codecs)}")
    codec = CODECS[name]
    if width < codec.least[0] or height < codec.least[1]:
        least = "x".join(str(side) for side in codec.least)
        raise OutputError(f"{path}: {width}x{height} is too small for {name} (at least {least}); choose another codec")
    tag = "hvc1" if name == "hevc" and container.negative_times else None  # the tag Apple's players want
    if options.lossless:
        return _lossless(path, name, options, container, tag)
    pixel_format = options.pixel_format or codec.pixel_formats[0]
    if pixel_format not in codec.pixel_formats:
        raise OutputError(f"{path}: {name} does not take {pixel_format}; use one of {' '.join(codec.pixel_formats)}")
    settings = dict(codec.settings) | (_without_avx512() if codec.encoder == "libx264" else {})
    if codec.crf is not None:
        crf = codec.crf if options.crf is None else options.crf
        if not 0 <= crf <= codec.crf_max:
            raise OutputError(f"{path}: {name} takes a crf of 0 to {codec.crf_max}, not {crf}")
        settings["crf"] = str(crf)
    elif options.crf is not None:
        raise OutputError(f"{path}: {name} has no crf; {_preset_hint(codec)}")
    preset = options.preset or codec.preset
    if preset is not None:
        if preset not in codec.presets:
            raise OutputError(f"{path}: {name} has no preset '{preset}'; {_preset_hint(codec)}")
        settings[codec.preset_option] = _profile(name, preset, pixel_format)
    return Encoding(container, name, codec.encoder, pixel_format, settings, codec.even, codec.hd_colors, tag)


def _lossless(path: Path, name: str, options: EncodeOptions, container: Container, tag: str | None) -> Encoding:
    lossless = CODECS[name].lossless
    if lossless is None:
        able = [known for known in container.codecs if CODECS[known].lossless]
        raise OutputError(f"{path}: {name} cannot be lossless; use one of {' '.join(able)}")
    if options.crf is not None or options.pixel_format is not None:
        raise OutputError(f"{path}: lossless leaves no choice of crf or pixel format; leave them out")
    encoder, pixel_format, settings = lossless
    codec = CODECS[name]
    settings = dict(settings)
    if options.preset is not None:
        if options.preset not in codec.presets:
            raise OutputError(f"{path}: {name} has no preset '{options.preset}'; {_preset_hint(codec)}")
        settings[codec.preset_option] = options.preset
    return Encoding(container, name, encoder, pixel_format, settings, False, False, tag)


@cache
def _without_avx512() -> dict[str, str]:
    """x264 with the instructions of AVX2 on a machine that has AVX-512, whose code for macroblock trees reads beyond a
    row: the same frames made other bytes in up to one file of fifty, where the width is no multiple of 128.
    """
    import cv2

    avx512f = 13  # OpenCV's number of it, which its Python module does not name
    if not cv2.checkHardwareSupport(avx512f):
        return {}
    return {"x264-params": "asm=MMX2,SSE2Fast,LZCNT,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2"}


def _preset_hint(codec: Codec) -> str:
    return f"presets: {' '.join(codec.presets)}" if codec.presets else "leave it out"


def _profile(name: str, preset: str, pixel_format: str) -> str:
    """The encoder's own word for a preset: ProRes and DNxHR profiles depend on the pixel format."""
    if name == "prores":
        return "4444" if pixel_format == "yuv444p10le" else preset
    if name == "dnxhr":
        return {"yuv422p10le": "dnxhr_hqx", "yuv444p10le": "dnxhr_444"}.get(pixel_format, f"dnxhr_{preset}")
    return preset
