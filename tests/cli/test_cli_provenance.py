"""What a result says of itself when asked to, and what reads it."""

import json


def test_a_marked_video_and_one_with_a_comment_alone(run_command, sample, tmp_path):
    words = ("animate", sample.portrait, sample.track, "--json")
    told = run_command(*words, "-o", "marked.mp4")
    assert told.code == 0, told.err
    said = json.loads(told.out)["provenance"]
    record = json.loads((tmp_path / "marked.mp4.provenance.json").read_text())
    assert said["on"] and said["watermark"] and record["identifier"] == said["identifier"]
    assert {entry["part"] for entry in record["content"]["inputs"]} == {"source", "driver"}
    found = run_command("inspect", "marked.mp4", "--json")
    assert found.code == 0 and said["identifier"] in found.out

    plain = run_command(*words, "-o", "plain.mp4", "--no-provenance", "--log-file", "log.txt", "-q")
    assert plain.code == 0 and plain.err == "" and json.loads(plain.out)["provenance"] == {"on": False}
    assert "note: provenance is off (--no-provenance)" in (tmp_path / "log.txt").read_text()
    assert any("provenance is off" in note for note in json.loads(plain.out)["notes"])
    assert not (tmp_path / "plain.mp4.provenance.json").exists()
    found = run_command("inspect", "plain.mp4")
    assert found.code == 0 and "a comment alone: Generated" in found.out and "watermark:   none found" in found.out
    assert run_command("inspect", sample.portrait).code == 1


def test_the_same_command_makes_the_same_bytes(run_command, sample, tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        assert run_command("animate", sample.portrait, sample.track, "-o", folder / "out.mp4").code == 0
    for name in ("out.mp4", "out.mp4.provenance.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_is_missing_is_one_line(run_command, sample):
    absent = run_command("inspect", "absent.mp4")
    assert absent.code == 3 and absent.err.count("\n") == 1 and "absent.mp4" in absent.err
    alone = run_command("animate", sample.portrait, sample.track, "-o", "o.mp4", "--certificate", "absent.pem")
    assert alone.code == 2 and alone.err.count("\n") == 1 and "--private-key" in alone.err
