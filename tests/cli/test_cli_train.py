"""Training as people run it: footage to shards, both stages, killed and gone on with, and a video by what came out."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mimaface_cli.train.shards import open_shards
from tests.conftest import read_video, write_video

CUT = ("--size", "64", "--frames", "4", "--per-video", "2")


@pytest.fixture(scope="module")
def footage(made, tmp_path_factory) -> Path:
    """Two people (the one face, seen otherwise) with a video each, and a file that is none."""
    folder = tmp_path_factory.mktemp("footage")
    shutil.copytree(Path(made.driver).parent, folder / "a", ignore=lambda _, names: {n for n in names if n != "driver.mp4"})
    (folder / "b").mkdir()
    frames, times = read_video(made.driver)
    write_video(folder / "b" / "mirrored.mp4", [255 - (255 - f[:, ::-1]) // 2 for f in frames], times)
    (folder / "b" / "broken.mp4").write_bytes(b"no video" * 100)
    return folder


@pytest.fixture(scope="module")
def data(footage, tmp_path_factory, environment) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shards"
    command = [sys.executable, "-m", "mimaface_cli", "train", "prepare", str(footage), "-o", str(folder), *CUT, "--json"]
    ran = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=120)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert (said["clips"], said["videos"], said["shards"], said["space"]) == (4, 2, 1, "face478")
    assert list(said["skipped"]) == ["b/broken.mp4"] and "skipped: b/broken.mp4" in ran.stderr
    return folder


def test_clips_show_the_face_and_their_crops_fit(data):
    from mimaface_cli.face.camera import place, project
    from mimaface_cli.face.face478 import load

    clips = open_shards(data)
    assert [clip.identity for clip in clips] == ["a", "a", "b", "b"] and all(clip.has_renders for clip in clips)
    model = load()
    for clip in clips:
        track, points = clip.track(), clip.landmarks()
        assert (track.meta.width, track.meta.space, len(track)) == (64, "face478", 4)
        low, high = points[0].min(0), points[0].max(0)
        assert (np.abs((low + high) / 2 - 32) < 8).all() and 28 < (high - low).max() < 60
        # The fitted face, carried from its crop to the clip's pixels, lies on the landmarks.
        shape = model.shape(track.identity.astype(float), track.expression[0].astype(float))
        pixels = project(place(shape, track.pose[0].astype(float)))[0][: len(points[0])]
        back = np.linalg.inv(np.vstack([track.crop[0], [0, 0, 1]]))
        carried = pixels @ back[:2, :2].T + back[:2, 2]
        assert np.linalg.norm(carried - points[0], axis=1).mean() < 1.5
        # The render is nearer to its frame than a flat picture.
        shown, drawn = clip.frame(0).astype(float), clip.render(0).astype(float)
        assert np.abs(shown - drawn).mean() < 0.6 * np.abs(shown - shown.mean((0, 1))).mean()


def test_a_second_run_adds_what_is_new_and_touches_nothing_else(footage, data, tmp_path, command):
    more, folder = tmp_path / "footage", tmp_path / "data"
    shutil.copytree(footage, more)
    shutil.copytree(data, folder)
    before = (folder / "shard-00000.tar").read_bytes()
    (more / "c").mkdir()
    shutil.copy(more / "a" / "driver.mp4", more / "c" / "new.mp4")
    said = command("train", "prepare", more, "-o", folder, *CUT)
    assert said.code == 0 and "6 clips of 3 videos in 2 shards, 1 skipped" in said.err
    assert (folder / "shard-00000.tar").read_bytes() == before
    assert [clip.identity for clip in open_shards(folder)] == ["a", "a", "b", "b", "c", "c"]
    assert not list((folder / "parts").iterdir())
    said = command("train", "prepare", more, "-o", folder, "--size", "32", "--frames", "4", "--per-video", "2")
    assert said.code == 3 and "was prepared with size 64" in said.err


def test_what_a_killed_run_leaves_is_taken_up(footage, data, tmp_path, command, monkeypatch):
    """Killed after the parts and a shard were written, before the index knew."""
    from mimaface_cli.train import prepare

    folder = tmp_path / "data"
    save = prepare.Index.save

    def killed(self, folder: Path) -> None:
        if self.shards:
            raise KeyboardInterrupt
        save(self, folder)

    with monkeypatch.context() as patch:
        patch.setattr(prepare.Index, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            cutting = prepare.Cutting(64, 4, 2)
            shutil.copytree(footage / "a", tmp_path / "footage" / "a")
            prepare.prepare(tmp_path / "footage", folder, "face478", cutting)
    assert (folder / "shard-00000.tar").exists() and len(list((folder / "parts").iterdir())) == 1
    (folder / ".shard-00000.0123abcd.part.tar").write_bytes(b"half")
    monkeypatch.setattr(prepare, "read_clips", lambda *_: pytest.fail("the video was read again"))
    index = prepare.prepare(tmp_path / "footage", folder, "face478", cutting)
    assert index.videos == {"a/driver.mp4": 2} and index.shards == 1 and len(open_shards(folder)) == 2
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".prep")) == [
        "index.json", "parts", "shard-00000.tar",
    ]  # fmt: skip


def test_a_table_says_who_is_who(footage, tmp_path, command):
    table = tmp_path / "who.csv"
    table.write_text("file,identity\nb/mirrored.mp4,somebody\n")
    said = command("train", "prepare", footage, "-o", "data", *CUT, "--identities", table, "--jobs", "2")
    assert said.code == 0 and "a/driver.mp4: is not in the table" in said.err, said.err
    assert {clip.identity for clip in open_shards(tmp_path / "data")} == {"somebody"}
    table.write_text("name;who\n")
    said = command("train", "prepare", footage, "-o", "data", *CUT, "--identities", table)
    assert said.code == 3 and "columns file and identity" in said.err and len(said.err.splitlines()) == 1


def test_an_empty_folder_is_one_line(tmp_path, command):
    (tmp_path / "none").mkdir()
    said = command("train", "prepare", "none", "-o", "data")
    assert said.code == 3 and "none: holds no video" in said.err and len(said.err.splitlines()) == 1
    assert not (tmp_path / "data").exists()
