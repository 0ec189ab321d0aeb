"""Loading prepared data: without identity features, and with damaged arrays."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion.track import MotionTrack
from mimaface_cli.training.samples import ImageSamples
from mimaface_cli.training.shard_index import ShardIndex
from mimaface_cli.training.shards import TrainingClip
from mimaface_cli.training.stages import train_image
from mimaface_cli.training.training_data import load_training_data
from tests.conftest import weights_at
from tests.training.release_runs import IDENTITY_FEATURES, SIZE, release_config
from tests.training.shard_files import write_shards


def test_data_without_identity_features_can_train_only_the_tokens_of_the_paper(
    training_weights, face_footage, tmp_path, run_command
):
    weights = shutil.copytree(training_weights, tmp_path / "weights", symlinks=True)
    (weights / "mimaface/arcface.safetensors").unlink()
    options = ("--space", "bfm09", "--size", str(SIZE), "--frames", "4", "--per-video", "1")
    config = release_config(tmp_path / "data", tmp_path / "run")
    with weights_at(weights):
        result = run_command("train", "prepare", face_footage / "a", "-o", "data", *options)
        assert result.code == 0, result.err
        assert "the identity network is not installed" in result.err
        message = r"shard-00000.tar: clip .* lacks .*weights pull mimaface.* another folder"
        with pytest.raises(InputError, match=message) as error:
            train_image(config)
        assert "\n" not in str(error.value)
        train_image(replace(config, model=replace(config.model, tokens="paper")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photo_features": np.zeros((2, IDENTITY_FEATURES), np.float32)}, "identity features of clip k1 are damaged"),
        ({"photo_features": np.zeros(IDENTITY_FEATURES + 1, np.float32)}, "identity features of clip k1 are damaged"),
        (
            {"photo_features": np.full(IDENTITY_FEATURES, np.nan, np.float32)},
            "identity features of clip k1 are damaged",
        ),
        ({"photo_coefficients": np.zeros(260, np.float32)}, "coefficients of clip k1 are damaged"),
    ],
)
def test_damaged_photo_arrays_are_input_errors_that_name_the_clip(tmp_path, change, message):
    images = np.zeros((4, SIZE, SIZE, 3), np.uint8)
    arrays = {
        "photo_coefficients": np.zeros(261, np.float32),
        "photo_features": np.zeros(IDENTITY_FEATURES, np.float32),
    }
    track = MotionTrack.neutral(4, "bfm09")
    clip = TrainingClip("k0", "p", "a.mp4", images, track, None, images[0], images, **arrays)
    write_shards([clip, replace(clip, key="k1", **change)], tmp_path)
    ShardIndex({"space": "bfm09", "size": SIZE}, {"a.mp4": 2}, {}, 1).save(tmp_path)
    samples = ImageSamples(load_training_data(release_config(tmp_path, tmp_path / "run")), 0)
    with pytest.raises(InputError, match=message):
        for number in range(20):
            samples[number]
