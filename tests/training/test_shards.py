"""Writing shards: atomically, and only consistent clips."""

import numpy as np
import pytest

from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training.shards import TrainingClip, write_shard
from tests.training.shard_files import make_clip


def test_failed_write_leaves_no_partial_shard(tmp_path):
    def failing_clips():
        yield make_clip(0)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "shard-00000.tar", failing_clips())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"track": MotionTrack.neutral(3, "face478")}, "track: has 3 frames"),
        ({"key": "../a"}, "key"),
        ({"landmarks": np.zeros((3, 7, 2), np.float32)}, "landmarks"),
        ({"photo": np.zeros((32, 32, 3), np.uint8)}, "renders: need the photo"),
    ],
)
def test_training_clip_rejects_inconsistent_values(changes, message):
    clip = make_clip(0)
    values = {"key": "a", "identity": "b", "source": "c", "frames": clip.frames, "track": clip.track}
    with pytest.raises(ValueError, match=message):
        TrainingClip(**(values | changes))
