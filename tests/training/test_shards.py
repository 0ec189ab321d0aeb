"""Shards: what goes in comes out, and every damage is one line that names the shard."""

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training.shard_reader import open_shards
from mimaface_cli.training.shards import TrainingClip
from tests.training.shard_files import write_shards


def make_clip(number: int, frames: int = 4, size: int = 32) -> TrainingClip:
    ramp = np.linspace(40, 200, size).astype(np.uint8)
    pictures = np.stack([np.stack([np.tile(ramp, (size, 1))] * 3, -1) + np.uint8(number + n) for n in range(frames)])
    points = np.random.default_rng(number).random((frames, 7, 2), np.float32)
    track = MotionTrack.neutral(frames, "face478")
    return TrainingClip(f"clip-{number}", f"person{number % 2}", "a.mp4", pictures, track, points)


@pytest.fixture
def folder(tmp_path):
    write_shards((make_clip(number) for number in range(5)), tmp_path, per_shard=2)
    return tmp_path


def test_clips_come_back(folder):
    assert sorted(p.name for p in folder.iterdir()) == [f"shard-0000{n}.tar" for n in range(3)]
    clips = open_shards(folder)
    assert [clip.key for clip in clips] == [f"clip-{n}" for n in range(5)]
    for number, clip in enumerate(clips):
        given = make_clip(number)
        assert (clip.identity, clip.count, clip.size, clip.space) == (given.identity, 4, 32, "face478")
        assert clip.track().to_bytes() == given.track.to_bytes()
        assert np.array_equal(clip.landmarks(), given.landmarks)
        for n in (3, 0):
            assert np.abs(clip.frame(n).astype(int) - given.frames[n]).mean() < 1.5


def test_webdataset_reads_the_same_samples(folder):
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed; pip install webdataset")
    samples = list(webdataset.WebDataset(str(folder / "shard-00000.tar"), shardshuffle=False))
    assert [sample["__key__"].split("/")[-1] for sample in samples] == ["clip-0", "clip-1"]
    assert {"json", "track.npz", "00003.jpg"} <= set(samples[0])


@pytest.mark.parametrize("kept", [0, 700, 5_000, -1024])
def test_a_truncated_shard_is_named(folder, kept):
    path = folder / "shard-00001.tar"
    data = path.read_bytes().rstrip(b"\0") if kept < 0 else path.read_bytes()[:kept]
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"shard-00001\.tar: is truncated"):
        open_shards(folder)


def test_a_missing_shard_and_an_empty_folder_are_named(folder, tmp_path):
    (folder / "shard-00001.tar").unlink()
    with pytest.raises(InputError, match=r"shard-00001\.tar is missing"):
        open_shards(folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="has no shards"):
        open_shards(tmp_path / "none")


def test_nothing_is_overwritten_and_a_failure_leaves_no_half_shard(folder, tmp_path):
    def failing():
        yield make_clip(0)
        raise RuntimeError

    (tmp_path / "new").mkdir()
    with pytest.raises(RuntimeError):
        write_shards(failing(), tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_a_clip_must_be_consistent():
    clip = make_clip(0)
    with pytest.raises(ValueError, match="track: has 3 frames"):
        TrainingClip("a", "b", "c", clip.frames, MotionTrack.neutral(3, "face478"))
    with pytest.raises(ValueError, match="key"):
        TrainingClip("../a", "b", "c", clip.frames, clip.track)
