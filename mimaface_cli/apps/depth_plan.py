"""Choice of the depth of a result, 8 bits per channel or that of its source, and notes about it."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from mimaface_cli.apps.output_checks import is_video_output
from mimaface_cli.media.codecs import CODECS, CONTAINERS
from mimaface_cli.media.color_space import ColorSpace
from mimaface_cli.media.deep_frame import format_depth
from mimaface_cli.media.deep_image_writer import DEEP_IMAGE_SUFFIXES, can_store_space
from mimaface_cli.media.encode_options import AUTO_DEPTH, EIGHT_BITS, EncodeOptions
from mimaface_cli.media.encoding import choose_encoding
from mimaface_cli.media.video import MediaInfo

_PLAIN_DEPTH = 8


@dataclass(frozen=True)
class DepthPlan:
    """The depth of a result.

    Attributes:
        encode: Options of video encoding, which describe a source whose depth is kept.
        is_deep: Whether the frames have more than 8 bits per channel, in the source's color space.
        notes: Notes for the user.
    """

    encode: EncodeOptions = field(default_factory=EncodeOptions)
    is_deep: bool = False
    notes: tuple[str, ...] = ()


EIGHT_BIT_PLAN = DepthPlan()


def plan_depth(
    info: MediaInfo | None, output: Path, encode: EncodeOptions, size: tuple[int, int], obstacle: str = ""
) -> DepthPlan:
    """Decide whether a result keeps the depth of its source.

    Args:
        info: The source, or None for one in memory.
        output: A video, an image, or numbered images.
        encode: Options of video encoding.
        size: Width and height of the result in pixels.
        obstacle: Option that changes the frames in a way for which only 8 bits are computed, or "".

    Raises:
        OutputError: The output cannot be written with these options.
    """
    depth = _PLAIN_DEPTH if info is None else info.depth
    if info is None or (depth == _PLAIN_DEPTH and not info.is_hdr):
        is_widened = encode.depth not in (AUTO_DEPTH, EIGHT_BITS)
        return DepthPlan(encode, notes=("the frames are computed with 8 bits per channel",) if is_widened else ())
    deep = replace(encode, source_format=info.pixel_format, space=info.deep_space)
    problem, stored = _find_problem(info, obstacle), 0
    if not problem and info.deep_space is not None:
        stored = _stored_depth(output, deep, size)
        problem = _output_problem(output, encode, info.deep_space) if stored <= _PLAIN_DEPTH else ""
    if problem or info.deep_space is None:
        return DepthPlan(encode, notes=(_loss_note(info, problem),))
    notes = _metadata_notes(info.path.name, info.deep_space, output, deep, size)
    if stored < depth:
        notes.insert(0, f"{info.path.name}: has {depth} bits per channel; the result has {stored}")
    return DepthPlan(deep, True, tuple(notes))


def _loss_note(info: MediaInfo, problem: str) -> str:
    """Return the note about a source that is written with 8 bits per channel."""
    reason = f": {problem}" if problem else ""
    if info.is_hdr:
        return f"{info.path.name}: is HDR; the result is SDR with 8 bits per channel{reason}"
    return f"{info.path.name}: has {info.depth} bits per channel; the result has 8{reason}"


def _find_problem(info: MediaInfo, obstacle: str) -> str:
    """Return why the frames of a source have 8 bits per channel whatever the output is, or ""."""
    if obstacle:
        return f"with `{obstacle}`, frames are computed with 8"
    return "only 8 of a file of this kind can be read" if info.deep_space is None and info.depth > _PLAIN_DEPTH else ""


def _stored_depth(output: Path, encode: EncodeOptions, size: tuple[int, int]) -> int:
    """Return the bits per channel that an output stores of a source that the options describe."""
    space = encode.space or ColorSpace()
    if encode.depth == EIGHT_BITS:
        return _PLAIN_DEPTH
    if is_video_output(output):
        encoding = choose_encoding(output, encode, *size)
        return _PLAIN_DEPTH if space.profile is not None else format_depth(encoding.pixel_format)
    suffix = ".png" if output.is_dir() else output.suffix.lower()
    return 16 if suffix in DEEP_IMAGE_SUFFIXES and can_store_space(suffix, space) else _PLAIN_DEPTH


def _output_problem(output: Path, encode: EncodeOptions, space: ColorSpace | None) -> str:
    """Return why an output does not store more than 8 bits per channel of a source."""
    if encode.depth == EIGHT_BITS:
        return "`depth` is 8"
    if space is not None and space.profile is not None:
        return "only .png and .tif store its color profile"
    suffix = ".png" if output.is_dir() else output.suffix.lower()
    if suffix in (".tif", ".tiff"):
        return "TIFF cannot state its colors; .png and .exr can"
    images = ".png and .exr" if space is not None and space.is_wide else ".png, .tif and .exr"
    container = CONTAINERS.get(suffix)
    if container is None:
        return f"{images} images keep more"
    if encode.pixel_format is not None or (encode.preset is not None and encode.codec == "dnxhr"):
        return "`pixel_format` and the profile of dnxhr (`preset`) store 8"
    if encode.lossless:
        return f"without loss, only `codec` ffv1 (.mkv) keeps more, and {images} images"
    codecs = ", ".join(name for name in container.codecs if CODECS[name].is_deep_by_default)
    return f"{images} images keep more, and in {suffix}, `codec` {codecs}"


def _metadata_notes(
    name: str, space: ColorSpace, output: Path, encode: EncodeOptions, size: tuple[int, int]
) -> list[str]:
    """Return notes about HDR metadata that the output does not have."""
    notes = []
    is_hevc = is_video_output(output) and choose_encoding(output, encode, *size).encoder == "libx265"
    if (space.mastering or space.light_level) and not is_hevc:
        notes.append(f"{name}: the HDR10 metadata (mastering display, light level) is kept by `codec` hevc only")
    if space.has_dynamic_metadata:
        notes.append(f"{name}: the HDR metadata of each frame (HDR10+ or Dolby Vision) is not kept")
    return notes
