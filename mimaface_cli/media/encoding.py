"""Choice of encoder settings from options, container and frame size; errors explain what does not fit together."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mimaface_cli.errors import OutputError
from mimaface_cli.media.codecs import CODECS, CONTAINERS, Codec, Container
from mimaface_cli.media.color_space import ColorSpace
from mimaface_cli.media.deep_frame import format_depth
from mimaface_cli.media.depth_choice import choose_format, required_depth
from mimaface_cli.media.encode_options import EncodeOptions

IMAGE_OUTPUT_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".exr")
"""Suffixes of the images that can be written; all but JPEG have an alpha channel."""


def is_image_sequence(path: Path) -> bool:
    """Return whether a path names numbered images, such as frames/%05d.png; a video may have a % in its name."""
    return "%" in path.name and path.suffix.lower() in IMAGE_OUTPUT_SUFFIXES


@dataclass(frozen=True, slots=True)
class Encoding:
    """A complete, checked configuration of an encoder.

    Args:
        container: Container of the file.
        codec: Name of the codec, a key of CODECS.
        encoder: Name of the FFmpeg encoder.
        pixel_format: FFmpeg pixel format.
        settings: Options of the encoder.
        needs_even_sides: Whether odd sides must grow to a multiple of the chroma subsampling.
        is_bt709_only: Whether to use BT.709 at any size.
        tag: Codec tag in the container, or None for the default.
        space: Color space of frames with more than 8 bits per channel, or None for frames of 8 bits.
    """

    container: Container
    codec: str
    encoder: str
    pixel_format: str
    settings: dict[str, str]
    needs_even_sides: bool
    is_bt709_only: bool
    tag: str | None
    space: ColorSpace | None = None


def video_container(path: Path) -> Container:
    """Return the container of a path's suffix.

    Raises:
        OutputError: If the suffix is unknown.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        problem = f"'{path.suffix}' files cannot be written" if path.suffix else "the name has no suffix"
        raise OutputError(f"{path}: {problem}. Use one of {' '.join(CONTAINERS)}, or %05d.png or a folder/ for images.")
    return container


def find_alpha_codec(path: Path, options: EncodeOptions) -> str | None:
    """Return the name of the codec that stores frames with alpha in a video, or None if they cannot be stored.

    Args:
        path: File to write; its suffix sets the container.
        options: Options of video encoding; a codec that they name is the only choice.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        return None
    names = container.alpha_codecs if options.codec is None else (options.codec,)
    return next((name for name in names if name in container.alpha_codecs and _fits_alpha(CODECS[name], options)), None)


def _fits_alpha(codec: Codec, options: EncodeOptions) -> bool:
    """Return whether a codec stores alpha with these options."""
    if options.lossless:
        return codec.lossless_alpha is not None
    has_format = options.pixel_format is None or options.pixel_format in codec.alpha_formats
    has_crf = options.crf is None or codec.crf is not None
    return has_format and has_crf and (options.preset is None or options.preset in codec.presets)


def choose_encoding(path: Path, options: EncodeOptions, width: int, height: int) -> Encoding:
    """Check the options against a path's container and the frame size, and fill in the defaults.

    Args:
        path: File to write; its suffix sets the container.
        options: Options of video encoding.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.

    Raises:
        OutputError: If they do not fit together; the message lists what fits.
    """
    container = video_container(path)
    name = options.codec or (find_alpha_codec(path, options) if options.alpha else None) or container.codecs[0]
    if name not in CODECS:
        raise OutputError(f"{path}: unknown codec '{name}'. Use one of {' '.join(CODECS)}.")
    if name not in container.codecs:
        known = " ".join(container.codecs)
        raise OutputError(f"{path}: {path.suffix} does not support {name}. Use one of {known}.")
    if options.alpha and name not in container.alpha_codecs:
        raise _alpha_error(path, container, options)
    codec = CODECS[name]
    if width < codec.min_size[0] or height < codec.min_size[1]:
        minimum = "x".join(str(side) for side in codec.min_size)
        raise OutputError(
            f"{path}: {width}x{height} is too small for {name} (at least {minimum}). Choose another codec."
        )
    tag = "hvc1" if name == "hevc" and container.has_edit_lists else None  # the tag that Apple's players need
    if options.lossless:
        return _lossless_encoding(path, name, options, container, tag)
    return _lossy_encoding(path, name, options, container, tag)


def _alpha_error(path: Path, container: Container, options: EncodeOptions) -> OutputError:
    """Return the error for frames with alpha that container, codec and options cannot store."""
    if not container.alpha_codecs:
        suffixes = ", ".join(suffix for suffix, other in CONTAINERS.items() if other.alpha_codecs)
        return OutputError(
            f"{path}: {path.suffix} cannot store transparency. Use a video of {suffixes}, or images (frames/%05d.png)."
        )
    if options.codec is not None:
        known = " ".join(container.alpha_codecs)
        return OutputError(f"{path}: {options.codec} cannot store transparency. Use one of {known}.")
    fields = [field for field in ("crf", "preset", "pixel_format") if getattr(options, field) is not None]
    listed = " and ".join(f"`{field}`" for field in [*fields, *(["lossless"] if options.lossless else [])])
    return OutputError(f"{path}: no codec of {path.suffix} stores transparency with {listed}. Leave this out.")


def _lossy_encoding(path: Path, name: str, options: EncodeOptions, container: Container, tag: str | None) -> Encoding:
    codec = CODECS[name]
    pixel_formats = codec.alpha_formats if options.alpha else codec.pixel_formats
    pixel_format = options.pixel_format or choose_format(codec, options)
    _check_depth(path, name, pixel_format, options)
    if pixel_format not in pixel_formats:
        known, purpose = " ".join(pixel_formats), " for transparency" if options.alpha else ""
        raise OutputError(
            f"{path}: {name} does not support the pixel format {pixel_format}{purpose}. Use one of {known}."
        )
    settings = dict(codec.settings)
    if codec.encoder == "libx264":
        settings |= _x264_without_avx512()
    settings |= _hdr_settings(codec, options.space)
    settings |= _crf_setting(path, name, codec, options.crf)
    preset = options.preset or codec.preset
    if preset is not None:
        _check_preset(path, name, codec, preset)
        settings[codec.preset_option] = _preset_value(name, preset, pixel_format)
    return Encoding(
        container,
        name,
        codec.encoder,
        pixel_format,
        settings,
        needs_even_sides=codec.needs_even_sides,
        is_bt709_only=codec.is_bt709_only,
        tag=tag,
        space=_deep_space(pixel_format, options),
    )


def _check_depth(path: Path, name: str, pixel_format: str, options: EncodeOptions) -> None:
    """Raise OutputError if a pixel format has fewer bits per channel than the options require."""
    if options.depth not in ("10", "16") or format_depth(pixel_format) >= required_depth(options):
        return
    known = [
        other
        for other, codec in CODECS.items()
        if max(map(format_depth, codec.pixel_formats)) >= required_depth(options)
    ]
    raise OutputError(
        f"{path}: {name} does not store {options.depth} bits per channel here. Use one of {' '.join(known)}, or images."
    )


def _deep_space(pixel_format: str, options: EncodeOptions) -> ColorSpace | None:
    """Return the color space of frames with more than 8 bits per channel if a pixel format stores them."""
    return options.space if options.source_format is not None and format_depth(pixel_format) > 8 else None


def _lossless_encoding(
    path: Path, name: str, options: EncodeOptions, container: Container, tag: str | None
) -> Encoding:
    codec = CODECS[name]
    lossless = codec.lossless_alpha if options.alpha else codec.lossless
    if lossless is None and options.alpha:
        known = " ".join(other for other in container.alpha_codecs if CODECS[other].lossless_alpha)
        solution = f"Use one of {known}" if known else "Use .mov or .mkv"
        raise OutputError(f"{path}: {name} cannot be lossless with transparency. {solution}.")
    if lossless is None:
        known = " ".join(other for other in container.codecs if CODECS[other].lossless)
        raise OutputError(f"{path}: {name} cannot be lossless. Use one of {known}.")
    if options.crf is not None or options.pixel_format is not None:
        raise OutputError(f"{path}: `lossless` cannot be combined with `crf` or `pixel_format`. Leave these two out.")
    settings = dict(lossless.settings)
    pixel_format = choose_format(codec, options) if name == "ffv1" else lossless.pixel_format
    _check_depth(path, name, pixel_format, options)
    if options.preset is not None:
        _check_preset(path, name, codec, options.preset)
        settings[codec.preset_option] = options.preset
    return Encoding(
        container,
        name,
        lossless.encoder,
        pixel_format,
        settings,
        needs_even_sides=False,
        is_bt709_only=False,
        tag=tag,
        space=_deep_space(pixel_format, options),
    )


def _crf_setting(path: Path, name: str, codec: Codec, crf: int | None) -> Mapping[str, str]:
    if codec.crf is None:
        if crf is not None:
            raise OutputError(f"{path}: {name} has no `crf`. {_preset_hint(codec)}")
        return {}
    value = codec.crf if crf is None else crf
    if not 0 <= value <= codec.crf_max:
        raise OutputError(f"{path}: {value} is out of range. Give {name} a `crf` of 0 to {codec.crf_max}.")
    return {"crf": str(value)}


def _hdr_settings(codec: Codec, space: ColorSpace | None) -> dict[str, str]:
    """Return the settings that make x265 write the HDR10 metadata of the source."""
    if codec.encoder != "libx265" or space is None or not (space.mastering or space.light_level):
        return {}
    mastering = f":master-display={space.mastering}" if space.mastering else ""
    light_level = f":max-cll={space.light_level}" if space.light_level else ""
    return {"x265-params": f"{codec.settings['x265-params']}{mastering}{light_level}"}


def _check_preset(path: Path, name: str, codec: Codec, preset: str) -> None:
    if preset not in codec.presets:
        raise OutputError(f"{path}: {name} has no preset '{preset}'. {_preset_hint(codec)}")


def _preset_hint(codec: Codec) -> str:
    return f"Choose one of the presets {' '.join(codec.presets)}." if codec.presets else "Leave it out."


def _preset_value(name: str, preset: str, pixel_format: str) -> str:
    """Return the encoder's name of a preset; profiles of ProRes and DNxHR depend on the pixel format."""
    if name == "prores":
        return "4444" if pixel_format in ("yuv444p10le", "yuva444p10le") else preset
    if name == "dnxhr":
        return {"yuv422p10le": "dnxhr_hqx", "yuv444p10le": "dnxhr_444"}.get(pixel_format, f"dnxhr_{preset}")
    return preset


@cache
def _x264_without_avx512() -> dict[str, str]:
    """Return the settings that limit x264 to AVX2 on machines with AVX-512.

    x264's AVX-512 code for macroblock trees reads beyond the end of a row. Where the width is not a multiple of 128,
    the same frames gave different bytes in up to one file of fifty.
    """
    import cv2

    avx512f = 13  # CV_CPU_AVX_512F, which OpenCV's Python module does not name
    if not cv2.checkHardwareSupport(avx512f):
        return {}
    return {"x264-params": "asm=MMX2,SSE2Fast,LZCNT,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2"}
