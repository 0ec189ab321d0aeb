"""Figures of results whose difference from the driver is known."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from mimaface_cli.cache import Cache
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.functional.track_curves import mouth_opening
from mimaface_cli.evaluation.measure import ResultFigures, measure
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.evaluation.video_pair import PairContext
from mimaface_cli.face import face478
from mimaface_cli.media.reader import read_frames
from mimaface_cli.motion.track import MotionTrack
from tests.conftest import FRAMES, ROOT, write_video
from tests.evaluation.conftest import write_images


def measure_figures(result, pair, cache=None, options=EvaluateOptions()) -> ResultFigures:
    return measure(result, PairContext(pair, options, cache))[0]


def test_driver_as_result_has_perfect_figures(sample, cache):
    figures = measure_figures(sample.driver, Pair(sample.driver, sample.driver, same=True), cache)
    assert figures.frames == figures.compared_frames == FRAMES
    assert figures.faceless_frames == 0 and not figures.notes
    assert figures.values["psnr"] == 100 and figures.values["ssim"] == pytest.approx(1)
    for name in ("expression", "pose", "gaze", "rotation"):
        assert figures.values[name] == pytest.approx(0, abs=1e-4)
    assert figures.values["correlation"] == pytest.approx(1, abs=1e-6) and figures.values["face_share"] == 100
    assert figures.values["jitter_ratio"] == pytest.approx(1) and figures.values["jitter"] > 0
    assert figures.series["mouth"] == figures.series["mouth_driver"] and len(figures.series["psnr"]) == FRAMES
    assert figures.reasons["lpips"] == "needs the lpips_alex weights; run mimaface weights pull lpips_alex"
    assert {"lpips", "csim", "expression_bfm09"} & set(figures.values) == set()


def test_metrics_use_installed_networks_of_the_paper(sample, installed_tiny_weights, tmp_path):
    figures = measure_figures(sample.driver, Pair(sample.driver, sample.driver, same=True), Cache(tmp_path))
    for name in ("expression", "pose", "gaze"):
        assert figures.values[f"{name}_bfm09"] == pytest.approx(0, abs=1e-6)
    assert -1 <= figures.values["csim"] <= 1 and "csim" in figures.series
    shifted = measure_figures(sample.driver, Pair(sample.portrait, sample.driver, start=1), Cache(tmp_path))
    assert shifted.values["expression_bfm09"] > 1e-4 and shifted.values["pose_bfm09"] > 1e-4


def test_psnr_of_known_noise_is_exact(driver_video, tmp_path):
    frames = [np.clip(frame, 6, 249) for frame in driver_video[0][:4]]
    sign = np.where(np.indices(frames[0].shape).sum(0) % 2, 6, -6)
    noisy = write_images(tmp_path / "noisy", [(frame.astype(int) + sign).astype(np.uint8) for frame in frames])
    driver = write_images(tmp_path / "driver", frames)
    pair, options = Pair(driver / "000.png", driver, same=True), EvaluateOptions(size=0)
    figures = measure_figures(noisy, pair, options=options)
    assert figures.values["psnr"] == pytest.approx(20 * np.log10(255 / 6), abs=1e-4)
    assert 0.2 < figures.values["ssim"] < 0.995
    assert "psnr" not in measure_figures(noisy, replace(pair, same=False)).values


def test_results_of_other_frame_rate_or_duration_are_aligned_by_time_with_a_note(sample, driver_video, cache, tmp_path):
    frames, times = driver_video
    half_rate = write_video(tmp_path / "half.mp4", frames[:9:2], times[:9:2], Fraction(15000, 1001))
    figures = measure_figures(half_rate, Pair(sample.portrait, sample.driver, same=True), cache)
    assert figures.frames == figures.compared_frames == 5 and figures.values["psnr"] > 38
    assert figures.values["rotation"] < 1.0
    notes = " ".join(figures.notes)
    assert "14.985 frames per second, the driver 29.97: compared by time" in notes
    assert "the first 0.33 s are compared" in notes
    assert figures.reasons["jitter_ratio"] == "result and driver have different frame rates"
    shifted = measure_figures(half_rate, Pair(sample.portrait, sample.driver, start=1, same=True), cache)
    assert shifted.values["psnr"] < figures.values["psnr"] - 3
    assert shifted.values["rotation"] > figures.values["rotation"]


def test_frames_beyond_the_driver_are_not_compared(sample, cache):
    figures = measure_figures(sample.driver, Pair(sample.portrait, sample.driver, frames=6, same=True), cache)
    assert figures.compared_frames == 6 and figures.frames == FRAMES
    assert figures.series["psnr"][6:] == [None] * 8 and figures.values["psnr"] == 100


def test_faceless_frames_are_counted_and_have_no_motion_figures(sample, driver_video, cache, tmp_path):
    frames, times = driver_video
    black = [np.zeros_like(frame) if 4 <= k < 9 else frame for k, frame in enumerate(frames)]
    result = write_video(tmp_path / "gap.mp4", black, times)
    figures = measure_figures(result, Pair(sample.portrait, sample.driver), cache)
    assert figures.faceless_frames >= 5
    assert figures.values["face_share"] == pytest.approx(100 * (1 - figures.faceless_frames / FRAMES))
    assert "show no face" in figures.notes[0] and figures.values["rotation"] < 1.5
    assert [value is None for value in figures.series["expression"]][4:9] == [True] * 5


def test_result_without_any_face_has_only_frame_figures(sample, driver_video, cache, tmp_path):
    frames, times = driver_video
    result = write_video(tmp_path / "gray.mp4", [np.full_like(frame, 90) for frame in frames], times)
    figures = measure_figures(result, Pair(sample.portrait, sample.driver, same=True), cache)
    assert figures.values["face_share"] == 0 and figures.reasons["expression"] == "no face in the result"
    assert figures.values["psnr"] > 5 and not {"expression", "jitter", "mouth_lag"} & set(figures.values)


def test_measure_refuses_unusable_sources_spans_and_results(sample, cache, tmp_path):
    wall = tmp_path / "wall.png"
    Image.new("RGB", (200, 200), (90, 90, 90)).save(wall)
    with pytest.raises(InputError, match=r"list line 3: .*wall.png.*shows no such face"):
        measure_figures(sample.driver, Pair(wall, sample.driver, where="list line 3"), cache)
    with pytest.raises(InputError, match="has no frame 99, only 14"):
        measure_figures(sample.driver, Pair(sample.driver, sample.driver, source_frame=99), cache)
    with pytest.raises(InputError, match="of the track's 14 frames"):
        measure_figures(sample.driver, Pair(sample.portrait, sample.driver, start=99), cache)
    with pytest.raises(InputError, match="is a motion track"):
        measure_figures(sample.track, Pair(sample.portrait, sample.driver), cache)


def test_track_as_driver_has_no_frames_to_compare(sample):
    figures = measure_figures(sample.driver, Pair(sample.portrait, sample.track))
    assert figures.reasons["psnr"] == "the driver is a track and has no frames"
    assert figures.values["correlation"] > 0.9 and figures.values["rotation"] < 12  # the pose of the photo


def test_single_image_can_be_measured(sample, driver_video, cache, tmp_path):
    still = tmp_path / "still.png"
    Image.fromarray(driver_video[0][3]).save(still)
    figures = measure_figures(still, Pair(sample.portrait, still, same=True), cache)
    assert figures.frames == 1 and figures.values["psnr"] == 100
    assert figures.values["expression"] == pytest.approx(0, abs=1e-5)
    assert figures.reasons["border_jump"] == "fewer than 16 frames" and "jitter" not in figures.values


def test_clip_borders_are_reported_with_their_period(sample, cache, tmp_path):
    wall = np.random.default_rng(0).integers(80, 120, (128, 160, 3), np.uint8)
    frames = []
    for k in range(60):
        frame = wall + np.uint8(12 * (k // 9 % 2))
        frame[40:80, 30 + k : 60 + k] = 200
        frames.append(frame)
    result = write_video(tmp_path / "clips.mp4", frames, [Fraction(k, 25) for k in range(60)], Fraction(25))
    figures = measure_figures(result, Pair(sample.portrait, sample.driver), cache)
    assert figures.values["border_period"] == 9 and figures.first_border == 9
    assert figures.values["border_jump"] == pytest.approx(12, rel=0.2)
    assert any("jumps every 9 frames" in note for note in figures.notes)


def test_lags_of_audio_and_mouth_are_measured(cache, tmp_path):
    """The result is the driver with a mouth that is about 80 ms late, and audio that is 200 ms late.

    The audio is noise whose loudness follows the driver's mouth.
    """
    decoded = list(read_frames(ROOT / "examples" / "driver.mp4", max_frames=48))
    times = [Fraction(frame.pts).limit_denominator(90_000) for frame in decoded]
    track = MotionTrack.load(ROOT / "examples" / "driver.npz")
    opening, pts = mouth_opening(track, face478.load()), track.pts - track.pts[0]
    height, width = decoded[0].image.shape[:2]
    frames = [cv2.resize(frame.image, (256, 256 * height // width // 2 * 2)) for frame in decoded]
    clock = np.arange(int(float(times[-1]) * 44_100)) / 44_100
    noise = np.random.default_rng(0).normal(0, 6000, len(clock))
    interval = times[1] - times[0]

    def write(name, video, lateness):
        loudness = np.interp(clock - lateness, pts, opening - opening.min())
        audio = (loudness / loudness.max() * noise).astype(np.int16).tobytes()
        return write_video(tmp_path / name, video, times, 1 / interval, audio)

    pair = Pair(ROOT / "examples" / "portrait.jpg", write("driver.mp4", frames, 0))
    late_frames = max(1, round(0.08 / float(interval)))
    lateness = 1000 * late_frames * float(interval)
    late_video = frames[:1] * late_frames + frames[:-late_frames]
    figures = measure_figures(write("result.mp4", late_video, 0.2), pair, cache)
    assert figures.values["mouth_lag"] == pytest.approx(lateness, abs=15)
    assert figures.values["sync_offset"] == pytest.approx(200 - lateness, abs=20)
    assert figures.values["sync_speech"] == pytest.approx(200 - lateness, abs=80)
    assert figures.values["sync_correlation"] > 0.5


def test_result_figures_refuse_nan():
    with pytest.raises(ValueError, match="psnr is nan"):
        ResultFigures().add("psnr", float("nan"), "")
