"""Edit a motion track in memory."""

from mimaface_cli.apps.edit_options import EditOptions
from mimaface_cli.apps.edit_terms import parse_edits
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
    edits = parse_edits(options, track.meta.space, [])
    if options.start or options.duration is not None:
        track = trim_track(track, options.start, options.duration)
    track = change_speed(track, options.speed)
    track = smooth_track(scale_motion(track, options.strength), options.smooth)
    return edits.apply(track, [])
