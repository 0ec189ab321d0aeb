"""Inspection of a file for the marks of mimaface: metadata, record, content credentials and watermark."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mimaface_cli.fingerprint import content_hash
from mimaface_cli.media.reader import list_images, probe, read_frames
from mimaface_cli.provenance.credentials import is_available, read_credentials
from mimaface_cli.provenance.mark_detection import Mark, MarkDetector
from mimaface_cli.provenance.metadata import read_metadata
from mimaface_cli.provenance.record import identify, read_record

MAX_FRAMES = 240
"""Number of frames to decode, from the start."""
VOTING_FRAMES = 80
"""Number of decoded frames in which the watermark is detected."""


@dataclass(frozen=True)
class Inspection:
    """The marks of a file; each is None if it is missing.

    Attributes:
        path: The file or folder.
        metadata: Values of `read_metadata`.
        record: Contents of the record beside the file.
        matches_record: Whether the record's hash is that of the file, None without a record.
        credentials: Values of `read_credentials`.
        can_read_credentials: Whether c2pa-python is installed.
        mark: The watermark.
    """

    path: Path
    metadata: dict[str, Any] | None
    record: dict[str, Any] | None
    matches_record: bool | None
    credentials: dict[str, Any] | None
    can_read_credentials: bool
    mark: Mark | None

    @property
    def identifiers(self) -> dict[str, str]:
        """The identifier in each of the marks, as 12 hex digits.

        A file may have two watermarks, one of them from its source. The one that agrees with another mark is used.
        """
        signed_record = (self.credentials or {}).get("record") or {}
        identifiers: dict[str, Any] = {
            "metadata": (self.metadata or {}).get("identifier"),
            "record": f"{identify(self.record['content']):012x}" if self.record else None,
            "credentials": signed_record.get("identifier"),
        }
        marks = self.mark.identifiers if self.mark else []
        strongest = marks[0] if marks else None
        identifiers["watermark"] = next((mark for mark in marks if mark in identifiers.values()), strongest)
        return {part: value for part, value in identifiers.items() if value and isinstance(value, str)}

    @property
    def is_consistent(self) -> bool:
        """Whether all marks name the same result."""
        return len(set(self.identifiers.values())) <= 1

    @property
    def is_generated(self) -> bool:
        """Whether the marks show that mimaface generated the file.

        A record counts only if its hash is that of the file, credentials only if they are valid.
        """
        credentials = self.credentials or {}
        has_credentials = credentials.get("generator") == "mimaface" and credentials.get("state") in (
            "valid",
            "trusted",
        )
        return bool(self.metadata or self.mark or self.matches_record or has_credentials)


def inspect(path: Path) -> Inspection:
    """Inspect a video, an image or a folder of numbered images. Raises InputError if it cannot be read."""
    detector = MarkDetector()
    info = probe(path)
    sample = list_images(path)[0] if info.kind == "folder" else path
    record, matches_record = _read_record(path)
    _add_frames(detector, path, info.frame_count)
    credentials = read_credentials(path)
    return Inspection(
        path, read_metadata(sample), record, matches_record, credentials, is_available(), detector.detect()
    )


def _read_record(path: Path) -> tuple[dict[str, Any] | None, bool | None]:
    """Return the record beside a file, and whether the record's hash is that of the file."""
    record = read_record(path)
    if record is None:
        return None, None
    return record, record["output"].get("sha256") == content_hash(path)


def _voting_step(frame_count: int | None) -> int:
    """Return the distance between the frames in which the watermark is detected."""
    return max(1, min(frame_count or MAX_FRAMES, MAX_FRAMES) // VOTING_FRAMES)


def _add_frames(detector: MarkDetector, path: Path, frame_count: int | None) -> None:
    frames = read_frames(path, max_frames=MAX_FRAMES)
    try:
        for frame in islice(frames, 0, None, _voting_step(frame_count)):
            detector.add(frame.image)
    finally:
        frames.close()
