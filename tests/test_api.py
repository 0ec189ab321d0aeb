"""The public Python API: its names, the cost of importing it, and its typical uses."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mimaface_cli
from mimaface_cli import (
    AnimateOptions,
    EditOptions,
    EncodeOptions,
    InputError,
    MotionTrack,
    SpeechOptions,
    animate,
    edit,
    edit_track,
    evaluate,
    extract,
    load_portrait,
    load_track,
    render_frames,
    speak,
)
from tests.conftest import FRAMES

HEAVY = ("torch", "mediapipe", "cv2", "numpy", "av", "transformers", "diffusers")


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True).stdout


def test_all_lists_every_public_name_and_each_can_be_loaded():
    assert sorted(mimaface_cli.__all__) == sorted(mimaface_cli._MODULE_OF)
    assert all(getattr(mimaface_cli, name) is not None for name in mimaface_cli.__all__)
    assert set(mimaface_cli.__all__) <= set(dir(mimaface_cli))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"has no attribute 'reenact'"):
        mimaface_cli.reenact  # noqa: B018  # the access is the test


def test_package_is_marked_as_typed():
    assert Path(mimaface_cli.__file__).with_name("py.typed").is_file()


def test_importing_the_package_loads_nothing_heavy():
    code = f"import json, sys, mimaface_cli; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    assert json.loads(run_python(code)) == []


def test_importing_option_dataclasses_loads_nothing_heavy():
    code = f"""
import json, sys
from mimaface_cli import (AnimateOptions, DiffusionOptions, EditOptions, EncodeOptions, EvaluateOptions, ExtractOptions,
                          ProvenanceOptions, RetargetOptions, SpeechOptions, Trim, WeightsError)
print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
"""
    assert json.loads(run_python(code)) == []


def test_public_functions_and_classes_have_docstrings():
    undocumented = [name for name in mimaface_cli.__all__ if not getattr(mimaface_cli, name).__doc__]
    assert undocumented == []


def test_animate_reports_progress_and_returns_what_it_wrote(sample, tmp_path):
    stages = []
    result = animate(
        str(sample.portrait),
        str(sample.track),
        str(tmp_path / "out.mp4"),
        AnimateOptions(encode=EncodeOptions(preset="ultrafast")),
        progress=lambda stage, done, total: stages.append((stage, done, total)),
    )
    assert result.output.is_file() and result.frames == FRAMES
    assert stages[-1] == ("animating", FRAMES, FRAMES)


def test_one_portrait_is_animated_by_many_drivers_without_loading_it_again(sample, monkeypatch):
    portrait = load_portrait(sample.portrait)
    monkeypatch.setattr("mimaface_cli.apps.animation_setup.load_portrait", None)
    for track in (load_track(sample.track), MotionTrack.neutral(2, "face478")):
        assert len(list(render_frames(portrait, track).frames)) == len(track)


def test_track_edited_in_memory_is_rendered(sample):
    track = load_track(sample.track)
    options = AnimateOptions(max_size=128)
    frames, edited_frames = (
        list(render_frames(sample.portrait, motion, options).frames)
        for motion in (track, edit_track(track, EditOptions(scale=("jawOpen=0",))))
    )
    assert len(frames) == len(edited_frames) == FRAMES
    assert (frames[FRAMES // 2] != edited_frames[FRAMES // 2]).any()


def test_edit_track_leaves_its_input_unchanged(sample):
    track = load_track(sample.track)
    before = track.pose.copy()
    edited = edit_track(track, EditOptions(add=("yaw=5",)))
    assert np.array_equal(track.pose, before) and not np.array_equal(edited.pose, before)
    with pytest.raises(InputError, match=r"^mix: "):
        edit_track(track, EditOptions(mix=sample.track))


def test_extract_and_evaluate_work_from_python(sample, tmp_path):
    driver = extract(str(sample.driver), str(tmp_path / "track.npz"))
    assert len(driver.track) == FRAMES and (tmp_path / "track.npz").is_file()
    evaluation = evaluate(sample.driver, sample.portrait, sample.driver)
    assert evaluation.means["correlation"].value == pytest.approx(1.0)


def test_speak_and_edit_work_from_python(sample, tmp_path):
    speaker = speak(str(sample.audio), str(tmp_path / "speech.npz"), SpeechOptions(seed=3))
    assert speaker.track.duration == pytest.approx(1.0, abs=0.05)
    result = edit(tmp_path / "speech.npz", tmp_path / "louder.npz", EditOptions(scale=("jawOpen=1.5",)))
    assert result.output.is_file()


def test_errors_carry_the_name_of_the_option():
    with pytest.raises(InputError) as caught:
        replace(AnimateOptions(), max_size=3)
    assert caught.value.field == "max_size" and str(caught.value).startswith("max_size: ")
