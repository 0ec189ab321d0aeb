"""Gains of edits: factors with which a rendered photo shows the requested turn or score.

The landmark model measures a rendered head as turned less than it is, as hair and neck stay behind. A score rises late,
and differently for every face. Therefore each edited channel is rendered a few times at its furthest value, measured,
and its change scaled: a turn by 20° and a smile of 0.7 are rendered so that the landmark model measures them. Gazes to
the side are scaled by the portrait's calibration, which `animate` uses too.
"""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.cache import Cache
from mimaface_cli.engines.mesh.calibration import PortraitCalibration, iris_places
from mimaface_cli.engines.mesh.calibration_probes import calibrate_portrait
from mimaface_cli.engines.mesh.motion_plan import plan_edited_motion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_photo, prepare_still_head
from mimaface_cli.engines.mesh.renderer import render_frame
from mimaface_cli.face.detection import detect_faces
from mimaface_cli.face.extract_face478 import extract_photo
from mimaface_cli.face.extract_options import ExtractOptions
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.landmarks import Face, select_face
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.channels import Channel
from mimaface_cli.motion.coefficients import BLENDSHAPES, Coefficients
from mimaface_cli.motion.rotation import euler_angles

TURN_GAIN = (0.8, 1.4)  # range of the factor on a turn
SCORE_GAIN = (0.6, 1.8)  # range of the factor on a score
GAZE_GAIN = (0.8, 2.0)  # range of the factor on a gaze to the side
MIN_TURN = np.radians(4.0)  # a smaller turn is measured as noise: PROBE_TURN is rendered instead
PROBE_TURN = np.radians(12.0)
MIN_TURN_SHARE = 0.2  # of the rendered turn that must be measured, otherwise the measurement is of something else
MIN_SCORE_CHANGE = 0.15
SCORE_TOLERANCE = 0.05
TURN_PROBES, SCORE_PROBES = 2, 4  # renderings for one gain
# Expressions whose scores measure how far they move. For jaw and lids, the mesh shows it exactly. Scores of small
# movements of the lips depend on teeth and color as much as on shape.
_MEASURABLE_PREFIXES = ("brow", "mouthSmile", "mouthFrown", "mouthPucker", "mouthFunnel")


@dataclass(frozen=True)
class EditGain:
    """Factor on a channel's change in one direction.

    Args:
        channel: The channel.
        sign: Direction of the change, 1 or -1.
        factor: The factor.
        requested: The furthest requested value: degrees relative to the photo, or a score.
        measured: The value that the landmark model measured in the rendered photo, in the same unit.
    """

    channel: Channel
    sign: int
    factor: float
    requested: float
    measured: float


def measure_gains(
    portrait: Portrait, model: Face478, edited: Coefficients, channels: list[Channel], cache: Cache | None = None
) -> list[EditGain]:
    """Measure the gains with which a rendered photo shows edited coefficients.

    Only turns, gazes to the side, and expressions whose scores measure how far they move, are measured.

    Args:
        portrait: The photo.
        model: Face model.
        edited: N frames, the coefficients of the photo with `channels` edited.
        channels: The edited channels.
        cache: Where calibrations are stored, or None.

    Returns:
        Gains by channel and direction, where a measurement succeeded.
    """
    gains: list[EditGain] = []
    gazes = [channel for channel in channels if _is_gaze_yaw(channel)]
    if gazes:
        calibration = calibrate_portrait(portrait, model, cache)
        sides = [(channel, sign) for channel in gazes for sign in (1, -1)]
        gaze_gains = (
            _find_gaze_gain(channel, sign, portrait.gaze, edited.gaze, calibration) for channel, sign in sides
        )
        gains = [gain for gain in gaze_gains if gain is not None]
    measurable = [channel for channel in channels if _is_measurable(channel)]
    if not measurable:
        return gains
    square = portrait.square()
    face = select_face(detect_faces(square.image), "largest")
    if face is None:
        return gains
    probe = _ProbeRenderer(square, model, face, any(channel.array == "pose" for channel in measurable))
    measured = [_measure_gain(channel, sign, edited, probe) for channel in measurable for sign in (1, -1)]
    return gains + [gain for gain in measured if gain is not None]


def apply_gains(original: Coefficients, edited: Coefficients, gains: list[EditGain]) -> Coefficients:
    """Scale changes by gains.

    Where two channels share a coefficient, as mouthSmile and mouthSmileLeft do, the first gain applies.

    Args:
        original: Coefficients of the photo, one frame or N.
        edited: N frames of edited coefficients.
        gains: Gains of edited channels.

    Returns:
        N frames in which the changes since `original` are scaled.
    """
    arrays = _copy_coefficients(edited)
    scaled_columns: set[tuple[str, int, int]] = set()
    for gain in gains:
        name = gain.channel.array
        columns = [k for k in gain.channel.columns if (name, k, gain.sign) not in scaled_columns]
        scaled_columns.update((name, k, gain.sign) for k in columns)
        start = getattr(original, name)[:, columns]
        change = arrays[name][:, columns] - start
        arrays[name][:, columns] = start + np.where(np.sign(change) == gain.sign, change * gain.factor, change)
    return Coefficients(**arrays)


class _ProbeRenderer:
    """Renders a photo with changed coefficients and detects the face in the result.

    Args:
        portrait: The photo, square.
        model: Face model.
        face: The face in the photo.
        is_turned: Whether the head will be turned.
    """

    def __init__(self, portrait: Portrait, model: Face478, face: Face, is_turned: bool) -> None:
        self.model = model
        self.face = face
        self.original = portrait.coefficients
        self._identity = portrait.identity
        prepare = prepare_photo if is_turned else prepare_still_head
        self._prepared = prepare(portrait, model)

    def render(self, channel: Channel, change: np.ndarray) -> tuple[Face | None, np.ndarray]:
        """Render the photo with a channel changed.

        Args:
            channel: The channel.
            change: (columns,), change of its coefficients.

        Returns:
            The face detected in the result, or None, and the result (H, W, 3) uint8.
        """
        arrays = _copy_coefficients(self.original)
        arrays[channel.array][:, channel.columns] += change
        coefficients = Coefficients(**arrays)
        motion = plan_edited_motion(self.model, self._identity, self.original, coefficients)
        limited = motion.coefficients
        frame = render_frame(
            self._prepared, self.model, limited.expression[0], limited.pose[0], limited.gaze[0], motion.lids[0]
        )
        image = np.ascontiguousarray(frame[..., :3])
        return select_face(detect_faces(image), "largest"), image


def _is_gaze_yaw(channel: Channel) -> bool:
    return channel.array == "gaze" and all(column % 2 == 0 for column in channel.columns)


def _find_gaze_gain(
    channel: Channel, sign: int, gaze: np.ndarray, edited: np.ndarray, calibration: PortraitCalibration
) -> EditGain | None:
    """Find the gain of a gaze to one side, at its furthest value, from a calibration.

    Args:
        channel: The channel, yaw of one or both eyes.
        sign: Direction, 1 or -1.
        gaze: (4,) gaze of the photo.
        edited: (N, 4) edited gazes.
        calibration: Calibration of the photo.
    """
    columns = list(channel.columns)
    change = (edited - gaze)[:, columns].mean(1)
    furthest = edited[int(np.argmax(sign * change))]
    requested = float((furthest - gaze)[columns].mean())
    if sign * requested < MIN_TURN:
        return None
    eyes = [column // 2 for column in columns]
    start, end = (iris_places(calibration.neutral, angles[None])[0, eyes] for angles in (gaze, furthest))
    place = calibration.iris.invert(calibration.iris.apply(start) + end - start)
    factor = float(np.clip(((place - start) / (end - start)).mean(), *GAZE_GAIN))
    movement = calibration.iris.apply(start + factor * (end - start)) - calibration.iris.apply(start)
    measured = float(np.degrees(requested * (movement / (end - start)).mean()))
    return EditGain(channel, sign, factor, float(np.degrees(requested)), measured)


def _is_measurable(channel: Channel) -> bool:
    if channel.array == "pose":
        return channel.columns[0] < 3
    is_named = channel.array == "expression" and all(column < len(BLENDSHAPES) for column in channel.columns)
    return is_named and BLENDSHAPES[channel.columns[0]].startswith(_MEASURABLE_PREFIXES)


def _measure_gain(channel: Channel, sign: int, edited: Coefficients, probe: _ProbeRenderer) -> EditGain | None:
    """Measure the gain of a channel in one direction, at its furthest value; None where it changes too little."""
    columns = channel.columns
    change = getattr(edited, channel.array)[:, columns] - getattr(probe.original, channel.array)[:, columns]
    furthest = change[np.argmax(sign * change.mean(1))]
    distance = sign * furthest.mean()
    if channel.array == "expression":
        return _measure_score_gain(channel, sign, furthest, probe) if distance > MIN_SCORE_CHANGE else None
    if distance <= 1e-6:
        return None
    if abs(furthest[0]) < MIN_TURN:
        furthest = np.full(1, sign * PROBE_TURN)
    return _measure_turn_gain(channel, sign, furthest, probe)


def _measure_turn_gain(channel: Channel, sign: int, change: np.ndarray, probe: _ProbeRenderer) -> EditGain | None:
    """Measure a turn as the mean of the landmark model's rotation and the fitted pose.

    Either alone is biased, in opposite directions.
    """
    factor, measured, axis = 1.0, 0.0, channel.columns[0]
    for _ in range(TURN_PROBES):
        face, image = probe.render(channel, change * factor)
        if face is None:
            break
        by_landmarks = euler_angles(face.rotation @ probe.face.rotation.T)[axis]
        by_fit = extract_photo(image, face, probe.model, ExtractOptions()).pose[0, axis] - probe.original.pose[0, axis]
        turn = float(by_landmarks + by_fit) / 2
        measured = float(np.degrees(turn))
        if sign * turn < MIN_TURN_SHARE * abs(change[0]):
            return None
        factor = float(np.clip(factor * change[0] / turn, *TURN_GAIN))
    return EditGain(channel, sign, factor, float(np.degrees(change[0])), measured)


def _measure_score_gain(channel: Channel, sign: int, change: np.ndarray, probe: _ProbeRenderer) -> EditGain | None:
    """Search the gain, by bisection of SCORE_GAIN, whose rendering has the requested score."""
    columns = list(channel.columns)
    requested = float(np.clip((probe.original.expression[0, columns] + change).mean(), 0.02, 0.98))
    low, high = SCORE_GAIN
    factor, best = 1.0, (np.inf, 1.0, 0.0)  # error, factor and score
    for _ in range(SCORE_PROBES):
        face, _ = probe.render(channel, change * factor)
        if face is None:
            high = factor
        else:
            score = float(face.scores[columns].mean())
            best = min(best, (abs(score - requested), factor, score))
            if abs(score - requested) < SCORE_TOLERANCE:
                break
            low, high = (factor, high) if sign * (requested - score) > 0 else (low, factor)
        factor = (low + high) / 2
    error, factor, score = best
    return EditGain(channel, sign, factor, requested, score) if np.isfinite(error) else None


def _copy_coefficients(coefficients: Coefficients) -> dict[str, np.ndarray]:
    """Return writable copies of the arrays."""
    return {name: np.array(getattr(coefficients, name), np.float64) for name in ("expression", "pose", "gaze")}
