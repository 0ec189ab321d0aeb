"""Tables of the codecs and containers of output videos."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LosslessMode:
    """Lossless mode of a codec.

    Args:
        encoder: Name of the FFmpeg encoder.
        pixel_format: FFmpeg pixel format.
        settings: Options of the encoder.
    """

    encoder: str
    pixel_format: str
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Codec:
    """A video codec: its FFmpeg encoder and the settings it supports.

    Args:
        encoder: Name of the FFmpeg encoder.
        pixel_formats: FFmpeg pixel formats that it supports; the first is the default.
        crf: Default constant rate factor, or None if the codec has none.
        crf_max: Largest constant rate factor.
        preset: Default preset, or None if the codec has none.
        presets: Presets that the user can choose.
        preset_option: Encoder option that takes the preset.
        settings: Further options of the encoder.
        lossless: Lossless mode, or None.
        needs_even_sides: Whether width and height must be multiples of the chroma subsampling.
        min_size: Smallest (width, height).
        is_bt709_only: Whether the bitstream supports BT.709 only.
        alpha_formats: FFmpeg pixel formats with alpha that it supports; the first is the default.
        lossless_alpha: Lossless mode with alpha, or None.
        is_deep_by_default: Whether a source with more than 8 bits per channel is stored with more. Not for H.264: few
            players decode such files.
    """

    encoder: str
    pixel_formats: tuple[str, ...]
    crf: int | None = None
    crf_max: int = 0
    preset: str | None = None
    presets: tuple[str, ...] = ()
    preset_option: str = "preset"
    settings: Mapping[str, str] = field(default_factory=dict)
    lossless: LosslessMode | None = None
    needs_even_sides: bool = False
    min_size: tuple[int, int] = (1, 1)
    is_bt709_only: bool = False
    alpha_formats: tuple[str, ...] = ()
    lossless_alpha: LosslessMode | None = None
    is_deep_by_default: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """A container format: its FFmpeg muxer and the codecs it supports.

    Args:
        muxer: Name of the FFmpeg muxer.
        codecs: Names of the video codecs that it supports; the first is the default.
        copied_audio_codecs: FFmpeg names of the audio codecs that it supports.
        audio_encoder: FFmpeg encoder for audio in any other codec.
        has_edit_lists: Whether packets before time 0 are stored and skipped on playback, so that copied audio may
            start in the middle of a packet.
        alpha_codecs: Names of those of its video codecs that store alpha in it; the first is the default.
    """

    muxer: str
    codecs: tuple[str, ...]
    copied_audio_codecs: frozenset[str]
    audio_encoder: str
    has_edit_lists: bool = False
    alpha_codecs: tuple[str, ...] = ()


_X26X_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
_PLANAR_YUV = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")

CODECS: dict[str, Codec] = {
    "h264": Codec(
        "libx264",
        _PLANAR_YUV,
        crf=17,
        crf_max=51,
        preset="medium",
        presets=_X26X_PRESETS,
        lossless=LosslessMode("libx264rgb", "rgb24", {"qp": "0"}),
        needs_even_sides=True,
    ),
    "hevc": Codec(
        "libx265",
        _PLANAR_YUV,
        crf=19,
        crf_max=51,
        preset="medium",
        presets=_X26X_PRESETS,
        settings={"x265-params": "log-level=none"},  # x265 logs to stderr by itself
        lossless=LosslessMode("libx265", "gbrp", {"x265-params": "log-level=none:lossless=1"}),
        needs_even_sides=True,
        min_size=(64, 64),  # x265 corrupts memory at some smaller widths
        is_deep_by_default=True,
    ),
    "av1": Codec(
        "libsvtav1",
        ("yuv420p", "yuv420p10le"),
        crf=24,
        crf_max=63,
        preset="8",
        presets=tuple(str(speed) for speed in range(14)),
        min_size=(4, 4),
        is_deep_by_default=True,
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
        lossless=LosslessMode("libvpx-vp9", "gbrp", {"lossless": "1", "row-mt": "1", "cpu-used": "4"}),
        alpha_formats=("yuva420p",),
    ),
    "prores": Codec(
        "prores_ks",
        ("yuv422p10le", "yuv444p10le"),
        preset="hq",
        presets=("proxy", "lt", "standard", "hq"),
        preset_option="profile",
        needs_even_sides=True,
        alpha_formats=("yuva444p10le",),
        is_deep_by_default=True,
    ),
    "dnxhr": Codec(
        "dnxhd",
        ("yuv422p", "yuv422p10le", "yuv444p10le"),
        preset="hq",
        presets=("lb", "sq", "hq"),
        preset_option="profile",
        min_size=(256, 120),
        is_bt709_only=True,
        is_deep_by_default=True,
    ),
    "ffv1": Codec(
        "ffv1",
        ("bgr0", *_PLANAR_YUV, "yuv420p12le", "yuv422p12le", "yuv444p12le", "yuv444p16le", "gbrp10le", "gbrp16le"),
        lossless=LosslessMode("ffv1", "bgr0", {}),
        alpha_formats=("bgra", "yuva420p", "yuva422p", "yuva444p", "yuva444p10le", "yuva444p12le", "gbrap16le"),
        lossless_alpha=LosslessMode("ffv1", "bgra", {}),
        is_deep_by_default=True,
    ),
    "qtrle": Codec(
        "qtrle",
        ("rgb24",),
        lossless=LosslessMode("qtrle", "rgb24", {}),
        alpha_formats=("argb",),
        lossless_alpha=LosslessMode("qtrle", "argb", {}),
    ),
    "png": Codec(
        "png",
        ("rgb24",),
        lossless=LosslessMode("png", "rgb24", {}),
        alpha_formats=("rgba",),
        lossless_alpha=LosslessMode("png", "rgba", {}),
    ),
}

_MP4_AUDIO = frozenset(("aac", "mp3", "ac3", "eac3", "alac"))
_PCM = frozenset(
    f"pcm_{kind}" for kind in ("s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "u8", "f32le", "f64le")
)
_QUICKTIME_PCM = _PCM | {"pcm_f32be", "pcm_f64be", "pcm_s8", "pcm_alaw", "pcm_mulaw"}
_MP4 = Container("mp4", ("h264", "hevc", "av1", "vp9"), _MP4_AUDIO, "aac", has_edit_lists=True)
CONTAINERS: dict[str, Container] = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Container(
        "mov",
        ("h264", "hevc", "prores", "dnxhr", "qtrle", "png"),
        _MP4_AUDIO | _QUICKTIME_PCM,
        "aac",
        has_edit_lists=True,
        alpha_codecs=("prores", "qtrle", "png"),
    ),
    ".mkv": Container(
        "matroska",
        ("h264", "hevc", "av1", "vp9", "prores", "ffv1"),
        _MP4_AUDIO | _PCM | {"opus", "vorbis", "flac", "mp2"},
        "aac",
        alpha_codecs=("ffv1", "vp9", "prores"),
    ),
    ".webm": Container("webm", ("vp9", "av1"), frozenset(("opus", "vorbis")), "libopus", alpha_codecs=("vp9",)),
}
