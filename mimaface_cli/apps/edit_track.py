"""Edit a motion track in memory."""

from collections.abc import Callable

from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.apps.edit_terms import Edits, parse_edits
from mimaface_cli.errors import InputError
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.transforms import change_speed, scale_motion, smooth_track, trim_track


def edit_track(track: MotionTrack, options: EditOptions) -> MotionTrack:
    """Return a track that is trimmed, stretched, scaled, smoothed and edited by name.

    Args:
        track: The track; it is not changed.
        options: The edits. Options of rendering have no effect; `mix` is an error.

    Raises:
        InputError: An unknown name, a value out of range, or `mix`, which needs `edit`.
        WeightsError: A named expression of a bfm09 track needs the face model.
    """
    if options.mix is not None:
        raise InputError("needs a file. Use edit() with a track file, or mix_tracks().", field="mix")
    return transform_track(track, options, parse_edits(options, track.meta.space, []), [])


def transform_track(
    track: MotionTrack,
    options: EditOptions,
    edits: Edits,
    notes: list[str],
    mix: Callable[[MotionTrack], MotionTrack] = lambda track: track,
) -> MotionTrack:
    """Return a recorded track trimmed, stretched, mixed, scaled, smoothed, and edited by name, in this order.

    Args:
        track: The track; it is not changed.
        options: Options of edit.
        edits: Edits by name.
        notes: Notes for the user are appended.
        mix: Takes regions from another track.
    """
    if options.start or options.duration is not None:
        track = trim_track(track, options.start, options.duration)
    track = mix(change_speed(track, options.speed))
    track = smooth_track(scale_motion(track, options.strength), options.smooth)
    return edits.apply(track, notes)
