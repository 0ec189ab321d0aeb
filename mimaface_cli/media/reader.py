"""Videos, images and folders of images, each read as one stream of upright RGB frames with times."""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from math import ceil, inf
from pathlib import Path
from typing import Literal

import numpy as np

from mimaface_cli.concurrency import prefetch
from mimaface_cli.errors import InputError
from mimaface_cli.files import check_input_file, folder_members, input_error, is_image_folder
from mimaface_cli.media.animated_webp import decode_animated_webp, is_animated_webp, probe_animation
from mimaface_cli.media.deep_frame import DeepFrame
from mimaface_cli.media.deep_image import image_depth, preview_image, read_deep_image, read_deep_space
from mimaface_cli.media.deinterlace_option import FRAME, check_deinterlace
from mimaface_cli.media.image import IMAGE_SUFFIXES, image_kind, image_size, is_hdr_image, read_image, read_image_tags
from mimaface_cli.media.image_writer import RATE_TAG
from mimaface_cli.media.timecode import TIME_TOLERANCE
from mimaface_cli.media.video import MediaInfo, TimedImage, decode_rgb_frames, probe_video

DEFAULT_RATE = Fraction(25)
"""Frame rate of images, and of folders of images that do not state one."""


_MAX_RATE = 1000


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """A frame of a video, image or folder.

    Args:
        image: (H, W, 3), uint8, RGB, upright, C-contiguous.
        pts: Time in seconds since the first frame of the video.
        index: Number of the frame, from 0.
        alpha: (H, W), uint8, or None if the input has no alpha.
        duration: Seconds until the next frame; of the last frame, as the file states it.
        deep: The frame with more than 8 bits per channel, of which `image` is the preview; None if not requested.
    """

    image: np.ndarray
    pts: float
    index: int
    alpha: np.ndarray | None = None
    duration: float = float(1 / DEFAULT_RATE)
    deep: DeepFrame | None = None


def probe(path: Path, *, frame_rate: Fraction | None = None, deinterlace: str = FRAME) -> MediaInfo:
    """Describe a video, image or folder; at most one frame is decoded.

    Args:
        path: File, folder, or numbered images such as frames/%05d.png.
        frame_rate: Frame rate of images and folders, or None for the one that the images state.
        deinterlace: How interlaced videos are read: at "frame" or "field" rate, or "off".

    Raises:
        InputError: If it cannot be read.
    """
    path = Path(path)
    check_deinterlace(deinterlace)
    kind = _input_kind(path)
    if kind == "video":
        return probe_animation(path) if is_animated_webp(path) else probe_video(path, deinterlace)
    images = list_images(path) if kind == "folder" else [path]
    width, height = image_size(images[0])
    frame_rate = frame_rate or _stated_rate(images[0])
    count = len(images)
    duration = float(count / frame_rate) if kind == "folder" else None
    alpha = read_image(images[0]).alpha if kind == "folder" else None
    codec = images[0].suffix.lower().lstrip(".")
    deep_space = read_deep_space(images[0])
    return MediaInfo(
        path,
        kind,
        width,
        height,
        frame_rate,
        count,
        duration,
        variable_rate=False,
        has_audio=False,
        codec=codec,
        pixel_format="rgb24" if deep_space is None else "rgb48le",
        has_alpha=alpha is not None,
        is_hdr=is_hdr_image(images[0]),
        depth=image_depth(images[0]),
        deep_space=deep_space,
    )


def read_frames(
    path: Path,
    *,
    max_frames: int | None = None,
    frame_rate: Fraction | None = None,
    start: float = 0.0,
    duration: float | None = None,
    deinterlace: str = FRAME,
    is_deep: bool = False,
) -> Generator[Frame, None, None]:
    """Read the frames of a video (presentation order), an image (one), or a folder of images (natural order).

    A video starts at the first frame that it shows: frames hidden by an edit list are skipped, and
    `mimaface_cli.media.audio` counts from the same time. A thread decodes a few frames ahead; closing the generator
    stops it.

    Args:
        path: Video, image, folder, or numbered images such as frames/%05d.png.
        max_frames: Number of frames to read, or None for all.
        frame_rate: Frame rate of folders, or None for the one that the images state.
        start: Time of the first frame to read, in seconds.
        duration: Duration to read in seconds, or None for the rest.
        deinterlace: How interlaced videos are read: at "frame" or "field" rate, or "off".
        is_deep: Whether to provide the frames with all their bits, if `probe` states that they have a `deep_space`.

    Yields:
        Frames with strictly increasing times. The times are those of the whole video; the index counts from 0.

    Raises:
        InputError: If a frame cannot be decoded or the file ends early. The video is never silently shorter.
    """
    path = Path(path)
    kind = _input_kind(path)
    start = max(0.0, start - TIME_TOLERANCE)
    if kind == "video":
        frames = _video_frames(path, start, deinterlace, is_deep)
    else:
        frames = _image_frames(path, kind, frame_rate, start, is_deep)
    return prefetch(_limit(frames, max_frames, duration))


def _limit(
    frames: Generator[Frame, None, None], count: int | None, duration: float | None
) -> Generator[Frame, None, None]:
    """Yield at most `count` frames and `duration` seconds.

    A long last frame is cut at the end of the duration, but it is not shorter than the frame before it.
    """
    end: float | None = None
    step = inf  # duration of the frame before
    try:
        for frame in islice(frames, count):
            if duration is None:
                yield frame
                continue
            end = frame.pts + duration if end is None else end
            if frame.pts + frame.duration >= end - TIME_TOLERANCE:
                shown = max(end - frame.pts, min(step, frame.duration))
                yield replace(frame, duration=min(frame.duration, shown))
                return
            step = frame.duration
            yield frame
    finally:
        frames.close()


def _input_kind(path: Path) -> Literal["image", "video", "folder"]:
    if is_image_folder(path):
        return "folder"
    check_input_file(path)
    return "image" if image_kind(path) == "image" else "video"


def _video_frames(path: Path, start: float, deinterlace: str, is_deep: bool) -> Generator[Frame, None, None]:
    timed: Iterator[TimedImage]
    if is_animated_webp(path):
        animation = decode_animated_webp(path)
        timed = (
            (image.rgb, image.alpha, seconds, rest, None) for image, seconds, rest in animation if seconds >= start
        )
    else:
        timed = decode_rgb_frames(path, start, deinterlace, is_deep)
    for index, (image, alpha, seconds, duration, deep_frame) in enumerate(timed):
        yield Frame(image, seconds, index, alpha, duration, deep_frame)


def list_images(folder: Path) -> list[Path]:
    """List the images in a folder in natural order (2 before 10), without hidden files.

    Args:
        folder: A folder, or numbered images such as frames/%05d.png.

    Raises:
        InputError: If the folder cannot be read or has no images.
    """
    try:
        paths = [path for path in folder_members(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    except OSError as error:
        raise input_error(folder, error) from error
    if not paths and folder.is_dir():
        raise InputError(f"{folder}: no images in this folder. Put numbered PNG or JPEG files there.")
    if not paths:
        raise InputError(f"{folder}: no image has such a name. Check the path.")
    return sorted(paths, key=lambda path: (_natural_key(path.name), path.name))


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that compares runs of digits as numbers."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _stated_rate(image: Path) -> Fraction:
    """Return the frame rate that an image of a sequence states, as `image_writer` writes it, or DEFAULT_RATE."""
    try:
        rate = Fraction(read_image_tags(image).get(RATE_TAG, ""))
    except (ValueError, ZeroDivisionError):
        return DEFAULT_RATE
    return rate if 0 < rate <= _MAX_RATE else DEFAULT_RATE


def _image_frames(
    path: Path, kind: str, frame_rate: Fraction | None, start: float, is_deep: bool
) -> Generator[Frame, None, None]:
    shape: tuple[int, ...] | None = None
    paths = list_images(path) if kind == "folder" else [path]
    frame_rate = frame_rate or _stated_rate(paths[0])
    first = ceil(start * frame_rate)
    for index, image_path in enumerate(paths[first:]):
        pixels = read_image(image_path)
        deep_frame = read_deep_image(image_path) if is_deep else None
        if deep_frame is not None:
            pixels = preview_image(deep_frame)
        image = pixels.rgb
        if shape is not None and image.shape != shape:
            raise InputError(
                f"{image_path}: is {image.shape[1]}x{image.shape[0]} but the images before it are "
                f"{shape[1]}x{shape[0]}. Give all images the same size."
            )
        shape = image.shape
        pts = float((first + index) / frame_rate)
        yield Frame(image, pts, index, pixels.alpha, float(1 / frame_rate), deep_frame)
