"""Frames in: a video, a picture or a folder of pictures become the same stream of upright RGB frames with times."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Literal

import numpy as np

from mimaface_cli.concurrency import prefetch
from mimaface_cli.errors import InputError
from mimaface_cli.files import check_input_file
from mimaface_cli.media.image import IMAGE_SUFFIXES, image_kind, image_size, read_image
from mimaface_cli.media.timecode import TOLERANCE
from mimaface_cli.media.video import MediaInfo, describe, timed_images

DEFAULT_RATE = Fraction(25)
"""Frames per second of what has no times of its own: pictures and folders of pictures."""


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """`image` HxWx3 uint8 RGB, C-contiguous, upright; `pts` seconds since the first frame; `index` from 0."""

    image: np.ndarray
    pts: float
    index: int


def probe(path: Path, *, frame_rate: Fraction = DEFAULT_RATE) -> MediaInfo:
    """Describe a video, picture or folder; decodes one frame at most. `frame_rate` is for pictures and folders.

    Raises InputError, naming the file and the mend, when nothing can be read from it.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "video":
        return describe(path)
    pictures = list_images(path) if kind == "folder" else [path]
    width, height = image_size(pictures[0])
    count = len(pictures)
    duration = float(count / frame_rate) if kind == "folder" else None
    codec = pictures[0].suffix.lower().lstrip(".")
    return MediaInfo(path, kind, width, height, frame_rate, count, duration, False, False, codec, "rgb24")


def read_frames(
    path: Path,
    *,
    max_frames: int | None = None,
    frame_rate: Fraction = DEFAULT_RATE,
    start: float = 0.0,
    duration: float | None = None,
) -> Iterator[Frame]:
    """Yield the frames of a video (in presentation order), picture (one) or folder of pictures (in natural order).

    Times grow strictly. Video starts at its first shown frame: what an edit list hides is left out, and
    `mimaface_cli.media.audio` counts from the same moment. `frame_rate` is for folders. A thread decodes a few frames
    ahead; closing the iterator stops it. start, duration (s): only frames from the first one at or after `start` on,
    for `duration`; their times stay those of the whole, their index counts from 0. Raises InputError where a frame
    cannot be decoded or the file ends early: never a silently shorter video.
    """
    path = Path(path)
    kind = _kind(path)
    start = max(0.0, start - TOLERANCE)
    frames = _video_frames(path, start) if kind == "video" else _picture_frames(path, kind, frame_rate, start)
    return prefetch(_first(frames, max_frames, duration))


def _first(frames: Iterator[Frame], count: int | None, duration: float | None) -> Iterator[Frame]:
    end: float | None = None
    try:
        for frame in islice(frames, count):
            if end is None and duration is not None:
                end = frame.pts + duration - TOLERANCE
            if end is not None and frame.pts >= end:
                return
            yield frame
    finally:
        frames.close()


def _kind(path: Path) -> Literal["image", "video", "folder"]:
    if path.is_dir():
        return "folder"
    check_input_file(path)
    return "image" if image_kind(path) == "image" else "video"


def _video_frames(path: Path, start: float) -> Iterator[Frame]:
    for index, (image, seconds) in enumerate(timed_images(path, start)):
        yield Frame(image, seconds, index)


def list_images(folder: Path) -> list[Path]:
    """The pictures in a folder in natural order (2 before 10); hidden files and anything else are passed over."""
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()]
        paths = [path for path in paths if not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error})") from error
    if not paths:
        raise InputError(f"{folder}: no pictures in this folder; put numbered PNG or JPEG files there")
    return sorted(paths, key=lambda path: (_natural(path.name), path.name))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key in which runs of digits count as numbers."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _picture_frames(path: Path, kind: str, frame_rate: Fraction, start: float) -> Iterator[Frame]:
    size: tuple[int, ...] | None = None
    first = ceil(start * frame_rate)
    for index, picture in enumerate((list_images(path) if kind == "folder" else [path])[first:]):
        image = read_image(picture).rgb
        if size is not None and image.shape != size:
            raise InputError(
                f"{picture}: is {image.shape[1]}x{image.shape[0]} but the pictures before it are "
                f"{size[1]}x{size[0]}; make them one size"
            )
        size = image.shape
        yield Frame(image, float((first + index) / frame_rate), index)
