"""Metadata of an output file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Attachments:
    """Metadata of an output file, and a last step before the file gets its final name.

    Args:
        tags: Texts for the container's tags; in images, JSON in the EXIF description. None for no tags.
        xmp: XMP packet for the formats that hold one, or None.
        seal: Function called with the finished temporary file before it is renamed, or None. For an image sequence
            it is called with the folder.
    """

    tags: Mapping[str, str] | None = None
    xmp: bytes | None = None
    seal: Callable[[Path], None] | None = None
