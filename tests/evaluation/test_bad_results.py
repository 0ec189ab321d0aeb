"""Results and drivers that are hard to measure: all black, several faces, another length, another size."""

import cv2
import numpy as np
import pytest

from mimaface_cli.evaluation.evaluate import evaluate, evaluate_pairs
from mimaface_cli.evaluation.evaluate_options import EvaluateOptions
from mimaface_cli.evaluation.pair_lists import Pair
from tests.evaluation.conftest import write_images


def test_all_black_result_has_reasons_instead_of_motion(sample, driver_video, cache, tmp_path):
    black = write_images(tmp_path / "black", [np.zeros((256, 256, 3), np.uint8)] * 6)
    evaluation = evaluate(black, sample.driver, sample.driver, cache=cache)
    assert evaluation.means["face_share"].value == 0
    for name in (
        "expression",
        "akd",
        "lmd",
        "pose_following",
        "lip_closure",
        "blink_recall",
        "gaze_angle",
        "background",
    ):
        assert name not in evaluation.means and "no face" in evaluation.reasons[name]
    assert evaluation.means["psnr"].value < 12 and 0.2 < evaluation.means["l1"].value < 1
    assert evaluation.means["warp_error"].value == 0
    assert any("show no face" in note for note in evaluation.rows[0].figures.notes)


def test_result_with_several_faces_is_measured_on_the_selected_one(sample, driver_video, cache, tmp_path):
    frames = driver_video[0][::2]
    moving = [cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA) for frame in frames]
    still = moving[0]
    result = write_images(tmp_path / "two", [np.hstack([frame, still]) for frame in moving])
    values = {}
    for face in ("left", "right"):
        evaluation = evaluate(result, sample.portrait, sample.driver, EvaluateOptions(face=face), cache=cache)
        values[face] = evaluation.rows[0].figures.values
        assert (
            "2 faces are visible" in evaluation.rows[0].figures.notes[0] and face in evaluation.rows[0].figures.notes[0]
        )
    assert values["left"]["jitter"] > 2 * values["right"]["jitter"]
    both = evaluate(result, sample.portrait, sample.driver, EvaluateOptions(face="3"), cache=cache)
    assert both.means["face_share"].value == 0
    assert any("no face number 3 from the left" in note for note in both.rows[0].figures.notes)


def test_failed_rows_and_black_rows_do_not_stop_the_others(sample, cache, tmp_path):
    black = write_images(tmp_path / "black", [np.zeros((128, 128, 3), np.uint8)] * 3)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    pairs = [Pair(sample.portrait, sample.driver)] * 3
    evaluation = evaluate_pairs([black, tmp_path / "broken.mp4", sample.driver], pairs, cache=cache)
    assert evaluation.means["expression"].count == 1 and len(evaluation.failed_rows) == 1
    assert evaluation.means["face_share"].value == pytest.approx(50)


def test_two_measurements_give_the_same_figures_bit_for_bit(sample):
    first, second = (evaluate(sample.driver, sample.driver, sample.driver) for _ in range(2))
    assert not second.rows[0].is_cached
    assert first.rows[0].figures.values == second.rows[0].figures.values
    assert first.rows[0].figures.series == second.rows[0].figures.series
    assert first.means == second.means
