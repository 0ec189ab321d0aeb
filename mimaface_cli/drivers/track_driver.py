"""Track files (.npz) as drivers."""

from pathlib import Path

from mimaface_cli.drivers.base import Driver, DriverInfo, DriverRequest
from mimaface_cli.motion.track import MotionTrack

SUFFIX = ".npz"


class TrackDriver:
    """A finished motion track."""

    def accepts(self, path: Path) -> bool:
        """Return whether the name is that of a track file."""
        return is_track(path)

    def inspect(self, path: Path) -> DriverInfo:
        """Describe the track. Raises InputError if it cannot be read."""
        track = MotionTrack.load(path)
        return DriverInfo(path, "track", track.meta.space, len(track))

    def load(self, request: DriverRequest) -> Driver:
        """Load the track. Raises InputError if it cannot be read or has no frame in the span."""
        return load_track_driver(request.path).trimmed(request.trim)


def is_track(path: Path) -> bool:
    """Return whether the name is that of a track file."""
    return path.suffix.lower() == SUFFIX


def load_track_driver(path: Path) -> Driver:
    """Load a track file as a driver. Raises InputError if it cannot be read."""
    return Driver(MotionTrack.load(path), path, "track", was_cached=True)
