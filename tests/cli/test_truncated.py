"""Videos that were cut short: commands use what they hold and say so; `--strict` refuses them."""

import json

import pytest

from mimaface_cli.motion.track import MotionTrack
from tests.media.ffmpeg import run_ffmpeg

SMALL = ("--max-size", "160", "--json")


@pytest.fixture(scope="module")
def truncated(sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("truncated") / "cut.mp4"
    run_ffmpeg("-i", sample.driver, "-c", "copy", "-movflags", "faststart", path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 7 // 10])
    return path


def notes_of_missing_frames(notes):
    return [note for note in notes if "is cut short" in note and "are missing at its end" in note]


@pytest.mark.parametrize("is_source", [False, True])
def test_frames_of_a_truncated_video_are_used_and_the_missing_ones_noted(run_command, sample, truncated, is_source):
    inputs = (truncated, sample.portrait) if is_source else (sample.portrait, truncated)
    done = run_command("animate", *inputs, "-o", "out.mp4", *SMALL)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["truncated"] is True and 4 <= result["frames"] < 14
    assert result["duration"] < (result["frames"] + 2) / 29  # the last frame is not held to the end of the whole video
    note = next(note for note in result["notes"] if "is cut short" in note)
    numbers = [int(word) for word in note.split() if word.isdecimal()]
    assert sum(numbers) == 14 and abs(numbers[0] - result["frames"]) <= 2


def test_strict_refuses_a_truncated_video(run_command, sample, truncated, tmp_path):
    done = run_command("animate", sample.portrait, truncated, "-o", "out.mp4", "--strict")
    assert done.code == 3 and "is cut short" in done.err and len(done.err.splitlines()) == 1
    assert list(tmp_path.glob("*out*")) == []
    whole = run_command("animate", sample.portrait, sample.driver, "-o", "out.mp4", "--strict", *SMALL)
    assert whole.code == 0 and json.loads(whole.out)["truncated"] is False


def test_extract_uses_a_truncated_video(run_command, truncated):
    done = run_command("extract", truncated, "-o", "cut.npz", "--json")
    result = json.loads(done.out)
    assert result["truncated"] is True and 4 <= result["frames"] < 14
    assert len(notes_of_missing_frames(result["notes"])) == 1 and "note: cut.mp4: is cut short" in done.err
    strict = run_command("extract", truncated, "-o", "strict.npz", "--strict")
    assert strict.code == 3 and "is cut short" in strict.err and len(strict.err.splitlines()) == 1
    whole = run_command("extract", "cut.npz", "--json")
    assert json.loads(whole.out)["truncated"] is False


def test_edit_uses_a_truncated_video_as_input_and_to_mix(run_command, sample, truncated, tmp_path):
    for words in ((truncated,), (sample.track, "--mix", truncated)):
        command = ("edit", *words, "-o", "out.npz", "--overwrite", "--json")
        result = json.loads(run_command(*command).out)
        assert result["truncated"] is True and len(notes_of_missing_frames(result["notes"])) == 1
        assert len(MotionTrack.load(tmp_path / "out.npz")) >= 4
        strict = run_command(*command, "--strict")
        assert strict.code == 3 and "is cut short" in strict.err


def test_evaluate_measures_truncated_videos(run_command, sample, truncated):
    inputs = ("--source", sample.portrait, "--driver", truncated)
    for result in (sample.driver, truncated, truncated):  # the last one from the cache
        row = json.loads(run_command("evaluate", result, *inputs, "--json").out)["results"][0]
        roles = [note.partition(":")[0] for note in notes_of_missing_frames(row["notes"])]
        assert row["truncated"] is True and roles == (["driver"] if result is sample.driver else ["result", "driver"])
        strict = run_command("evaluate", result, *inputs, "--strict")
        assert strict.code == 3 and "is cut short" in strict.err


def test_train_prepare_cuts_clips_from_a_truncated_video(run_command, truncated, tmp_path):
    (tmp_path / "footage").mkdir()
    (tmp_path / "footage" / "cut.mp4").write_bytes(truncated.read_bytes())
    options = ("--frames", "4", "--size", "64", "--condition", "render", "--json")
    for _ in range(2):  # the second run finds the clips
        done = run_command("train", "prepare", "footage", "-o", "data", *options)
        result = json.loads(done.out)
        assert result["videos"] == 1 and result["clips"] >= 1
        assert len(notes_of_missing_frames([result["truncated"]["cut.mp4"]])) == 1
        assert "note: cut.mp4: is cut short" in done.err
    strict = run_command("train", "prepare", "footage", "-o", "strict", *options, "--strict")
    assert strict.code == 3 and "skipped: cut.mp4:" in strict.err and "is cut short" in strict.err
