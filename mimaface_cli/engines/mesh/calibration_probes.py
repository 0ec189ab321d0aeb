"""The probes of a portrait's calibration: a few renderings with known movements, measured by the landmark model."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mimaface_cli.cache import Cache, cache_key
from mimaface_cli.engines.mesh import measures
from mimaface_cli.engines.mesh.calibration import (
    CALIBRATIONS,
    CLOSING_LID_RESPONSE,
    GAP_RESPONSE,
    IRIS_RESPONSE,
    PLAUSIBLE_RESPONSE,
    PortraitCalibration,
    ResponseCurve,
    iris_places,
)
from mimaface_cli.engines.mesh.contact import match_lids, measure_lid_openness, separate_lips
from mimaface_cli.engines.mesh.eyes import SIDES, locate_eyeballs, project_iris_center
from mimaface_cli.engines.mesh.face_networks import PAINTED_FACE, FaceNetworks
from mimaface_cli.engines.mesh.measures import FaceMeasures, match_measures, measure_landmarks, spread_gap
from mimaface_cli.engines.mesh.prepared_portrait import PreparedPortrait, drop_unknown_networks, prepare_still_head
from mimaface_cli.engines.mesh.renderer import render_frame
from mimaface_cli.engines.mesh.settled_landmarks import SettledLandmarker
from mimaface_cli.face import camera
from mimaface_cli.face.face478 import Face478
from mimaface_cli.face.gaze import CORNERS_AND_IRIS
from mimaface_cli.face.portrait import Portrait
from mimaface_cli.motion.rotation import rotation_matrix

REVISION = 7  # part of the cache key: increase it when rendering or measuring changes
# Mouth and lids do not disturb each other, nor do irises, brows and the mouth's width: they share probes.
_LIDS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.2)  # openness
_GAPS = (0.0, 0.05, 0.11, 0.19, 0.29, 0.42)
_YAWS = np.radians([-25.0, -12.0, 12.0, 25.0])  # change of the gaze
_BROWS = (-0.05, -0.025, 0.04, 0.08)  # change of their height
_WIDTHS = (-0.08, 0.08, -0.04, 0.04)  # change of the mouth's width
_IRIS = measures.COUNT  # column of the irises, after the measures of the face
_CLOSED_HEIGHT = 0.02  # largest plausible height of a closed eye, which the landmark model sometimes reads as open
_VIDEO_RESPONSE = 1.08  # movement of an iris in videos relative to that in single images, as measured
_MIN_SPREAD = 1e-3  # of the planned values of a measure, below which it cannot be calibrated


class _Probe(NamedTuple):
    """A movement to render: expression (64,), gaze (4,) and openness of both eyes (2,)."""

    expression: np.ndarray
    gaze: np.ndarray
    lids: np.ndarray


class _Reading(NamedTuple):
    """Measures of a probe, each (COUNT + 1,), the last one for the irises.

    Attributes:
        planned: On the mesh, in the head's frame.
        projected: On the mesh, in the image.
        measured: By the landmark model, in the image.
    """

    planned: np.ndarray
    projected: np.ndarray
    measured: np.ndarray


def calibrate_portrait(
    portrait: Portrait, model: Face478, cache: Cache | None = None, networks: FaceNetworks = PAINTED_FACE
) -> PortraitCalibration:
    """Return the calibration of a portrait, from the cache if possible.

    Args:
        portrait: The portrait; its size does not matter.
        model: The face model.
        cache: Where calibrations are stored, or None.
        networks: The networks that correct the face: the landmark model measures what they render.
    """
    square = portrait.square()
    digest = hashlib.sha256(square.image.tobytes())
    for array in (square.expression, square.pose, square.gaze, square.identity, square.points):
        digest.update(np.ascontiguousarray(array).tobytes())
    parts = {"calibration": REVISION, "model": model.version, "portrait": digest.hexdigest()}
    key = cache_key(parts | {"networks": networks.describe()})
    stored = cache.load(CALIBRATIONS, key) if cache is not None else None
    if stored is not None:
        return stored
    calibration = measure_calibration(drop_unknown_networks(prepare_still_head(square, model, networks)), model)
    if cache is not None:
        cache.store(CALIBRATIONS, key, calibration)
    return calibration


def measure_calibration(prepared: PreparedPortrait, model: Face478) -> PortraitCalibration:
    """Render a portrait with known movements and measure them.

    Args:
        prepared: The prepared portrait, about 512 pixels wide.
        model: The face model.

    Returns:
        The calibration; the nominal one if no face is detected in the portrait itself.
    """
    nominal = PortraitCalibration.nominal(prepared, model)
    person = FaceMeasures.of(model, nominal.neutral)
    landmarker = SettledLandmarker()

    def read(probes: list[_Probe]) -> list[_Reading | None]:
        return [_read_probe(prepared, model, person, probe, landmarker) for probe in probes]

    try:
        rest = _rest_probe(prepared, model)
        (first,) = read([rest])
        if first is None:
            return nominal
        mouth_and_lids = read(list(_mouth_probes(person, rest)))
        others = read(list(_upper_probes(person, rest)))
    finally:
        landmarker.close()
    return _fit_calibration(nominal, rest, first, mouth_and_lids, others)


def _rest_probe(prepared: PreparedPortrait, model: Face478) -> _Probe:
    """The portrait as it is."""
    portrait = prepared.portrait
    openness = measure_lid_openness(model, portrait.identity, portrait.expression[None])[0]
    return _Probe(portrait.expression, portrait.gaze, openness)


def _mouth_probes(person: FaceMeasures, rest: _Probe) -> Iterator[_Probe]:
    for gap, openness in zip(_GAPS, _LIDS, strict=True):
        target = person(rest.expression[None])
        target[:, measures.GAPS] = spread_gap(target[:, measures.GAPS], np.array([gap]))
        expression = match_measures(person, rest.expression[None], target)[0]
        yield _Probe(expression, rest.gaze, np.full(2, openness))


def _upper_probes(person: FaceMeasures, rest: _Probe) -> Iterator[_Probe]:
    for yaw, lift, width in zip(_YAWS, _BROWS, _WIDTHS, strict=True):
        target = person(rest.expression[None])
        target[:, measures.BROWS] += lift
        target[:, measures.WIDTH] += width
        expression = match_measures(person, rest.expression[None], target)[0]
        yield _Probe(expression, rest.gaze + np.array([yaw, 0, yaw, 0]), rest.lids)


def _read_probe(
    prepared: PreparedPortrait, model: Face478, person: FaceMeasures, probe: _Probe, landmarker: SettledLandmarker
) -> _Reading | None:
    """Render and measure a probe; None if no face is detected in the rendering."""
    portrait = prepared.portrait
    pose = portrait.pose
    frame = render_frame(prepared, model, probe.expression, pose, probe.gaze, probe.lids)
    faces = landmarker(np.ascontiguousarray(frame[..., :3]))
    if not faces:
        return None
    head = prepared.head + model.expression_basis @ (probe.expression - portrait.expression)
    head = separate_lips(match_lids(head, model, prepared.lid_heights(probe.lids)))
    points = camera.project(head @ rotation_matrix(pose[:3]).T + pose[3:])[0]
    balls = locate_eyeballs(prepared.head)
    for k, side in enumerate(SIDES):
        points[CORNERS_AND_IRIS[k][1]] = project_iris_center(balls[side], pose, probe.gaze[2 * k : 2 * k + 2])
    planned = measures.measure_shape(head) / person.eye_distance
    place = iris_places(head, probe.gaze[None]).mean()
    return _Reading(
        np.append(planned, place),
        np.append(measure_landmarks(points), _measure_irises(points)),
        np.append(measure_landmarks(faces[0].points), _measure_irises(faces[0].points)),
    )


def _measure_irises(points: np.ndarray) -> float:
    """Measure where irises are between the corners of their eyes (mean of both, 0 in the middle)."""
    places = []
    for corners, iris in CORNERS_AND_IRIS:
        start, end = sorted((points[k] for k in corners), key=lambda point: float(point[0]))
        along = end - start
        places.append((points[iris] - start) @ along / max(float(along @ along), 1e-9) - 0.5)
    return float(np.mean(places))


def _fit_calibration(
    nominal: PortraitCalibration,
    rest: _Probe,
    first: _Reading,
    mouth_and_lids: list[_Reading | None],
    others: list[_Reading | None],
) -> PortraitCalibration:
    """Fit the curves to the readings; `first` is the reading of the portrait at rest."""
    group = [first, *(reading for reading in mouth_and_lids if reading is not None)]
    upper = [first, *(reading for reading in others if reading is not None)]
    openness = [rest.lids, *(np.full(2, lids) for lids, r in zip(_LIDS, mouth_and_lids, strict=True) if r is not None)]
    lids = []
    for k in range(2):
        planned, measured = _convert(group, [measures.LIDS.start + k])
        curve = nominal.lids[k]
        if measured is not None:
            heights = np.array(openness)[:, k]
            curve = ResponseCurve.fit(heights, measured, planned, plausible_below=CLOSING_LID_RESPONSE)
            curve.measured[0] = min(curve.measured[0], _CLOSED_HEIGHT)
        lids.append(curve)

    def fit(
        readings: list[_Reading], columns: list[int], plausible: tuple[float, float] = PLAUSIBLE_RESPONSE
    ) -> ResponseCurve:
        planned, measured = _convert(readings, columns)
        if measured is None:
            return ResponseCurve.identity()
        return ResponseCurve.fit(planned, measured, planned, plausible)

    planned, measured = _convert(upper, [_IRIS])
    iris = ResponseCurve.identity()
    if measured is not None:
        iris = ResponseCurve.fit_line(planned, planned[0] + _VIDEO_RESPONSE * (measured - planned[0]), IRIS_RESPONSE)
    return PortraitCalibration(
        neutral=nominal.neutral,
        gap=fit(group, [measures.GAP], GAP_RESPONSE),
        width=fit(upper, [measures.WIDTH]),
        brow=fit(upper, [measures.BROWS.start, measures.BROWS.start + 1]),
        iris=iris,
        lids=(lids[0], lids[1]),
    )


def _convert(readings: list[_Reading], columns: list[int]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return planned values (K,), and measured values (K,) converted from the image to the head's frame.

    None in place of the measured values if they cannot be converted. The first reading's difference of both, the
    landmark model's own error in the photo, is removed from all.
    """
    planned, projected, measured = (
        np.array([part[columns].mean() for part in parts]) for parts in zip(*readings, strict=True)
    )
    if np.ptp(planned) < _MIN_SPREAD or np.ptp(projected) < _MIN_SPREAD:
        return planned, None
    scale = np.polyfit(projected, planned, 1)[0]
    if scale <= 0:
        return planned, None
    return planned, planned[0] + scale * (measured - measured[0])
