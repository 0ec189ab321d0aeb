"""The timecode in a video file's metadata."""

from pathlib import Path

from mimaface_cli.files import is_image_folder
from mimaface_cli.media.image import image_kind
from mimaface_cli.media.libav import open_input
from mimaface_cli.media.timecode import is_timecode


def read_timecode(path: Path) -> str | None:
    """Return the timecode of a video's first frame from its metadata, or None."""
    if is_image_folder(path) or image_kind(path) is not None:
        return None
    with open_input(path) as container:
        for tags in (*(stream.metadata for stream in container.streams), container.metadata):
            value = next((value for name, value in tags.items() if name.lower() == "timecode"), None)
            if value is not None and is_timecode(value):
                return value
    return None
