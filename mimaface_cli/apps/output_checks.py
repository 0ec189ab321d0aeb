"""Check an output before the long work starts, so that a run does not fail at its end."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from mimaface_cli.engines.base import FrameStream
from mimaface_cli.errors import OutputError
from mimaface_cli.files import check_folder, check_output
from mimaface_cli.media.encode_options import EncodeOptions
from mimaface_cli.media.encoding import IMAGE_OUTPUT_SUFFIXES, choose_encoding, find_alpha_codec
from mimaface_cli.media.image import check_image_suffix
from mimaface_cli.media.image_writer import ImageWriter, SequenceWriter
from mimaface_cli.media.writer import VideoWriter, open_writer
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.provenance.stamp import check_stamp

_H264_SIDE = 4096  # pixels; the limit of hardware decoders of H.264
_SAME_STEP = 0.002  # seconds; times can be rounded to milliseconds
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
    if encode.alpha and not isinstance(writer, VideoWriter):
        check_image_suffix(path, has_alpha=True)
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


def playback_notes(path: Path, size: tuple[int, int], encode: EncodeOptions) -> list[str]:
    """Return a note for a video that many players cannot show.

    Args:
        path: The output, which `check_media_output` has checked.
        size: Width and height in pixels.
        encode: How the frames are encoded.
    """
    if max(size) <= _H264_SIDE or not is_video_output(path) or choose_encoding(path, encode, *size).codec != "h264":
        return []
    return [
        f"{size[0]}x{size[1]} is more than many players can decode in H.264; `max_size={_H264_SIDE}` scales it down, "
        "and other codecs allow more"
    ]


def timing_notes(path: Path, stream: FrameStream) -> list[str]:
    """Return a note for numbered images of frames at a variable rate, which images do not store.

    Args:
        path: The output.
        stream: The frames to write.
    """
    steps = [*np.diff(stream.pts), stream.duration - float(stream.pts[-1] - stream.pts[0])]
    if is_video_output(path) or len(stream.pts) < 2 or max(steps) - min(steps) < _SAME_STEP:
        return []
    return [
        f"the frames have a variable rate, which numbered images lose: at {float(stream.frame_rate):.5g} frames per "
        "second they play with other times"
    ]


def is_video_output(path: Path) -> bool:
    """Return whether a path names a video, which can have audio, rather than images."""
    return not (path.is_dir() or path.suffix.lower() in IMAGE_OUTPUT_SUFFIXES)


def keeps_alpha(path: Path, encode: EncodeOptions) -> bool:
    """Return whether an output stores transparency.

    Args:
        path: A video, an image, or numbered images.
        encode: How a video is encoded.
    """
    if path.is_dir() or path.suffix.lower() in _ALPHA_SUFFIXES:
        return True
    return find_alpha_codec(path, encode) is not None
