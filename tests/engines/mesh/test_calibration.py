"""Calibration of a portrait: response curves, probes of a real (public-domain) portrait, the cache."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.cache import Cache
from mimaface_cli.engines.mesh import calibration_probes
from mimaface_cli.engines.mesh.calibration import (
    CALIBRATIONS,
    PLAUSIBLE_RESPONSE,
    PortraitCalibration,
    ResponseCurve,
    iris_places,
)
from mimaface_cli.engines.mesh.calibration_probes import calibrate_portrait, measure_calibration
from mimaface_cli.engines.mesh.face_networks import FaceNetworks
from mimaface_cli.engines.mesh.mouth_crop import MOUTH
from mimaface_cli.engines.mesh.part_network import load_network
from mimaface_cli.engines.mesh.prepared_portrait import prepare_still_head
from mimaface_cli.errors import InputError
from mimaface_cli.face import face478
from mimaface_cli.face.portrait import portrait_from_photo
from mimaface_cli.media.image import read_image
from tests.conftest import ROOT
from tests.engines.mesh.mouth_models import write_model

PLANNED = np.array([0.1, 0.0, 0.2, 0.3])  # the first is at rest


@pytest.fixture(scope="module")
def portrait():
    return portrait_from_photo(read_image(ROOT / "examples" / "portrait.jpg").rgb, None, face478.load())


@pytest.fixture(scope="module")
def calibration(portrait):
    return measure_calibration(prepare_still_head(portrait.square(), face478.load()), face478.load())


def test_curve_inverts_what_it_applies():
    curve = ResponseCurve.fit(PLANNED, 0.8 * PLANNED, PLANNED)
    values = np.linspace(-0.1, 0.5, 13)
    np.testing.assert_allclose(curve.invert(curve.apply(values)), values, atol=1e-12)
    assert curve.apply(np.array(0.4)) == pytest.approx(0.32)


def test_curve_passes_through_the_portrait_at_rest():
    measured = np.array([0.1, 0.05, 0.9, 0.95])
    assert ResponseCurve.fit(PLANNED, measured, PLANNED).apply(np.array(0.1)) == pytest.approx(0.1)


@pytest.mark.parametrize("measured", [[0.1, 0.1, 0.1, 0.1], [0.1, -5.0, 5.0, 9.0], [0.1, 0.4, -0.2, 0.0]])
def test_curve_limits_implausible_measurements(measured):
    curve = ResponseCurve.fit(PLANNED, np.array(measured), PLANNED)
    slopes = np.diff(curve.measured) / np.diff(curve.planned)
    assert slopes.min() >= PLAUSIBLE_RESPONSE[0] - 1e-9
    assert slopes.max() <= PLAUSIBLE_RESPONSE[1] + 1e-9


def test_curve_has_its_own_limits_below_rest():
    curve = ResponseCurve.fit(PLANNED, np.full(4, 0.1), PLANNED, plausible_below=(0.25, 2.0))
    slopes = np.diff(curve.measured) / np.diff(curve.planned)
    assert slopes[0] == pytest.approx(0.25)
    assert np.allclose(slopes[1:], PLAUSIBLE_RESPONSE[0])


def test_line_through_rest_averages_noisy_probes():
    line = ResponseCurve.fit_line(PLANNED, np.array([0.12, 0.06, 0.16, 0.26]), (0.3, 1.2))
    assert line.apply(np.array(0.1)) == pytest.approx(0.12)
    assert line.apply(np.array(0.3)) - line.apply(np.array(0.0)) == pytest.approx(0.3 * 0.63, abs=0.01)


@pytest.mark.parametrize(("measured", "slope"), [([0.1, 0.3, 0.0, -0.1], 0.3), ([0.1, -0.9, 1.1, 2.1], 1.2)])
def test_line_has_a_plausible_slope(measured, slope):
    line = ResponseCurve.fit_line(PLANNED, np.array(measured), (0.3, 1.2))
    assert line.apply(np.array(1.1)) - line.apply(np.array(0.1)) == pytest.approx(slope)


def test_curve_accepts_equal_planned_values():
    curve = ResponseCurve.fit(np.array([0.1, 0.1, 0.2]), np.array([0.1, 0.1, 0.18]), np.array([0.1, 0.1, 0.2]))
    assert np.isfinite(curve.invert(np.linspace(0, 1, 5))).all()


def test_curves_of_a_portrait_ascend_and_hold_at_rest(portrait, calibration):
    for curve in calibration.curves.values():
        assert (np.diff(curve.planned) > 0).all()
        assert (np.diff(curve.measured) > 0).all()
    nominal = PortraitCalibration.nominal(prepare_still_head(portrait.square(), face478.load()), face478.load())
    places = iris_places(calibration.neutral, portrait.gaze[None]).mean()
    assert calibration.iris.apply(places) == pytest.approx(places, abs=0.005)
    for curve, ideal in zip(calibration.lids, nominal.lids, strict=True):
        assert np.ptp(curve.measured) == pytest.approx(np.ptp(ideal.measured), rel=0.5)


def test_portrait_without_a_detected_face_is_not_calibrated(portrait, monkeypatch):
    class Blind:
        def __init__(self, *args, **options):
            pass

        def __call__(self, image):
            return []

        def close(self):
            pass

    monkeypatch.setattr(calibration_probes, "SettledLandmarker", Blind)
    prepared = prepare_still_head(portrait.square(), face478.load())
    curve = measure_calibration(prepared, face478.load()).gap
    np.testing.assert_array_equal(curve.apply(PLANNED), PLANNED)


def test_failed_probes_are_left_out(portrait, monkeypatch):
    class OnlyFirst(calibration_probes.SettledLandmarker):
        calls = 0

        def __call__(self, image):
            self.calls += 1
            return super().__call__(image) if self.calls < 4 else []

    monkeypatch.setattr(calibration_probes, "SettledLandmarker", OnlyFirst)
    result = measure_calibration(prepare_still_head(portrait.square(), face478.load()), face478.load())
    np.testing.assert_array_equal(result.iris.apply(PLANNED), PLANNED)
    assert len(result.gap.planned) <= 3


@pytest.fixture
def measured(calibration, monkeypatch):
    """The prepared portraits that were measured; each measurement returns the same calibration."""
    prepared_portraits = []

    def measure(prepared, model):
        prepared_portraits.append(prepared)
        return calibration

    monkeypatch.setattr(calibration_probes, "measure_calibration", measure)
    return prepared_portraits


def test_calibration_is_stored_and_loaded_again(portrait, measured, tmp_path):
    cache = Cache(tmp_path)
    first = calibrate_portrait(portrait, face478.load(), cache)
    second = calibrate_portrait(portrait, face478.load(), cache)
    assert len(measured) == 1
    for one, other in zip(first.curves.values(), second.curves.values(), strict=True):
        np.testing.assert_array_equal(one.measured, other.measured)
    np.testing.assert_array_equal(first.neutral, second.neutral)
    darker = replace(portrait, image=portrait.image // 2)
    calibrate_portrait(darker, face478.load(), cache)
    assert len(measured) == 2


def test_calibration_measures_what_the_networks_render(portrait, measured, tmp_path):
    cache = Cache(tmp_path)
    mild, strong = (write_model(tmp_path / f"{k}.npz", strength) for k, strength in enumerate((0.01, 0.3)))
    for path in (mild, strong, mild):
        networks = FaceNetworks(load_network(MOUTH, path))
        calibrate_portrait(portrait, face478.load(), cache, networks)
    calibrate_portrait(portrait, face478.load(), cache)
    assert len(measured) == 3, "each network has a calibration, which is stored"
    assert measured[0].learned is not None
    assert measured[1].learned is None, "a network that does not know the style is not used"
    assert measured[2].learned is None


def test_damaged_calibration_is_replaced(portrait, calibration, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration_probes, "measure_calibration", lambda prepared, model: calibration)
    cache = Cache(tmp_path)
    calibrate_portrait(portrait, face478.load(), cache)
    (path,) = cache.figures.glob("*.npz")
    path.write_bytes(b"damaged")
    assert calibrate_portrait(portrait, face478.load(), cache).curves
    assert CALIBRATIONS.load(path).curves


@pytest.mark.parametrize("content", [b"", b"damaged", b"PK\x03\x04"])
def test_loading_a_damaged_calibration_raises(tmp_path, content):
    path = tmp_path / "damaged.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        PortraitCalibration.load(path)
