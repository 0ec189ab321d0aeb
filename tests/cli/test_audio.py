"""`mimaface audio`, and an audio file as the driver of `animate`."""

import json
import wave

import av
import numpy as np
import pytest

from mimaface_cli.motion.track import MotionTrack
from tests.conftest import read_video, tree
from tests.speech.synthetic_speech import synthesize_speech, write_wav

PHONEMES = [("", 0.3), ("ah", 0.4), ("m", 0.2), ("ee", 0.3), ("oo", 0.4), ("", 0.33)]


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return write_wav(tmp_path_factory.mktemp("speech") / "speech.wav", synthesize_speech(*PHONEMES))


def test_audio_track_drives_animate(run_mimaface, sample, speech, tmp_path):
    first = run_mimaface("audio", speech, "-o", "speech.npz", "--json", "--quiet")
    assert first.returncode == 0 and not first.stderr
    values = json.loads(first.stdout)
    assert values["space"] == "face478" and values["frames"] == 49 and values["frame_rate"] == "25/1"
    second = run_mimaface(
        "animate", sample.portrait, "speech.npz", "--audio", speech, "-o", "out.mp4", "--max-size", "192", "--json"
    )
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["frames"] == 49
    assert len(read_video(tmp_path / "out.mp4")[0]) == 49


def test_animate_with_audio_driver_keeps_audio_samples(run_command, sample, speech, tmp_path):
    result = run_command("animate", sample.portrait, speech, "-o", "out.mkv", "--max-size", "192", "--json")
    assert result.code == 0, result.err
    values = json.loads(result.out)
    assert values["audio"] == "driver" and values["audio_copied"] is True and not values["missing_frames"]
    frames, times = read_video(tmp_path / "out.mkv")
    with wave.open(str(speech)) as file:
        seconds = file.getnframes() / file.getframerate()
        expected = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert 0 <= float(times[-1]) + 1 / 25 - seconds < 1 / 25 + 1e-6
    with av.open(str(tmp_path / "out.mkv")) as file:
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(audio=0)])
    assert np.array_equal(samples, expected)
    again = run_command("animate", sample.portrait, speech, "-o", "again.mkv", "--max-size", "192", "--json")
    assert json.loads(again.out)["driver_cached"] is True
    motion = np.abs(np.diff([frame.mean((0, 1)) for frame in frames], axis=0)).max()
    assert motion > 0.02


def test_pose_from_takes_head_motion_of_track(run_command, sample, speech, tmp_path):
    result = run_command("audio", speech, "-o", "speech.npz", "--pose-from", sample.track, "--seed", "5")
    assert result.code == 0 and "speech.npz: 49 frames" in result.err
    pose = MotionTrack.load(tmp_path / "speech.npz").pose
    assert abs(float(pose[:, 1].max()) - 0.15) < 0.01


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("audio", "PHOTO", "-o", "a.npz"), 3, "has no audio"),
        (("audio", "silent.mp4", "-o", "a.npz"), 3, "has no audio"),
        (("audio", "empty.wav", "-o", "a.npz"), 3, "is empty"),
        (("audio", "zero.wav", "-o", "a.npz"), 3, "0 seconds"),
        (("audio", "none.wav", "-o", "a.npz"), 3, "no such file"),
        (("audio", "text.wav", "-o", "a.npz"), 3, "not a readable video or audio file"),
        (("audio", ".", "-o", "a.npz"), 3, "has no audio"),
        (("audio", "TRACK", "-o", "a.npz"), 3, "is already a track"),
        (("audio", "SPEECH", "-o", "a.wav"), 4, "written as .npz"),
        (("audio", "SPEECH", "-o", "there.npz"), 4, "--overwrite"),
        (
            ("audio", "SPEECH", "-o", "a.npz", "--pose-style", "46", "--space", "bfm09"),
            2,
            "--pose-style: 46 is out of range",
        ),
        (("audio", "SPEECH", "-o", "a.npz", "--space", "bfm09"), 5, "mimaface weights pull"),
        (("audio", "SPEECH", "-o", "a.npz", "--space", "bfm09", "--checkpoint", "no.safetensors"), 5, "no such file"),
        (("audio", "SPEECH", "-o", "a.npz", "--pose-from", "none.npz"), 3, "no such file"),
        (("animate", "PHOTO", "zero.wav", "-o", "a.mp4"), 3, "0 seconds"),
    ],
)
def test_bad_input_prints_one_error_line(run_command, sample, speech, tmp_path, monkeypatch, words, code, text):
    monkeypatch.setenv("MIMAFACE_WEIGHTS_DIR", str(tmp_path / "weights"))
    (tmp_path / "empty.wav").touch()
    write_wav(tmp_path / "zero.wav", np.zeros(0))
    (tmp_path / "text.wav").write_text("not audio\n" * 100)
    (tmp_path / "there.npz").write_bytes(b"")
    if "silent.mp4" in words:
        from tests.conftest import write_video

        write_video(tmp_path / "silent.mp4", [np.zeros((64, 64, 3), np.uint8)] * 5, [k / 25 for k in range(5)])
    placeholders = {"PHOTO": sample.portrait, "TRACK": sample.track, "SPEECH": speech}
    before = tree(tmp_path)
    result = run_command(*(placeholders.get(word, word) for word in words))
    assert result.code == code, result.err
    assert text in result.err and result.err.startswith("mimaface: ") and result.err.count("\n") == 1 and not result.out
    assert tree(tmp_path) == before
