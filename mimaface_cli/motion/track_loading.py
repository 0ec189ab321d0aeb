"""The public function that loads a track file."""

from pathlib import Path

from mimaface_cli.motion.track import MotionTrack


def load_track(path: Path | str) -> MotionTrack:
    """Load a motion track.

    Args:
        path: Track file (.npz).

    Raises:
        InputError: The file cannot be read, or is not a track.
    """
    return MotionTrack.load(Path(path))
