"""Sound drives the paper's engine: SadTalker's networks (of the released sizes, random) into the tiny model."""

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
    """A file in the layout of SadTalker's single one."""
    torch.manual_seed(0)
    parts = {"audio2exp": Audio2Exp(), "audio2pose": Audio2Pose()}
    state = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    path = tmp_path / "sadtalker.safetensors"
    save_file(state, path)
    return path


def test_a_photo_speaks_in_one_command_and_in_two(
    installed_tiny_weights, run_command, sample, networks, tmp_path, monkeypatch
):
    speech = write_wav(tmp_path / "speech.wav", synthesize_speech(("", 0.08), ("ah", 0.24), ("m", 0.08), ("ee", 0.08)))
    two = run_command(
        "audio", speech, "--space", "bfm09", "--checkpoint", networks, "--source", sample.portrait, "-o", "t.npz"
    )
    assert two.code == 0, two.err
    track = MotionTrack.load(tmp_path / "t.npz")
    assert (track.meta.space, len(track)) == ("bfm09", 12) and np.isfinite(track.expression).all()
    bare = (*QUICK, "--no-provenance", "--json")
    two = run_command("animate", sample.portrait, "t.npz", "--audio", speech, "-o", "two.mkv", *bare)
    assert two.code == 0, two.err

    # There is no way to install other networks under the released ones' name: their hash is known.
    monkeypatch.setattr(sadtalker, "find_sadtalker_weights", lambda options: networks)
    one = run_command("animate", sample.portrait, speech, "-o", "one.mkv", *bare)
    assert one.code == 0, one.err
    said = json.loads(one.out)
    assert (said["engine"], said["frames"], said["audio"]) == ("diffusion", 12, "driver")
    frames = [np.stack(read_video(tmp_path / name)[0]) for name in ("one.mkv", "two.mkv")]
    assert frames[0].shape == (12, 512, 512, 3) and (frames[0] == frames[1]).all()

    # As it is by default: marked, and told apart from the mesh engine's composites.
    marked = run_command("animate", sample.portrait, speech, "-o", "marked.mp4", *QUICK, "--json")
    assert marked.code == 0, marked.err
    seen = run_command("inspect", "marked.mp4", "--json")
    found = json.loads(seen.out)
    assert seen.code == 0 and found["agree"] and found["record_matches_file"]
    assert found["identifiers"] == dict.fromkeys(
        ("metadata", "record", "watermark"), json.loads(marked.out)["provenance"]["identifier"]
    )
    content = found["record"]["content"]
    assert content["engine"] == "diffusion" and content["digital_source_type"].endswith("/trainedAlgorithmicMedia")
    assert "sadtalker.safetensors" in {entry["name"] for entry in content["weights"]} and len(content["weights"]) > 4
