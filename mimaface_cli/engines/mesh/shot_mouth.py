"""The mouth of a shot: one frame that shows the inside of the mouth well serves all frames that are dubbed."""

from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from mimaface_cli.engines.mesh.face_networks import FaceNetworks
from mimaface_cli.engines.mesh.head_geometry import find_head
from mimaface_cli.engines.mesh.image_patch import compute_polygon_depth
from mimaface_cli.engines.mesh.learned_mouth import LearnedMouth
from mimaface_cli.engines.mesh.measures import GAP, FaceMeasures
from mimaface_cli.engines.mesh.mouth import MouthLayers
from mimaface_cli.engines.mesh.part_network import PartNetwork
from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait, estimate_skin_color, prepare_still_head
from mimaface_cli.engines.sources import VideoSource
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.frame_landmarks import FrameLandmarks
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.coefficients import EXPRESSION_DIM
from mimaface_cli.motion.track import MotionTrack

_CANDIDATES = 6  # frames that are looked at for the inside of a mouth
_TURN_COST = 0.25  # lip gap (distances of the eye corners) that a turn of one radian has to be worth
_WIDE = 0.17  # a wider lip gap shows no more
_NEUTRAL_SAMPLES = 7
# Teeth have less saturation than the skin, at most by a share, and are not much darker; a cavity is.
_TEETH_SATURATION, _GRAY, _TEETH_LEVEL, _DARK_LEVEL = 0.7, 0.03, 0.55, 0.42
_TEETH_SHARE, _TEETH_QUANTILE = 0.7, 0.97  # of the brightest pixels
_DARK_WORTH = 0.1
_LEAST_VISIBLE = 0.006  # of `_visible_inside`: a frame that shows less is painted
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
    source: VideoSource, track: MotionTrack, shot: range, model: Face478, network: PartNetwork | None
) -> ShotMouth:
    """Find the frame of a shot that shows the inside of the mouth best.

    Args:
        source: The video.
        track: Its motion.
        shot: The frames of the shot.
        model: The face model.
        network: The network that corrects mouths, or None.
    """
    best: tuple[float, Portrait] | None = None
    with closing(FrameLandmarks()) as landmarks:
        for frame in _open_frames(track, shot, model):
            portrait = _locate_face(source, track, frame, landmarks)
            visible = _visible_inside(prepare_still_head(portrait, model))
            if best is None or visible > best[0]:
                best = visible, portrait
    if best is None:
        raise ValueError("a shot has frames")
    prepared = prepare_still_head(best[1], model, FaceNetworks(network))
    if best[0] > _LEAST_VISIBLE:
        return ShotMouth(prepared.mouth, prepared.learned)
    learned = None if prepared.learned is None else prepared.learned.hide_inside()
    return ShotMouth(replace(prepared.mouth, photo=None), learned)


def _locate_face(source: VideoSource, track: MotionTrack, frame: int, landmarks: FrameLandmarks) -> Portrait:
    """Return a frame of a track with its landmarks, which the track provides where none are detected."""
    with closing(source.portraits(track.select_frames(slice(frame, frame + 1)), detect=False)) as portraits:
        portrait = next(portraits)
    face = landmarks(portrait.image, portrait.points)
    return portrait if face is None else replace(portrait, points=face.points)


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
    is_upper = np.nonzero(inside)[0] + 0.5 < ring[:, 1].mean()  # below are tongue and lip
    if not len(colors):
        return 0.0
    skin = estimate_skin_color(prepared.portrait)
    level = float(skin.max())
    brightest = colors.max(1)
    saturation = 1 - colors.min(1) / np.maximum(brightest, 1)
    skin_saturation = 1 - float(skin.min()) / max(level, 1)
    least = max(_TEETH_LEVEL * level, _TEETH_SHARE * float(np.quantile(brightest, _TEETH_QUANTILE)))
    teeth = (saturation < _TEETH_SATURATION * skin_saturation + _GRAY) & (brightest > least) & is_upper
    dark = brightest < _DARK_LEVEL * level
    return float((_DARK_WORTH * dark.sum() + teeth.sum()) / max(np.ptp(ring[:, 0]) ** 2, 1))


def average_neutral_face(source: VideoSource, track: MotionTrack, model: Face478) -> np.ndarray:
    """Return the person's neutral face (478, 3): the median over frames that are spread over the video."""
    frames = np.flatnonzero(track.valid) if track.valid.any() else np.arange(len(track))
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, _NEUTRAL_SAMPLES).round().astype(int))]
    with closing(FrameLandmarks()) as landmarks:
        portraits = [_locate_face(source, track, int(frame), landmarks) for frame in chosen]
    faces = [find_head(portrait, model) - model.expression_basis @ portrait.expression for portrait in portraits]
    return np.asarray(np.median(faces, axis=0))
