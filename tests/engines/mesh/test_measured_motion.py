"""Motion plans in measured units: a source moves as far as its driver, within what its anatomy allows."""

from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.engines.mesh import measures
from mimaface_cli.engines.mesh.calibration import PortraitCalibration, ResponseCurve, iris_places
from mimaface_cli.engines.mesh.measured_motion import MeasuredDriver, MeasuredSource
from mimaface_cli.engines.mesh.measures import FaceMeasures
from mimaface_cli.engines.mesh.motion_plan import MotionSource, plan_mesh_motion
from mimaface_cli.engines.mesh.prepared_portrait import prepare_still_head
from mimaface_cli.face import face478
from mimaface_cli.face.portrait import portrait_from_photo
from mimaface_cli.media.image import read_image
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.retarget import track_coefficients
from mimaface_cli.motion.retarget_options import RetargetOptions
from mimaface_cli.motion.track import MotionTrack
from tests.conftest import ROOT

COUNT = 30
MODEL = face478.load()
CLOSED_JAW = -0.12  # with which the lips of the model's mean face just meet
PHASE = np.linspace(0, 4 * np.pi, COUNT)
WAVE = 0.5 - 0.5 * np.cos(PHASE)


@pytest.fixture(scope="module")
def portrait():
    return portrait_from_photo(read_image(ROOT / "examples" / "portrait.jpg").rgb, None, MODEL).square()


@pytest.fixture(scope="module")
def calibration(portrait):
    return PortraitCalibration.nominal(prepare_still_head(portrait, MODEL), MODEL)


@pytest.fixture
def source(portrait, calibration):
    return MotionSource(portrait.identity, portrait.coefficients, calibration, scores=portrait.scores)


def make_track(gaze=0.0, **columns) -> MotionTrack:
    """Return a track whose blendshapes follow given curves (COUNT,), with closed lips at rest."""
    track = MotionTrack.neutral(COUNT, "face478")
    expression, directions = track.expression.copy(), track.gaze.copy()
    for name, values in ({"jawOpen": np.full(COUNT, CLOSED_JAW)} | columns).items():
        expression[:, blendshape_index(name)] = values
    directions[:, ::2] = np.broadcast_to(gaze, COUNT)[:, None]
    return replace(track, expression=expression, gaze=directions)


def plan(source, track, **options):
    return plan_mesh_motion(MODEL, source, track, RetargetOptions(**options))


def measure(source, motion):
    return FaceMeasures.of(MODEL, source.calibration.neutral)(motion.coefficients.expression)


def measure_driver(track):
    return FaceMeasures.of(MODEL, MODEL.mean)(track.expression.astype(float))


def slope(driver, result):
    return np.polyfit(driver, result, 1)[0]


def test_lips_open_as_far_as_the_drivers_and_meet_where_they_meet(source):
    track = make_track(jawOpen=CLOSED_JAW + 0.6 * WAVE)
    driver, result = measure_driver(track)[:, measures.GAP], measure(source, plan(source, track))[:, measures.GAP]
    assert 0.95 < slope(driver, result) < 1.15
    assert result[driver < 0.002].max() < 0.002


def test_calibration_is_inverted(source, calibration):
    half = ResponseCurve(np.array([0.0, 1.0]), np.array([0.0, 0.8]))
    compressed = replace(source, calibration=replace(calibration, gap=half))
    track = make_track(jawOpen=CLOSED_JAW + 0.5 * WAVE)
    openings = [np.ptp(measure(each, plan(each, track))[:, measures.GAP]) for each in (source, compressed)]
    assert openings[1] / openings[0] == pytest.approx(1 / 0.8, rel=0.05)


def test_open_mouth_of_a_photo_closes_for_a_driver_that_closes_its_lips(source, portrait):
    expression = portrait.coefficients.expression.copy()
    expression[:, blendshape_index("jawOpen")] += 0.6
    shouting = replace(source, coefficients=replace(portrait.coefficients, expression=expression), scores=None)
    moving = measure(shouting, plan(shouting, make_track(jawOpen=CLOSED_JAW + 0.4 * WAVE)))[:, measures.GAP]
    assert moving.min() < 0.01
    assert moving.max() < 0.25
    still = measure(shouting, plan(shouting, make_track()))[:, measures.GAP]
    photo_gap = measure(shouting, type("", (), {"coefficients": shouting.coefficients}))[0, measures.GAP]
    np.testing.assert_allclose(still, photo_gap, atol=0.02)


def test_gap_does_not_exceed_what_a_face_can_do(source):
    gap = measure(source, plan(source, make_track(jawOpen=CLOSED_JAW + 2.0 * WAVE)))[:, measures.GAP]
    assert gap.max() < 0.6


def test_mouth_width_and_brows_follow(source):
    track = make_track(mouthSmileLeft=0.4 * WAVE, mouthSmileRight=0.4 * WAVE, browInnerUp=0.6 * WAVE)
    driver, result = measure_driver(track), measure(source, plan(source, track))
    for column in (measures.WIDTH, measures.BROWS.start, measures.BROWS.start + 1):
        assert 0.9 < slope(driver[:, column], result[:, column]) < 1.15


def test_blink_closes_the_eyes_and_opens_them_again(source, portrait):
    blink = np.where((np.arange(COUNT) > 12) & (np.arange(COUNT) < 16), 1.1, 0.0)
    motion = plan(source, make_track(eyeBlinkLeft=blink, eyeBlinkRight=blink))
    assert motion.lids[14].max() < 0.06
    rest = plan(source, make_track(), region="lips").lids[0]
    np.testing.assert_allclose(motion.lids[0], rest, rtol=0.12)


def test_eyes_do_not_open_much_wider_than_in_the_photo(source):
    wide = np.where(np.arange(COUNT) > 26, -3.0, 0.0)
    motion = plan(source, make_track(eyeBlinkLeft=wide, eyeBlinkRight=wide))
    rest = plan(source, make_track(), region="lips").lids[0]
    assert (motion.lids.max(0) <= np.maximum(1.4 * rest, 0.4) + 1e-9).all()


def test_narrow_eyes_widen_to_blink_as_far_as_the_drivers(calibration):
    track = make_track(eyeBlinkLeft=WAVE, eyeBlinkRight=WAVE)
    reference = track_coefficients(track, slice(0, 1))
    driver = MeasuredDriver.of(MODEL, track, reference, None, 1.0, False)
    rest = np.full(2, 0.45)
    lids = MeasuredSource.of(MODEL, calibration).plan_lids(driver, rest, np.repeat(rest[None], COUNT, 0))
    assert lids.min() < 0.06 and (1.3 * rest < lids.max(0)).all() and (lids.max(0) <= 1.7 * rest + 1e-9).all()


def test_irises_move_as_far_between_the_corners_of_the_eyes(source, calibration):
    track = make_track(gaze=np.radians(18) * np.sin(PHASE))
    driver = iris_places(MODEL.mean, track.gaze.astype(float))
    result = iris_places(calibration.neutral, plan(source, track).coefficients.gaze)
    assert slope(driver[:, 0], result[:, 0]) == pytest.approx(1, abs=0.02)
    assert slope(driver[:, 1], result[:, 1]) == pytest.approx(1, abs=0.02)


def test_irises_stay_within_the_eyes(source, calibration):
    track = make_track(gaze=np.radians(44) * np.sin(PHASE))
    turned = replace(source, calibration=replace(calibration, iris=ResponseCurve(np.array([0, 1]), np.array([0, 0.5]))))
    assert np.abs(iris_places(calibration.neutral, plan(turned, track).coefficients.gaze)).max() < 0.33


def test_strength_zero_keeps_the_photo(source, portrait):
    track = make_track(jawOpen=CLOSED_JAW + 0.5 * WAVE, gaze=np.radians(10) * np.sin(PHASE), eyeBlinkLeft=WAVE)
    motion = plan(source, track, strength=0.0)
    rest = portrait.coefficients
    np.testing.assert_allclose(motion.coefficients.expression, np.repeat(rest.expression, COUNT, 0), atol=1e-6)
    np.testing.assert_allclose(motion.coefficients.gaze, np.repeat(rest.gaze, COUNT, 0), atol=1e-6)
    np.testing.assert_allclose(motion.lids, np.repeat(plan(source, track, region="lips").lids[:1], COUNT, 0), atol=1e-6)


@pytest.mark.parametrize(("region", "still"), [("eyes", measures.WIDTH), ("lips", measures.BROWS.start)])
def test_region_keeps_the_rest_of_the_face(source, portrait, region, still):
    track = make_track(mouthSmileLeft=0.5 * WAVE, browInnerUp=0.6 * WAVE)
    rest = FaceMeasures.of(MODEL, source.calibration.neutral)(portrait.expression[None])
    result = measure(source, plan(source, track, region=region))
    np.testing.assert_allclose(result[:, still], rest[0, still], atol=1e-3)


def test_absolute_motion_opens_the_mouth_as_the_driver(source):
    track = make_track(jawOpen=np.full(COUNT, 0.4))
    gap = measure(source, plan(source, track, motion="absolute"))[:, measures.GAP]
    np.testing.assert_allclose(gap, 1.08 * measure_driver(track)[:, measures.GAP], rtol=0.05)


def make_blinks(width: int, **meta) -> MotionTrack:
    track = make_track(
        **{f"eyeBlink{side}": np.where(np.arange(COUNT) % 10 == 5, 0.5, 0.0) for side in ("Left", "Right")}
    )
    return replace(track, meta=replace(track.meta, width=width, height=width, **meta))


def test_lids_of_a_video_follow_blinks_without_the_landmark_models_delay(source):
    video, still = (plan(source, make_blinks(width)).lids[:, 0] for width in (256, 0))
    assert video[5] < still[5] - 0.05  # deeper while it closes
    assert video[6] > still[6] - 1e-9  # and opens earlier
    assert np.allclose(video[[3, 4, 8, 9]], still[[3, 4, 8, 9]], atol=0.05)


def test_lids_of_speech_are_not_corrected_for_a_delay(source):
    speech = make_blinks(256, audio_hash="0" * 64)
    assert np.allclose(plan(source, speech).lids, plan(source, make_blinks(0, audio_hash="0" * 64)).lids)


def test_lids_do_not_follow_across_cuts(source):
    lids = plan(source, make_blinks(256, cuts=(5,))).lids[:, 0]
    assert lids[5] == pytest.approx(plan(source, make_blinks(0)).lids[5, 0], abs=0.02)
