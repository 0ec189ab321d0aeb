"""Preparation of shards from videos. The command-line tests cover whole preparations."""

import shutil

import pytest

from mimaface_cli.errors import InputError, WeightsError
from mimaface_cli.training.clip_options import ClipOptions
from mimaface_cli.training.preparation import prepare_shards
from mimaface_cli.training.shard_index import read_shard_index
from tests.conftest import weights_at


def test_missing_weights_are_an_error_and_do_not_skip_videos(training_weights, face_footage, tmp_path):
    weights = shutil.copytree(training_weights, tmp_path / "weights", symlinks=True)
    (weights / "mimaface/d3dfr.safetensors").unlink()
    with weights_at(weights), pytest.raises(WeightsError, match=r"d3dfr"):
        prepare_shards(face_footage, tmp_path / "data", "bfm09", ClipOptions(64, 4, 1))
    assert not read_shard_index(tmp_path / "data").skipped


@pytest.mark.parametrize(
    ("space", "options", "field"),
    [
        ("flame", {}, "space"),
        ("face478", {"size": 60}, "size"),
        ("face478", {"frames": 0}, "frames"),
        ("face478", {"per_video": 0}, "per_video"),
        ("bfm09", {"condition": "textured"}, "condition"),
    ],
)
def test_unusable_option_is_an_input_error_that_names_its_field(tmp_path, space, options, field):
    with pytest.raises(InputError) as error:
        prepare_shards(tmp_path, tmp_path / "data", space, ClipOptions(**options))
    assert error.value.field == field
    assert not (tmp_path / "data").exists()
