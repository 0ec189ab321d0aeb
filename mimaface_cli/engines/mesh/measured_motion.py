"""Motion in measured units: mouth, brows, lids and irises of a source move as far as those of its driver.

Distances are relative to the distance of the eyes' outer corners, see `measures`. A driver's change since its rest is
added to the source at rest. A calibration converts this measured sum into the movement of the mesh that shows it.
"""

from dataclasses import dataclass

import numpy as np

from mimaface_cli.engines.mesh.calibration import PortraitCalibration, eye_widths, iris_places
from mimaface_cli.engines.mesh.measures import BROWS, GAP, GAPS, LIDS, WIDTH, FaceMeasures, match_measures, spread_gap
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.gaze import IRIS_DISTANCE
from mimaface_cli.motion.coefficients import EXPRESSION_DIM, Coefficients
from mimaface_cli.motion.easing import ease_range
from mimaface_cli.motion.retarget import GAZE_LIMIT
from mimaface_cli.motion.track import MotionTrack

# Limits of a face, in distances of the eyes' outer corners.
_MAX_GAP = 0.55
_FAST_GAIN = 1.08  # tracks are smoothed in time, and so are measurements of a video: both reduce fast movements
# Seconds by which the landmark model's smoothing of videos delays lids. Measuring the result delays them again.
_LID_DELAY = 0.02
_BROW_RANGE = 0.13  # change of the brows since rest
_WIDTH_RANGE = (0.7, 1.45)  # of the mouth's width at rest without expression
# Beyond this openness eyes stare; nor can a photo show much more of an eyeball than its own eye is open. Narrow eyes
# may widen further, until they are open as usual.
_MAX_OPENNESS, _MAX_WIDENING, _MIN_WIDE = 1.22, 1.4, 0.4
_NARROW_WIDENING, _USUAL_OPENNESS = 1.7, 0.85
_REST_GAZE = np.radians(10.0)  # gaze of a driver's rest is within this, in both directions
_IRIS_KNEE, _IRIS_MARGIN = 0.24, 0.06  # widths of the eye from its middle; the iris's edge meets the corner

_CLOSED_QUANTILE = 0.05  # quantile of a driver's lip gap over time that counts as its most closed mouth
_STILL_RANGE, _ACTIVE_RANGE = 0.02, 0.06  # range of a driver's lip gap that counts as a still, and as a moving mouth
_CONTACT_GAP = 0.015  # a smaller lip gap is pressed to contact
_OWN_GAP_RANGE = 0.06  # difference of lip gaps over which an absolute one becomes independent of the source's own
_PRESSING = 0.004  # an absolute lip gap that is smaller than the source's own by this is pressed
_PRESSURE = -0.006  # planned gap of lips in contact: they would pass through each other, and meet halfway
_OPEN_QUANTILE = 0.8  # quantile of a driver's lid height over time that counts as open
_MIN_OPEN_HEIGHT = 0.03  # a driver's open height below this does not show how far its eyes open
# Range of a source's movement from open to closed relative to the driver's that needs no adaptation, and largest factor
# on a driver's change of lid height, so that larger eyes close too.
_MIN_LID_GAIN, _MAX_LID_GAIN = 0.9, 1.15
_LEAST_SHARE = 0.65  # of a driver's openness that smaller eyes keep until a blink starts
_BLINK_START, _BLINK_END = 0.32, 0.08  # share of a driver's open height at which a blink starts and completes to close
_SLIT = 0.03  # share of the source's open height that the lash line of a closed eye hides
# Share by which a source's eyes open less or wider than in the photo if they are larger or smaller than the driver's,
# so that blinks move as far.
_MAX_ADAPTATION = 0.45


@dataclass(frozen=True)
class MeasuredDriver:
    """A driver's motion in measured units.

    Attributes:
        values: (N, COUNT) measures, see `measures`.
        rest: (COUNT,) measures from which motion starts: of a frame at rest. Absolute motion starts from the source's
            expression, added to the driver's neutral face: a face that drives itself does not change.
        irises: (N, 2) places of the left and the right iris, see `iris_places`.
        rest_irises: (2,) places from which motion starts.
        open_lids: (2,) heights of the driver's open eyes.
        pitch: (N, 2) change of the eyes' pitch since rest, radians.
        valid: (N,) whether the frame shows the face.
        source_lids: (2, 2) heights of the source's left and right eye, at rest and neutral, if motion is absolute.
        strength: Factor on the motion.
        has_fixed_rest: Whether a frame was requested as rest.
    """

    values: np.ndarray
    rest: np.ndarray
    irises: np.ndarray
    rest_irises: np.ndarray
    open_lids: np.ndarray
    pitch: np.ndarray
    valid: np.ndarray
    source_lids: np.ndarray | None
    strength: float
    has_fixed_rest: bool

    @property
    def is_relative(self) -> bool:
        """Whether motion is relative."""
        return self.source_lids is None

    @classmethod
    def of(
        cls,
        model: Face478,
        track: MotionTrack,
        reference: Coefficients,
        origin: tuple[np.ndarray, Coefficients] | None,
        strength: float,
        has_fixed_rest: bool,
    ) -> "MeasuredDriver":
        """Measure a driver's track.

        Args:
            model: The face model.
            track: Motion of the driver.
            reference: One frame, from which relative motion starts.
            origin: For absolute motion, identity (80,) and coefficients of the source at rest; else None.
            strength: Factor on the motion.
            has_fixed_rest: Whether a frame was requested as rest.
        """
        neutral = model.shape(track.identity.astype(np.float64), np.zeros(EXPRESSION_DIM))
        person = FaceMeasures.of(model, neutral)
        # A driver that looks aside is not at rest.
        rest_gaze = np.clip(reference.gaze if origin is None else np.zeros((1, 4)), -_REST_GAZE, _REST_GAZE)
        rest = person(reference.expression if origin is None else np.zeros((1, EXPRESSION_DIM)))[0]
        rest_irises = iris_places(neutral, rest_gaze)[0]
        open_lids, source_lids = rest[LIDS], None
        if origin is not None:
            identity, source = origin
            source_neutral = model.shape(identity, np.zeros(EXPRESSION_DIM))
            expressions = np.stack([source.expression[0], np.zeros(EXPRESSION_DIM)])
            measures = FaceMeasures.of(model, source_neutral)(expressions)
            rest = rest + measures[0] - measures[1]
            rest_irises = iris_places(source_neutral, source.gaze[:1])[0]
            source_lids = measures[:, LIDS]
        values = person(track.expression.astype(np.float64))
        if track.meta.width and not track.meta.audio_hash:
            values[:, LIDS] += _LID_DELAY * _measure_velocity(values[:, LIDS], track)
        return cls(
            values=values,
            rest=rest,
            irises=iris_places(neutral, track.gaze.astype(np.float64)),
            rest_irises=rest_irises,
            open_lids=open_lids,
            pitch=track.gaze[:, 1::2].astype(np.float64) - rest_gaze[:, 1::2],
            valid=track.valid if track.valid.any() else np.ones(len(track), bool),
            source_lids=source_lids,
            strength=strength,
            has_fixed_rest=has_fixed_rest,
        )

    def quantile(self, columns: int | slice, share: float) -> np.ndarray:
        """Return a quantile over time of some measures."""
        return np.quantile(self.values[self.valid][:, columns], share, axis=0)

    def lip_activity(self) -> float:
        """Return 1 for a driver that moves its lips, 0 for one that does not; 1 for absolute motion."""
        if not self.is_relative:
            return 1.0
        closed, opened = (float(self.quantile(GAP, share)) for share in (_CLOSED_QUANTILE, 1 - _CLOSED_QUANTILE))
        return float(np.clip((opened - closed - _STILL_RANGE) / (_ACTIVE_RANGE - _STILL_RANGE), 0, 1))


def _measure_velocity(values: np.ndarray, track: MotionTrack) -> np.ndarray:
    """Return the change per second (N, D) of values (N, D) since the frame before; 0 at the start of each shot."""
    velocity = np.zeros_like(values)
    velocity[1:] = np.diff(values, axis=0) / np.maximum(np.diff(track.pts), 1e-3)[:, None]
    velocity[list(track.meta.cuts)] = 0
    return velocity


@dataclass(frozen=True)
class MeasuredSource:
    """A source whose motion is planned in measured units.

    Attributes:
        calibration: The source's calibration.
        person: Its measures.
        closes_lips: Whether the lips meet at rest, wherever the calibrated frame has them.
    """

    calibration: PortraitCalibration
    person: FaceMeasures
    closes_lips: bool = False

    @classmethod
    def of(cls, model: Face478, calibration: PortraitCalibration, closes_lips: bool = False) -> "MeasuredSource":
        """Return the source of a calibration."""
        return cls(calibration, FaceMeasures.of(model, calibration.neutral), closes_lips)

    def match_driver(
        self, driver: MeasuredDriver, rest: np.ndarray, expression: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> np.ndarray:
        """Adjust expressions until mouth and brows move as far as the driver's.

        Args:
            driver: The driver's motion.
            rest: (64,) expression of the source at rest, from which its motion starts, or (N, 64).
            expression: (N, 64) retargeted expressions.
            low: Lowest coefficients, (N, 64) or broadcastable.
            high: Highest coefficients.

        Returns:
            (N, 64) expressions.
        """
        calibration = self.calibration
        planned = self.person(expression)
        base = self.person(np.atleast_2d(rest))
        change = driver.strength * (driver.values - driver.rest)
        target = planned.copy()
        own_width = base[:, WIDTH]
        width = calibration.width.apply(own_width) + change[:, WIDTH]
        least, most = (share * self.person.offset[WIDTH] for share in _WIDTH_RANGE)
        width = np.clip(calibration.width.invert(width), np.minimum(least, own_width), np.maximum(most, own_width))
        target[:, WIDTH] = width
        lift = np.clip(_FAST_GAIN * change[:, BROWS], -_BROW_RANGE, _BROW_RANGE)
        target[:, BROWS] = calibration.brow.invert(calibration.brow.apply(base[:, BROWS]) + lift)
        activity = driver.lip_activity()
        gap = self._target_gap(driver, base[:, GAP], activity)
        contact = activity * np.clip(1 - gap / _CONTACT_GAP, 0, 1)
        if not driver.is_relative:  # lips as far apart as the source's own stay as they are
            contact *= np.clip((calibration.gap.apply(base[:, GAP]) - gap) / _PRESSING, 0, 1)
        middle = np.maximum(calibration.gap.invert(gap), 0)
        middle = np.where(contact > 0, contact * _PRESSURE + (1 - contact) * middle, middle)
        target[:, GAPS] = spread_gap(planned[:, GAPS], middle)
        matched = match_measures(self.person, expression, target, low, high)
        return expression + min(driver.strength, 1) * (matched - expression)

    def _target_gap(self, driver: MeasuredDriver, rest: np.ndarray, activity: float) -> np.ndarray:
        """Return the lip gap (N,) to be measured.

        Where the driver's lips meet, those of the source meet, however far they are apart at rest. But a mouth that
        does not move stays as it is.
        """
        gap = driver.values[:, GAP]
        rest = np.zeros(1) if self.closes_lips else self.calibration.gap.apply(rest)
        if not driver.is_relative:
            own = driver.rest[GAP]
            near = np.exp(-np.abs(gap - own) / _OWN_GAP_RANGE)  # the source's own gap gives the source at rest
            goal = _FAST_GAIN * gap + near * (rest - _FAST_GAIN * own)
            return np.minimum(rest + driver.strength * (goal - rest), np.maximum(_MAX_GAP, rest))
        closed = float(driver.quantile(GAP, _CLOSED_QUANTILE))
        still = rest + driver.strength * _FAST_GAIN * (gap - driver.rest[GAP])
        active = np.minimum(rest, closed) + driver.strength * _FAST_GAIN * (gap - closed)
        return np.minimum(activity * active + (1 - activity) * still, np.maximum(_MAX_GAP, rest))

    def plan_lids(self, driver: MeasuredDriver, rest: np.ndarray, current: np.ndarray) -> np.ndarray:
        """Plan the openness of both eyes.

        Args:
            driver: The driver's motion.
            rest: (2,) openness at rest.
            current: (N, 2) openness in the source itself.

        Returns:
            (N, 2) openness.
        """
        columns = []
        for k, curve in enumerate(self.calibration.lids):
            column = LIDS.start + k
            height = np.maximum(driver.values[:, column], 0)
            opened = float(driver.open_lids[k])
            if driver.is_relative and not driver.has_fixed_rest and len(height) > 1:
                opened = float(driver.quantile(column, _OPEN_QUANTILE))
            start = rest[k] if driver.is_relative else 1.0
            photo_height, open_height, closed_height = curve.apply(np.array([rest[k], start, 0.0]))
            ends = float(open_height), float(closed_height)
            goal = _follow_lid(height, max(opened, _MIN_OPEN_HEIGHT), *ends)
            if driver.source_lids is not None:  # a face that drives itself does not change
                own_height, own_opened = np.maximum(driver.source_lids[:, k], 0)
                own = _follow_lid(own_height[None], max(float(own_opened), _MIN_OPEN_HEIGHT), *ends)
                share = np.clip((goal - closed_height) / np.maximum(own - closed_height, 1e-3), 0, 1)
                goal = goal + share * (photo_height - own)
            target = photo_height + driver.strength * (goal - photo_height)
            usual = min(_NARROW_WIDENING * rest[k], _USUAL_OPENNESS)
            widest = min(max(_MAX_WIDENING * rest[k], usual, _MIN_WIDE), _MAX_OPENNESS)
            columns.append(np.clip(curve.invert(target), 0, np.maximum(widest, current[:, k])))
        return np.stack(columns, -1)

    def plan_gaze(self, driver: MeasuredDriver, rest: np.ndarray) -> np.ndarray:
        """Plan gazes with which irises move as far between the eyes' corners as the driver's.

        Args:
            driver: The driver's motion.
            rest: (4,) gaze of the source at rest.

        Returns:
            (N, 4) gazes.
        """
        curve, strength = self.calibration.iris, driver.strength
        planned = np.repeat(rest[None], len(driver.irises), 0)
        # Up and down, the landmark model reports little of an iris's movement: the angle is transferred.
        start = rest[1::2] if driver.is_relative else 0.0
        pitch = rest[1::2] + strength * (start + driver.pitch - rest[1::2])
        planned[:, 1::2] = np.clip(pitch, np.minimum(rest[1::2], -GAZE_LIMIT), np.maximum(rest[1::2], GAZE_LIMIT))
        base = iris_places(self.calibration.neutral, rest[None])[0]
        target = curve.apply(base) + strength * (driver.irises - driver.rest_irises)
        knee = np.maximum(_IRIS_KNEE, np.abs(base))
        place = ease_range(curve.invert(target), -knee, knee, _IRIS_MARGIN)
        sine = place * eye_widths(self.calibration.neutral) / IRIS_DISTANCE / np.cos(planned[:, 1::2])
        planned[:, ::2] = np.arcsin(np.clip(sine, -0.95, 0.95))
        return planned


def _follow_lid(height: np.ndarray, opened: float, open_height: float, closed_height: float) -> np.ndarray:
    """Return the heights (N,) of a source's eye for those of a driver.

    Lids move as far as the driver's, but any eye closes where the driver's does, and smaller eyes not much before.

    Args:
        height: (N,) heights of the driver's eye.
        opened: Height of the driver's open eye.
        open_height: Height of the source's open eye.
        closed_height: Height of its closed eye.
    """
    ratio = max((open_height - closed_height) / opened, 1e-3)
    adapted = np.clip(ratio, _MIN_LID_GAIN, _MAX_LID_GAIN) / ratio - 1
    reach = (open_height - closed_height) * (1 + np.clip(adapted, -_MAX_ADAPTATION, _MAX_ADAPTATION))
    share = height / opened
    moved = closed_height + reach + np.clip(ratio, _FAST_GAIN, _MAX_LID_GAIN) * (height - opened)
    goal = np.maximum(moved, closed_height + _LEAST_SHARE * share * reach)
    blink = np.clip((_BLINK_START - share) / (_BLINK_START - _BLINK_END), 0, 1)
    return goal + blink * (np.minimum(goal, closed_height + _SLIT * reach) - goal)
