"""Videos that were cut short: `animate` uses what they hold and says so; `--strict` refuses them."""

import json

import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.media.reader import probe
from tests.media.ffmpeg import run_ffmpeg

SMALL = ("--max-size", "160", "--json")


@pytest.fixture(scope="module")
def truncated(sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("truncated") / "cut.mp4"
    run_ffmpeg("-i", sample.driver, "-c", "copy", "-movflags", "faststart", path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 7 // 10])
    return path


@pytest.mark.parametrize("is_source", [False, True])
def test_frames_of_a_truncated_video_are_used_and_the_missing_ones_noted(run_command, sample, truncated, is_source):
    inputs = (truncated, sample.portrait) if is_source else (sample.portrait, truncated)
    done = run_command("animate", *inputs, "-o", "out.mp4", *SMALL)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["truncated"] is True and 4 <= result["frames"] < 14
    note = next(note for note in result["notes"] if "is cut short" in note)
    numbers = [int(word) for word in note.split() if word.isdecimal()]
    assert sum(numbers) == 14 and abs(numbers[0] - result["frames"]) <= 2


def test_strict_refuses_a_truncated_video(run_command, sample, truncated, tmp_path):
    done = run_command("animate", sample.portrait, truncated, "-o", "out.mp4", "--strict")
    assert done.code == 3 and "is cut short" in done.err and len(done.err.splitlines()) == 1
    assert list(tmp_path.glob("*out*")) == []
    whole = run_command("animate", sample.portrait, sample.driver, "-o", "out.mp4", "--strict", *SMALL)
    assert whole.code == 0 and json.loads(whole.out)["truncated"] is False


def test_description_of_a_truncated_video_can_be_refused(truncated):
    """Evaluation, training and extraction do so: their results are numbers, which carry no note."""
    with pytest.raises(InputError, match="is cut short"):
        probe(truncated).require_complete()
