"""Load the source of an animation: a photo with its fitted face, or a video with its motion."""

from dataclasses import replace
from pathlib import Path

from mimaface_cli.apps.animate_options import PHOTO_SIDE, AnimateOptions
from mimaface_cli.apps.background_option import KEEP
from mimaface_cli.cache import Cache
from mimaface_cli.drivers.media_driver import load_driver
from mimaface_cli.drivers.track_driver import is_track
from mimaface_cli.engines.sources import VideoSource
from mimaface_cli.errors import InputError
from mimaface_cli.face import face478
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.portrait import SQUARE, Portrait, limited_size, portrait_from_photo
from mimaface_cli.face.track_turns import keep_main_turn
from mimaface_cli.media.deep_frame import DeepFrame
from mimaface_cli.media.deep_image import preview_image, read_deep_image
from mimaface_cli.media.deinterlace_option import FRAME
from mimaface_cli.media.image import Image, flatten_alpha, read_image
from mimaface_cli.media.reader import probe
from mimaface_cli.media.video import MediaInfo
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.progress import ProgressCallback

_WHOLE_FACE = 0.985  # share of the landmarks that a photo of a whole face shows
_COARSE_FACE = 48  # pixels: height of a face below which mouth and eyes are a few pixels wide


def probe_source(path: Path, deinterlace: str = FRAME) -> MediaInfo:
    """Describe a photo, a video or a folder of frames. Raises InputError for a track or an unreadable file."""
    if is_track(path):
        raise InputError(f"{path}: is a track. Name a photo or a video as the source, and the track as the driver.")
    return probe(path, deinterlace=deinterlace)


def size_limit(max_size: int | None, *, is_video_of_photo: bool) -> int:
    """Return the longest side of a result in pixels, or 0 for no limit.

    Args:
        max_size: The requested limit, 0 for none, or None for the default.
        is_video_of_photo: Whether a photo is rendered over time; the default limits only such results.
    """
    if max_size is not None:
        return max_size
    return PHOTO_SIDE if is_video_of_photo else 0


def result_size(width: int, height: int, options: AnimateOptions) -> tuple[int, int]:
    """Return the width and height of the result for a source of that size in pixels."""
    if options.output_mode == "crop":
        return SQUARE, SQUARE
    return limited_size(width, height, options.max_size or 0)


def load_portrait(path: Path | str, face: str = "largest", deep: DeepFrame | None = None) -> Portrait:
    """Read a photo, detect its face and fit the face model to it; the portrait serves any number of drivers.

    Args:
        path: The photo.
        face: Face selector: "largest", "left", "right" or a number from 1, counted from left to right.
        deep: The photo with more than 8 bits per channel, whose preview is used, or None.

    Raises:
        InputError: The photo cannot be read, or the selected face is not detected.
    """
    image = read_image(Path(path)) if deep is None else preview_image(deep)
    return portrait_from_photo(image.rgb, image.alpha, face478.load(), face, str(path))


def load_deep_photo(path: Path) -> DeepFrame:
    """Read a photo that has a `deep_space` with all its bits. Raises InputError if it is damaged."""
    read_image(path)  # detects damage
    photo = read_deep_image(path)
    if photo is None:
        raise InputError(f"{path}: the image changed while it was read. Run again.")
    return photo


def fit_portrait(portrait: Portrait, options: AnimateOptions, keeps_alpha: bool, notes: list[str]) -> Portrait:
    """Resize a portrait to the size of the result.

    Args:
        portrait: The photo at its original size.
        options: Options of the run.
        keeps_alpha: Whether the output stores transparency; otherwise the photo is flattened on black.
        notes: List to which notes for the user are appended.
    """
    if portrait.alpha is not None and not keeps_alpha:
        portrait = replace(portrait, image=flatten_alpha(Image(portrait.image, portrait.alpha)), alpha=None)
        notes.append(
            "the photo's transparency is flattened on black; .mov, .mkv, .webm and numbered images (frames/%05d.png) "
            "keep it"
        )
    face_height = round(float(portrait.points[:, 1].max() - portrait.points[:, 1].min()))
    if face_height < _COARSE_FACE:
        notes.append(f"the face is only {face_height} pixels high, so its motion is coarse")
    if portrait.visible_share < _WHOLE_FACE:
        notes.append("the photo's border cuts the face; its head moves less, and what is outside is not shown")
    if options.output_mode == "crop":
        return portrait.square()
    limited = portrait.limited(options.max_size or 0)
    if limited is not portrait:
        notes.append(f"scaled down to {options.max_size} pixels; `max_size=0` keeps the full size")
    return limited


def keeps_video_alpha(info: MediaInfo, background: str, keeps_alpha: bool, notes: list[str]) -> bool:
    """Return whether a result has the transparency of its source video.

    Args:
        info: The source video.
        background: Background of the result, as in AnimateOptions.
        keeps_alpha: Whether the output stores transparency.
        notes: List to which notes for the user are appended.
    """
    if not info.has_alpha:
        return False
    if background != KEEP:
        notes.append("the video's transparency is not used, because the background is replaced")
        return False
    if not keeps_alpha:
        notes.append(
            "the video's transparency is flattened on black; .mov, .mkv, .webm and numbered images (frames/%05d.png) "
            "keep it"
        )
    return keeps_alpha


def load_video_source(
    info: MediaInfo,
    options: AnimateOptions,
    cache: Cache | None,
    progress: ProgressCallback,
    notes: list[str],
    keeps_alpha: bool = False,
    is_deep: bool = False,
) -> VideoSource:
    """Extract the motion of a source video, and append notes. Raises InputError if no frame shows the selected face."""
    extract = ExtractOptions(options.face, options.smooth, options.follow_skin)

    def on_frame(done: int, total: int | None) -> None:
        progress("extracting the source's motion", done, total)

    motion = load_driver(info.path, extract, cache, on_frame, info, trim=options.trim)
    notes.extend(note for note in motion.notes if note not in notes)
    return open_video_source(info, motion.track, options, keeps_alpha, is_deep)


def open_video_source(
    info: MediaInfo, track: MotionTrack, options: AnimateOptions, keeps_alpha: bool, is_deep: bool = False
) -> VideoSource:
    """Return the frames of a video whose motion is known."""
    turns, upright_track, other_frames = keep_main_turn(track)
    return VideoSource(
        info.path,
        upright_track,
        options.face,
        options.output_mode,
        options.max_size or 0,
        info.deinterlace,
        keeps_alpha=keeps_alpha,
        turns=turns,
        frames_of_other_turn=other_frames,
        is_deep=is_deep,
    )
