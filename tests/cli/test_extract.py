"""`mimaface extract` and `mimaface cache`: tracks, renders of the fitted model, and the cache."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from mimaface_cli.face.skin_tracking import REVISION
from mimaface_cli.motion.coefficients import blendshape_index
from mimaface_cli.motion.track import MotionTrack
from tests.conftest import FRAMES, NTSC, read_video


def test_extract_writes_track_and_renders(run_mimaface, sample, tmp_path):
    completed = run_mimaface("extract", sample.driver, "-o", "täck 1.npz", "--renders", "model.mp4", "--json")
    assert completed.returncode == 0
    assert completed.stderr.count("\n") == 1 and completed.stderr.startswith(f"{sample.driver}: {FRAMES} frames")
    result = json.loads(completed.stdout)
    assert result["frames"] == FRAMES and result["frame_rate"] == "30000/1001" and result["space"] == "face478"
    assert result["missing_frames"] == [] and result["cuts"] == []

    track, reference = MotionTrack.load(tmp_path / "täck 1.npz"), MotionTrack.load(sample.track)
    assert track.frame_rate == NTSC and np.allclose(track.pts, reference.pts, atol=1e-6)
    yaw = np.corrcoef(track.pose[:, 1], reference.pose[:, 1])[0, 1]
    jaw = np.corrcoef(*(motion.expression[:, blendshape_index("jawOpen")] for motion in (track, reference)))[0, 1]
    assert yaw > 0.95 and jaw > 0.9

    rendered, times = read_video(tmp_path / "model.mp4")
    assert times == read_video(sample.driver)[1] and rendered[0].shape == (256, 256, 3)
    assert rendered[0][:20].max() < 30 and rendered[0][128, 128].min() > 60  # a lit face on black


def test_extract_renders_track_as_images(run_command, sample, tmp_path):
    result = run_command("extract", sample.track, "--renders", "model/%03d.png", "-o", "copy.npz", "--json")
    assert result.code == 0 and json.loads(result.out)["renders"] == "model/%03d.png"
    assert "input is a track, written: copy.npz, model/%03d.png" in result.err
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [f"{k:03d}.png" for k in range(FRAMES)]
    first, middle = (np.asarray(Image.open(tmp_path / "model" / f"{k:03d}.png")) for k in (0, FRAMES // 2))
    assert np.abs(first.astype(int) - middle).max() > 50  # the mouth opens
    assert (tmp_path / "copy.npz").read_bytes() == sample.track.read_bytes()

    (tmp_path / "empty").mkdir()
    assert run_command("extract", sample.track, "--renders", "empty", "-q").code == 0  # an existing empty folder
    assert len(list((tmp_path / "empty").iterdir())) == FRAMES
    again = run_command("extract", sample.track, "--renders", "model/%03d.png", "--overwrite")
    assert again.code == 4 and "not an empty folder" in again.err


def test_extract_reuses_cached_track(run_command, sample, tmp_path, monkeypatch):
    cache_option = ("--cache-dir", tmp_path / "cache")
    first = run_command("extract", sample.portrait, "--json", *cache_option)
    assert first.code == 0 and ", cached" in first.err and json.loads(first.out)["cached"] is False
    monkeypatch.setattr("mimaface_cli.face.landmarks.load_mediapipe", None)  # no face detection again
    second = run_command("extract", sample.portrait, "-o", "a.npz", "--json", *cache_option)
    assert "from the cache, written: a.npz" in second.err and json.loads(second.out)["cached"] is True
    assert MotionTrack.load(tmp_path / "a.npz").meta.width == 512
    other = run_command("extract", sample.portrait, "--smooth", "2", *cache_option)
    assert other.code == 1  # other options need another track, and so face detection

    assert run_command("cache", "where", *cache_option).out == f"{tmp_path / 'cache' / 'tracks'}\n"
    listed = run_command("cache", "list", *cache_option).out.splitlines()
    assert len(listed) == 2 and listed[0].endswith("face478   portrait.jpg") and listed[1].startswith("1 track, ")
    report = json.loads(run_command("cache", "list", "--json", *cache_option).out)
    entry = report["entries"][0]
    assert entry["source"] == "portrait.jpg" and entry["space"] == "face478" and Path(entry["path"]).is_file()
    assert report["bytes"] == entry["bytes"] > 1000

    assert run_command("cache", "clear", "--older-than", "1", *cache_option).out == "removed 0 tracks, 0.0 MB\n"
    assert json.loads(run_command("cache", "clear", "--json", *cache_option).out) == {
        "removed": 1,
        "bytes": entry["bytes"],
    }
    assert json.loads(run_command("cache", "list", "--json", *cache_option).out)["entries"] == []


def test_follow_skin_is_default_and_part_of_cache_key(run_command, sample, tmp_path):
    cache_option = ("--cache-dir", tmp_path / "cache")
    skin = run_command("extract", sample.driver, "-o", "skin.npz", *cache_option)
    plain = run_command("extract", sample.driver, "--no-follow-skin", "-o", "plain.npz", *cache_option)
    assert plain.code == skin.code == 0 and "from the cache" not in plain.err  # another cache entry
    assert "from the cache" in run_command("extract", sample.driver, "--follow-skin", *cache_option).err
    plain_track, skin_track = (MotionTrack.load(tmp_path / f"{name}.npz") for name in ("plain", "skin"))
    assert skin_track.meta.options == plain_track.meta.options | {"skin": REVISION}
    assert len(plain_track) == len(skin_track)
    assert not np.array_equal(plain_track.expression, skin_track.expression)
    assert np.abs(plain_track.pose[:, :3] - skin_track.pose[:, :3]).max() < np.radians(6)
    for words in ((), ("--no-follow-skin",)):
        result = run_command(
            "animate", sample.portrait, sample.driver, *words, "--json", "--overwrite", "-o", "out.mp4", *cache_option
        )
        assert result.code == 0, result.err
    assert len(list((tmp_path / "cache" / "tracks").glob("*.npz"))) == 2  # the tracks of extract, and no third one
    photo = run_command("extract", sample.portrait, "-o", "photo.npz", *cache_option)
    assert photo.code == 0 and "skin" not in MotionTrack.load(tmp_path / "photo.npz").meta.options


def test_no_cache_leaves_no_cache(run_command, sample, tmp_path):
    cache_option = ("--cache-dir", tmp_path / "cache")
    result = run_command("extract", sample.portrait, "--no-cache", "-o", "a.npz", *cache_option)
    assert result.code == 0 and "not cached, written: a.npz" in result.err
    assert not (tmp_path / "cache").exists()


def test_extract_works_with_unwritable_cache(run_command, sample, tmp_path):
    (tmp_path / "file").touch()
    result = run_command("extract", sample.portrait, "-o", "a.npz", "--cache-dir", "file")
    assert result.code == 0 and "note: file" in result.err and "cannot be written" in result.err
    assert (tmp_path / "a.npz").is_file()


def test_damaged_cache_entry_is_recomputed(run_command, sample, tmp_path):
    """A truncated track is extracted again."""
    cache_option = ("--cache-dir", tmp_path / "cache")
    run_command("extract", sample.portrait, *cache_option)
    entry = next((tmp_path / "cache" / "tracks").glob("*.npz"))
    content = entry.read_bytes()
    entry.write_bytes(content[:-500])
    result = run_command("extract", sample.portrait, *cache_option)
    assert result.code == 0 and ", cached" in result.err
    assert entry.read_bytes() == content
