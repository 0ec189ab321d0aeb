"""Placement of the face in the 512 image, frame by frame: the crops of driver and portrait combined."""

from itertools import pairwise

import numpy as np

from mimaface_cli.face import alignment
from mimaface_cli.motion.coefficients import Coefficients
from mimaface_cli.motion.retarget import choose_reference_frame
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack

_SQUARE_CENTER = np.array([256.0, 256.0])


def place_faces(
    track: MotionTrack, portrait_place: np.ndarray, options: RetargetOptions, source: Coefficients | None = None
) -> np.ndarray:
    """Compute where each frame's face is rendered in the 512 image.

    Absolute motion takes the driver's places, with the image framed on the first visible face of each shot (the
    release frames the whole video on its first face). Relative motion moves the portrait's place as the driver has
    moved since the reference frame (or the shot's first visible frame). Regions without the head's pose leave the face
    where it is.

    Args:
        track: Motion of the driver, N frames.
        portrait_place: (2, 3) transform of the portrait's 256 crop to the 512 image.
        options: Mode, region, reference frame and strength.
        source: Coefficients of the portrait, for `choose_reference_frame`.

    Returns:
        (N, 2, 3) transforms of the 256 crops to the 512 image, with pixel centers at integers.
    """
    count = len(track)
    if options.region not in ("all", "pose"):
        return np.broadcast_to(portrait_place, (count, 2, 3)).copy()
    is_relative = options.motion == "relative"
    crops = alignment.to_center_origin(track.crop)
    places = np.stack([alignment.invert(crop) for crop in crops])
    reference = choose_reference_frame(track, options.reference, source)
    for start, stop in pairwise([0, *track.meta.cuts, count]):
        visible = np.flatnonzero(track.valid[start:stop])
        anchor = start + int(visible[0]) if len(visible) else start
        if is_relative and start <= reference < stop:
            anchor = reference
        frame = alignment.box_similarity(alignment.face_square(crops[anchor]))
        places[start:stop] = alignment.compose(frame, places[start:stop])
        if is_relative:
            rest = _remove_roll(places[anchor]) if count == 1 else places[anchor]
            change = alignment.compose(places[start:stop], alignment.invert(rest))
            places[start:stop] = alignment.compose(_scale_change(change, options.strength), portrait_place)
    return places


def _remove_roll(place: np.ndarray) -> np.ndarray:
    """The same scale and center without a roll: where the face of a single driver image would be at rest."""
    scale = np.sqrt(np.abs(np.linalg.det(place[:, :2])))
    center = alignment.transform_points(place, alignment.FACE_CENTER_256[None])[0]
    return np.column_stack([scale * np.eye(2), center - scale * alignment.FACE_CENTER_256])


def _scale_change(changes: np.ndarray, strength: float) -> np.ndarray:
    """Similarities (N, 2, 3) of the 512 image with rotation, log scale and shift of the center times `strength`."""
    if strength == 1:
        return changes
    center = _SQUARE_CENTER
    angle = strength * np.arctan2(changes[:, 1, 0], changes[:, 0, 0])
    scale = np.sqrt(np.abs(np.linalg.det(changes[:, :, :2]))) ** strength
    shift = strength * (changes[:, :, :2] @ center + changes[:, :, 2] - center)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)
    return np.concatenate([linear, (center + shift - linear @ center)[..., None]], -1)
