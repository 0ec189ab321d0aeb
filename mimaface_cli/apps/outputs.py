"""What is wrong with an output, said before the long work rather than after it."""

from fractions import Fraction
from pathlib import Path

from mimaface_cli.errors import OutputError
from mimaface_cli.files import check_folder, check_output
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.encoding import IMAGE_OUTPUT_SUFFIXES
from mimaface_cli.media.image_writer import ImageWriter, SequenceWriter
from mimaface_cli.media.writer import open_writer
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.provenance.stamp import check

_KEEPS_ALPHA = (".png", ".tif", ".tiff", ".webp", ".exr")


def check_target(
    path: Path,
    size: tuple[int, int],
    encode: EncodeOptions,
    *,
    frames: int | None = None,
    overwrite: bool = False,
    inputs: tuple[Path, ...] = (),
    provenance: ProvenanceOptions | None = None,
) -> None:
    """Raise OutputError unless frames of that size (width, height) can be written there; touches nothing.

    frames: how many will come, None where nobody knows yet. inputs: files that must not be overwritten.
    provenance: what else will be written, and who signs; None for what needs no record (mattes, renders of a fit).
    """
    writer = open_writer(path, *size, Fraction(25), options=encode)  # it checks name, codec and options by itself
    if isinstance(writer, SequenceWriter):
        check_folder(writer.folder.parent)
    else:
        check_output(path, overwrite, inputs)
    if provenance is not None:
        check(path, provenance, overwrite, inputs)
    if isinstance(writer, ImageWriter) and frames not in (None, 1):
        raise OutputError(f"{path}: a picture holds one frame and {frames} will come; name a video or frames/%05d.png")


def is_video(path: Path) -> bool:
    """Whether what is written there is a video, which carries sound, rather than pictures."""
    return not (path.is_dir() or path.suffix.lower() in IMAGE_OUTPUT_SUFFIXES)


def keeps_alpha(path: Path) -> bool:
    """Whether what is written there keeps transparency."""
    return path.is_dir() or path.suffix.lower() in _KEEPS_ALPHA
