"""The SadTalker fixtures' checkers detect wrong numbers, weights and keys."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.goldens.__main__ import run

DATA = Path(__file__).parents[1] / "goldens" / "data" / "sadtalker"


@pytest.fixture
def copy_fixture(tmp_path):
    def copy(name: str) -> Path:
        """Copy a fixture and return the path of its JSON file."""
        for path in DATA.glob(f"{name}.*"):
            shutil.copyfile(path, tmp_path / path.name)
        return tmp_path / f"{name}.json"

    return copy


def failed_checks(path: Path) -> set[str]:
    return {check.name for check in run(path) if not check.passed}


@pytest.mark.parametrize(
    ("name", "array", "amount", "checks"),
    [
        ("mel", "mel", 1e-5, {"mel", "mel in pieces"}),
        ("mel", "windows", 1e-5, {"windows"}),
        ("mel", "window_indices", 1, {"window_indices"}),
        ("blink", "random_n100", 1e-3, {"random_n100"}),
        ("audio2exp", "exp", 1e-3, {"exp", "exp in chunks"}),
        ("audio2pose", "n20_motion", 1e-4, {"n20_motion"}),
        ("audio2pose", "n3_pose_smooth", 1e-4, {"n3_pose_smooth"}),
    ],
)
def test_checker_detects_a_wrong_number(copy_fixture, name, array, amount, checks):
    path = copy_fixture(name)
    with np.load(path.with_suffix(".npz")) as file:
        arrays = dict(file)
    arrays[array].flat[arrays[array].argmax()] -= np.asarray(amount).astype(arrays[array].dtype)
    np.savez(path.with_suffix(".npz"), **arrays)
    assert failed_checks(path) == checks


def test_checker_detects_changed_weights_and_missing_keys(copy_fixture):
    path = copy_fixture("audio2exp")
    spec = json.loads(path.read_text())
    spec["state_dict"][0]["crc32"] += 1
    path.write_text(json.dumps(spec))
    assert failed_checks(path) == {"weights crc32"}
    del spec["state_dict"][-1]
    path.write_text(json.dumps(spec))
    assert failed_checks(path) == {"weights crc32", "state_dict keys"}


def test_checker_detects_an_unknown_key_in_the_checkpoint(copy_fixture):
    path = copy_fixture("checkpoint_layout")
    spec = json.loads(path.read_text())
    spec["keys"]["audio2pose.netG.decoder.novel"] = ["float32", [1]]
    path.write_text(json.dumps(spec))
    assert any("1 unexpected (netG.decoder.novel)" in name for name in failed_checks(path))
