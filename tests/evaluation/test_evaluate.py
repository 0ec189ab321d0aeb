"""Results measured against drivers whose difference is known."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from mimaface_cli.cache import Cache
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation import evaluate as evaluation
from mimaface_cli.evaluation import frame_features as watch
from mimaface_cli.evaluation.evaluate import as_json, evaluate
from mimaface_cli.evaluation.functional.track_curves import mouth_opening
from mimaface_cli.evaluation.measure import measure
from mimaface_cli.evaluation.measure_options import MeasureOptions
from mimaface_cli.evaluation.networks import i3d, inception, pretrained
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.face import face478
from mimaface_cli.media.reader import read_frames
from mimaface_cli.motion.track import MotionTrack
from tests.conftest import FRAMES, ROOT, read_video, write_video


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path_factory.mktemp("weights")))


@pytest.fixture(scope="module")
def driven(sample):
    """The driver's frames and times."""
    return read_video(sample.driver)


@pytest.fixture
def cache(sample):
    return Cache(sample.cache)


def folder(path, images):
    path.mkdir()
    for k, image in enumerate(images):
        Image.fromarray(image).save(path / f"{k:03d}.png")
    return path


def test_the_driver_itself_is_perfect(sample, cache):
    found, _ = measure(sample.driver, Pair(sample.driver, sample.driver, same=True), cache=cache)
    assert found.frames == found.compared == FRAMES and found.missing == 0 and not found.notes
    assert found.values["psnr"] == 100 and found.values["ssim"] == pytest.approx(1)
    for name in ("expression", "pose", "gaze", "rotation"):
        assert found.values[name] == pytest.approx(0, abs=1e-4)
    assert found.values["correlation"] == pytest.approx(1, abs=1e-6) and found.values["face_share"] == 100
    assert found.values["jitter_ratio"] == pytest.approx(1) and found.values["jitter"] > 0
    assert found.series["mouth"] == found.series["mouth_driver"] and len(found.series["psnr"]) == FRAMES
    assert found.reasons["lpips"] == "needs weights lpips_alex: mimaface weights pull lpips_alex"
    assert {"lpips", "csim", "expression_bfm09"} & set(found.values) == set()


def test_the_papers_networks_are_taken_where_they_are_installed(sample, installed_tiny_weights, tmp_path):
    found, _ = measure(sample.driver, Pair(sample.driver, sample.driver, same=True), cache=Cache(tmp_path))
    for name in ("expression", "pose", "gaze"):
        assert found.values[f"{name}_bfm09"] == pytest.approx(0, abs=1e-6)
    assert -1 <= found.values["csim"] <= 1 and "csim" in found.series
    other, _ = measure(sample.driver, Pair(sample.portrait, sample.driver, start=1), cache=Cache(tmp_path))
    assert other.values["expression_bfm09"] > 1e-4 and other.values["pose_bfm09"] > 1e-4


def test_noise_of_known_psnr_is_measured_so(driven, tmp_path):
    frames = driven[0][:4]
    sign = np.where(np.indices(frames[0].shape).sum(0) % 2, 6, -6)
    noisy = [np.clip(np.clip(f, 6, 249).astype(int) + sign, 0, 255).astype(np.uint8) for f in frames]
    truth = folder(tmp_path / "truth", [np.clip(f, 6, 249) for f in frames])
    pair = Pair(truth / "000.png", truth, same=True)
    found, _ = measure(folder(tmp_path / "noisy", noisy), pair, MeasureOptions(size=0))
    assert found.values["psnr"] == pytest.approx(
        20 * np.log10(255 / 6), abs=1e-4
    )  # decimals are cut in the series only
    assert 0.2 < found.values["ssim"] < 0.995
    assert "psnr" not in measure(tmp_path / "noisy", replace(pair, same=False))[0].values


def test_other_rates_and_lengths_are_aligned_by_time_and_said(sample, driven, cache, tmp_path):
    frames, times = driven
    half = write_video(tmp_path / "half.mp4", frames[:9:2], times[:9:2], Fraction(15000, 1001))
    found, _ = measure(half, Pair(sample.portrait, sample.driver, same=True), cache=cache)
    assert found.frames == found.compared == 5 and found.values["psnr"] > 38  # each beside its own frame
    assert found.values["rotation"] < 1.0
    said = " ".join(found.notes)
    assert "14.985 frames a second, the driver 29.97: compared by time" in said and "the first 0.33 s count" in said
    assert found.reasons["jitter_ratio"] == "result and driver have different frame rates"
    shifted, _ = measure(half, Pair(sample.portrait, sample.driver, start=1, same=True), cache=cache)
    assert shifted.values["psnr"] < found.values["psnr"] - 3 and shifted.values["rotation"] > found.values["rotation"]
    longer, _ = measure(sample.driver, Pair(sample.portrait, sample.driver, frames=6, same=True), cache=cache)
    assert longer.compared == 6 and longer.frames == FRAMES and longer.series["psnr"][6:] == [None] * 8
    assert longer.values["psnr"] == 100


def test_frames_without_a_face_are_counted_and_not_judged(sample, driven, cache, tmp_path):
    frames, times = driven
    black = [np.zeros_like(f) if 4 <= k < 9 else f for k, f in enumerate(frames)]
    result = write_video(tmp_path / "gap.mp4", black, times)
    found, _ = measure(result, Pair(sample.portrait, sample.driver), cache=cache)
    assert found.missing >= 5 and found.values["face_share"] == pytest.approx(100 * (1 - found.missing / FRAMES))
    assert "show no face" in found.notes[0] and found.values["rotation"] < 1.5
    assert [v is None for v in found.series["expression"]][4:9] == [True] * 5

    nobody = write_video(tmp_path / "nobody.mp4", [np.full_like(f, 90) for f in frames], times)
    found, _ = measure(nobody, Pair(sample.portrait, sample.driver, same=True), cache=cache)
    assert found.values["face_share"] == 0 and found.reasons["expression"] == "no face in the result"
    assert found.values["psnr"] > 5 and "expression" not in found.values and "jitter" not in found.values


def test_a_source_or_driver_without_a_face_is_refused(sample, driven, cache, tmp_path):
    wall = tmp_path / "wall.png"
    Image.new("RGB", (200, 200), (90, 90, 90)).save(wall)
    with pytest.raises(InputError, match="list line 3: .*wall.png.*shows no such face"):
        measure(sample.driver, Pair(wall, sample.driver, where="list line 3"), cache=cache)
    with pytest.raises(InputError, match="has no frame 99, only 14"):
        measure(sample.driver, Pair(sample.driver, sample.driver, source_frame=99), cache=cache)
    with pytest.raises(InputError, match="holds none of the track's 14 frames"):
        measure(sample.driver, Pair(sample.portrait, sample.driver, start=99), cache=cache)
    with pytest.raises(InputError, match="is a track"):
        measure(sample.track, Pair(sample.portrait, sample.driver), cache=cache)


def test_a_track_drives_without_pictures(sample):
    found, _ = measure(sample.driver, Pair(sample.portrait, sample.track))
    assert found.reasons["psnr"] == "the driver is a track and has no pictures"
    assert found.values["correlation"] > 0.9 and found.values["rotation"] < 12  # the photo's own pose


def test_one_picture_is_a_result(sample, driven, cache, tmp_path):
    still = tmp_path / "still.png"
    Image.fromarray(driven[0][3]).save(still)
    found, _ = measure(still, Pair(sample.portrait, still, same=True), cache=cache)
    assert (
        found.frames == 1 and found.values["psnr"] == 100 and found.values["expression"] == pytest.approx(0, abs=1e-5)
    )
    assert found.reasons["border_jump"] == "fewer than 16 frames" and "jitter" not in found.values


def test_jumps_at_clip_borders_show_with_their_period(sample, cache, tmp_path):
    draw = np.random.default_rng(0)
    wall = draw.integers(80, 120, (128, 160, 3), np.uint8)
    pictures = []
    for k in range(60):
        picture = wall + np.uint8(12 * (k // 9 % 2))
        picture[40:80, 30 + k : 60 + k] = 200
        pictures.append(picture)
    result = write_video(tmp_path / "clips.mp4", pictures, [Fraction(k, 25) for k in range(60)], Fraction(25))
    found, _ = measure(result, Pair(sample.portrait, sample.driver), cache=cache)
    assert found.values["border_period"] == 9 and found.first_border == 9
    assert found.values["border_jump"] == pytest.approx(12, rel=0.2)
    assert any("jumps every 9 frames" in note for note in found.notes)


def test_sound_and_mouth_that_come_late_by_known_times_are_found(cache, tmp_path):
    """The example's driver with noise that follows its mouth; then the sound 200 ms late; then the mouth 80 ms late."""
    shown = list(read_frames(ROOT / "examples" / "driver.mp4", max_frames=60))
    times = [Fraction(frame.pts).limit_denominator(90_000) for frame in shown]
    track = MotionTrack.load(ROOT / "examples" / "driver.npz")
    opening, pts = mouth_opening(track, face478.load()), track.pts - track.pts[0]
    frames = [
        cv2.resize(frame.image, (256, 256 * frame.image.shape[0] // frame.image.shape[1] // 2 * 2)) for frame in shown
    ]
    clock = np.arange(int(float(times[-1]) * 44_100)) / 44_100
    noise = np.random.default_rng(0).normal(0, 6000, len(clock))

    def video(name, pictures, late):
        loud = np.interp(clock - late, pts, opening - opening.min())
        sound = (loud / loud.max() * noise).astype(np.int16).tobytes()
        return write_video(tmp_path / name, pictures, times[: len(pictures)], 1 / (times[1] - times[0]), sound)

    pair = Pair(ROOT / "examples" / "portrait.jpg", video("driver.mp4", frames, 0))
    step = float(times[1] - times[0])
    late = max(1, round(0.08 / step))
    sound, _ = measure(video("sound.mp4", frames, 0.2), pair, cache=cache)
    mouth, _ = measure(video("mouth.mp4", frames[:1] * late + frames[:-late], 0), pair, cache=cache)
    assert sound.values["sync_offset"] == pytest.approx(200, abs=15)
    assert sound.values["mouth_lag"] == pytest.approx(0, abs=5)
    assert sound.values["sync_speech"] == pytest.approx(200, abs=80) and sound.values["sync_correlation"] > 0.5
    assert mouth.values["mouth_lag"] == pytest.approx(1000 * late * step, abs=15)
    assert mouth.values["sync_offset"] == pytest.approx(-1000 * late * step, abs=20)


def test_a_second_run_reads_nothing_again(sample, cache, monkeypatch, tmp_path):
    pair, place = Pair(sample.portrait, sample.driver), Cache(tmp_path)
    first = evaluate([sample.driver], [pair], cache=place)
    monkeypatch.setattr(evaluation, "measure", lambda *a, **k: pytest.fail("measured again"))
    second = evaluate([sample.driver], [pair], cache=place)
    assert second.rows[0].cached and not first.rows[0].cached
    assert as_json(second, series=True)["means"] == as_json(first, series=True)["means"]
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        evaluate([sample.driver], [pair], MeasureOptions(size=128), cache=place)
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        evaluate([sample.driver], [replace(pair, same=True)], cache=place)
    kept = next((tmp_path / "figures").glob("*.json"))
    kept.write_text(kept.read_text().replace("100.0", "NaN"))
    with pytest.raises(pytest.fail.Exception, match="measured again"):  # damaged figures are not believed
        evaluate([sample.driver], [pair], cache=place)
    assert place.size() > 0
    place.clear()
    assert not list((tmp_path / "figures").glob("*.json"))


def test_figures_of_the_whole_set_come_from_the_cache_too(sample, driven, tmp_path, monkeypatch):
    """With stand-ins for the networks: mean colors of pictures and of clips are their features."""
    known = pretrained.missing_weights
    monkeypatch.setattr(pretrained, "missing_weights", lambda name: None if name in ("fid", "fvd") else known(name))
    monkeypatch.setattr(pretrained, "weight_files", lambda name: [])
    monkeypatch.setattr(pretrained, "load_network", lambda name: None)
    monkeypatch.setattr(inception, "picture_features", lambda _, pictures: pictures.mean((1, 2)))
    monkeypatch.setattr(watch, "CLIP", 6)
    monkeypatch.setattr(i3d, "clip_features", lambda _, frames: frames.mean((0, 1, 2)))
    pairs, place = [Pair(sample.portrait, sample.driver)] * 2, Cache(tmp_path)
    results = [sample.driver, folder(tmp_path / "dark", [frame // 2 for frame in driven[0]])]
    first = evaluate(results, pairs, cache=place)
    assert first.means["fid"].value > 100 and first.means["fvd"].count == 4
    assert not any(row.cached for row in first.rows)
    with monkeypatch.context() as patched:
        patched.setattr(evaluation, "measure", lambda *a, **k: pytest.fail("measured again"))
        second = evaluate(results, pairs, cache=place)
    assert all(row.cached for row in second.rows) and second.means == first.means
    for kept in (tmp_path / "figures").glob("*.npz"):  # damaged features are not believed
        kept.write_bytes(kept.read_bytes()[:100])
    third = evaluate(results, pairs, cache=place)
    assert not any(row.cached for row in third.rows) and third.means == first.means
    place.clear()
    assert not list((tmp_path / "figures").iterdir())


def test_a_figure_that_is_no_number_is_never_kept():
    from mimaface_cli.evaluation.measure import Measured

    with pytest.raises(ValueError, match="psnr is nan"):
        Measured().put("psnr", float("nan"))


def test_one_bad_row_does_not_stop_the_others(sample, cache, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    pair = Pair(sample.portrait, sample.driver)
    found = evaluate([tmp_path / "bad.mp4", sample.driver], [pair, pair], cache=cache)
    assert len(found.failed) == 1 and "bad.mp4" in found.failed[0].error
    assert found.means["expression"].count == 1 and as_json(found)["failed"] == 1
    with pytest.raises(InputError, match="bad.mp4"):
        evaluate([tmp_path / "bad.mp4"], [pair], cache=cache)
    with pytest.raises(InputError, match="none of the 2 results"):
        evaluate([tmp_path / "bad.mp4"] * 2, [pair, pair], cache=cache)
