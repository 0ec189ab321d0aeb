"""Motion tracks in the cache: the kind of entry and its key."""

from collections.abc import Mapping
from typing import Any

from mimaface_cli.cache import TRACK_FOLDER, EntryKind, cache_key
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import FORMAT_VERSION

TRACKS: EntryKind[MotionTrack] = EntryKind(
    folder=TRACK_FOLDER,
    suffix=".npz",
    load=MotionTrack.load,
    save=lambda track, path: track.save(path, overwrite=True),
    describe=lambda track: {"space": track.meta.space},
    is_atomic=True,
)


def track_key(content: str, space: str, extractor: str, options: Mapping[str, Any]) -> str:
    """Return the cache key of a track.

    Args:
        content: Content hash of the input.
        space: Coefficient space of the track.
        extractor: Name and version of the extractor, so that two extractors of one space never share an entry.
        options: JSON values; those that change the result and no others.
    """
    return cache_key(
        {
            "content": content,
            "space": space,
            "extractor": extractor,
            "options": dict(options),
            "format": FORMAT_VERSION,
        }
    )
