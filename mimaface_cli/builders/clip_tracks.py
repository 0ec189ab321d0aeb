"""Clips that programs learn from: their files, the people in them, and their motion tracks."""

import csv
from pathlib import Path

from mimaface_cli.errors import InputError
from mimaface_cli.face import face478
from mimaface_cli.face.extract_face478 import extract_video
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.media.reader import probe, read_frames
from mimaface_cli.motion.track import MotionTrack

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg")


def list_videos(folder: Path) -> list[Path]:
    """Return the videos in a folder and its subfolders."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def read_people(path: Path | None, column: str = "person", is_optional: bool = False) -> dict[str, str]:
    """Read the person in each file, by file name without the suffix of a video.

    Args:
        path: CSV file with the columns file and person, or None.
        column: Column to read.
        is_optional: Whether a table without the column counts as empty.

    Raises:
        InputError: If the table cannot be read.
    """
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if is_optional and column not in (rows.fieldnames or ()):
                return {}
            return {_strip_suffix(row["file"]): row[column] for row in rows}
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a table with the columns file and person ({error}).") from error


def _strip_suffix(name: str) -> str:
    """Return the name of a file without folder and suffix; a name without suffix may contain dots."""
    path = Path(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def load_track(path: Path, tracks: Path) -> MotionTrack:
    """Load the track of a clip, or extract and keep it.

    Args:
        path: The clip.
        tracks: Folder of the tracks.

    Raises:
        InputError: If the clip cannot be read or shows no face.
    """
    cached = tracks / f"{path.stem}.npz"
    if cached.exists():
        return MotionTrack.load(cached)
    frames = read_frames(path)
    try:
        track = extract_video(frames, probe(path).frame_rate, face478.load(), ExtractOptions(smooth=0), str(path))
    finally:
        frames.close()
    track.save(cached)
    return track
