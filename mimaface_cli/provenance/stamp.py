"""The stamp of one result: all its marks, watermark, metadata, content credentials and record."""

from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from mimaface_cli import __version__
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.media.codecs import CONTAINERS
from mimaface_cli.media.encoding import is_image_sequence
from mimaface_cli.provenance import credentials, metadata
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.provenance.record import (
    Generation,
    Record,
    build_record,
    is_orphaned,
    record_path,
    write_record,
)
from mimaface_cli.provenance.watermark import MIN_SIDE, Marker, can_mark

FrameGenerator = Generator[np.ndarray, None, None]


def check_stamp(output: Path, options: ProvenanceOptions, overwrite: bool, inputs: tuple[Path, ...] = ()) -> None:
    """Check, before any long work, that an output's record can be written and its certificate can sign.

    The record of a result that does not exist is overwritten.

    Args:
        output: The output.
        options: Options of the marks.
        overwrite: Whether existing files are replaced.
        inputs: Files that must not be overwritten.

    Raises:
        InputError: For a certificate that cannot sign.
        OutputError: Where the record exists or cannot be written.
        WeightsError: Where the package for content credentials is not installed.
    """
    if not options.on:
        return
    _ = options.signer  # reads the certificate, and raises if it cannot sign
    is_folder = output.is_dir() or is_image_sequence(output)
    check_output(record_path(output), (overwrite and not is_folder) or is_orphaned(output), inputs)


class Stamp:
    """The marks of one result, as a context around the writing of its file.

    This class is the stamp without provenance: a comment in the file's tags. `RecordStamp` adds all marks.

    Args:
        comment: Sentence for the file's tags.
    """

    def __init__(self, comment: str) -> None:
        self._comment = comment

    @property
    def tags(self) -> dict[str, str]:
        """Texts for the container's tags."""
        return {"comment": self._comment}

    @property
    def xmp(self) -> bytes | None:
        """XMP packet, or None."""
        return None

    @property
    def summary(self) -> dict[str, Any]:
        """The marks that were written, as JSON values; complete after `seal`."""
        return {"on": False}

    def mark_frames(self, frames: FrameGenerator) -> FrameGenerator:
        """Return the frames with their watermark."""
        return frames

    def seal(self, path: Path) -> None:
        """Complete the marks of a finished file before it gets its final name."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class RecordStamp(Stamp):
    """All marks of one result. A failure inside the context restores the previous record.

    Args:
        path: Path of the record.
        record: The record.
        inputs: Input files by their role.
        marker: Watermark of the frames, or None if they are too small.
        certificate: Certificate that signs content credentials, or None.
        input_credentials: Content credentials of the inputs by their role.
    """

    def __init__(
        self,
        path: Path,
        record: Record,
        inputs: Mapping[str, Path],
        marker: Marker | None,
        certificate: credentials.Certificate | None,
        input_credentials: Mapping[str, Any],
    ) -> None:
        super().__init__(metadata.make_comment(record.version, record.engine))
        self.record = record
        self.marker = marker
        self.certificate = certificate
        self._path = path
        self._inputs = inputs
        self._input_credentials = input_credentials
        self._previous_record: bytes | None = None
        self._is_sealed = False

    @property
    def tags(self) -> dict[str, str]:
        """Texts for the container's tags."""
        return metadata.make_tags(self.record)

    @property
    def xmp(self) -> bytes | None:
        """XMP packet."""
        return metadata.make_xmp(self.record)

    @property
    def summary(self) -> dict[str, Any]:
        """The marks that were written, as JSON values; complete after `seal`."""
        if not self._is_sealed:
            return {"on": False}
        return {"on": True, "identifier": self.record.name, "record": str(self._path)} | self._marks()

    def mark_frames(self, frames: FrameGenerator) -> FrameGenerator:
        """Return the frames with their watermark."""
        return frames if self.marker is None else self.marker.mark_frames(frames)

    def seal(self, path: Path) -> None:
        """Sign a finished file that still has a temporary name, and write its record.

        The record is written before the file gets its final name. A run that is killed between the two leaves a record
        without a result, which the next run overwrites, and never a result without a record.
        """
        if self.certificate is not None:
            credentials.sign(path, self.certificate, self.record, self._inputs)
        with suppress(FileNotFoundError):
            self._previous_record = self._path.read_bytes()
        write_record(self._path, path, self.record, self._marks())
        self._is_sealed = True

    def _marks(self) -> dict[str, Any]:
        return {
            "watermark": self.marker is not None,
            "credentials": self.certificate.name if self.certificate else None,
            "input_credentials": dict(self._input_credentials),
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or not self._is_sealed:
            return
        if self._previous_record is None:
            self._path.unlink(missing_ok=True)
        else:  # the previous result still exists
            with atomic_path(self._path) as temporary:
                temporary.write_bytes(self._previous_record)


def prepare_stamp(
    output: Path, size: tuple[int, int], options: ProvenanceOptions, generation: Generation, notes: list[str]
) -> Stamp:
    """Prepare the stamp of a result.

    Args:
        output: The output.
        size: Width and height of its frames in pixels.
        options: Options of the marks.
        generation: How the result is generated.
        notes: Notes for the user; marks that are missing are appended.

    Raises:
        InputError: Where an input or the certificate cannot be read.
        WeightsError: Where weights, or the package for content credentials, are missing.
    """
    if not options.on:
        notes.append("provenance is off: only a comment states that the result is generated")
        return Stamp(metadata.make_comment(__version__, generation.engine))
    record = build_record(generation)
    certificate = options.signer
    if certificate is not None and not credentials.can_sign(output):
        kind = "image sequences" if output.suffix.lower() not in CONTAINERS else output.suffix
        notes.append(f"{kind} cannot contain content credentials; .mp4, .mov, .png and .jpg can")
        certificate = None
    input_credentials, input_notes = credentials.read_input_credentials(generation.inputs, certificate is not None)
    notes += input_notes
    marker = Marker(*size, record.identifier) if can_mark(*size) else None
    if marker is None:
        notes.append(f"{size[0]}x{size[1]} is too small for the watermark ({MIN_SIDE} pixels or more are needed)")
    return RecordStamp(record_path(output), record, generation.inputs, marker, certificate, input_credentials)
