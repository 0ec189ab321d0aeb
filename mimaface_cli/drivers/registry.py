"""Registry of driver kinds."""

from pathlib import Path

from mimaface_cli.drivers.base import DriverKind
from mimaface_cli.drivers.media_driver import MediaDriver
from mimaface_cli.drivers.speech_driver import SpeechDriver
from mimaface_cli.drivers.track_driver import TrackDriver
from mimaface_cli.errors import InputError

# The first kind that accepts a path loads it.
_kinds: list[DriverKind] = [TrackDriver(), SpeechDriver(), MediaDriver()]


def register_driver_kind(kind: DriverKind) -> None:
    """Add a driver kind; it takes precedence over the kinds that are registered already."""
    _kinds.insert(0, kind)


def unregister_driver_kind(kind: DriverKind) -> None:
    """Remove a driver kind. Raises ValueError if it is not registered."""
    _kinds.remove(kind)


def find_driver_kind(path: Path) -> DriverKind:
    """Return the kind of the driver at a path.

    Raises:
        InputError: The path cannot be read, or no registered kind accepts it.
    """
    for kind in _kinds:
        if kind.accepts(path):
            return kind
    raise InputError(f"{path}: cannot drive a face. Name a video, a photo, a folder of frames, a track or audio.")
