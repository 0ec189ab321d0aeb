"""Calibration of a portrait: how far its rendered face moves, as the landmark model measures it.

The same movement of the mesh is measured differently on each face: a beard hides lips that part, lashes and glasses
hide lids, and an iris is measured to turn less than it does. Therefore each portrait is rendered a few times with known
movements and measured. Motion is then planned in measured units, so that it appears as far as it does on the driver.

Only distances are measured, no scores: scores of a bearded or painted face are compressed by the landmark model.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimaface_cli.cache import FIGURE_FOLDER, EntryKind
from mimaface_cli.engines.mesh.contact import measure_lid_gap
from mimaface_cli.engines.mesh.eyes import SIDES
from mimaface_cli.engines.mesh.measures import LIDS, FaceMeasures, measure_shape
from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait
from mimaface_cli.engines.mesh.stored_arrays import open_arrays
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.gaze import CORNERS_AND_IRIS, IRIS_DISTANCE

# Range of measured per planned movement that a calibration accepts. Behind glasses, the landmark model
# reports as little as a third of an iris's movement. A lip gap is never planned much smaller than the gap to measure.
# The model reports little of a lid's movement until the lid starts to hide the iris, and much from then on.
PLAUSIBLE_RESPONSE, GAP_RESPONSE, IRIS_RESPONSE = (0.55, 1.3), (0.65, 1.05), (0.38, 1.2)
CLOSING_LID_RESPONSE = (0.25, 2.0)
_MIN_SLOPE = 1e-3


@dataclass(frozen=True)
class ResponseCurve:
    """Measured against planned values: piecewise linear and ascending; beyond its ends it continues straight.

    Attributes:
        planned: (K,) planned values, ascending, K ≥ 2.
        measured: (K,) measured values, ascending.
    """

    planned: np.ndarray
    measured: np.ndarray

    @classmethod
    def identity(cls) -> "ResponseCurve":
        """Return the curve of movements that are measured as planned."""
        return cls(np.array([0.0, 1.0]), np.array([0.0, 1.0]))

    @classmethod
    def fit(
        cls,
        planned: np.ndarray,
        measured: np.ndarray,
        nominal: np.ndarray,
        plausible: tuple[float, float] = PLAUSIBLE_RESPONSE,
        plausible_below: tuple[float, float] | None = None,
    ) -> "ResponseCurve":
        """Fit a curve to probes.

        From the first probe outward, the slope between neighbors is limited to the plausible range.

        Args:
            planned: (K,) planned values; the first probe is the portrait at rest.
            measured: (K,) measured values.
            nominal: (K,) values that an ideal measurement would show.
            plausible: Range of a measured movement, as a share of the nominal one.
            plausible_below: The same for values below that of the portrait at rest; default: `plausible`.
        """
        order = np.argsort(planned, kind="stable")
        planned, measured, nominal = planned[order], measured[order], nominal[order]
        anchor = int(np.flatnonzero(order == 0)[0])
        step = np.maximum(np.diff(nominal), _MIN_SLOPE * np.diff(planned))
        limited = np.array(measured)
        for k in range(anchor, len(planned) - 1):
            limited[k + 1] = limited[k] + _limit_step(measured[k + 1] - limited[k], step[k], plausible)
        for k in range(anchor, 0, -1):
            limited[k - 1] = limited[k] - _limit_step(
                limited[k] - measured[k - 1], step[k - 1], plausible_below or plausible
            )
        distinct = np.append(True, np.diff(planned) > 1e-6)
        return cls(planned[distinct], limited[distinct])

    @classmethod
    def fit_line(cls, planned: np.ndarray, measured: np.ndarray, plausible: tuple[float, float]) -> "ResponseCurve":
        """Fit a straight line to probes of a noisy measure.

        Args:
            planned: (K,) planned values; the first probe is the portrait at rest, which the line meets.
            measured: (K,) measured values.
            plausible: Range of its slope.
        """
        change, response = planned - planned[0], measured - measured[0]
        slope = float(np.clip(change @ response / max(float(change @ change), 1e-9), *plausible))
        ends = planned[0] + np.array([0.0, 1.0])
        return cls(ends, measured[0] + slope * (ends - planned[0]))

    def apply(self, planned: np.ndarray) -> np.ndarray:
        """Return the values that are measured for planned values of any shape."""
        return _interpolate(planned, self.planned, self.measured)

    def invert(self, measured: np.ndarray) -> np.ndarray:
        """Return the values to plan for values of any shape that are to be measured."""
        return _interpolate(measured, self.measured, self.planned)


def _limit_step(measured: float, nominal: float, plausible: tuple[float, float]) -> float:
    return float(np.clip(measured, plausible[0] * nominal, plausible[1] * nominal))


def _interpolate(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Interpolate linearly between ascending x; continue straight beyond the ends."""
    low = y[0] + (values - x[0]) * (y[1] - y[0]) / (x[1] - x[0])
    high = y[-1] + (values - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])
    return np.where(values < x[0], low, np.where(values > x[-1], high, np.interp(values, x, y)))


@dataclass(frozen=True)
class PortraitCalibration:
    """How a portrait's movements are measured once rendered.

    Attributes:
        neutral: (478, 3) the person's neutral face in the head's frame, exact at the portrait's landmarks.
        gap: Lip gap, see `measures`.
        width: Width of the mouth.
        brow: Height of the brows.
        iris: Place of the irises between the corners of the eyes, since the middle.
        lids: For the left and the right eye, the height of its opening against its openness.
    """

    neutral: np.ndarray
    gap: ResponseCurve
    width: ResponseCurve
    brow: ResponseCurve
    iris: ResponseCurve
    lids: tuple[ResponseCurve, ResponseCurve]

    @classmethod
    def nominal(cls, prepared: PreparedPortrait, model: Face478) -> "PortraitCalibration":
        """Return the calibration of a portrait whose movements are measured as planned.

        Args:
            prepared: The prepared portrait.
            model: The face model.
        """
        neutral = find_neutral_face(prepared, model)
        distance = FaceMeasures.of(model, neutral).eye_distance
        rest = measure_shape(prepared.head)[LIDS] / [measure_lid_gap(prepared.head, side) for side in SIDES]
        curves = [
            ResponseCurve(openness, heights * share / distance)
            for share, (openness, heights) in zip(rest, prepared.lid_curves, strict=True)
        ]
        identity = ResponseCurve.identity()
        return cls(neutral, identity, identity, identity, identity, (curves[0], curves[1]))

    @property
    def curves(self) -> dict[str, ResponseCurve]:
        """All curves by name."""
        named = {"gap": self.gap, "width": self.width, "brow": self.brow, "iris": self.iris}
        return named | {f"lid_{side}": curve for side, curve in zip(SIDES, self.lids, strict=True)}

    def save(self, path: Path) -> None:
        """Write the calibration to an .npz file."""
        arrays = {"neutral": self.neutral}
        arrays |= {name: np.stack([curve.planned, curve.measured]) for name, curve in self.curves.items()}
        with path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes them for its own options

    @classmethod
    def load(cls, path: Path) -> "PortraitCalibration":
        """Read a calibration. Raises InputError if the file is missing or damaged."""
        with open_arrays(path) as stored:
            neutral = stored.pop("neutral")
            curves = {name: ResponseCurve(*values) for name, values in stored.items()}
            lids = curves.pop("lid_left"), curves.pop("lid_right")
            return cls(neutral=neutral, lids=lids, **curves)


CALIBRATIONS: EntryKind[PortraitCalibration] = EntryKind(
    folder=FIGURE_FOLDER,
    suffix=".npz",
    load=PortraitCalibration.load,
    save=lambda calibration, path: calibration.save(path),
)


def find_neutral_face(prepared: PreparedPortrait, model: Face478) -> np.ndarray:
    """Return the neutral face (478, 3) of a portrait: its face without its expression."""
    return prepared.head - model.expression_basis @ prepared.portrait.expression


def eye_widths(neutral: np.ndarray) -> np.ndarray:
    """Return the widths (2,) of the left and the right eye of a neutral face, model units."""
    return np.array([np.linalg.norm(neutral[a] - neutral[b]) for (a, b), _ in CORNERS_AND_IRIS])


def iris_places(neutral: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Return how far irises are from the middle of their eyes, in widths of the eye.

    Args:
        neutral: (478, 3) the person's neutral face.
        gaze: (N, 4) yaw and pitch of the left and right eye, radians.

    Returns:
        (N, 2) of the left and right eye, positive to the subject's left.
    """
    return IRIS_DISTANCE * np.sin(gaze[:, ::2]) * np.cos(gaze[:, 1::2]) / eye_widths(neutral)
