"""Provenance as users meet it: written with every result, read back by `mimaface inspect`."""

import json
import shutil

import av
import pytest
from PIL import Image

from tests.conftest import tree


def test_animate_then_inspect(run_mimaface, sample, tmp_path):
    done = run_mimaface("animate", sample.portrait, sample.track, "-o", "out.mp4", "--json", "-q")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["provenance"]
    assert said["on"] and said["watermark"] and said["record"] == "out.mp4.provenance.json"

    seen = run_mimaface("inspect", "out.mp4", "--json")
    assert seen.returncode == 0 and seen.stderr == ""
    found = json.loads(seen.stdout)
    assert found["generated_by_mimaface"] and found["agree"] and found["record_matches_file"]
    assert found["identifiers"] == dict.fromkeys(("metadata", "record", "watermark"), said["identifier"])
    assert [entry["part"] for entry in found["record"]["content"]["inputs"]] == ["source", "driver"]

    # The same command gives the same bytes.
    assert run_mimaface("animate", sample.portrait, sample.track, "-o", "again.mp4").returncode == 0
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "out.mp4").read_bytes()

    # Without its metadata and its record the picture still tells.
    frames = tmp_path / "frames"
    frames.mkdir()
    with av.open(str(tmp_path / "out.mp4")) as file:
        for k, frame in enumerate(file.decode(video=0)):
            Image.fromarray(frame.to_ndarray(format="rgb24")).save(frames / f"{k}.png")
    seen = run_mimaface("inspect", frames)
    assert seen.returncode == 0 and f"watermark:   {said['identifier']}" in seen.stdout
    assert "metadata:    none" in seen.stdout and "record:      none" in seen.stdout


@pytest.mark.parametrize(
    "name, more", [("a.png", ("--set", "yaw=10")), ("a.jpg", ("--grid", "yaw=-10:10:3", "--cell", "128"))]
)
def test_edit_then_inspect(run_command, sample, tmp_path, name, more):
    said = run_command("edit", sample.portrait, "-o", name, *more, "--json", "-q")
    assert said.code == 0, said.err
    made_as = json.loads(said.out)["provenance"]["identifier"]
    seen = run_command("inspect", name, "--json")
    assert seen.code == 0 and set(json.loads(seen.out)["identifiers"].values()) == {made_as}
    assert set(json.loads(seen.out)["identifiers"]) == {"metadata", "record", "watermark"}
    # What is made of it is named by its own mark, not by the one that the picture already had.
    if name == "a.png":
        again = run_command("edit", name, "-o", "b.png", "--set", "pitch=8", "--json", "-q")
        assert again.code == 0, again.err
        seen = json.loads(run_command("inspect", "b.png", "--json").out)
        assert seen["generated_by_mimaface"] and seen["record_matches_file"] and seen["agree"]
        assert json.loads(again.out)["provenance"]["identifier"] == seen["identifiers"]["watermark"]


def test_files_that_are_none_of_ours(run_command, sample, tmp_path):
    shutil.copy(sample.portrait, tmp_path / "photo.jpg")
    before = tree(tmp_path)
    seen = run_command("inspect", "photo.jpg")
    assert seen.code == 1 and seen.err == "" and "none" in seen.out
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("text.mp4", "absent.mp4"):
        seen = run_command("inspect", name)
        assert seen.code == 3 and seen.err.count("\n") == 1
    (tmp_path / "text.mp4").unlink()
    assert tree(tmp_path) == before


def test_a_record_in_the_way(run_command, sample, tmp_path):
    (tmp_path / "out.mp4.provenance.json").write_text("mine")
    before = tree(tmp_path)
    said = run_command("animate", sample.portrait, sample.track, "-o", "out.mp4")
    assert said.code == 4 and "exists already. Set --overwrite" in said.err and tree(tmp_path) == before
    for words in (("--certificate", "none.pem", "--private-key", "none.pem"), ("--certificate", "none.pem")):
        said = run_command("animate", sample.portrait, sample.track, "-o", "new.mp4", *words)
        assert said.code in (2, 3, 5) and said.err.count("\n") == 1 and "--certificate" in said.err
        assert tree(tmp_path) == before


def test_signed_and_kept(run_command, sample, tmp_path):
    """A signed result as the source of another; one whose bytes were changed is kept, and said to be broken."""
    pytest.importorskip("c2pa", reason="content credentials need the extra c2pa")
    from tests.provenance.certificates import NAME, make

    chain, key = make(tmp_path)
    words = ("--certificate", chain, "--private-key", key, "--json")
    said = run_command("edit", sample.portrait, "-o", "first.jpg", "--set", "yaw=5", *words)
    assert said.code == 0, said.err
    found = json.loads(run_command("inspect", "first.jpg", "--json").out)
    assert found["credentials"]["state"] == "valid" and found["credentials"]["signer"] == NAME and found["agree"]

    data = bytearray((tmp_path / "first.jpg").read_bytes())
    place = len(data) - 3  # in the last pixels
    data[place] ^= 1
    (tmp_path / "broken.jpg").write_bytes(data)
    for source, warned in (("first.jpg", False), ("broken.jpg", True)):
        said = run_command("animate", source, sample.track, "-o", f"{source}.mp4", *words)
        assert said.code == 0, said.err
        assert ("note: warning: broken.jpg: its content credentials are broken" in said.err) is warned
        ingredients = json.loads(run_command("inspect", f"{source}.mp4", "--json").out)["credentials"]["ingredients"]
        kept = next(entry for entry in ingredients if entry["title"] == source)
        assert kept["credentials"] and bool(kept["faults"]) is warned
    said = run_command("animate", sample.portrait, sample.track, "-o", "out.mkv", *words)
    assert said.code == 0 and "note: .mkv cannot carry content credentials" in said.err
    assert not list(tmp_path.glob(".*")) and not list(tmp_path.glob("*.signed*"))
