"""Where in the 512 picture each frame's face is drawn: the crops of driver and source, brought together."""

import numpy as np

from mimaface_cli.face import alignment as align
from mimaface_cli.motion.retarget import choose_reference_frame
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack


def place_faces(track: MotionTrack, own: np.ndarray, options: RetargetOptions) -> np.ndarray:
    """Transforms (N, 2, 3) of every frame's 256 crop to the 512 picture, from pixel centers at integers.

    own: the source's. Absolute motion takes the driver's places, its picture framed on the first frame of each shot, as
    the release frames the whole video on the first. Relative motion moves the source's place as the driver's moved
    since the reference frame (or the shot's first). Regions without the head's pose leave the face where it is.
    """
    count = len(track)
    if options.region not in ("all", "pose"):
        return np.broadcast_to(own, (count, 2, 3)).copy()
    crops = align.to_center_origin(track.crop)
    found = np.stack([align.invert(crop) for crop in crops])
    reference = choose_reference_frame(track, options.reference)
    edges = [0, *track.meta.cuts, count]
    for start, stop in zip(edges, edges[1:]):
        seen = np.flatnonzero(track.valid[start:stop])
        first = start + int(seen[0]) if len(seen) else start
        relative = options.motion == "relative"
        at = reference if relative and start <= reference < stop else first
        frame = align.box_similarity(align.face_square(crops[at]))
        found[start:stop] = align.compose(frame, found[start:stop])
        if relative:
            rest = _upright(found[at]) if count == 1 else found[at]
            change = _share(align.compose(found[start:stop], align.invert(rest)), options.strength)
            found[start:stop] = align.compose(change, own)
    return found


def _upright(place: np.ndarray) -> np.ndarray:
    """The same scale and middle without a roll: where a single picture's face would be at rest."""
    scale = np.sqrt(np.abs(np.linalg.det(place[:, :2])))
    middle = align.transform_points(place, align.FACE_CENTER_256[None])[0]
    return np.column_stack([scale * np.eye(2), middle - scale * align.FACE_CENTER_256])


def _share(changes: np.ndarray, strength: float) -> np.ndarray:
    """Similarities (N, 2, 3) of the 512 picture with their turn, growth and shift of the middle times `strength`."""
    if strength == 1:
        return changes
    middle = np.array([256.0, 256.0])
    turn = strength * np.arctan2(changes[:, 1, 0], changes[:, 0, 0])
    scale = np.sqrt(np.abs(np.linalg.det(changes[:, :, :2]))) ** strength
    shift = strength * (changes[:, :, :2] @ middle + changes[:, :, 2] - middle)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)
    return np.concatenate([linear, (middle + shift - linear @ middle)[..., None]], -1)
