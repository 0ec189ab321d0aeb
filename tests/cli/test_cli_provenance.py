"""What a result says of itself when asked to, and what reads it."""

import json

import pytest


def test_a_marked_video_and_one_with_a_comment_alone(command, made, tmp_path):
    words = ("animate", made.portrait, made.track, "--json")
    told = command(*words, "-o", "marked.mp4", "--provenance")
    assert told.code == 0, told.err
    said = json.loads(told.out)["provenance"]
    record = json.loads((tmp_path / "marked.mp4.provenance.json").read_text())
    assert said["on"] and said["watermark"] and record["identifier"] == said["identifier"]
    assert {entry["part"] for entry in record["content"]["inputs"]} == {"source", "driver"}
    found = command("inspect", "marked.mp4", "--json")
    assert found.code == 0 and said["identifier"] in found.out

    plain = command(*words, "-o", "plain.mp4")
    assert plain.code == 0 and json.loads(plain.out)["provenance"] == {"on": False}
    assert not (tmp_path / "plain.mp4.provenance.json").exists()
    found = command("inspect", "plain.mp4")
    assert found.code == 0 and "a comment alone: Generated" in found.out and "watermark:   none found" in found.out
    assert command("inspect", made.portrait).code == 1


def test_the_same_command_makes_the_same_bytes(command, made, tmp_path):
    for name in ("a", "b"):
        assert command("animate", made.portrait, made.track, "-o", f"{name}/out.mp4".replace("/", "_"), "--provenance").code == 0
    assert (tmp_path / "a_out.mp4").read_bytes() == (tmp_path / "b_out.mp4").read_bytes()


@pytest.mark.parametrize("words", [("inspect", "absent.mp4"), ("animate", "PHOTO", "TRACK", "-o", "o.mp4", "--certificate", "absent.pem")])
def test_what_is_missing_is_one_line(command, made, words):
    stand = {"PHOTO": made.portrait, "TRACK": made.track}
    done = command(*(stand.get(word, word) for word in words))
    assert done.code in (2, 3) and len(done.err.splitlines()) == 1 and "absent" in done.err or "--private-key" in done.err
