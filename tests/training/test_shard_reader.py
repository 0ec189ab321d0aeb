"""Reading shards: what was written is read, and damage is an error that names the shard."""

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.training.shard_reader import open_shards
from tests.training.shard_files import make_clip, write_shards


@pytest.fixture
def folder(tmp_path):
    write_shards((make_clip(number) for number in range(5)), tmp_path, per_shard=2)
    return tmp_path


def test_open_shards_returns_the_written_clips(folder):
    assert sorted(path.name for path in folder.iterdir()) == [f"shard-0000{n}.tar" for n in range(3)]
    clips = open_shards(folder)
    assert [clip.key for clip in clips] == [f"clip-{n}" for n in range(5)]
    for number, clip in enumerate(clips):
        written = make_clip(number)
        assert (clip.identity, clip.count, clip.size, clip.space) == (written.identity, 4, 32, "face478")
        assert clip.track().to_bytes() == written.track.to_bytes()
        assert np.array_equal(clip.landmarks(), written.landmarks)
        for n in (3, 0):
            assert np.abs(clip.frame(n).astype(int) - written.frames[n]).mean() < 1.5


def test_webdataset_reads_the_same_samples(folder):
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed; pip install webdataset")
    samples = list(webdataset.WebDataset(str(folder / "shard-00000.tar"), shardshuffle=False))
    assert [sample["__key__"].split("/")[-1] for sample in samples] == ["clip-0", "clip-1"]
    assert {"json", "track.npz", "00003.jpg"} <= set(samples[0])


@pytest.mark.parametrize("length", [0, 700, 5_000, None])
def test_truncated_shard_is_an_input_error(folder, length):
    """Without a length, only the zeros at the end are missing."""
    path = folder / "shard-00001.tar"
    data = path.read_bytes()
    path.write_bytes(data.rstrip(b"\0") if length is None else data[:length])
    with pytest.raises(InputError, match=r"shard-00001\.tar: is truncated"):
        open_shards(folder)


def test_missing_shard_is_an_input_error(folder):
    (folder / "shard-00001.tar").unlink()
    with pytest.raises(InputError, match=r"shard-00001\.tar is missing"):
        open_shards(folder)


def test_folder_without_shards_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="has no shards"):
        open_shards(tmp_path)
