"""Provenance marks on results of `animate`, and how to switch them off."""

import json


def test_no_provenance_leaves_only_comment(run_command, sample, tmp_path):
    words = ("animate", sample.portrait, sample.track, "--json")
    result = run_command(*words, "-o", "marked.mp4")
    assert result.code == 0, result.err
    provenance = json.loads(result.out)["provenance"]
    record = json.loads((tmp_path / "marked.mp4.provenance.json").read_text())
    assert provenance["on"] and provenance["watermark"] and record["identifier"] == provenance["identifier"]
    assert {entry["part"] for entry in record["content"]["inputs"]} == {"source", "driver"}
    report = run_command("inspect", "marked.mp4", "--json")
    assert report.code == 0 and provenance["identifier"] in report.out

    plain = run_command(*words, "-o", "plain.mp4", "--no-provenance", "--log-file", "log.txt", "-q")
    assert plain.code == 0 and plain.err == "" and json.loads(plain.out)["provenance"] == {"on": False}
    assert "note: provenance is off" in (tmp_path / "log.txt").read_text()
    assert any("provenance is off" in note for note in json.loads(plain.out)["notes"])
    assert not (tmp_path / "plain.mp4.provenance.json").exists()
    report = run_command("inspect", "plain.mp4")
    assert report.code == 0 and "a comment only: Generated" in report.out and "watermark:   none" in report.out
    assert run_command("inspect", sample.portrait).code == 1


def test_same_command_writes_same_bytes(run_command, sample, tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        assert run_command("animate", sample.portrait, sample.track, "-o", folder / "out.mp4").code == 0
    for name in ("out.mp4", "out.mp4.provenance.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_missing_file_prints_one_error_line(run_command, sample):
    missing = run_command("inspect", "absent.mp4")
    assert missing.code == 3 and missing.err.count("\n") == 1 and "absent.mp4" in missing.err
    incomplete = run_command("animate", sample.portrait, sample.track, "-o", "o.mp4", "--certificate", "absent.pem")
    assert incomplete.code == 2 and incomplete.err.count("\n") == 1 and "--private-key" in incomplete.err
