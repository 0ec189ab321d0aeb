"""TensorBoard event files: optional, and without duplicates after a resume."""

import importlib.util

import numpy as np
import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.training.stages import train_image
from mimaface_cli.training.tensorboard import TensorboardLog
from tests.training.validated_runs import read_rows, validated_config


def test_missing_package_is_an_input_error_only_if_tensorboard_is_enabled(noise_data, tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == "tensorboard" else find_spec(name, *args)
    )
    with pytest.raises(InputError, match=r"pip install 'mimaface\[train\]'"):
        train_image(validated_config(noise_data, tmp_path / "run", tensorboard=True))
    train_image(validated_config(noise_data, tmp_path / "run", steps=1, validation={"every": 0}))
    assert not (tmp_path / "run/image/tensorboard").exists()


def test_resumed_run_hides_events_after_its_checkpoint(noise_data, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_image(validated_config(noise_data, tmp_path / "run", steps=2, tensorboard=True))
    interrupted = TensorboardLog(tmp_path / "run/image", 2)
    interrupted.log_losses(3, {"denoise": 99.0})
    interrupted.close()
    train_image(validated_config(noise_data, tmp_path / "run", steps=4, tensorboard=True))
    events = EventAccumulator(str(tmp_path / "run/image/tensorboard"), {"images": 0, "scalars": 0}).Reload()
    curve = [(event.step, event.value) for event in events.Scalars("train/denoise")]
    expected = [(int(row["step"]), float(row["denoise"])) for row in read_rows(tmp_path / "run/image/losses.csv")]
    assert [step for step, _ in curve] == [1, 2, 3, 4]
    assert np.allclose(curve, expected, rtol=1e-5)
    assert [event.step for event in events.Scalars("train/learning_rate")] == [1, 2, 3, 4]
    assert [event.step for event in events.Scalars("validation/psnr")] == [2, 4]
    assert [event.step for event in events.Images("validation")] == [2, 4]
