"""Quarter turns of tracks: the motion of a face that lies on its side, or upside down, as if it were upright."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from mimaface_cli.face.camera import CROP_SIZE
from mimaface_cli.face.face_view import turn_matrix, turn_rotation
from mimaface_cli.motion.rotation import euler_angles, rotation_matrix
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.motion.track_meta import FACE478

# What a quarter turn counterclockwise does to the light's nine coefficients, see `shading.sh_basis`: the index of the
# old coefficient and its sign.
_LIGHT_ORDER = np.array([0, 3, 2, 1, 4, 7, 6, 5, 8])
_LIGHT_SIGNS = np.array([1, 1, 1, -1, -1, 1, 1, -1, -1])


def upright_turns(track: MotionTrack) -> int:
    """Return the quarter turns counterclockwise, 0 to 3, that make the face of a track upright.

    It is 0 for tracks that were not extracted from images, and for those of another space than face478: the latter
    describe aligned faces.
    """
    if track.meta.space != FACE478 or track.meta.source_hash is None or not track.valid.any():
        return 0
    rolls = track.pose[track.valid, 2].astype(np.float64)
    roll = np.arctan2(np.median(np.sin(rolls)), np.median(np.cos(rolls)))
    return round(-roll / (np.pi / 2)) % 4


def make_upright(track: MotionTrack) -> MotionTrack:
    """Return the motion of faces that lie on their side, or upside down, as if they were upright, shot by shot."""
    turns = shot_turns(track)
    if len(set(turns)) == 1:
        return turn_track(track, turns[0])
    turned = [turn_track(track, count) for count in range(4)]
    shots = list(zip(turns, pairwise([0, *track.meta.cuts, len(track)]), strict=True))
    pose, illumination, crop = (
        np.concatenate([getattr(turned[count], name)[start:end] for count, (start, end) in shots])
        for name in ("pose", "illumination", "crop")
    )
    return replace(turned[upright_turns(track)], pose=pose, illumination=illumination, crop=crop)


def keep_main_turn(track: MotionTrack) -> tuple[int, MotionTrack, int]:
    """Turn a track so that the face is upright in most frames.

    Returns:
        The quarter turns counterclockwise; the turned track, in which shots whose face is not upright are not valid;
        and the number of frames of these shots that show the face.
    """
    turns = shot_turns(track)
    shots = list(zip(turns, pairwise([0, *track.meta.cuts, len(track)]), strict=True))
    counts = np.zeros(4, int)
    for count, (start, end) in shots:
        counts[count] += track.valid[start:end].sum()
    main = int(np.argmax(counts))
    valid = track.valid.copy()
    for count, (start, end) in shots:
        valid[start:end] &= count == main
    return main, replace(turn_track(track, main), valid=valid), int(track.valid.sum() - valid.sum())


def shot_turns(track: MotionTrack) -> list[int]:
    """Return the quarter turns counterclockwise, 0 to 3, that make the face of each shot upright.

    A shot without a face has those of the whole track.
    """
    borders = pairwise([0, *track.meta.cuts, len(track)])
    shots = [track.select_frames(slice(start, end)) for start, end in borders]
    whole = upright_turns(track)
    return [upright_turns(shot) if shot.valid.any() else whole for shot in shots]


def turn_track(track: MotionTrack, turns: int) -> MotionTrack:
    """Return the track of the same input, turned.

    Args:
        track: A track in the face478 space.
        turns: Quarter turns counterclockwise.
    """
    turns %= 4
    if not turns:
        return track
    rotation = turn_rotation(turns)
    angles = euler_angles(rotation @ rotation_matrix(track.pose[:, :3]))
    pose = np.concatenate([angles, track.pose[:, 3:] @ rotation.T], 1)
    light = track.illumination.reshape(-1, 3, 9)
    for _ in range(turns):
        light = light[..., _LIGHT_ORDER] * _LIGHT_SIGNS
    width, height = track.meta.width, track.meta.height
    size = (height, width) if turns % 2 else (width, height)
    return replace(
        track,
        pose=pose,
        illumination=light.reshape(len(track), -1),
        crop=_turn_crops(track.crop.astype(np.float64), turns, width, height),
        meta=replace(track.meta, width=size[0], height=size[1]),
    )


def _turn_crops(crops: np.ndarray, turns: int, width: int, height: int) -> np.ndarray:
    """Return the transforms (N, 2, 3) of the turned frames to the turned crop, for those (N, 2, 3) of the frames."""
    turned_crop = turn_matrix(turns, CROP_SIZE, CROP_SIZE)
    to_frame = turn_matrix(-turns, *((height, width) if turns % 2 else (width, height)))
    square = np.zeros((len(crops), 3, 3))
    square[:, :2], square[:, 2, 2] = crops, 1
    return turned_crop @ square @ np.vstack([to_frame, [0, 0, 1]])
