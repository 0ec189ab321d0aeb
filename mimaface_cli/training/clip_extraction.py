"""Extraction of training clips from a video.

A clip has the face crop, its coefficients, a source image and condition renders.

The source image is another frame of the same shot. One clip and all source images are in memory at a time.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mimaface_cli.face.alignment import compose, invert, transform_points
from mimaface_cli.face.landmarks import Face
from mimaface_cli.face.portrait import SQUARE
from mimaface_cli.media.reader import Frame, read_frames
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training.clip_options import ClipOptions
from mimaface_cli.training.footage_spaces import FootageSpace
from mimaface_cli.training.shards import TrainingClip


def extract_clips(
    path: Path, space: FootageSpace, key: str, identity: str, options: ClipOptions
) -> Iterator[TrainingClip]:
    """Yield the clips of a video in order.

    A clip is a run of frames within one shot that all show the face.

    Args:
        path: The video.
        space: The coefficient space.
        key: Prefix of the clips' keys.
        identity: Name of the person.
        options: Size, length and number of the clips.

    Raises:
        InputError: The video cannot be read.
    """
    points: dict[int, np.ndarray] = {}  # By frame: (478, 2) float32, pixels of the video.
    count = 0

    def observe(frame: object, face: Face | None, is_cut: bool) -> None:
        nonlocal count
        if face is not None:
            points[count] = face.points.astype(np.float32)
        count += 1

    track = space.extract_track(path, observe)
    shots = number_shots(track)
    starts = choose_clip_starts(track, shots, options.frames, options.per_video)
    rng = np.random.default_rng(len(track))
    photo_frames = [int(rng.choice(find_photo_candidates(track, shots, start, options.frames))) for start in starts]
    photos = {k: frame.image for k, frame in enumerate(read_frames(path)) if k in photo_frames} if starts else {}
    frames = enumerate(read_frames(path))
    for number, (start, photo_frame) in enumerate(zip(starts, photo_frames, strict=True)):
        span = range(start, start + options.frames)
        photo, photo_points = photos[photo_frame], points[photo_frame].astype(np.float64)
        to_square = space.square_matrix(photo_points)
        crop = partial(_crop_frame, space=space, to_square=to_square, size=options.size)
        crops = [crop(frame.image) for k, frame in _take_until(frames, span.stop) if k >= start]
        photo_arrays = space.describe_photo(photo, photo_points)
        renders = space.render_conditions(photo, photo_points, photo_arrays, track, photo_frame, span)
        to_crop = to_square * (options.size / SQUARE)
        yield TrainingClip(
            f"{key}-{number:03d}",
            identity,
            path.name,
            np.stack(crops),
            _cut_track(track, span, to_crop, options.size),
            np.stack([transform_points(to_crop, points[k]) for k in span]).astype(np.float32),
            crop(photo),
            np.stack([_shrink(render, options.size) for render in renders]),
            **photo_arrays,
        )


def _take_until(frames: Iterator[tuple[int, Frame]], stop: int) -> Iterator[tuple[int, Frame]]:
    """Yield numbered frames up to frame `stop` - 1, without consuming later frames."""
    for number, frame in frames:
        yield number, frame
        if number + 1 == stop:
            return


def number_shots(track: MotionTrack) -> np.ndarray:
    """Return the shot of each frame, (N,) int, counted from 0."""
    shots = np.zeros(len(track), int)
    for cut in track.meta.cuts:
        shots[cut:] += 1
    return shots


def choose_clip_starts(track: MotionTrack, shots: np.ndarray, frames: int, limit: int) -> list[int]:
    """Return the first frames of clips, spread over the video.

    All frames of a clip lie within one shot and show the face.

    Args:
        track: The video's track.
        shots: (N,) the shot of each frame.
        frames: Frames per clip.
        limit: Largest number of clips.
    """
    starts, start = [], 0
    while start + frames <= len(track):
        if track.valid[start : start + frames].all() and shots[start] == shots[start + frames - 1]:
            starts.append(start)
            start += frames
        else:
            start += 1
    chosen = np.linspace(0, len(starts) - 1, min(limit, len(starts))).round().astype(int)
    return [starts[k] for k in chosen]


def find_photo_candidates(track: MotionTrack, shots: np.ndarray, start: int, frames: int) -> np.ndarray:
    """Return the frames from which a clip's source image is chosen.

    They are the frames of the clip's shot outside the clip, or the clip's frames if there are no others.
    """
    same_shot = np.flatnonzero(track.valid & (shots == shots[start]))
    outside = same_shot[(same_shot < start) | (same_shot >= start + frames)]
    return outside if len(outside) else same_shot


def _cut_track(track: MotionTrack, span: range, to_crop: np.ndarray, size: int) -> MotionTrack:
    """Return the clip's part of a track, with crops in pixels of the clip's frames.

    Args:
        track: The video's track.
        span: Frames of the clip.
        to_crop: (2, 3) from pixels of the video to pixels of the clip's frames.
        size: Side of the clip's frames, in pixels.
    """
    part = slice(span.start, span.stop)
    names = ("expression", "illumination", "pose", "gaze", "pts", "valid")
    per_frame = {name: getattr(track, name)[part] for name in names}
    from_crop = invert(to_crop)
    crops = np.stack([compose(crop.astype(np.float64), from_crop) for crop in track.crop[part]])
    return replace(track, **per_frame, crop=crops, meta=replace(track.meta, width=size, height=size, cuts=()))


def _crop_frame(image: np.ndarray, space: FootageSpace, to_square: np.ndarray, size: int) -> np.ndarray:
    return _shrink(space.warp_square(image, to_square), size)


def _shrink(image: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(image), (size, size), interpolation=cv2.INTER_AREA)
