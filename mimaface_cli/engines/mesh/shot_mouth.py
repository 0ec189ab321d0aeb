"""The mouth of a shot: one frame that shows the inside of the mouth well serves all frames that are dubbed."""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.engines.mesh.calibration import find_neutral_face
from mimaface_cli.engines.mesh.image_patch import compute_polygon_depth
from mimaface_cli.engines.mesh.learned_mouth import LearnedMouth
from mimaface_cli.engines.mesh.measures import GAP, FaceMeasures
from mimaface_cli.engines.mesh.mouth import MouthLayers
from mimaface_cli.engines.mesh.mouth_network import MouthNetwork
from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait, prepare_still_head
from mimaface_cli.engines.sources import VideoSource
from mimaface_cli.face.face478 import Face478
from mimaface_cli.motion.coefficients import EXPRESSION_DIM
from mimaface_cli.motion.track import MotionTrack

_CANDIDATES = 6  # frames that are looked at for the inside of a mouth
_TURN_COST = 0.25  # lip gap (distances of the eye corners) that a turn of one radian has to be worth
_WIDE = 0.17  # a wider lip gap shows no more
_NEUTRAL_SAMPLES = 7
_TEETH_SATURATION, _TEETH_LEVEL = 0.38, 110.0  # level for skin of a brightness of 150
_DARK_LEVEL = 80.0
_DARK_WORTH = 0.1
_APART = 0.12  # seconds between candidates


@dataclass(frozen=True)
class ShotMouth:
    """The mouth of a shot.

    Attributes:
        layers: The inside of the mouth.
        learned: The mouth as the mouth network needs it, or None.
    """

    layers: MouthLayers
    learned: LearnedMouth | None


def find_shot_mouth(
    source: VideoSource, track: MotionTrack, shot: range, model: Face478, network: MouthNetwork | None
) -> ShotMouth:
    """Find the frame of a shot that shows the inside of the mouth best.

    Args:
        source: The video.
        track: Its motion.
        shot: The frames of the shot.
        model: The face model.
        network: The network that corrects mouths, or None.
    """
    best: PreparedPortrait | None = None
    for frame in _open_frames(track, shot, model):
        prepared = prepare_still_head(source.portrait(frame), model, network)
        if best is None or _visible_inside(prepared) > _visible_inside(best):
            best = prepared
    if best is None:
        raise ValueError("a shot has frames")
    return ShotMouth(best.mouth, best.learned)


def _open_frames(track: MotionTrack, shot: range, model: Face478) -> list[int]:
    """Return the frames of a shot whose mouth is most open, apart from each other."""
    frames = np.array(shot)
    valid = frames[track.valid[frames]]
    frames = valid if len(valid) else frames
    person = FaceMeasures.of(model, model.shape(track.identity.astype(np.float64), np.zeros(EXPRESSION_DIM)))
    gap = np.minimum(person(track.expression[frames].astype(np.float64))[:, GAP], _WIDE)
    value = gap - _TURN_COST * np.abs(track.pose[frames, :2]).max(1)
    chosen: list[int] = []
    for k in np.argsort(-value, kind="stable"):
        frame = int(frames[k])
        if all(abs(track.pts[frame] - track.pts[other]) > _APART for other in chosen):
            chosen.append(frame)
        if len(chosen) == _CANDIDATES:
            break
    return chosen


def _visible_inside(prepared: PreparedPortrait) -> float:
    """Return the area of the mouth's inside that a frame shows, in squared widths of the mouth.

    Teeth count most. A tongue between them does not count.
    """
    photo = prepared.mouth.photo
    if photo is None:
        return 0.0
    ring = prepared.geometry.texture[prepared.geometry.fine.rings["mouth"]] - prepared.mouth.origin
    inside = compute_polygon_depth(ring, photo.shape[:2]) > 1
    colors = photo[..., :3][inside]
    if not len(colors):
        return 0.0
    brightest = colors.max(1)
    saturation = 1 - colors.min(1) / np.maximum(brightest, 1)
    teeth = (saturation < _TEETH_SATURATION) & (brightest > _TEETH_LEVEL * prepared.mouth.brightness)
    dark = brightest < _DARK_LEVEL * prepared.mouth.brightness
    return float((_DARK_WORTH * dark.sum() + teeth.sum()) / max(np.ptp(ring[:, 0]) ** 2, 1))


def average_neutral_face(source: VideoSource, track: MotionTrack, model: Face478) -> np.ndarray:
    """Return the person's neutral face (478, 3): the median over frames that are spread over the video."""
    frames = np.flatnonzero(track.valid) if track.valid.any() else np.arange(len(track))
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, _NEUTRAL_SAMPLES).round().astype(int))]
    faces = []
    for frame in chosen:
        prepared = prepare_still_head(source.portrait(int(frame)), model)
        faces.append(find_neutral_face(prepared, model))
    return np.asarray(np.median(faces, axis=0))
