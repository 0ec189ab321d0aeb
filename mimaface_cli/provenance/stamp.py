"""All of it put on one result: mark, metadata, credentials, record; or nothing, where that was asked for."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from mimaface_cli import __version__
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.media.codecs import CONTAINERS
from mimaface_cli.media.encoding import is_image_sequence
from mimaface_cli.provenance import credentials, metadata, record
from mimaface_cli.provenance.provenance_options import ProvenanceOptions
from mimaface_cli.provenance.watermark import LEAST, Marker, can_mark


def check(output: Path, options: ProvenanceOptions, overwrite: bool, inputs: tuple[Path, ...] = ()) -> None:
    """Raise, before any long work, where the record cannot be written or the certificate cannot sign. A record whose
    result is not there makes way.
    """
    if options.on:
        options.signer  # noqa: B018
        folder = output.is_dir() or is_image_sequence(output)
        check_output(record.sidecar(output), (overwrite and not folder) or record.orphaned(output), inputs)


@dataclass
class Stamp:
    """What is put on one result; `told` says afterwards what was. Made by `stamp`; without record only the
    plain words go into the file's tags. A context around the writing: what fails leaves no record behind.
    """

    record: record.Record | None
    path: Path
    certificate: credentials.Certificate | None = None
    inputs: Mapping[str, Path] = field(default_factory=dict)
    marker: Marker | None = None
    found: Mapping[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=lambda: {"on": False})
    plain: str = ""
    _before: bytes | None = None
    _written: bool = False

    @property
    def tags(self) -> dict[str, str] | None:
        """Texts for the container's tags."""
        if self.record:
            return metadata.tags(self.record)
        return {"comment": self.plain} if self.plain else None

    @property
    def xmp(self) -> bytes | None:
        return metadata.xmp(self.record) if self.record else None

    def frames(self, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """The frames, marked."""
        return frames if self.marker is None else self.marker.frames(frames)

    def seal(self, path: Path) -> None:
        """Sign a finished result that has not got its name yet, and put its record where it belongs. The record comes
        first: a run that is killed between the two leaves a record without a result, which makes way, and never a
        result without its record.
        """
        if self.record is None:
            return
        if self.certificate is not None:
            credentials.sign(path, self.certificate, self.record, self.inputs)
        signer = self.certificate.name if self.certificate else None
        marks = {"watermark": self.marker is not None, "credentials": signer, "input_credentials": dict(self.found)}
        with suppress(FileNotFoundError):
            self._before = self.path.read_bytes()
        record.write(self.path, path, self.record, marks)
        self._written = True
        self.told = {"on": True, "identifier": self.record.name, "record": str(self.path)} | marks

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None or not self._written:
            return
        if self._before is None:
            self.path.unlink(missing_ok=True)
        else:  # that of the result which is still there
            with atomic_path(self.path) as temporary:
                temporary.write_bytes(self._before)


def stamp(
    output: Path,
    size: tuple[int, int],
    options: ProvenanceOptions,
    notes: list[str],
    *,
    command: str,
    engine: str,
    inputs: Mapping[str, Path],
    weights: list[str | Path],
    asked: Any,
    whole: bool,
) -> Stamp:
    """Prepare a result's stamp. size: width and height of its frames; inputs, weights, asked (the options it was made
    with), whole: see `record.build`. Appends to `notes` what the user should know.
    """
    path = record.sidecar(output)
    if not options.on:
        notes.append("provenance is off (--no-provenance): a comment alone says that the result is generated")
        return Stamp(None, path, plain=f"Generated face animation (AI): mimaface {__version__}, engine {engine}")
    made = record.build(command, engine, inputs, weights, asked, whole=whole)
    certificate = options.signer
    if certificate is not None and not credentials.can_sign(output):
        kind = "numbered pictures" if output.suffix.lower() not in CONTAINERS else output.suffix
        notes.append(f"{kind} cannot carry content credentials; .mp4, .mov, .png and .jpg can")
        certificate = None
    found, told = credentials.input_notes(inputs, certificate is not None)
    notes += told
    marker = Marker(*size, made.identifier) if can_mark(*size) else None
    if marker is None:
        notes.append(
            f"{size[0]}x{size[1]} is too small for the mark in the picture ({LEAST} pixels or more are needed)"
        )
    return Stamp(made, path, certificate, inputs, marker, found)
