"""Check an output before the long work starts, so that a run does not fail at its end."""

from fractions import Fraction
from pathlib import Path

from mimaface_cli.errors import OutputError
from mimaface_cli.files import check_folder, check_output
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.encoding import IMAGE_OUTPUT_SUFFIXES
from mimaface_cli.media.image_writer import ImageWriter, SequenceWriter
from mimaface_cli.media.writer import open_writer
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.provenance.stamp import check_stamp

_ALPHA_SUFFIXES = (".png", ".tif", ".tiff", ".webp", ".exr")


def check_media_output(
    path: Path,
    size: tuple[int, int],
    encode: EncodeOptions,
    *,
    frames: int | None = None,
    overwrite: bool = False,
    inputs: tuple[Path, ...] = (),
    provenance: ProvenanceOptions | None = None,
) -> None:
    """Check that frames can be written to a path, without touching it.

    Args:
        path: A video, an image, or numbered images such as frames/%05d.png.
        size: Width and height in pixels.
        encode: How the frames are encoded.
        frames: Number of frames, or None if it is unknown.
        overwrite: Whether an existing file may be replaced.
        inputs: Files that must not be overwritten.
        provenance: Options of the provenance marks; None for outputs without a record (mattes, model renders).

    Raises:
        OutputError: The frames cannot be written there.
        InputError: The options do not fit the output.
        WeightsError: The certificate cannot sign here.
    """
    writer = open_writer(path, *size, Fraction(25), options=encode)  # checks name, codec and options
    if isinstance(writer, SequenceWriter):
        check_folder(writer.folder.parent)
    else:
        check_output(path, overwrite, inputs)
    if provenance is not None:
        check_stamp(path, provenance, overwrite, inputs)
    if isinstance(writer, ImageWriter) and frames not in (None, 1):
        raise OutputError(
            f"{path}: an image has one frame, and {frames} will be rendered. Name a video or frames/%05d.png."
        )


def is_video_output(path: Path) -> bool:
    """Return whether a path names a video, which can have audio, rather than images."""
    return not (path.is_dir() or path.suffix.lower() in IMAGE_OUTPUT_SUFFIXES)


def keeps_alpha(path: Path) -> bool:
    """Return whether the format of a path stores transparency."""
    return path.is_dir() or path.suffix.lower() in _ALPHA_SUFFIXES
