"""The source of an animation, a photo or a video, joined with a driver's track: frames that come as they are drawn."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from pathlib import Path

import numpy as np

from mimaface_cli.apps.animate_options import AnimateOptions
from mimaface_cli.apps.drivers import load_driver
from mimaface_cli.cache import Cache
from mimaface_cli.engines.mesh import renderer
from mimaface_cli.engines.mesh.motion_plan import plan_mesh_motion
from mimaface_cli.face import face478
from mimaface_cli.face.camera import apply_pose, project
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face_tracker import FaceTracker
from mimaface_cli.face.portrait import SQUARE, Portrait, limited_size, portrait_from_photo
from mimaface_cli.media.image import Image, read_image
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.motion.coefficients import Coefficients
from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.retarget import find_neutral_frame, reference_coefficients
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback


@dataclass(frozen=True)
class Moving:
    """frames: H×W×3 (×4 with alpha) uint8, one for each of pts (s). originals: the source's own picture of each, to be
    taken after it is drawn.
    """

    frames: Iterator[np.ndarray]
    pts: np.ndarray
    frame_rate: Fraction
    originals: Iterator[np.ndarray] | None = None


def picture_size(info: MediaInfo, options: AnimateOptions) -> tuple[int, int]:
    """Width and height of the result for a source of that description."""
    if options.output_mode == "crop":
        return SQUARE, SQUARE
    return limited_size(info.width, info.height, options.max_size)


def opaque(picture: Image) -> np.ndarray:
    """A picture's colors (H×W×3 uint8), what is transparent laid on black."""
    if picture.alpha is None:
        return picture.rgb
    return ((picture.rgb.astype(np.uint16) * picture.alpha[..., None] + 127) // 255).astype(np.uint8)


def read_portrait(source: Path, options: AnimateOptions, keep_alpha: bool, notes: list[str]) -> Portrait:
    """The photo with its face found, at the size of the result. Raises InputError when it shows no (such) face;
    appends what the user should know.
    """
    picture = read_image(source)
    if picture.alpha is not None and not keep_alpha:
        picture = Image(opaque(picture), None)
        notes.append("the photo's transparency was laid on black; numbered pictures (frames/%05d.png) keep it")
    found = portrait_from_photo(picture.rgb, picture.alpha, face478.load(), options.face, str(source))
    if options.output_mode == "crop":
        return found.square()
    portrait = found.limited(options.max_size)
    if portrait is not found:
        notes.append(f"scaled down to {options.max_size} pixels; --max-size 0 keeps the full size")
    return portrait


def from_photo(portrait: Portrait, track: MotionTrack, options: AnimateOptions) -> Moving:
    """A photo under a driver's track."""
    model = face478.load()
    own = Coefficients(portrait.expression[None], portrait.pose[None], portrait.gaze[None])
    motion = plan_mesh_motion(model, portrait.identity, own, track, options.retarget, scores=portrait.scores)
    return Moving(renderer.render_photo(portrait, model, motion), track.pts, track.frame_rate, repeat(portrait.image))


def from_video(
    source: MediaInfo, track: MotionTrack, options: AnimateOptions, cache: Cache | None, tell: ProgressCallback
) -> Moving:
    """A source that moves: its own frames and times, each frame's motion replaced by the driver's at that moment."""
    extract = ExtractOptions(options.face, options.smooth, options.follow_skin)
    report = lambda done, total: tell("reading the source", done, total)  # noqa: E731
    own_track = load_driver(source.path, extract, cache, report, source, trim=options.trim).track
    start = float(own_track.pts[0])
    length = own_track.duration if len(track) == 1 else min(track.duration, own_track.duration)
    count = int(np.searchsorted(own_track.pts - start, length - 1e-6))
    own_track = own_track.select_frames(slice(0, max(count, 1)))
    driver_start = reference_coefficients(track, options.retarget)
    track = resample_track(track, own_track.pts - start)
    model = face478.load()
    rest_at = find_neutral_frame(own_track)
    own, rest = coefficients_of(own_track, slice(None)), coefficients_of(own_track, slice(rest_at, rest_at + 1))
    identity = own_track.identity.astype(np.float64)
    motion = plan_mesh_motion(model, identity, own, track, options.retarget, driver_start, rest)
    portraits, originals = portraits_of(source.path, own_track, identity, options), None
    if options.matte is not None:
        portraits, originals = _with_originals(portraits)
    return Moving(renderer.render_video(portraits, model, motion), own_track.pts, own_track.frame_rate, originals)


def _with_originals(portraits: Iterator[Portrait]) -> tuple[Iterator[Portrait], Iterator[np.ndarray]]:
    """The portraits, and their pictures once more for one who follows a few frames behind."""
    waiting: deque[np.ndarray] = deque()

    def first() -> Iterator[Portrait]:
        try:
            for portrait in portraits:
                waiting.append(portrait.image)
                yield portrait
        finally:
            portraits.close()

    def second() -> Iterator[np.ndarray]:
        while True:
            yield waiting.popleft()

    return first(), second()


def coefficients_of(track: MotionTrack, frames: slice) -> Coefficients:
    return Coefficients(*(a[frames].astype(np.float64) for a in (track.expression, track.pose, track.gaze)))


def portraits_of(source: Path, track: MotionTrack, identity: np.ndarray, options: AnimateOptions) -> Iterator[Portrait]:
    """Each frame of a source video as a portrait; where no face is found its place is taken from the track."""
    model = face478.load()
    follower = FaceTracker(options.face)
    frames = read_frames(source, max_frames=len(track), start=float(track.pts[0]))
    square: np.ndarray | None = None
    try:
        for k, frame in enumerate(frames):
            if k in track.meta.cuts:
                follower.start_shot()
            face = follower(frame.image, frame.pts)
            crop, pose, expression = (a[k].astype(np.float64) for a in (track.crop, track.pose, track.expression))
            if face is not None:
                points = face.points
            else:
                pixels, _ = project(apply_pose(model.shape(identity, expression), pose))
                points = (pixels - crop[:, 2]) / crop[0, 0]
            gaze = track.gaze[k].astype(np.float64)
            found = Portrait(frame.image, None, points, crop, identity, expression, pose, gaze)
            if options.output_mode == "crop":  # one crop for the whole video, or the picture would float
                square = square if square is not None else found.square_matrix()
                yield found.warped(square, SQUARE, SQUARE)
            else:
                yield found.limited(options.max_size)
    finally:
        frames.close()
        follower.close()
