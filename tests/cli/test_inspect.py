"""`mimaface inspect`: reads the provenance that `animate` and `edit` write."""

import json
import shutil

import av
import pytest
from PIL import Image

from tests.conftest import tree


def test_inspect_recognizes_animated_video(run_mimaface, sample, tmp_path):
    animated = run_mimaface("animate", sample.portrait, sample.track, "-o", "out.mp4", "--json", "-q")
    assert animated.returncode == 0, animated.stderr
    result = json.loads(animated.stdout)["provenance"]
    assert result["on"] and result["watermark"] and result["record"] == "out.mp4.provenance.json"

    inspected = run_mimaface("inspect", "out.mp4", "--json")
    assert inspected.returncode == 0 and inspected.stderr == ""
    report = json.loads(inspected.stdout)
    assert report["generated_by_mimaface"] and report["agree"] and report["record_matches_file"]
    assert report["identifiers"] == dict.fromkeys(("metadata", "record", "watermark"), result["identifier"])
    assert [entry["part"] for entry in report["record"]["content"]["inputs"]] == ["source", "driver"]

    # The same command gives the same bytes.
    assert run_mimaface("animate", sample.portrait, sample.track, "-o", "again.mp4").returncode == 0
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "out.mp4").read_bytes()

    # Without metadata and record, the watermark identifies the frames.
    frames = tmp_path / "frames"
    frames.mkdir()
    with av.open(str(tmp_path / "out.mp4")) as file:
        for k, frame in enumerate(file.decode(video=0)):
            Image.fromarray(frame.to_ndarray(format="rgb24")).save(frames / f"{k}.png")
    inspected = run_mimaface("inspect", frames)
    assert inspected.returncode == 0 and f"watermark:   {result['identifier']}" in inspected.stdout
    assert "metadata:    none" in inspected.stdout and "record:      none" in inspected.stdout


@pytest.mark.parametrize(
    ("name", "options"), [("a.png", ("--set", "yaw=10")), ("a.jpg", ("--grid", "yaw=-10:10:3", "--cell", "128"))]
)
def test_inspect_recognizes_edited_image(run_command, sample, tmp_path, name, options):
    result = run_command("edit", sample.portrait, "-o", name, *options, "--json", "-q")
    assert result.code == 0, result.err
    identifier = json.loads(result.out)["provenance"]["identifier"]
    inspected = run_command("inspect", name, "--json")
    assert inspected.code == 0 and set(json.loads(inspected.out)["identifiers"].values()) == {identifier}
    assert set(json.loads(inspected.out)["identifiers"]) == {"metadata", "record", "watermark"}
    # The watermark of a result replaces that of its input.
    if name == "a.png":
        again = run_command("edit", name, "-o", "b.png", "--set", "pitch=8", "--json", "-q")
        assert again.code == 0, again.err
        inspected = json.loads(run_command("inspect", "b.png", "--json").out)
        assert inspected["generated_by_mimaface"] and inspected["record_matches_file"] and inspected["agree"]
        assert json.loads(again.out)["provenance"]["identifier"] == inspected["identifiers"]["watermark"]


def test_inspect_exits_with_1_for_other_files(run_command, sample, tmp_path):
    shutil.copy(sample.portrait, tmp_path / "photo.jpg")
    before = tree(tmp_path)
    inspected = run_command("inspect", "photo.jpg")
    assert inspected.code == 1 and inspected.err == "" and "none" in inspected.out
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("text.mp4", "absent.mp4"):
        inspected = run_command("inspect", name)
        assert inspected.code == 3 and inspected.err.count("\n") == 1
    (tmp_path / "text.mp4").unlink()
    assert tree(tmp_path) == before


def test_existing_record_is_not_replaced(run_command, sample, tmp_path):
    (tmp_path / "out.mp4.provenance.json").write_text("existing")
    before = tree(tmp_path)
    result = run_command("animate", sample.portrait, sample.track, "-o", "out.mp4")
    assert result.code == 4 and "exists already. Set --overwrite" in result.err and tree(tmp_path) == before
    for words in (("--certificate", "none.pem", "--private-key", "none.pem"), ("--certificate", "none.pem")):
        result = run_command("animate", sample.portrait, sample.track, "-o", "new.mp4", *words)
        assert result.code in (2, 3, 5) and result.err.count("\n") == 1 and "--certificate" in result.err
        assert tree(tmp_path) == before


def test_signed_source_becomes_ingredient(run_command, sample, tmp_path):
    """A signed result is the source of another; if its bytes were changed, its credentials are reported as broken."""
    pytest.importorskip("c2pa", reason="content credentials need the extra c2pa")
    from tests.provenance.certificates import NAME, make_certificate

    chain, key = make_certificate(tmp_path)
    words = ("--certificate", chain, "--private-key", key, "--json")
    result = run_command("edit", sample.portrait, "-o", "first.jpg", "--set", "yaw=5", *words)
    assert result.code == 0, result.err
    report = json.loads(run_command("inspect", "first.jpg", "--json").out)
    assert report["credentials"]["state"] == "valid" and report["credentials"]["signer"] == NAME and report["agree"]

    data = bytearray((tmp_path / "first.jpg").read_bytes())
    data[-3] ^= 1  # in the last pixels
    (tmp_path / "broken.jpg").write_bytes(data)
    for source, is_warned in (("first.jpg", False), ("broken.jpg", True)):
        result = run_command("animate", source, sample.track, "-o", f"{source}.mp4", *words)
        assert result.code == 0, result.err
        assert ("note: warning: broken.jpg: its content credentials are broken" in result.err) is is_warned
        ingredients = json.loads(run_command("inspect", f"{source}.mp4", "--json").out)["credentials"]["ingredients"]
        ingredient = next(entry for entry in ingredients if entry["title"] == source)
        assert ingredient["credentials"] and bool(ingredient["faults"]) is is_warned
    result = run_command("animate", sample.portrait, sample.track, "-o", "out.mkv", *words)
    assert result.code == 0 and "note: .mkv cannot contain content credentials" in result.err
    assert not list(tmp_path.glob(".*")) and not list(tmp_path.glob("*.signed*"))
