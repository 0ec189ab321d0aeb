"""Mixing of tracks: regions of one track's motion are replaced by those of another track."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.motion.coefficients import BLENDSHAPES, EXPRESSION_DIM
from mimaface_cli.motion.mix_regions import check_regions
from mimaface_cli.motion.resample import resample_track
from mimaface_cli.motion.track import MotionTrack

_FACE_REGIONS = ("mouth", "eyes", "brows")
# Region of a named expression by the start of its name; the first match counts. All others belong to the mouth.
_REGION_BY_PREFIX = {"brow": "brows", "eyeLook": "gaze", "eye": "eyes"}


def mix_tracks(
    track: MotionTrack,
    other: MotionTrack,
    regions: Iterable[str],
    region_maps: Mapping[str, np.ndarray] | None = None,
) -> tuple[MotionTrack, list[str]]:
    """Replace regions of a track's motion by those of another track, matched by time from the start of both.

    After the end of the other track, its last frame is held. For the region head, the rotation is copied, and the
    translation is shifted so that its median equals that of the first track.

    Args:
        track: The track.
        other: Track to copy the regions from, in the same space.
        regions: Names from MIX_REGIONS.
        region_maps: In bfm09, for mouth, eyes and brows the (64, 64) map from an expression to its part in that region
            (`mimaface_cli.face.bfm_regions`).

    Returns:
        The mixed track, and notes for the user.

    Raises:
        InputError: For an unknown region or different spaces.
        WeightsError: If region maps are needed and missing.
    """
    regions = tuple(regions)
    check_regions(regions)
    if other.meta.space != track.meta.space:
        raise InputError(
            f"the mixed-in track is in the {other.meta.space} space, but the edited track is in {track.meta.space}. "
            f"Run mimaface extract again on the original input with `space={track.meta.space}`.",
            field="mix",
        )
    resampled = resample_track(other, track.pts - track.pts[0])
    arrays = track.motion_arrays()
    arrays["expression"] = _mix_expression(track, resampled, regions, region_maps)
    if "head" in regions:
        shift = np.median(track.pose[:, 3:], axis=0) - np.median(resampled.pose[:, 3:], axis=0)
        arrays["pose"] = resampled.pose.astype(np.float64)
        arrays["pose"][:, 3:] += shift
    if "gaze" in regions:
        arrays["gaze"] = resampled.gaze
    return replace(track, **arrays), _note_timing(track, other)


def region_columns(regions: Iterable[str]) -> list[int]:
    """Return the expression columns of regions in face478.

    The mouth includes jaw, cheeks, nose and the columns without a name.
    """
    columns = []
    for column in range(1, EXPRESSION_DIM):
        name = BLENDSHAPES[column] if column < len(BLENDSHAPES) else ""
        matches = (region for prefix, region in _REGION_BY_PREFIX.items() if name.startswith(prefix))
        if next(matches, "mouth") in regions:
            columns.append(column)
    return columns


def _mix_expression(
    track: MotionTrack,
    resampled: MotionTrack,
    regions: tuple[str, ...],
    region_maps: Mapping[str, np.ndarray] | None,
) -> np.ndarray:
    """Return the (N, 64) expression with the regions of the other track."""
    expression = track.expression.astype(np.float64)
    if track.meta.space == "face478":
        columns = region_columns(regions)
        expression[:, columns] = resampled.expression[:, columns]
        return expression
    face_regions = [region for region in regions if region in _FACE_REGIONS]
    if not face_regions:
        return expression
    if region_maps is None:
        raise WeightsError(
            f"{face_regions[0]}: this region of the {track.meta.space} space needs its face model. Set `bfm` to the "
            "file BFM09_model_info.mat, install it with the released weights, or choose head or gaze.",
            field="regions",
        )
    region_map = sum(region_maps[region] for region in face_regions)
    return expression + (resampled.expression - expression) @ np.asarray(region_map).T


def _note_timing(track: MotionTrack, other: MotionTrack) -> list[str]:
    notes = []
    if other.duration < track.duration - float(1 / other.frame_rate):
        notes.append(
            f"the mixed-in track ends after {other.duration:.2f} of {track.duration:.2f} s; its last frame is held"
        )
    if other.frame_rate != track.frame_rate:
        rates = f"{float(track.frame_rate):.3f} and {float(other.frame_rate):.3f}"
        notes.append(f"tracks of {rates} frames per second were matched by time")
    return notes
