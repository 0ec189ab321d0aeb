"""Speech drives the diffusion engine: SadTalker's networks (released sizes, random weights) and the tiny model."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.speech import sadtalker
from mimaface_cli.speech.audio2exp import Audio2Exp
from mimaface_cli.speech.audio2pose import Audio2Pose
from tests.conftest import read_video
from tests.speech.synthetic_speech import synthesize_speech, write_wav

QUICK = ("--engine", "diffusion", "--device", "cpu", "--output-mode", "crop", "--steps", "1", "--clip-length", "12")


@pytest.fixture
def networks(tmp_path):
    """Write a file in the layout of SadTalker's single weights file."""
    torch.manual_seed(0)
    parts = {"audio2exp": Audio2Exp(), "audio2pose": Audio2Pose()}
    state = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    path = tmp_path / "sadtalker.safetensors"
    save_file(state, path)
    return path


@pytest.mark.slow
def test_audio_driver_equals_track_from_audio(
    installed_tiny_weights, run_command, sample, networks, tmp_path, monkeypatch
):
    speech = write_wav(tmp_path / "speech.wav", synthesize_speech(("", 0.08), ("ah", 0.24), ("m", 0.08), ("ee", 0.08)))
    audio = run_command(
        "audio", speech, "--space", "bfm09", "--checkpoint", networks, "--source", sample.portrait, "-o", "t.npz"
    )
    assert audio.code == 0, audio.err
    track = MotionTrack.load(tmp_path / "t.npz")
    assert (track.meta.space, len(track)) == ("bfm09", 12) and np.isfinite(track.expression).all()
    options = (*QUICK, "--no-provenance", "--json")
    from_track = run_command("animate", sample.portrait, "t.npz", "--audio", speech, "-o", "two.mkv", *options)
    assert from_track.code == 0, from_track.err

    # Other networks cannot be installed in place of the released ones, whose hash is known.
    monkeypatch.setattr(sadtalker, "find_sadtalker_weights", lambda options: networks)
    from_audio = run_command("animate", sample.portrait, speech, "-o", "one.mkv", *options)
    assert from_audio.code == 0, from_audio.err
    result = json.loads(from_audio.out)
    assert (result["engine"], result["frames"], result["audio"]) == ("diffusion", 12, "driver")
    frames = [np.stack(read_video(tmp_path / name)[0]) for name in ("one.mkv", "two.mkv")]
    assert frames[0].shape == (12, 512, 512, 3) and (frames[0] == frames[1]).all()

    # The provenance identifies the result as fully generated, unlike the composites of the mesh engine.
    marked = run_command("animate", sample.portrait, speech, "-o", "marked.mp4", *QUICK, "--json")
    assert marked.code == 0, marked.err
    inspected = run_command("inspect", "marked.mp4", "--json")
    report = json.loads(inspected.out)
    assert inspected.code == 0 and report["agree"] and report["record_matches_file"]
    assert report["identifiers"] == dict.fromkeys(
        ("metadata", "record", "watermark"), json.loads(marked.out)["provenance"]["identifier"]
    )
    content = report["record"]["content"]
    assert content["engine"] == "diffusion" and content["digital_source_type"].endswith("/trainedAlgorithmicMedia")
    assert "sadtalker.safetensors" in {entry["name"] for entry in content["weights"]} and len(content["weights"]) > 4
